"""RaftLog against a list, with writes that finish late and are overtaken by others."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.raft.log import RaftLog
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import Entry, SnapshotMeta


def log_of(*terms: int, committed: int = 0) -> RaftLog:
    storage = MemoryStorage()
    storage.append([Entry(term, index + 1) for index, term in enumerate(terms)])
    return RaftLog(storage, committed, 0)


def write(log: RaftLog, number: int) -> None:
    """Hands out a write, as a driver takes it."""
    snapshot, entries = log.take_unwritten()
    if snapshot is not None:
        assert isinstance(log.storage, MemoryStorage)
        log.storage.apply_snapshot(snapshot)
    assert isinstance(log.storage, MemoryStorage)
    log.storage.append(entries)
    log.writing(number)


class Model:
    """The log as a list of terms; the disk as the list that the finished writes made."""

    def __init__(self) -> None:
        self.terms: list[int] = []
        self.disk: list[int] = []
        self.handed = 0
        self.writes: list[tuple[int, list[int]]] = []

    def append(self, index: int, terms: list[int]) -> None:
        for offset, term in enumerate(terms):
            if index + offset < len(self.terms) and self.terms[index + offset] == term:
                continue
            self.terms[index + offset :] = terms[offset:]
            self.handed = min(self.handed, index + offset)
            break

    def write(self) -> None:
        self.writes.append((self.handed, self.terms[self.handed :]))
        self.handed = len(self.terms)

    def finish(self) -> None:
        position, terms = self.writes.pop(0)
        if terms:
            self.disk[position:] = terms

    def durable_at_least(self) -> int:
        """What stays whatever happens to the writes under way: a crash may end any of them."""
        start = min([position for position, terms in self.writes if terms] or [len(self.disk)])
        kept = 0
        while (
            kept < min(start, len(self.disk), len(self.terms))
            and self.disk[kept] == self.terms[kept]
        ):
            kept += 1
        return kept


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 6), st.integers(1, 3)),
        st.tuples(st.just("write"), st.just(0), st.just(0)),
        st.tuples(st.just("finish"), st.just(0), st.just(0)),
        st.tuples(st.just("commit"), st.integers(0, 6), st.just(0)),
    ),
    max_size=40,
)


@given(steps, st.lists(st.integers(0, 2), min_size=40, max_size=40))
@settings(deadline=None, max_examples=300)
def test_log_is_a_list_whose_durable_part_survives_any_crash(
    actions: list[tuple[str, int, int]], jumps: list[int]
) -> None:
    log, model, term, number, finished = log_of(), Model(), 1, 0, 0
    for (action, where, count), jump in zip(actions, jumps, strict=False):
        if action == "append":
            # A leader of a higher term, or the same one again with what it sent before.
            term += jump
            index = max(min(where, len(model.terms)), log.committed)
            previous = model.terms[index - 1] if index else 0
            term = max(term, previous)
            terms = [term] * count
            if not jump and index < len(model.terms):
                terms = model.terms[index : index + count]
            entries = [Entry(t, index + 1 + i) for i, t in enumerate(terms)]
            assert log.maybe_append(index, previous, entries)
            model.append(index, terms)
        elif action == "write":
            number += 1
            write(log, number)
            model.write()
        elif action == "finish" and finished < number:
            finished += 1
            log.persisted(finished)
            model.finish()
        elif action == "commit":
            log.commit_to(min(where, log.last_index))
        assert [log.find_term(i + 1) for i in range(len(model.terms))] == model.terms
        assert log.last_index == len(model.terms)
        assert log.last_term == (model.terms[-1] if model.terms else 0)
        assert log.durable <= model.durable_at_least()
        if not model.writes:
            assert log.durable == min(model.handed, len(model.disk))
        read = log.entries(1, log.last_index + 1, 1 << 20) if model.terms else []
        assert [entry.term for entry in read] == model.terms


def test_an_entry_that_comes_back_counts_when_its_last_write_is_done() -> None:
    log = log_of(1)
    for number, term in enumerate((2, 3, 2), start=1):
        assert log.maybe_append(1, 1, [Entry(term, 2)])
        write(log, number)
    assert not log.persisted(1)
    assert not log.persisted(2)
    assert log.durable == 1
    assert log.persisted(3)
    assert log.durable == 2


def test_committed_entries_are_handed_out_once_and_only_when_durable() -> None:
    log = log_of(1, 1)
    log.append([Entry(1, 3)])
    log.commit_to(3)
    assert [entry.index for entry in log.take_committed(1 << 20)] == [1, 2]
    write(log, 1)
    assert log.take_committed(1 << 20) == []
    log.persisted(1)
    assert [entry.index for entry in log.take_committed(1 << 20)] == [3]
    assert log.take_committed(1 << 20) == []
    log.applied_to(3)
    assert log.applied == 3


def test_committed_entries_never_change() -> None:
    log = log_of(1, 1, committed=2)
    with pytest.raises(AssertionError):
        log.append([Entry(2, 2)])


def test_a_late_append_does_not_cut_off_what_followed_it() -> None:
    log = log_of(1, 1, 1)
    assert log.maybe_append(0, 0, [Entry(1, 1)])
    assert log.last_index == 3


def test_append_after_an_unknown_entry_is_refused() -> None:
    log = log_of(1, 1)
    assert not log.maybe_append(2, 2, [Entry(2, 3)])
    assert not log.maybe_append(5, 1, [])
    assert log.last_index == 2


@pytest.mark.parametrize(
    ("index", "term", "expected"),
    [
        (9, 9, (6, 5)),
        (6, 4, (4, 3)),
        (5, 3, (4, 3)),
        (4, 2, (2, 1)),
        (3, 0, (0, 0)),
        (2, 1, (2, 1)),
    ],
)
def test_find_conflict_by_term(index: int, term: int, expected: tuple[int, int]) -> None:
    assert log_of(1, 1, 3, 3, 5, 5).find_conflict_by_term(index, term) == expected


def test_find_conflict_ends_where_the_log_was_compacted() -> None:
    log = log_of(1, 2, 3)
    assert isinstance(log.storage, MemoryStorage)
    log.storage.set_snapshot_meta(SnapshotMeta(2, 2))
    log.storage.compact(2)
    assert log.find_conflict_by_term(3, 1) == (1, 0)
    assert log.find_term(1) is None
    assert log.find_term(4) is None


@pytest.mark.parametrize(
    ("index", "term", "expected"),
    [(3, 2, True), (4, 2, True), (1, 3, True), (2, 2, False), (9, 1, False)],
)
def test_is_up_to_date(index: int, term: int, expected: bool) -> None:
    assert log_of(1, 1, 2).is_up_to_date(index, term) is expected


def test_a_snapshot_begins_the_log_anew() -> None:
    log = log_of(1, 1)
    log.append([Entry(1, 3)])
    write(log, 1)
    log.restore(SnapshotMeta(2, 2))
    assert (log.first_index, log.last_index, log.last_term, log.committed) == (3, 2, 2, 2)
    assert log.has_unwritten
    # The write of 1/3 is done, but its place in the log is gone.
    log.persisted(1)
    assert log.durable == 2
    log.append([Entry(2, 3)])
    snapshot, entries = log.take_unwritten()
    assert snapshot == SnapshotMeta(2, 2)
    assert [entry.term for entry in entries] == [2]
    assert not log.has_unwritten
    with pytest.raises(AssertionError):
        log.restore(SnapshotMeta(2, 2))


def test_a_start_knows_what_was_applied_to_be_committed() -> None:
    storage = MemoryStorage()
    storage.append([Entry(1, 1), Entry(1, 2)])
    assert RaftLog(storage, 0, 2).committed == 2
    with pytest.raises(AssertionError):
        RaftLog(storage, 3, 0)
    with pytest.raises(AssertionError):
        RaftLog(storage, 0, 3)


def test_entries_join_the_stable_part_and_the_tail() -> None:
    log = log_of(1, 1)
    log.append([Entry(2, 3, data=b"abc"), Entry(2, 4, data=b"abc")])
    assert [entry.index for entry in log.entries(1, 5, 1 << 20)] == [1, 2, 3, 4]
    assert [entry.index for entry in log.entries(2, 5, 3)] == [2, 3]
    assert [entry.index for entry in log.entries(3, 5, 3)] == [3]
    assert log.entries(5, 5, 3) == []
