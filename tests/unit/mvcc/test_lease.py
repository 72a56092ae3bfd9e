"""Leases: what every member knows of them, and the time that only one counts."""

import pytest

from kvorum.backend.memory import MemoryBackend
from kvorum.mvcc.lease import NS, Lease, Lessor
from kvorum.mvcc.store import Store


@pytest.fixture
def store() -> Store:
    store = Store(MemoryBackend())
    store.restore()
    return store


@pytest.fixture
def lessor(store: Store) -> Lessor:
    lessor = Lessor(store)
    lessor.restore()
    return lessor


def expired(lessor: Lessor, seconds: float) -> list[int]:
    return [lease.id for lease in lessor.expired(int(seconds * NS), 100)]


def test_leases_survive_a_restart(store: Store, lessor: Lessor) -> None:
    lessor.grant(-7, 60, 3)
    lessor.grant(5, 10, 4)
    lessor.grant(9, 10, 5)
    lessor.renew(5, 8)
    lessor.forget(9)
    again = Lessor(store)
    again.restore()
    assert again.leases == lessor.leases == {-7: Lease(-7, 60, 3), 5: Lease(5, 10, 8)}


def test_only_the_primary_counts_time(lessor: Lessor) -> None:
    lessor.grant(1, 5, 1)
    lessor.start(0)
    assert expired(lessor, 1e6) == []
    lessor.promote(10 * NS, 2 * NS)
    assert expired(lessor, 16.9) == []
    assert expired(lessor, 17) == [1]
    lessor.demote()
    assert expired(lessor, 1e6) == []


def test_time_begins_when_the_primary_sees_the_grant(lessor: Lessor) -> None:
    lessor.promote(0, 0)
    lessor.grant(1, 5, 1)
    assert expired(lessor, 1e6) == []
    assert lessor.remaining_ns(1, 7 * NS) == 5 * NS
    lessor.start(10 * NS)
    assert lessor.remaining_ns(1, 12 * NS) == 3 * NS
    assert expired(lessor, 14.9) == []
    assert expired(lessor, 15) == [1]


def test_a_renewal_in_the_log_begins_it_anew(lessor: Lessor) -> None:
    lessor.promote(0, 0)
    lessor.grant(1, 5, 1)
    lessor.start(0)
    assert expired(lessor, 6) == [1]
    lessor.renew(1, 2)
    assert expired(lessor, 6) == []
    lessor.start(6 * NS)
    assert expired(lessor, 10.9) == []
    assert expired(lessor, 11) == [1]


def test_what_is_over_cannot_be_renewed_without_the_log(lessor: Lessor) -> None:
    lessor.promote(0, 0)
    lessor.grant(1, 5, 1)
    lessor.start(0)
    assert lessor.extend(1, 4 * NS)
    assert lessor.remaining_ns(1, 4 * NS) == 5 * NS
    assert not lessor.extend(1, 9 * NS)
    assert expired(lessor, 9) == [1]


def test_a_lease_that_is_over_is_forgotten(lessor: Lessor) -> None:
    lessor.promote(0, 0)
    lessor.grant(1, 5, 1)
    lessor.grant(2, 5, 1)
    lessor.forget(2)
    lessor.start(0)
    lessor.forget(1)
    assert expired(lessor, 1e6) == []
    assert lessor.leases == {}


def test_a_restart_does_not_count_for_whom_it_does_not_know(lessor: Lessor) -> None:
    lessor.promote(0, 0)
    lessor.grant(1, 5, 1)
    lessor.restore()
    assert not lessor.is_primary
    lessor.start(0)
    assert expired(lessor, 1e6) == []


def test_they_are_listed_by_their_end(lessor: Lessor) -> None:
    lessor.grant(1, 9, 1)
    lessor.grant(2, 5, 1)
    assert lessor.by_deadline() == [1, 2]
    lessor.promote(0, 0)
    assert lessor.by_deadline() == [2, 1]


def test_keys_follow_the_writes_of_the_store(store: Store, lessor: Lessor) -> None:
    lessor.grant(1, 5, 1)
    txn = store.write()
    txn.put(b"b", b"", lease=1)
    txn.put(b"a", b"", lease=1)
    txn.put(b"c", b"", lease=1)
    txn.end()
    txn = store.write()
    txn.put(b"b", b"")
    txn.delete(b"c")
    txn.end()
    assert lessor.keys_of(1) == [b"a"]
    store.restore()
    assert lessor.keys_of(1) == [b"a"]
