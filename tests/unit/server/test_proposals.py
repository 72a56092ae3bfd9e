"""Commands to batches and results to answers: each exactly once, whatever the leader does."""

from dataclasses import dataclass, field
from functools import partial
from typing import cast

import pytest
from tests.unit.server.conftest import FakeClock

from kvorum.apply.applier import Applier
from kvorum.apply.batches import WINDOW
from kvorum.apply.commands import Batch, decode_batch
from kvorum.errors import UnavailableError
from kvorum.raft.rawnode import ProposalDropped, RawNode
from kvorum.server.proposals import BATCH_BYTES_MAX, WAITING_COMMANDS_MAX, Proposals
from kvorum.v2 import commands as v2

TIMEOUT_SECONDS = 7.0


@dataclass
class FakeRaft:
    has_leader: bool = True
    batches: list[Batch] = field(default_factory=list)

    def propose(self, data: bytes) -> None:
        if not self.has_leader:
            raise ProposalDropped("no leader is known")
        self.batches.append(decode_batch(data))


@dataclass
class FakeApplier:
    applied_index: int = 100


def keys(batch: Batch) -> list[bytes]:
    return [command.key for command in batch.commands if isinstance(command, v2.Set)]


class Desk:
    def __init__(self) -> None:
        self.raft = FakeRaft()
        self.clock = FakeClock()
        self.answers: dict[int, object] = {}
        applier = cast("Applier", FakeApplier())
        self.proposals = Proposals(cast("RawNode", self.raft), applier, self.clock, TIMEOUT_SECONDS)

    def propose(self, *numbers: int, size: int = 0) -> None:
        for number in numbers:
            command = v2.Set(b"/%d" % number, b"x" * size)
            self.proposals.propose(command, partial(self.answer, number))

    def answer(self, number: int, result: object) -> None:
        assert number not in self.answers, "answered twice"
        self.answers[number] = result

    def apply(self, batch: Batch) -> None:
        self.proposals.resolve(batch.id, [*keys(batch)])


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_commands_of_a_turn_share_a_batch(desk: Desk) -> None:
    desk.propose(1, 2, 3)
    assert desk.proposals.has_work
    desk.proposals.flush()
    assert not desk.proposals.has_work
    assert len(desk.raft.batches) == 1
    assert desk.raft.batches[0].horizon == 100 + WINDOW
    desk.apply(desk.raft.batches[0])
    assert desk.answers == {1: b"/1", 2: b"/2", 3: b"/3"}


def test_a_large_batch_is_halved_until_it_fits(desk: Desk) -> None:
    desk.propose(*range(8), size=BATCH_BYTES_MAX // 4)
    desk.proposals.flush()
    assert [len(batch.commands) for batch in desk.raft.batches] == [2, 2, 2, 2]
    for batch in desk.raft.batches:
        desk.apply(batch)
    assert sorted(desk.answers) == list(range(8))


def test_a_single_command_may_be_larger_than_a_batch(desk: Desk) -> None:
    desk.propose(1, size=2 * BATCH_BYTES_MAX)
    desk.proposals.flush()
    assert len(desk.raft.batches) == 1


def test_batches_wait_in_order_for_a_leader(desk: Desk) -> None:
    desk.raft.has_leader = False
    for number in (1, 2, 3):
        desk.propose(number)
        desk.proposals.flush()
    assert desk.answers == {}
    desk.raft.has_leader = True
    desk.proposals.flush()
    assert [keys(batch) for batch in desk.raft.batches] == [[b"/1"], [b"/2"], [b"/3"]]


def test_a_new_leader_is_given_the_same_batches_again(desk: Desk) -> None:
    desk.propose(1)
    desk.proposals.flush()
    desk.propose(2)
    desk.proposals.flush()
    desk.proposals.leader_changed()
    desk.proposals.flush()
    first, second, first_again, second_again = desk.raft.batches
    assert (first, second) == (first_again, second_again)
    desk.apply(first)
    desk.apply(first_again)
    assert desk.answers == {1: b"/1"}


def test_a_batch_about_to_go_again_is_answered_by_its_first_copy(desk: Desk) -> None:
    desk.propose(1)
    desk.proposals.flush()
    desk.raft.has_leader = False
    desk.proposals.leader_changed()
    desk.apply(desk.raft.batches[0])
    assert desk.answers == {1: b"/1"}
    desk.raft.has_leader = True
    desk.proposals.flush()
    assert len(desk.raft.batches) == 1


@pytest.mark.parametrize("has_leader", [True, False])
def test_the_deadline_answers(desk: Desk, has_leader: bool) -> None:
    desk.raft.has_leader = has_leader
    desk.propose(1)
    desk.proposals.flush()
    desk.proposals.expire(desk.clock.now + TIMEOUT_SECONDS - 0.1)
    assert desk.answers == {}
    desk.proposals.expire(desk.clock.now + TIMEOUT_SECONDS)
    assert isinstance(desk.answers[1], UnavailableError)


def test_results_after_the_deadline_are_nobodys(desk: Desk) -> None:
    desk.propose(1)
    desk.proposals.flush()
    desk.proposals.expire(desk.clock.now + TIMEOUT_SECONDS)
    desk.apply(desk.raft.batches[0])
    assert isinstance(desk.answers[1], UnavailableError)


def test_too_many_waiting_are_refused_and_room_comes_back(desk: Desk) -> None:
    desk.propose(*range(WAITING_COMMANDS_MAX))
    desk.propose(-1)
    assert isinstance(desk.answers[-1], UnavailableError)
    desk.proposals.flush()
    desk.propose(-2)
    assert isinstance(desk.answers[-2], UnavailableError)
    for batch in desk.raft.batches:
        desk.apply(batch)
    desk.propose(-3)
    assert -3 not in desk.answers


def test_close_answers_everyone(desk: Desk) -> None:
    desk.propose(1)
    desk.proposals.flush()
    desk.raft.has_leader = False
    desk.propose(2)
    desk.proposals.flush()
    desk.propose(3)
    desk.proposals.close()
    assert sorted(desk.answers) == [1, 2, 3]
    assert all(isinstance(answer, UnavailableError) for answer in desk.answers.values())
