"""Consensus: an entry from its proposal to its commit, and on a follower."""

from benchmarks.micro.fixture import BATCH, Benchmark
from tests.unit.raft.conftest import Group, Member

from kvorum.raft.types import Entry, Message, MessageType


def _led_group(size: int) -> Group:
    voters = tuple(range(1, size + 1))
    group = Group({number: Member(number, voters) for number in voters})
    group[1].campaign()
    group.settle()
    return group


def bench_commit_alone(benchmark: Benchmark) -> None:
    """A batch on the only member."""
    (member,) = _led_group(1).values()

    def commit() -> None:
        member.propose(BATCH)
        member.work()

    benchmark(commit)
    assert member.applied[-1].data == BATCH


def bench_commit_on_three(benchmark: Benchmark) -> None:
    """A batch on three members, what all of them do added up."""
    group = _led_group(3)

    def commit() -> None:
        group[1].propose(BATCH)
        group.settle()

    benchmark(commit)
    assert [member.applied[-1].data for member in group.values()] == [BATCH] * 3


def bench_follower_appends(benchmark: Benchmark) -> None:
    """A batch that a leader sends, and which commits the one before it."""
    follower = Member(2)

    def append() -> None:
        last = follower.storage.last_index()
        message = Message(MessageType.APPEND, 2, 1, 1, last, 1, last)
        message.entries = [Entry(1, last + 1, data=BATCH)]
        follower.step(message)
        (answer,) = follower.work()
        assert answer.index == last + 1

    benchmark(append)
