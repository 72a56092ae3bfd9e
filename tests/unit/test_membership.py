"""Members and attributes survive a restart; a removed id stays removed."""

import pytest

from kvorum.backend.memory import MemoryBackend
from kvorum.membership import Attributes, Cluster, Member
from kvorum.raft.types import ConfState

ONE = Member(1, "one", ("http://127.0.0.1:7001",), ("http://127.0.0.1:4001",))
TWO = Member(2, "two", ("http://127.0.0.1:7002",))


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def cluster(backend: MemoryBackend) -> Cluster:
    cluster = Cluster(backend)
    cluster.put(TWO)
    cluster.put(ONE)
    return cluster


def restored(backend: MemoryBackend) -> Cluster:
    cluster = Cluster(backend)
    cluster.restore()
    return cluster


def test_members_come_by_name(cluster: Cluster) -> None:
    assert list(cluster) == [ONE, TWO]


def test_members_are_found_by_name_and_url(cluster: Cluster) -> None:
    assert cluster.find_by_name("two") == TWO
    assert cluster.find_by_name("three") is None
    assert cluster.find_by_peer_url("http://127.0.0.1:7001") == ONE
    assert cluster.find_by_peer_url("http://127.0.0.1:4001") is None


def test_everything_survives_a_restart(backend: MemoryBackend, cluster: Cluster) -> None:
    cluster.set_attributes(Attributes(cluster_id=7, is_legacy=True, config_index=2))
    cluster.set_conf_state(ConfState(voters=(1, 2)))
    cluster.remove(TWO.id)
    again = restored(backend)
    assert list(again) == [ONE]
    assert again.cluster_id == 7
    assert again.is_legacy
    assert again.attributes.config_index == 2
    assert again.conf_state == ConfState(voters=(1, 2))
    assert again.was_removed(TWO.id)


def test_a_removed_id_cannot_come_back(cluster: Cluster) -> None:
    assert cluster.remove(TWO.id) == TWO
    with pytest.raises(AssertionError, match="never comes back"):
        cluster.put(TWO)


def test_removing_a_stranger_changes_nothing(cluster: Cluster) -> None:
    generation = cluster.generation
    assert cluster.remove(99) is None
    assert not cluster.was_removed(99)
    assert cluster.generation == generation


def test_every_change_of_a_member_is_noticed(cluster: Cluster) -> None:
    seen = {cluster.generation}
    cluster.put(ONE)
    seen.add(cluster.generation)
    cluster.remove(1)
    seen.add(cluster.generation)
    cluster.restore()
    seen.add(cluster.generation)
    assert len(seen) == 4
