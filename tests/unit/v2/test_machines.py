from typing import Any

import pytest

from kvorum.backend.memory import MemoryBackend
from kvorum.errors import RequestError
from kvorum.membership import Attributes, Cluster, ClusterConfig, Member
from kvorum.mvcc.store import Store
from kvorum.v2.commands import Set
from kvorum.v2.machines import Machines, config_json
from kvorum.v2.node import Event, Node
from kvorum.v2.tree import Tree


def member(number: int, name: str, index: int) -> Member:
    peer, client = f"http://h:700{number}", f"http://h:400{number}"
    return Member(number, name, (peer,), (client,), index, index + 10)


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(MemoryBackend())
    cluster.set_attributes(Attributes(cluster_id=1, is_legacy=True, config_index=2))
    cluster.put(member(1, "m1", 1))
    cluster.put(member(2, "m2", 6))
    return cluster


@pytest.fixture
def machines(cluster: Cluster, tree: Tree) -> Machines:
    return Machines(cluster, tree)


def read(machines: Machines, path: bytes, *, is_recursive: bool = False) -> Any:
    """(path, indexes) of a node and its children, or code and cause of an error."""
    outcome = machines.get(path, 9, is_recursive=is_recursive, is_sorted=True)
    if isinstance(outcome, RequestError):
        return outcome.v2_code, outcome.cause, outcome.index
    assert isinstance(outcome, Event)
    return shape(outcome.node)


def shape(node: Node) -> Any:
    plain = (node.key.decode(), node.modified_index, node.created_index)
    return plain if node.nodes is None else (*plain, [shape(child) for child in node.nodes])


def test_directory_lists_members_by_name(machines: Machines) -> None:
    assert read(machines, b"/_etcd/machines") == (
        "/_etcd/machines",
        1,
        1,
        [("/_etcd/machines/m1", 11, 1), ("/_etcd/machines/m2", 16, 6)],
    )


def test_value_is_form_encoded(machines: Machines) -> None:
    outcome = machines.get(b"/_etcd/machines/m2", 9, is_recursive=False, is_sorted=False)
    assert isinstance(outcome, Event)
    assert outcome.node.value == b"etcd=http%3A%2F%2Fh%3A4002&raft=http%3A%2F%2Fh%3A7002"


def test_member_without_a_name_is_not_shown(machines: Machines, cluster: Cluster) -> None:
    cluster.put(Member(3, "", ("http://h:7003",)))
    assert len(read(machines, b"/_etcd/machines")[3]) == 2


def test_member_without_client_urls_is_shown(machines: Machines, cluster: Cluster) -> None:
    cluster.put(Member(3, "m3", ("http://h:7003",)))
    outcome = machines.get(b"/_etcd/machines/m3", 9, is_recursive=False, is_sorted=False)
    assert isinstance(outcome, Event)
    assert outcome.node.value == b"etcd=&raft=http%3A%2F%2Fh%3A7003"


def test_config(machines: Machines, cluster: Cluster) -> None:
    assert read(machines, b"/_etcd/config") == ("/_etcd/config", 2, 2)
    assert config_json(cluster) == b'{"activeSize":9,"removeDelay":1800,"syncInterval":5}'
    config = ClusterConfig(active_size=3, remove_delay=2.5, sync_interval=1.0)
    cluster.set_attributes(Attributes(is_legacy=True, config=config, config_index=2))
    assert config_json(cluster) == b'{"activeSize":3,"removeDelay":2.5,"syncInterval":1}'


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"/_etcd/machines/nope", (100, "/_etcd/machines/nope", 9)),
        (b"/_etcd/machines/nope/x", (100, "/_etcd/machines/nope", 9)),
        (b"/_etcd/machines/m1/x", (104, "/_etcd/machines/m1", 9)),
        (b"/_etcd/config/x", (104, "/_etcd/config", 9)),
        (b"/_etcd/nope/x", (100, "/_etcd/nope", 2)),
    ],
)
def test_what_is_not_there(machines: Machines, path: bytes, error: object) -> None:
    assert read(machines, path) == error


def test_config_is_missing_until_it_is_set(machines: Machines, cluster: Cluster) -> None:
    cluster.set_attributes(Attributes(is_legacy=True))
    assert read(machines, b"/_etcd/config") == (100, "/_etcd/config", 9)
    assert [child[0] for child in read(machines, b"/_etcd")[3]] == ["/_etcd/machines"]


def test_top_lists_ordinary_keys_too(machines: Machines, tree: Tree, store: Store) -> None:
    tree.apply(Set(b"/_etcd/own/x", b"1"))
    tree.apply(Set(b"/_etcd/_hidden", b"1"))
    assert read(machines, b"/_etcd") == (
        "/_etcd",
        1,
        1,
        [("/_etcd/config", 2, 2), ("/_etcd/machines", 1, 1), ("/_etcd/own", 3, 3)],
    )
    deep = read(machines, b"/_etcd", is_recursive=True)
    assert [len(child) for child in deep[3]] == [3, 4, 4]
    assert read(machines, b"/_etcd/own") == ("/_etcd/own", 3, 3, [("/_etcd/own/x", 3, 3)])
    assert store.revision == 4


@pytest.mark.parametrize(
    ("path", "is_read_only"),
    [
        (b"/_etcd", True),
        (b"/_etcd/machines", True),
        (b"/_etcd/machines/x/y", True),
        (b"/_etcd/config", True),
        (b"/_etcd/config/x", True),
        (b"/_etcd/machines2", False),
        (b"/_etcd/configs", False),
        (b"/_etcd/own", False),
        (b"/_etcd2/machines", False),
        (b"/a", False),
    ],
)
def test_read_only_nodes(machines: Machines, path: bytes, is_read_only: bool) -> None:
    assert machines.is_read_only(path) is is_read_only


def test_a_cluster_of_the_modern_era_has_none_of_it(tree: Tree) -> None:
    machines = Machines(Cluster(MemoryBackend()), tree)
    assert not machines.covers(b"/_etcd/machines")
    assert not machines.is_read_only(b"/_etcd/machines")
