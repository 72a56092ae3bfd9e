"""The log in memory."""

import pytest

from kvorum.raft.storage import MemoryStorage, fitting
from kvorum.raft.types import ConfState, Entry, HardState, SnapshotMeta


def storage_with(*terms: int) -> MemoryStorage:
    storage = MemoryStorage()
    storage.append([Entry(term, index + 1, data=b"xy") for index, term in enumerate(terms)])
    return storage


def test_an_empty_storage_is_at_zero() -> None:
    storage = MemoryStorage()
    assert (storage.first_index(), storage.last_index(), storage.term(0)) == (1, 0, 0)
    assert storage.initial_state() == (HardState(), ConfState())
    assert storage.snapshot() == SnapshotMeta()


def test_append_replaces_the_tail_from_its_first_index() -> None:
    storage = storage_with(1, 1, 1)
    storage.append([Entry(2, 2)])
    assert [storage.term(index) for index in range(3)] == [0, 1, 2]
    assert storage.last_index() == 2


def test_append_leaves_no_gap() -> None:
    with pytest.raises(AssertionError):
        storage_with(1).append([Entry(1, 3)])


def test_entries_fit_but_at_least_one_does() -> None:
    storage = storage_with(1, 1, 1)
    assert [entry.index for entry in storage.entries(1, 4, 4)] == [1, 2]
    assert [entry.index for entry in storage.entries(2, 4, 0)] == [2]
    assert fitting([], 5) == 0


def test_compaction_keeps_the_term_before_the_first_index() -> None:
    storage = storage_with(1, 2, 3)
    storage.set_snapshot_meta(SnapshotMeta(3, 3))
    storage.compact(2)
    storage.compact(1)
    assert (storage.first_index(), storage.term(2), storage.term(3)) == (3, 2, 3)
    with pytest.raises(AssertionError):
        storage.term(1)


def test_compaction_goes_no_further_than_a_snapshot() -> None:
    storage = storage_with(1, 2, 3)
    storage.set_snapshot_meta(SnapshotMeta(1, 1))
    with pytest.raises(AssertionError):
        storage.compact(2)


def test_a_received_snapshot_replaces_the_log() -> None:
    storage = storage_with(1, 1)
    meta = SnapshotMeta(9, 4, ConfState(voters=(1,)))
    storage.apply_snapshot(meta)
    assert (storage.first_index(), storage.last_index(), storage.term(9)) == (10, 9, 4)
    assert storage.initial_state()[1] == ConfState(voters=(1,))
    with pytest.raises(AssertionError):
        storage.set_snapshot_meta(SnapshotMeta(8, 4))


def test_the_size_of_the_data_is_kept() -> None:
    storage = storage_with(1, 1, 1, 1)
    assert storage.data_bytes == 8
    storage.append([Entry(2, 3, data=b"xyz")])
    assert storage.data_bytes == 7
    storage.set_snapshot_meta(SnapshotMeta(2, 1))
    storage.compact(2)
    assert storage.data_bytes == 3
    storage.apply_snapshot(SnapshotMeta(9, 3))
    assert storage.data_bytes == 0
