"""Elections in the words of 0.4: which lines, in which order, and which are left out."""

import pytest

from kvorum.backend.memory import MemoryBackend
from kvorum.membership import Cluster, Member
from kvorum.raft.rawnode import SoftState
from kvorum.raft.types import ConfState, Role
from kvorum.server.announce import Announcer


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(MemoryBackend())
    for number in (1, 2, 3):
        cluster.put(Member(number, f"machine{number}", (f"http://127.0.0.1:700{number}",)))
    cluster.set_conf_state(ConfState(voters=(1, 2, 3)))
    return cluster


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kvorum.server")


def test_a_cluster_of_one_goes_straight_to_leader(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.set_conf_state(ConfState(voters=(1,)))
    announcer = Announcer("machine1", cluster)
    announcer.started(1)
    announcer.changed(SoftState(0, Role.PRE_CANDIDATE), 1)
    announcer.changed(SoftState(0, Role.CANDIDATE), 2)
    announcer.changed(SoftState(1, Role.LEADER), 2)
    assert lines(caplog) == [
        "machine1: state changed from 'initialized' to 'follower'.",
        "machine1: state changed from 'follower' to 'leader'.",
        "machine1: leader changed from '' to 'machine1'.",
    ]


def test_the_winner_of_an_election_tells_all_of_it(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    announcer = Announcer("machine2", cluster)
    announcer.started(1)
    announcer.changed(SoftState(1, Role.FOLLOWER), 1)
    lines(caplog)
    announcer.changed(SoftState(0, Role.PRE_CANDIDATE), 1)
    assert lines(caplog) == []
    announcer.changed(SoftState(0, Role.CANDIDATE), 2)
    announcer.changed(SoftState(2, Role.LEADER), 2)
    assert lines(caplog) == [
        "machine2: state changed from 'follower' to 'candidate'.",
        "machine2: leader changed from 'machine1' to ''.",
        "machine2: state changed from 'candidate' to 'leader'.",
        "machine2: leader changed from '' to 'machine2'.",
    ]


def test_the_loser_tells_the_term_and_the_loss(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    announcer = Announcer("machine3", cluster)
    announcer.started(1)
    announcer.changed(SoftState(1, Role.FOLLOWER), 1)
    lines(caplog)
    announcer.changed(SoftState(0, Role.FOLLOWER), 2)
    announcer.changed(SoftState(2, Role.FOLLOWER), 2)
    assert lines(caplog) == [
        "machine3: term #2 started.",
        "machine3: leader changed from 'machine1' to ''.",
    ]


def test_a_joiner_tells_nothing_of_the_term_it_finds(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    announcer = Announcer("machine3", cluster)
    announcer.started(0)
    lines(caplog)
    announcer.changed(SoftState(1, Role.FOLLOWER), 5)
    assert lines(caplog) == []


def test_a_failed_pre_vote_tells_nothing(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    announcer = Announcer("machine2", cluster)
    announcer.started(1)
    announcer.changed(SoftState(1, Role.FOLLOWER), 1)
    lines(caplog)
    announcer.changed(SoftState(0, Role.PRE_CANDIDATE), 1)
    announcer.changed(SoftState(1, Role.FOLLOWER), 1)
    assert lines(caplog) == []


def test_an_unknown_member_is_told_by_its_id(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    announcer = Announcer("machine2", cluster)
    announcer.started(1)
    announcer.changed(SoftState(0xABC, Role.FOLLOWER), 1)
    lines(caplog)
    announcer.changed(SoftState(0, Role.FOLLOWER), 2)
    assert lines(caplog)[-1] == "machine2: leader changed from 'abc' to ''."


def test_a_leader_that_was_removed_keeps_its_name_in_the_story(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    announcer = Announcer("machine2", cluster)
    announcer.started(1)
    announcer.changed(SoftState(1, Role.FOLLOWER), 1)
    cluster.remove(1)
    lines(caplog)
    announcer.changed(SoftState(0, Role.CANDIDATE), 2)
    assert "machine2: leader changed from 'machine1' to ''." in lines(caplog)
