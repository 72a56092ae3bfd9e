"""The watch hub: one change to those of 1000 watchers whom it concerns."""

from collections.abc import Callable, Sequence
from itertools import count

from benchmarks.micro.fixture import Benchmark

from kvorum.backend.memory import MemoryBackend
from kvorum.mvcc.intervals import prefix_end
from kvorum.mvcc.record import Change, Changes, Record
from kvorum.mvcc.store import Store
from kvorum.mvcc.watch import WatchHub

WATCHERS = 1000


class _Counter:
    """A sink that only counts."""

    def __init__(self) -> None:
        self.told = 0

    def deliver(self, _changes: Changes, _matched: Sequence[Change]) -> None:
        self.told += 1

    def compacted(self, compacted_revision: int) -> None:
        raise AssertionError(f"compacted at {compacted_revision}")


def _notify(hub: WatchHub, key: bytes) -> Callable[[], None]:
    """What tells the hub of one more change of `key`."""
    revisions = count(hub.store.revision + 1)

    def notify() -> None:
        revision = next(revisions)
        record = Record(key, b"v", revision, revision, 1)
        hub.notify([Changes(revision, [Change(record, None)])])

    return notify


def _hub() -> WatchHub:
    store = Store(MemoryBackend())
    store.restore()
    return WatchHub(store)


def bench_one_of_many_keys(benchmark: Benchmark) -> None:
    """Each watches a key of its own, and one of them is changed."""
    hub, sink = _hub(), _Counter()
    for number in range(WATCHERS):
        hub.watch(b"/key%d" % number, None, 0, sink)
    benchmark(_notify(hub, b"/key500"))
    assert sink.told


def bench_one_of_many_ranges(benchmark: Benchmark) -> None:
    """Each watches a directory of its own, and a key in one of them is changed."""
    hub, sink = _hub(), _Counter()
    for number in range(WATCHERS):
        start = b"/dir%d/" % number
        hub.watch(start, prefix_end(start), 0, sink)
    benchmark(_notify(hub, b"/dir500/key"))
    assert sink.told


def bench_all_of_one_range(benchmark: Benchmark) -> None:
    """All watch one directory, in which a key is changed: 1000 deliveries."""
    hub, sink = _hub(), _Counter()
    for _ in range(WATCHERS):
        hub.watch(b"/dir/", prefix_end(b"/dir/"), 0, sink)
    benchmark(_notify(hub, b"/dir/key"))
    assert sink.told % WATCHERS == 0
