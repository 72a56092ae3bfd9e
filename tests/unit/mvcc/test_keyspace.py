import pytest

from kvorum.backend.base import Table
from kvorum.backend.memory import MemoryBackend
from kvorum.mvcc import keyspace
from kvorum.mvcc.keyspace import NEVER_COMPACTED, RangeResult
from kvorum.mvcc.revision import pack
from kvorum.mvcc.store import FROM_KEY, Compacted, FutureRevision, Store


@pytest.fixture
def store() -> Store:
    """Keys a, b, c, d put at revisions 2 to 5; c deleted at 6; a put again at 7."""
    store = Store(MemoryBackend())
    store.restore()
    for key in (b"a", b"b", b"c", b"d"):
        write(store, key)
    txn = store.write()
    txn.delete(b"c")
    txn.end()
    write(store, b"a")
    return store


def write(store: Store, key: bytes) -> None:
    txn = store.write()
    txn.put(key, b"%s at %d" % (key, txn.revision))
    txn.end()


def keys_of(result: RangeResult) -> list[bytes]:
    return [record.key for record in result.records]


def test_range_forms(store: Store) -> None:
    assert keys_of(store.range(b"b", None)) == [b"b"]
    assert keys_of(store.range(b"c", None)) == []
    assert keys_of(store.range(b"a", b"c")) == [b"a", b"b"]
    assert keys_of(store.range(b"b", FROM_KEY)) == [b"b", b"d"]
    assert keys_of(store.range(b"\0", FROM_KEY)) == [b"a", b"b", b"d"]
    assert keys_of(store.range(b"c", b"a")) == []
    assert keys_of(store.range(b"a", b"\0\0")) == []


def test_limit_cuts_records_but_not_the_count(store: Store) -> None:
    for revision in (0, 5):
        result = store.range(b"", FROM_KEY, limit=2, revision=revision)
        assert keys_of(result) == [b"a", b"b"]
        assert result.count == (4 if revision else 3)
        assert result.revision == 7


def test_count_only_returns_no_record(store: Store) -> None:
    assert store.range(b"", FROM_KEY, count_only=True) == RangeResult([], 3, 7)
    assert store.range(b"", FROM_KEY, count_only=True, revision=5) == RangeResult([], 4, 7)
    assert store.range(b"a", None, count_only=True).count == 1


def test_reads_at_old_revisions(store: Store) -> None:
    assert keys_of(store.range(b"", FROM_KEY, revision=1)) == []
    assert keys_of(store.range(b"", FROM_KEY, revision=5)) == [b"a", b"b", b"c", b"d"]
    assert store.range(b"a", None, revision=6).records[0].value == b"a at 2"
    record = store.get_at(b"c", 5)
    assert record is not None
    assert record.value == b"c at 4"
    assert store.get_at(b"c", 6) is None
    assert store.get_at(b"c", 7) is None


def test_unreadable_revisions_are_refused(store: Store) -> None:
    assert store.compacted_revision == NEVER_COMPACTED
    store.start_compaction(4)
    with pytest.raises(FutureRevision) as future:
        store.get_at(b"a", 8)
    assert future.value.revision == 7
    with pytest.raises(Compacted) as compacted:
        store.range(b"a", None, revision=3)
    assert compacted.value.compacted_revision == 4
    assert store.range(b"", FROM_KEY, revision=4).count == 3
    assert store.range(b"", FROM_KEY, revision=-5).count == 3


def test_next_key_skips_the_dead(store: Store) -> None:
    assert store.next_key(b"a", b"z") == b"a"
    assert store.next_key(b"a\0", b"z") == b"b"
    assert store.next_key(b"b\0", b"z") == b"d"
    assert store.next_key(b"b\0", b"d") is None
    assert store.next_key(b"e", FROM_KEY) is None
    assert store.next_key(b"c", FROM_KEY) == b"d"


def test_record_at_a_place_without_one_is_compacted(store: Store) -> None:
    with pytest.raises(Compacted):
        store.record_at(pack(2, 1))


def test_key_count_is_of_live_keys(store: Store) -> None:
    assert store.key_count == 3


def test_records_kept_ready_are_bounded_in_number_and_size(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyspace, "RECENT_MAX", 2)
    monkeypatch.setattr(keyspace, "RECENT_BYTES_MAX", 8)
    backend_reads: list[bytes] = []
    get = MemoryBackend.get

    def noted(backend: MemoryBackend, table: Table, key: bytes) -> bytes | None:
        backend_reads.append(key)
        return get(backend, table, key)

    monkeypatch.setattr(MemoryBackend, "get", noted)
    for key, value in ((b"a", b"small"), (b"b", b"small"), (b"c", b"small"), (b"d", b"too large")):
        txn = store.write()
        txn.put(key, value)
        txn.end()
    backend_reads.clear()
    values = [store.range(key, None).records[0].value for key in (b"c", b"c", b"d", b"d")]
    assert values == [b"small", b"small", b"too large", b"too large"]
    assert len(backend_reads) == 2


def test_a_restore_forgets_what_was_kept_ready() -> None:
    backend = MemoryBackend()
    store = Store(backend)
    store.restore()
    write(store, b"a")
    other = MemoryBackend()
    another = Store(other)
    another.restore()
    txn = another.write()
    txn.put(b"a", b"another state")
    txn.end()
    store.backend = other
    store.restore()
    record = store.get(b"a")
    assert record is not None
    assert record.value == b"another state"
