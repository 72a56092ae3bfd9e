"""Readers join a round that begins after them, wait until it is applied, and are answered once."""

from dataclasses import dataclass, field
from typing import cast

import pytest
from tests.unit.server.conftest import FakeClock

from kvorum.errors import UnavailableError
from kvorum.raft.rawnode import RawNode, ReadState
from kvorum.server.reads import WAITING_READS_MAX, Reads

TIMEOUT_SECONDS = 7.0
RETRY_SECONDS = 1.0


@dataclass
class FakeRaft:
    has_leader: bool = True
    contexts: list[int] = field(default_factory=list)

    def read_index(self, context: int) -> bool:
        if self.has_leader:
            self.contexts.append(context)
        return self.has_leader


class Desk:
    def __init__(self) -> None:
        self.raft = FakeRaft()
        self.clock = FakeClock()
        self.answers: dict[str, UnavailableError | None] = {}
        self.reads = Reads(cast("RawNode", self.raft), self.clock, TIMEOUT_SECONDS, RETRY_SECONDS)

    def read(self, name: str) -> None:
        def answer(error: UnavailableError | None) -> None:
            assert name not in self.answers, "answered twice"
            self.answers[name] = error

        self.reads.read(answer)

    def confirm(self, index: int) -> None:
        self.reads.confirmed(ReadState(self.raft.contexts[-1], index))

    def expire_after(self, seconds: float) -> None:
        self.clock.now += seconds
        self.reads.expire(self.clock.now)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_readers_of_a_turn_share_a_round(desk: Desk) -> None:
    desk.read("a")
    desk.read("b")
    desk.reads.flush()
    assert len(desk.raft.contexts) == 1
    desk.confirm(5)
    desk.reads.applied(4)
    assert desk.answers == {}
    desk.reads.applied(5)
    assert desk.answers == {"a": None, "b": None}


def test_a_later_reader_does_not_join_a_round_under_way(desk: Desk) -> None:
    desk.read("early")
    desk.reads.flush()
    desk.read("late")
    assert not desk.reads.has_work
    desk.reads.flush()
    desk.confirm(5)
    desk.reads.applied(9)
    assert desk.answers == {"early": None}
    desk.reads.flush()
    desk.confirm(7)
    desk.reads.applied(9)
    assert desk.answers == {"early": None, "late": None}


def test_a_lost_round_is_asked_again(desk: Desk) -> None:
    desk.read("a")
    desk.reads.flush()
    desk.expire_after(RETRY_SECONDS)
    desk.reads.flush()
    first, second = desk.raft.contexts
    assert first != second
    desk.reads.confirmed(ReadState(first, 3))
    desk.reads.applied(10)
    assert desk.answers == {}
    desk.reads.confirmed(ReadState(second, 3))
    desk.reads.applied(10)
    assert desk.answers == {"a": None}


def test_the_deadline_answers(desk: Desk) -> None:
    desk.raft.has_leader = False
    desk.read("a")
    desk.reads.flush()
    desk.expire_after(TIMEOUT_SECONDS - 0.1)
    assert desk.answers == {}
    desk.expire_after(0.1)
    assert isinstance(desk.answers["a"], UnavailableError)


def test_too_many_readers_are_refused(desk: Desk) -> None:
    for number in range(WAITING_READS_MAX):
        desk.read(str(number))
    desk.read("one more")
    assert isinstance(desk.answers["one more"], UnavailableError)


def test_readers_count_until_they_are_answered(desk: Desk) -> None:
    for number in range(WAITING_READS_MAX):
        desk.read(str(number))
    desk.reads.flush()
    desk.read("during the round")
    desk.confirm(5)
    desk.read("confirmed, not applied")
    desk.reads.applied(5)
    desk.read("afterwards")
    desk.reads.flush()
    desk.confirm(5)
    desk.reads.applied(5)
    assert isinstance(desk.answers["during the round"], UnavailableError)
    assert isinstance(desk.answers["confirmed, not applied"], UnavailableError)
    assert desk.answers["afterwards"] is None


def test_the_deadline_also_answers_who_waits_for_entries_that_do_not_come(desk: Desk) -> None:
    desk.read("early")
    desk.reads.flush()
    desk.confirm(5)
    desk.expire_after(TIMEOUT_SECONDS - 0.1)
    desk.read("late")
    desk.reads.flush()
    desk.confirm(5)
    desk.expire_after(0.1)
    assert isinstance(desk.answers["early"], UnavailableError)
    desk.reads.applied(5)
    assert desk.answers["late"] is None


def test_close_answers_everyone(desk: Desk) -> None:
    desk.read("confirmed")
    desk.reads.flush()
    desk.confirm(99)
    desk.read("under way")
    desk.reads.flush()
    desk.read("waiting")
    desk.reads.close()
    assert sorted(desk.answers) == ["confirmed", "under way", "waiting"]
    assert all(isinstance(answer, UnavailableError) for answer in desk.answers.values())
