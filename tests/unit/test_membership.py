"""Members and attributes survive a restart; a removed id stays removed."""

import msgspec
import pytest

from kvorum.backend.base import Table
from kvorum.backend.memory import MemoryBackend
from kvorum.membership import (
    Attributes,
    Cluster,
    ClusterConfig,
    Member,
    MembershipFault,
    bounded_config,
)
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


@pytest.mark.parametrize(
    ("given", "config"),
    [
        ((5.9, 2.5, 1.5), ClusterConfig(5, 2.5, 1.5)),
        ((-1.0, -1.0, -1.0), ClusterConfig(3, 2.0, 1.0)),
    ],
)
def test_no_number_of_the_config_is_below_its_minimum(
    given: tuple[float, float, float], config: ClusterConfig
) -> None:
    assert bounded_config(*given) == config


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


@pytest.mark.parametrize(
    ("add", "remove", "fault"),
    [
        pytest.param(None, 0, None, id="nothing"),
        pytest.param(Member(3, "three", ("http://h:3",)), 0, None, id="a new one"),
        pytest.param(None, 2, None, id="one goes"),
        pytest.param(None, 9, MembershipFault.NOT_FOUND, id="a stranger goes"),
        pytest.param(None, 7, MembershipFault.REMOVED, id="one goes twice"),
        pytest.param(Member(1, "x", ("http://h:3",)), 0, MembershipFault.REMOVED, id="taken id"),
        pytest.param(Member(7, "x", ("http://h:3",)), 0, MembershipFault.REMOVED, id="used id"),
        pytest.param(
            Member(3, "x", ("http://h:3", "http://127.0.0.1:7002")),
            0,
            MembershipFault.PEER_URL_EXISTS,
            id="taken URL",
        ),
        pytest.param(
            Member(3, "two", ("http://h:3",)), 0, MembershipFault.NAME_EXISTS, id="taken name"
        ),
        pytest.param(Member(3, "two", TWO.peer_urls), 2, None, id="one takes another's place"),
        pytest.param(Member(3, "", ("http://h:3",)), 0, None, id="no name yet"),
    ],
)
def test_what_cannot_be_changed(
    cluster: Cluster, add: Member | None, remove: int, fault: MembershipFault | None
) -> None:
    cluster.put(Member(6, "", ("http://h:6",)))
    cluster.put(Member(7, "seven", ("http://h:7",)))
    cluster.remove(7)
    assert cluster.find_fault(add, remove) is fault


@pytest.mark.parametrize(
    ("member_id", "fault"),
    [
        pytest.param(2, None, id="a learner"),
        pytest.param(1, MembershipFault.NOT_LEARNER, id="a voter"),
        pytest.param(9, MembershipFault.NOT_FOUND, id="a stranger"),
        pytest.param(7, MembershipFault.REMOVED, id="one that is gone"),
    ],
)
def test_only_a_learner_is_promoted(
    cluster: Cluster, member_id: int, fault: MembershipFault | None
) -> None:
    cluster.put(Member(7, "seven", ("http://h:7",)))
    cluster.remove(7)
    cluster.set_conf_state(ConfState(voters=(1,), learners=(2,)))
    assert cluster.find_promotion_fault(member_id) is fault


def test_who_joins_is_told_from_other_learners_after_a_restart(backend: MemoryBackend) -> None:
    joining = Member(3, "three", ("http://h:3",), is_joining=True)
    Cluster(backend).put(joining)
    assert list(restored(backend)) == [joining]


def test_a_member_stored_before_there_were_joining_ones_is_none(backend: MemoryBackend) -> None:
    fields = (1, "one", ONE.peer_urls, ONE.client_urls, 0, 0)
    backend.put(Table.MEMBERS, (1).to_bytes(8, "big"), msgspec.msgpack.encode(fields))
    assert list(restored(backend)) == [ONE]
