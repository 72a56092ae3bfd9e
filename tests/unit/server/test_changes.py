"""Changes of membership on their way: proposed until applied, answered once."""

from tests.unit.server.conftest import FakeClock

from kvorum.apply.applier import MembershipApplied
from kvorum.apply.commands import MembershipChange
from kvorum.errors import UnavailableError
from kvorum.raft.rawnode import ProposalDropped
from kvorum.raft.types import ConfChange, ConfChangeSingle, ConfChangeType
from kvorum.server.changes import AGAIN_SECONDS, MembershipChanges

STEPS = (ConfChangeSingle(ConfChangeType.REMOVE, 7),)


class FakeRaft:
    def __init__(self) -> None:
        self.is_busy = False
        self.proposed: list[ConfChange] = []

    def propose_conf_change(self, change: ConfChange) -> None:
        if self.is_busy:
            raise ProposalDropped("another configuration change is under way")
        self.proposed.append(change)


class Desk:
    def __init__(self) -> None:
        self.raft = FakeRaft()
        self.clock = FakeClock()
        self.changes = MembershipChanges(self.raft, self.clock, 5.0)  # type: ignore[arg-type]
        self.answers: list[object] = []
        self.change = MembershipChange(0, remove=7)

    def propose(self) -> None:
        self.changes.propose(self.change, STEPS, self.answers.append)

    def pass_seconds(self, seconds: float) -> None:
        self.clock.now += seconds
        self.changes.again(self.clock.now)

    def applied(self) -> MembershipApplied:
        return MembershipApplied(self.change.id, ConfChange(STEPS), None, None)


def test_who_waits_is_answered_once() -> None:
    desk = Desk()
    desk.propose()
    outcome = desk.applied()
    desk.changes.applied(outcome)
    desk.changes.applied(outcome)
    desk.pass_seconds(10)
    assert desk.answers == [outcome]
    assert len(desk.raft.proposed) == 1


def test_a_change_waits_for_the_one_under_way() -> None:
    desk = Desk()
    desk.raft.is_busy = True
    desk.propose()
    desk.pass_seconds(0.1)
    assert desk.raft.proposed == []
    desk.raft.is_busy = False
    desk.pass_seconds(0.1)
    desk.pass_seconds(0.1)
    assert len(desk.raft.proposed) == 1


def test_a_change_that_seems_lost_is_proposed_again() -> None:
    desk = Desk()
    desk.propose()
    desk.pass_seconds(AGAIN_SECONDS)
    assert desk.raft.proposed == [desk.raft.proposed[0]] * 2


def test_an_overdue_change_is_given_up() -> None:
    desk = Desk()
    desk.propose()
    desk.pass_seconds(5)
    assert [str(answer) for answer in desk.answers] == ["request timed out"]
    count = len(desk.raft.proposed)
    desk.pass_seconds(5)
    assert len(desk.raft.proposed) == count


def test_a_stop_answers_everyone() -> None:
    desk = Desk()
    desk.propose()
    desk.propose()
    desk.changes.close()
    assert [type(answer) for answer in desk.answers] == [UnavailableError] * 2
