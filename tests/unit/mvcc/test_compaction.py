import pytest

from kvorum.backend.base import Table
from kvorum.backend.memory import MemoryBackend
from kvorum.mvcc.store import FROM_KEY, Compacted, FutureRevision, Store


def written(backend: MemoryBackend, revisions: int) -> Store:
    store = Store(backend)
    store.restore()
    for number in range(revisions):
        txn = store.write()
        txn.put(b"%d" % (number % 10), b"%d" % number)
        txn.end()
    return store


def record_count(backend: MemoryBackend) -> int:
    return len(list(backend.scan(Table.RECORDS, b"")))


def clean_up(store: Store, count: int = 7) -> int:
    slices = 1
    while not store.compact_slice(count):
        slices += 1
    return slices


def test_space_follows_in_bounded_slices() -> None:
    backend = MemoryBackend()
    store = written(backend, 100)
    assert store.compact_slice(1)
    store.start_compaction(91)
    assert record_count(backend) == 100
    assert not store.compact_slice(7)
    assert record_count(backend) >= 93
    assert store.index.history
    assert clean_up(store) > 10
    assert record_count(backend) == 10 + 11
    assert store.range(b"", FROM_KEY, revision=91).count == 10


def test_interrupted_cleaning_goes_on_after_a_restart() -> None:
    backend = MemoryBackend()
    store = written(backend, 100)
    store.start_compaction(101)
    store.compact_slice(30)
    backend.flush()
    store.compact_slice(30)
    backend.crash()
    store = Store(backend)
    store.restore()
    assert store.compacted_revision == 101
    assert record_count(backend) > 50
    clean_up(store)
    assert record_count(backend) == 11
    backend.flush()
    store = Store(backend)
    store.restore()
    assert store.compact_slice(1)


def test_second_compaction_during_the_first_covers_both() -> None:
    backend = MemoryBackend()
    store = written(backend, 100)
    store.start_compaction(50)
    store.compact_slice(10)
    store.start_compaction(101)
    clean_up(store)
    assert record_count(backend) == 11
    assert not store.index.history


def test_tombstone_goes_with_the_next_compaction_above_it() -> None:
    backend = MemoryBackend()
    store = written(backend, 1)
    txn = store.write()
    txn.delete(b"0")
    txn.end()
    store.start_compaction(3)
    clean_up(store)
    (changes,) = store.history(2, 3, 10)
    assert changes.changes[0].record.tombstone
    assert changes.changes[0].prev is not None
    store.advance()
    store.start_compaction(4)
    clean_up(store)
    assert record_count(backend) == 0
    backend.flush()
    store = Store(backend)
    store.restore()
    assert store.revision == 4
    assert store.key_count == 0


def test_revision_outlives_its_records() -> None:
    backend = MemoryBackend()
    store = written(backend, 3)
    for _ in range(5):
        store.advance()
    backend.flush()
    store = Store(backend)
    store.restore()
    assert store.revision == 9


@pytest.mark.parametrize("revision", [-1, -7])
def test_negative_revision_counts_as_compacted(revision: int) -> None:
    store = written(MemoryBackend(), 3)
    with pytest.raises(Compacted):
        store.start_compaction(revision)


def test_compaction_at_zero_is_taken_once() -> None:
    store = written(MemoryBackend(), 3)
    store.start_compaction(0)
    assert clean_up(store) == 1
    with pytest.raises(Compacted):
        store.start_compaction(0)
    with pytest.raises(FutureRevision):
        store.start_compaction(5)


def test_hash_tells_different_content_apart() -> None:
    one, other = written(MemoryBackend(), 5), written(MemoryBackend(), 5)
    assert one.hash_at(6) == other.hash_at(6)
    assert one.hash_at(5) != one.hash_at(6)
    for store, value in ((one, b"x"), (other, b"y")):
        txn = store.write()
        txn.put(b"a", value)
        txn.end()
    assert one.hash_at(6) == other.hash_at(6)
    assert one.hash_at(7) != other.hash_at(7)
    with pytest.raises(FutureRevision):
        one.hash_at(8)


def test_hash_is_the_same_however_far_each_has_cleaned() -> None:
    one, other = written(MemoryBackend(), 60), written(MemoryBackend(), 60)
    for store in (one, other):
        store.start_compaction(40)
    before = one.hash_at(61)
    clean_up(other)
    one.compact_slice(5)
    assert one.hash_at(61) == other.hash_at(61) == before
    with pytest.raises(Compacted):
        one.hash_at(39)
