"""The v2 tree: a committed batch applied, and a node shown."""

from itertools import count

from benchmarks.micro.fixture import COMMANDS, Benchmark

from kvorum.apply.applier import Applied, Applier
from kvorum.apply.commands import Batch, encode_batch
from kvorum.backend.memory import MemoryBackend
from kvorum.config import Era
from kvorum.raft.types import Entry
from kvorum.v2.commands import Set
from kvorum.v2.node import Event, render_event
from kvorum.v2.policy import policy_of

KEYS = [b"/bench/key%d" % number for number in range(COMMANDS)]
VALUE = b"v" * 64
HORIZON = 100
"""Entries after which a batch comes too late."""


class _Member:
    """An applier, and the entry it is given next."""

    def __init__(self) -> None:
        self.applier = Applier(MemoryBackend())
        self.applier.restore()
        self._indexes = count(1)

    def apply_batch(self) -> None:
        index = next(self._indexes)
        batch = Batch(index, index + HORIZON, [Set(key, VALUE) for key in KEYS])
        outcome = self.applier.apply(Entry(1, index, data=encode_batch(batch)))
        assert isinstance(outcome, Applied)
        assert len(outcome.results) == COMMANDS


def bench_apply_batch(benchmark: Benchmark) -> None:
    """A batch of 32 writes to keys that exist, encoded and applied."""
    member = _Member()
    benchmark(member.apply_batch)


def bench_get(benchmark: Benchmark) -> None:
    """A file found and shown as JSON."""
    member, policy = _Member(), policy_of(Era.MODERN)
    member.apply_batch()

    def get() -> None:
        event = member.applier.tree.get(KEYS[0])
        assert isinstance(event, Event)
        assert VALUE in render_event(event, 0, policy)

    benchmark(get)
