"""The leader removes the silent and the surplus, one a second, and never the quorum."""

import pytest
from tests.unit.server.conftest import Member, MemoryCluster

from kvorum.apply.commands import SetClusterConfig
from kvorum.errors import UnavailableError
from kvorum.membership import ClusterConfig, MembershipFault
from kvorum.server.pruning import Pruning
from kvorum.server.reconfiguration import Answer, AnswerCompletion, Reconfiguration


@pytest.fixture
def five(cluster: MemoryCluster, three: list[Member]) -> list[Member]:
    """Five voters, each of which looks after the size while it leads."""
    members = list(three)
    for number in (4, 5):
        member = cluster.add(cluster.legacy_config(number))
        cluster.join(member)
        members.append(member)
    cluster.run_until(lambda: all(len(m.server.cluster.conf_state.voters) == 5 for m in members))
    for member in members:
        Pruning(member.server).start()
    return members


def set_config(cluster: MemoryCluster, **numbers: float) -> None:
    cluster.write(SetClusterConfig(ClusterConfig(**numbers)))  # type: ignore[arg-type]


def size_of(member: Member) -> int:
    return len(member.server.cluster.members)


def test_a_cluster_of_its_size_stays_as_it_is(cluster: MemoryCluster, five: list[Member]) -> None:
    set_config(cluster, active_size=5)
    cluster.advance(5)
    assert {size_of(member) for member in five} == {5}


def test_the_surplus_goes_one_a_second_and_the_leader_stays(
    cluster: MemoryCluster, five: list[Member], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kvorum.server")
    set_config(cluster, active_size=3)
    leader = cluster.leader()
    cluster.run_until(lambda: size_of(leader) == 4)
    cluster.advance(0.5)
    assert size_of(leader) == 4
    cluster.advance(5)
    assert size_of(leader) == 3
    assert cluster.leader() is leader
    removals = [line for line in caplog.messages if "removing node" in line]
    assert len(removals) == 2
    assert removals[0].startswith(f"{leader.config.name}: removing node: machine")
    assert removals[0].endswith("; peer number 5 > expected size 3")
    gone = [one for one in five if one.server.cluster.was_removed(one.server.member_id)]
    assert leader not in gone


def test_of_the_surplus_the_dead_go_first(cluster: MemoryCluster, five: list[Member]) -> None:
    leader = cluster.leader()
    dead = next(member for member in five if member is not leader)
    dead_id = dead.server.member_id
    dead.crash()
    cluster.advance(0.5)
    set_config(cluster, active_size=4)
    cluster.run_until(lambda: size_of(leader) == 4)
    assert dead_id not in leader.server.cluster.members


def test_who_is_silent_for_too_long_goes(
    cluster: MemoryCluster, five: list[Member], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kvorum.server")
    set_config(cluster, active_size=9, remove_delay=3.0)
    leader = cluster.leader()
    dead = next(member for member in five if member is not leader)
    dead_id = dead.server.member_id
    dead.crash()
    cluster.advance(2.9)
    assert dead_id in leader.server.cluster.members
    cluster.advance(3)
    assert dead_id not in leader.server.cluster.members
    assert size_of(leader) == 4
    assert f"removing node: {dead.config.name}; last activity 3." in caplog.text


def test_a_new_leader_does_not_take_its_own_ignorance_for_silence(
    cluster: MemoryCluster, five: list[Member]
) -> None:
    set_config(cluster, active_size=9, remove_delay=2.0)
    cluster.advance(5)
    leader = cluster.leader()
    leader.server.hand_over(lambda: None)
    cluster.run_until(lambda: cluster.leader() is not leader)
    cluster.advance(5)
    assert {size_of(member) for member in five} == {5}


def test_whom_the_quorum_needs_stays_and_that_is_told_once(
    cluster: MemoryCluster,
    five: list[Member],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Reconfiguration, "find_removal_fault", lambda *_: MembershipFault.UNHEALTHY)
    set_config(cluster, active_size=3)
    leader, *others = five
    assert leader is cluster.leader()
    chosen = leader.server.cluster.members[others[0].server.member_id]
    monkeypatch.setattr(Pruning, "_choose", lambda *_: chosen)
    cluster.advance(5)
    assert size_of(leader) == 5
    assert [line for line in caplog.messages if "not removed" in line] == [
        "machine1: machine2 was not removed: unhealthy cluster"
    ]


def test_a_removal_that_fails_is_tried_again(
    cluster: MemoryCluster,
    five: list[Member],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: list[Answer] = [UnavailableError("request timed out"), MembershipFault.UNHEALTHY]

    def remove(desk: Reconfiguration, member_id: int, completion: AnswerCompletion) -> None:
        if answers:
            completion(answers.pop())
        else:
            original(desk, member_id, completion)

    original = Reconfiguration.remove
    monkeypatch.setattr(Reconfiguration, "remove", remove)
    set_config(cluster, active_size=4)
    cluster.run_until(lambda: size_of(cluster.leader()) == 4)
    assert "was not removed: request timed out" in caplog.text
    assert "was not removed: unhealthy cluster" in caplog.text
    assert len(five) == 5
