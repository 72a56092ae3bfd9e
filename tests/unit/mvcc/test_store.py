"""The store against a list of its past states, with compaction, restarts and crashes as steps."""

from copy import deepcopy
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kvorum.backend.base import Table
from kvorum.backend.memory import MemoryBackend
from kvorum.mvcc.record import Change
from kvorum.mvcc.store import FROM_KEY, Compacted, FutureRevision, Store

KEYS = [b"a", b"a/b", b"b", b"c"]
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "replace", "delete"]),
        st.sampled_from(KEYS),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=4,
)


class Value(NamedTuple):
    value: bytes
    create: int
    mod: int
    version: int
    expiration: int


class Event(NamedTuple):
    key: bytes
    new: Value | None
    old: Value | None


class Model:
    """Every past state and every event, nothing forgotten."""

    def __init__(self) -> None:
        self.states: list[dict[bytes, Value]] = [{}, {}]
        self.events: list[list[Event]] = [[], []]
        self.compacted = -1

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def write(self, operations: list[tuple[str, bytes, int]]) -> list[Event]:
        state, revision, events = dict(self.states[-1]), self.revision + 1, []
        for kind, key, number in operations:
            old = state.get(key)
            new = None
            if kind == "delete":
                if old is None:
                    continue
                del state[key]
            else:
                goes_on = old is not None and kind == "put"
                new = Value(
                    b"%d" % number,
                    old.create if old and goes_on else revision,
                    revision,
                    old.version + 1 if old and goes_on else 1,
                    number,
                )
                state[key] = new
            events.append(Event(key, new, old))
        if events:
            self.states.append(state)
            self.events.append(events)
        return events

    def advance(self) -> None:
        self.states.append(self.states[-1])
        self.events.append([])


def event_of(change: Change) -> Event:
    record, prev = change.record, change.prev
    return Event(
        record.key,
        None
        if record.tombstone
        else Value(
            record.value,
            record.create_revision,
            record.mod_revision,
            record.version,
            record.expiration,
        ),
        None
        if prev is None
        else Value(
            prev.value, prev.create_revision, prev.mod_revision, prev.version, prev.expiration
        ),
    )


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.backend = MemoryBackend(hold_commits=True)
        self.store = Store(self.backend)
        self.store.restore()
        self.model = Model()
        self.flying: Model | None = None
        self.durable = Model()
        self.hashes: dict[tuple[int, int], int] = {}

    @rule(operations=OPERATIONS)
    def write(self, operations: list[tuple[str, bytes, int]]) -> None:
        txn = self.store.write()
        for kind, key, number in operations:
            if kind == "delete":
                txn.delete(key)
            else:
                txn.put(key, b"%d" % number, expiration=number, keep_create=kind == "put")
        changes = txn.end()
        made = [] if changes is None else [event_of(change) for change in changes.changes]
        assert made == self.model.write(operations)

    @rule()
    def advance(self) -> None:
        self.model.advance()
        assert self.store.advance() == self.model.revision

    @rule(back=st.integers(-1, 6))
    def compact(self, back: int) -> None:
        revision = self.model.revision - back
        if revision > self.model.revision:
            with pytest.raises(FutureRevision):
                self.store.start_compaction(revision)
        elif revision <= self.model.compacted:
            with pytest.raises(Compacted):
                self.store.start_compaction(revision)
        else:
            self.store.start_compaction(revision)
            self.model.compacted = revision

    @rule(count=st.integers(1, 4))
    def clean(self, count: int) -> None:
        if self.store.compact_slice(count):
            self.check_only_the_needed_is_stored()

    def check_only_the_needed_is_stored(self) -> None:
        model, compacted = self.model, max(self.model.compacted, 0)
        before = len(model.states[compacted - 1]) if compacted else 0
        after = sum(map(len, model.events[compacted:]))
        assert len(list(self.backend.scan(Table.RECORDS, b""))) == before + after

    @rule()
    def commit(self) -> None:
        self.backend.set_applied(self.backend.applied[0] + 1, 1)
        if self.backend.commit():
            self.flying = deepcopy(self.model)

    @precondition(lambda self: self.flying is not None)
    @rule()
    def finish_commit(self) -> None:
        self.backend.finish_commit()
        assert self.flying is not None
        self.durable, self.flying = self.flying, None

    @rule()
    def restart(self) -> None:
        self.backend.flush()
        self.durable, self.flying = deepcopy(self.model), None
        self.backend.crash()
        self.store = Store(self.backend)
        self.store.restore()

    @rule()
    def crash(self) -> None:
        self.backend.crash()
        self.model, self.flying = deepcopy(self.durable), None
        self.hashes.clear()
        self.store = Store(self.backend)
        self.store.restore()

    @invariant()
    def every_readable_revision_reads_as_it_was(self) -> None:
        store, model = self.store, self.model
        assert (store.revision, store.compacted_revision) == (model.revision, model.compacted)
        assert store.key_count == len(model.states[-1])
        for revision in range(max(model.compacted, 1), model.revision + 1):
            result = store.range(b"", FROM_KEY, revision=revision)
            expected = sorted(model.states[revision].items())
            assert result.count == len(expected)
            assert [
                (key, value)
                for key, value, _ in (event_of(Change(r, None)) for r in result.records)
            ] == expected
        if model.compacted > 1:
            with pytest.raises(Compacted):
                store.range(b"a", None, revision=model.compacted - 1)

    @invariant()
    def history_is_what_happened(self) -> None:
        store, model = self.store, self.model
        first = max(model.compacted, 0)
        history = store.history(first - 1, store.revision, 1000)
        expected = [(number, events) for number, events in enumerate(model.events) if events]
        assert [
            (changes.revision, [event_of(change) for change in changes.changes])
            for changes in history
        ] == [pair for pair in expected if pair[0] >= first]
        assert (
            store.history(first, store.revision, 1)
            == [changes for changes in history if changes.revision > first][:1]
        )

    @invariant()
    def hash_depends_on_the_two_revisions_alone(self) -> None:
        store = self.store
        for revision in range(max(store.compacted_revision, 1), store.revision + 1):
            found = store.hash_at(revision)
            pair = (revision, store.compacted_revision)
            assert self.hashes.setdefault(pair, found) == found

    @invariant()
    def expirations_are_those_of_live_keys(self) -> None:
        live = self.model.states[-1]
        expected = sorted((value.expiration, key) for key, value in live.items())
        assert self.store.expiring.due(9, 1000) == [key for at, key in expected if at]


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_compacted_history_is_refused() -> None:
    store = Store(MemoryBackend())
    store.restore()
    for _ in range(5):
        txn = store.write()
        txn.put(b"a", b"")
        txn.end()
    store.start_compaction(4)
    with pytest.raises(Compacted):
        store.history(2, 6, 10)
    assert [changes.revision for changes in store.history(3, 5, 10)] == [4, 5]
    assert store.history(3, 6, 10)[0].changes[0].prev is not None
