"""Reads and the rounds that confirm them."""

from kvorum.raft import readindex
from kvorum.raft.readindex import Read, ReadIndex


def contexts(reads: list[Read]) -> list[int]:
    return [read.context for read in reads]


def test_a_round_confirms_what_was_registered_before_it_began() -> None:
    reads = ReadIndex()
    reads.register(Read(1, 7), 10)
    reads.register(Read(2, 8), 11)
    assert reads.is_round_due
    assert reads.begin_round() == 1
    assert not reads.is_round_due
    reads.register(Read(1, 9), 12)
    assert reads.is_round_due
    confirmed = reads.confirm(1)
    assert contexts(confirmed) == [7, 8]
    assert [read.index for read in confirmed] == [10, 11]
    assert reads.has_pending


def test_a_later_round_confirms_the_earlier_ones() -> None:
    reads = ReadIndex()
    for context in (7, 8):
        reads.register(Read(1, context), 10)
        reads.begin_round()
    assert contexts(reads.confirm(0)) == []
    assert contexts(reads.confirm(2)) == [7, 8]
    assert not reads.has_pending


def test_waiting_reads_are_no_rounds_yet() -> None:
    reads = ReadIndex()
    reads.wait(Read(1, 7))
    assert not reads.is_round_due
    assert contexts(reads.take_waiting()) == [7]
    assert reads.take_waiting() == []


def test_reads_are_bounded() -> None:
    reads = ReadIndex()
    for context in range(readindex.READS_MAX - 1):
        reads.wait(Read(1, context))
    assert not reads.is_full
    reads.register(Read(1, 1), 1)
    assert reads.is_full
