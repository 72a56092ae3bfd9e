"""The watch hub: rules one by one, then a random mix against the list of all events."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from kvorum.backend.memory import MemoryBackend
from kvorum.mvcc.intervals import prefix_end
from kvorum.mvcc.record import Change, Changes
from kvorum.mvcc.store import FROM_KEY, Store
from kvorum.mvcc.watch import WatcherState, WatchHub

Delivery = tuple[int, list[bytes]]


class Recorder:
    """A sink that keeps what it gets, and does something once when told to."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.compacted_at: int | None = None
        self.then: Callable[[], object] | None = None

    def deliver(self, changes: Changes, matched: Sequence[Change]) -> None:
        assert self.compacted_at is None
        assert matched
        self.deliveries.append((changes.revision, [change.record.key for change in matched]))
        if self.then is not None:
            then, self.then = self.then, None
            then()

    def compacted(self, compacted_revision: int) -> None:
        assert self.compacted_at is None
        self.compacted_at = compacted_revision

    @property
    def revisions(self) -> list[int]:
        return [revision for revision, _ in self.deliveries]


class Rig:
    def __init__(self) -> None:
        self.store = Store(MemoryBackend())
        self.store.restore()
        self.hub = WatchHub(self.store)

    def write(self, *keys: bytes) -> Changes:
        txn = self.store.write()
        for key in keys:
            txn.put(key, b"")
        changes = txn.end()
        assert changes is not None
        return changes

    def tell(self, *keys: bytes) -> None:
        self.hub.notify([self.write(*keys)])

    def catch_up(self, budget: int = 3) -> None:
        while self.hub.catch_up(budget):
            pass


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_single_key_watcher_gets_only_its_key(rig: Rig) -> None:
    sink = Recorder()
    rig.hub.watch(b"a", None, 0, sink)
    rig.tell(b"a/b")
    rig.tell(b"b", b"a", b"c")
    assert sink.deliveries == [(3, [b"a"])]


def test_range_watcher_gets_its_range_in_order(rig: Rig) -> None:
    sink, everything = Recorder(), Recorder()
    rig.hub.watch(b"a/", b"a0", 0, sink)
    rig.hub.watch(b"\0", FROM_KEY, 0, everything)
    rig.tell(b"a/z", b"b", b"a/c")
    assert sink.deliveries == [(2, [b"a/z", b"a/c"])]
    assert everything.deliveries == [(2, [b"a/z", b"b", b"a/c"])]


def test_watchers_of_one_range_share_what_matched(rig: Rig) -> None:
    seen: list[int] = []

    class Sink(Recorder):
        def deliver(self, changes: Changes, matched: Sequence[Change]) -> None:
            seen.append(id(matched))
            super().deliver(changes, matched)

    sinks = [Sink(), Sink()]
    for sink in sinks:
        rig.hub.watch(b"a", None, 0, sink)
    rig.tell(b"a", b"b")
    assert seen[0] == seen[1]


def test_past_revisions_come_from_the_store_then_live(rig: Rig) -> None:
    for key in (b"a", b"b", b"a"):
        rig.tell(key)
    sink = Recorder()
    watcher = rig.hub.watch(b"a", None, 2, sink)
    assert watcher.state is WatcherState.BEHIND
    assert not watcher.is_synced
    rig.tell(b"a")
    assert sink.deliveries == []
    assert rig.hub.catch_up(1)
    rig.catch_up()
    assert watcher.is_synced
    rig.tell(b"a")
    assert sink.revisions == [2, 4, 5, 6]


def test_future_revision_waits_in_silence(rig: Rig) -> None:
    sink = Recorder()
    watcher = rig.hub.watch(b"a", None, 4, sink)
    assert not watcher.is_synced
    rig.tell(b"a")
    assert not rig.hub.catch_up(9)
    rig.tell(b"a")
    assert watcher.is_synced
    rig.tell(b"a")
    rig.tell(b"a")
    assert sink.revisions == [4, 5]


def test_watcher_made_between_write_and_notify_misses_nothing(rig: Rig) -> None:
    changes = rig.write(b"a")
    past, present = Recorder(), Recorder()
    rig.hub.watch(b"a", None, 2, past)
    rig.hub.watch(b"a", None, 0, present)
    rig.hub.notify([changes])
    rig.catch_up()
    assert past.revisions == [2]
    assert present.revisions == []


def test_long_poll_cancels_itself(rig: Rig) -> None:
    sink, other = Recorder(), Recorder()
    watcher = rig.hub.watch(b"a", None, 0, sink)
    rig.hub.watch(b"a", None, 0, other)
    sink.then = lambda: rig.hub.cancel(watcher)
    rig.hub.notify([rig.write(b"a"), rig.write(b"a")])
    assert sink.revisions == [2]
    assert other.revisions == [2, 3]
    rig.hub.cancel(watcher)
    assert rig.hub.watcher_count == 1


def test_cancelled_neighbour_gets_nothing_more(rig: Rig) -> None:
    sink, other = Recorder(), Recorder()
    rig.hub.watch(b"a", None, 0, sink)
    watcher = rig.hub.watch(b"a", None, 0, other)
    sink.then = lambda: rig.hub.cancel(watcher)
    rig.tell(b"a")
    assert other.deliveries == []


def test_paused_watcher_catches_up_from_the_store(rig: Rig) -> None:
    sink = Recorder()
    watcher = rig.hub.watch(b"a", None, 0, sink)
    rig.tell(b"a")
    watcher.pause()
    rig.tell(b"a")
    assert not rig.hub.catch_up(9)
    rig.tell(b"a")
    assert sink.revisions == [2]
    watcher.resume()
    rig.catch_up()
    rig.tell(b"a")
    assert sink.revisions == [2, 3, 4, 5]
    assert watcher.is_synced


def test_pause_with_nothing_missed_resumes_in_sync(rig: Rig) -> None:
    sink = Recorder()
    watcher = rig.hub.watch(b"a", None, 0, sink)
    for _ in range(4):
        rig.store.advance()
    rig.store.start_compaction(5)
    watcher.pause()
    watcher.resume()
    assert watcher.is_synced
    rig.catch_up()
    assert sink.compacted_at is None


def test_paused_by_a_neighbour_before_its_turn_misses_nothing(rig: Rig) -> None:
    sink, other = Recorder(), Recorder()
    rig.hub.watch(b"a", None, 0, sink)
    watcher = rig.hub.watch(b"a", None, 0, other)
    sink.then = watcher.pause
    rig.tell(b"a")
    assert other.deliveries == []
    watcher.resume()
    rig.catch_up()
    assert other.revisions == [2]


def test_paused_and_resumed_within_a_sweep_misses_nothing(rig: Rig) -> None:
    for _ in range(4):
        rig.tell(b"a")
    sink, other = Recorder(), Recorder()
    rig.hub.watch(b"a", None, 2, sink)
    watcher = rig.hub.watch(b"a", None, 2, other)

    def pause() -> None:
        watcher.pause()
        sink.then = watcher.resume

    sink.then = pause
    rig.catch_up(budget=9)
    assert other.revisions == [2, 3, 4, 5]


def test_compaction_ends_a_watcher_that_needs_what_is_gone(rig: Rig) -> None:
    for _ in range(4):
        rig.tell(b"a")
    gone, kept = Recorder(), Recorder()
    watcher = rig.hub.watch(b"a", None, 2, gone)
    rig.hub.watch(b"a", None, 4, kept)
    rig.store.start_compaction(4)
    rig.catch_up()
    assert gone.compacted_at == 4
    assert gone.deliveries == []
    assert watcher.state is WatcherState.CANCELLED
    assert kept.revisions == [4, 5]
    rig.tell(b"a")
    assert gone.deliveries == []
    assert rig.hub.watcher_count == 1


def test_compaction_leaves_a_synced_watcher_alone(rig: Rig) -> None:
    sink = Recorder()
    rig.hub.watch(b"quiet", None, 0, sink)
    for _ in range(4):
        rig.tell(b"a")
    rig.store.start_compaction(5)
    rig.catch_up()
    rig.tell(b"quiet")
    assert sink.revisions == [6]


def test_pause_remembers_what_was_told_and_did_not_concern_it(rig: Rig) -> None:
    sink = Recorder()
    watcher = rig.hub.watch(b"quiet", None, 0, sink)
    for _ in range(4):
        rig.tell(b"a")
    untold = rig.write(b"quiet")
    watcher.pause()
    rig.hub.notify([untold])
    rig.store.start_compaction(5)
    watcher.resume()
    rig.catch_up()
    assert sink.compacted_at is None
    assert sink.revisions == [6]


def test_one_far_behind_does_not_hold_up_the_others(rig: Rig) -> None:
    for _ in range(20):
        rig.tell(b"a")
    far, near = Recorder(), Recorder()
    rig.hub.watch(b"a", None, 2, far)
    rig.hub.watch(b"a", None, 20, near)
    rig.hub.catch_up(2)
    rig.hub.catch_up(2)
    assert near.revisions == [20, 21]
    rig.catch_up()
    assert far.revisions == list(range(2, 22))


def test_replaced_store_is_caught_up_with(rig: Rig) -> None:
    sink = Recorder()
    rig.hub.watch(b"a", None, 0, sink)
    rig.tell(b"a")
    rig.write(b"a")
    rig.write(b"a")
    rig.hub.restored()
    rig.catch_up()
    rig.tell(b"a")
    assert sink.revisions == [2, 3, 4, 5]


def test_last_watcher_takes_its_range_along(rig: Rig) -> None:
    watchers = [
        rig.hub.watch(start, end, 0, Recorder())
        for start, end in ((b"a", None), (b"a", None), (b"a", b"b"), (b"a", b"x"))
    ]
    for watcher in watchers:
        rig.hub.cancel(watcher)
    assert not rig.hub._single
    assert not len(rig.hub._ranges)
    assert rig.hub.watcher_count == 0


KEYS = [b"a", b"a/b", b"b", b"c"]
RANGES: list[tuple[bytes, bytes | None]] = [
    (b"a", None),
    (b"a", prefix_end(b"a")),
    (b"b", FROM_KEY),
    (b"a/", b"bb"),
    (b"c", None),
]


def holds(start: bytes, end: bytes | None, key: bytes) -> bool:
    if end is None:
        return key == start
    return start <= key and (end == FROM_KEY or key < end)


class Watched:
    """A watcher, what it asked for, and where it stood."""

    def __init__(self, hub: WatchHub, span: tuple[bytes, bytes | None], start: int) -> None:
        self.span = span
        self.sink = Recorder()
        self.first = start or hub.store.revision + 1
        self.watcher = hub.watch(*span, start, self.sink)
        self.is_cancelled = False


class HubMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order: each event once, in order, without a gap."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(MemoryBackend())
        self.store.restore()
        self.hub = WatchHub(self.store)
        self.watched: list[Watched] = []
        self.untold: list[Changes] = []
        self.events: list[Delivery] = []

    def pick(self, number: int) -> Watched | None:
        return self.watched[number % len(self.watched)] if self.watched else None

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3), deletes=st.booleans())
    def write(self, keys: list[bytes], deletes: bool) -> None:
        txn = self.store.write()
        for key in keys:
            if deletes:
                txn.delete(key)
            else:
                txn.put(key, b"")
        changes = txn.end()
        if changes is not None:
            self.untold.append(changes)
            self.events.append((changes.revision, [one.record.key for one in changes.changes]))

    @rule()
    def notify(self) -> None:
        batch, self.untold = self.untold, []
        self.hub.notify(batch)

    @rule()
    def advance(self) -> None:
        self.store.advance()

    @rule(span=st.sampled_from(RANGES), back=st.none() | st.integers(-4, 6))
    def watch(self, span: tuple[bytes, bytes | None], back: int | None) -> None:
        start = 0 if back is None else max(self.store.revision - back, 1)
        self.watched.append(Watched(self.hub, span, start))

    @rule(number=st.integers(0, 20))
    def pause(self, number: int) -> None:
        if one := self.pick(number):
            one.watcher.pause()

    @rule(number=st.integers(0, 20))
    def resume(self, number: int) -> None:
        if one := self.pick(number):
            one.watcher.resume()

    @rule(number=st.integers(0, 20))
    def cancel(self, number: int) -> None:
        if one := self.pick(number):
            one.is_cancelled = True
            self.hub.cancel(one.watcher)

    @rule(actor=st.integers(0, 20), other=st.integers(0, 20), deed=st.integers(0, 4))
    def arm(self, actor: int, other: int, deed: int) -> None:
        """Lets a sink do something from within its next delivery."""
        one = self.pick(actor)
        if one is None:
            return
        deeds: list[Callable[[], object]] = [
            lambda: self.pause(other),
            lambda: self.resume(other),
            lambda: self.cancel(other),
            lambda: self.watch(RANGES[other % len(RANGES)], other % 5),
            lambda: (self.pause(other), self.arm(actor, other, 1)),
        ]
        one.sink.then = deeds[deed]

    @rule(budget=st.integers(1, 3))
    def catch_up(self, budget: int) -> None:
        self.hub.catch_up(budget)

    @rule(back=st.integers(0, 3))
    def compact(self, back: int) -> None:
        revision = self.store.revision - back
        if revision > self.store.compacted_revision:
            self.store.start_compaction(revision)

    @rule(count=st.integers(1, 3))
    def clean(self, count: int) -> None:
        self.store.compact_slice(count)

    @precondition(lambda self: self.untold)
    @rule()
    def replace_store(self) -> None:
        """As if the untold revisions had come with a snapshot."""
        self.untold = []
        self.hub.restored()

    def teardown(self) -> None:
        self.notify()
        for one in self.watched:
            one.sink.then = None
            one.watcher.resume()
        while self.hub.catch_up(2):
            pass
        for one in self.watched:
            self.check(one)

    def check(self, one: Watched) -> None:
        matched = (
            (revision, [key for key in keys if holds(*one.span, key)])
            for revision, keys in self.events
            if revision >= one.first
        )
        expected = [delivery for delivery in matched if delivery[1]]
        got = one.sink.deliveries
        assert got == expected[: len(got)]
        if one.sink.compacted_at is not None:
            assert one.watcher.next_revision < one.sink.compacted_at
            assert one.watcher.state is WatcherState.CANCELLED
        elif not one.is_cancelled:
            assert got == expected
            assert one.watcher.is_synced or one.first > self.store.revision


TestHubMachine = HubMachine.TestCase
TestHubMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
