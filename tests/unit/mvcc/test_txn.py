import pytest

from kvorum.backend.memory import MemoryBackend
from kvorum.mvcc.record import Changes
from kvorum.mvcc.store import FROM_KEY, FutureRevision, Store


@pytest.fixture
def store() -> Store:
    store = Store(MemoryBackend())
    store.restore()
    return store


def put(store: Store, key: bytes, value: bytes = b"") -> Changes:
    txn = store.write()
    txn.put(key, value)
    changes = txn.end()
    assert changes is not None
    return changes


def test_first_write_of_a_fresh_store_is_revision_two(store: Store) -> None:
    assert store.revision == 1
    assert put(store, b"a").revision == 2
    assert store.revision == 2


def test_nothing_changed_takes_no_revision(store: Store) -> None:
    txn = store.write()
    assert txn.delete(b"none") is None
    assert txn.end() is None
    assert store.revision == 1
    assert put(store, b"a").revision == 2


def test_put_keeps_create_revision_and_counts_versions(store: Store) -> None:
    put(store, b"a", b"1")
    change = put(store, b"a", b"2").changes[0]
    assert (change.record.create_revision, change.record.mod_revision) == (2, 3)
    assert change.record.version == 2
    assert change.prev is not None
    assert change.prev.value == b"1"
    assert change.record.prev is not None
    assert store.record_at(change.record.prev) == change.prev


def test_put_after_delete_begins_a_new_life(store: Store) -> None:
    put(store, b"a", b"1")
    txn = store.write()
    deleted = txn.delete(b"a", action=9)
    txn.end()
    assert deleted is not None
    assert deleted.record.tombstone
    assert deleted.record.create_revision == 2
    assert deleted.record.version == 0
    assert deleted.record.action == 9
    assert deleted.prev is not None
    assert deleted.prev.value == b"1"
    assert store.get(b"a") is None
    change = put(store, b"a", b"3").changes[0]
    assert (change.record.create_revision, change.record.version) == (4, 1)
    assert change.prev is None
    assert change.record.prev is None


def test_replacing_put_begins_a_new_life_but_keeps_prev(store: Store) -> None:
    put(store, b"a", b"1")
    txn = store.write()
    change = txn.put(b"a", b"2", keep_create=False)
    txn.end()
    assert (change.record.create_revision, change.record.version) == (3, 1)
    assert change.prev is not None
    assert change.prev.value == b"1"


def test_every_field_of_a_put_is_kept(store: Store) -> None:
    txn = store.write()
    txn.put(b"other", b"")
    change = txn.put(b"a", b"v", lease=-4, action=5, expiration=6, silent=True)
    txn.end()
    record = store.get(b"a")
    assert record == change.record
    assert record is not None
    assert (record.lease, record.action, record.expiration) == (-4, 5, 6)
    assert record.silent
    assert record.sub == 1


def test_changes_of_a_transaction_share_its_revision(store: Store) -> None:
    txn = store.write()
    assert txn.revision == 2
    txn.put(b"b", b"1")
    txn.put(b"a", b"2")
    txn.delete(b"b")
    txn.put(b"b", b"3")
    changes = txn.end()
    assert changes is not None
    assert [change.record.mod_revision for change in changes.changes] == [2] * 4
    assert [change.record.sub for change in changes.changes] == [0, 1, 2, 3]
    record = store.get(b"b")
    assert record is not None
    assert (record.create_revision, record.version) == (2, 1)


def test_reads_see_the_transactions_own_writes(store: Store) -> None:
    put(store, b"a", b"old")
    txn = store.write()
    txn.put(b"a", b"new")
    txn.put(b"b", b"")
    record = txn.get(b"a")
    assert record is not None
    assert record.value == b"new"
    assert txn.range(b"", FROM_KEY).count == 2
    assert txn.next_key(b"b", b"c") == b"b"
    assert txn.range(b"", FROM_KEY).revision == 2
    past = txn.range(b"", FROM_KEY, revision=2)
    assert [record.value for record in past.records] == [b"old"]
    with pytest.raises(FutureRevision):
        txn.range(b"", FROM_KEY, revision=3)
    txn.end()
    assert store.range(b"", FROM_KEY, revision=3).count == 2


def test_second_open_transaction_is_a_bug(store: Store) -> None:
    txn = store.write()
    txn.put(b"a", b"")
    with pytest.raises(AssertionError):
        store.write()


def test_expirations_follow_the_current_record(store: Store) -> None:
    txn = store.write()
    txn.put(b"a", b"", expiration=50)
    txn.put(b"b", b"", expiration=40)
    txn.put(b"c", b"", expiration=30)
    txn.end()
    assert store.expiring.due(60, 1000) == [b"c", b"b", b"a"]
    txn = store.write()
    txn.put(b"a", b"", expiration=20)
    txn.put(b"b", b"")
    txn.delete(b"c")
    txn.end()
    assert store.expiring.due(60, 1000) == [b"a"]
    assert store.expiring.next_due() == 20
