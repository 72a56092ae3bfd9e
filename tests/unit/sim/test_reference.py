"""The replica that everything is compared with."""

import pytest

from kvorum.apply.commands import Batch, Command, encode_batch
from kvorum.mvcc.revision import pack, to_key
from kvorum.raft.types import Entry
from kvorum.sim.history import Violation
from kvorum.sim.reference import LeaseLife, Reference
from kvorum.v2 import commands as v2
from kvorum.v3.commands import Compact, LeaseExpire, LeaseGrant, LeaseRenew, LeaseRevoke, Put


def commit(reference: Reference, *commands: Command) -> None:
    index = reference.last_index + 1
    data = encode_batch(Batch(index, index + 10, list(commands)))
    reference.commit(Entry(3, index, data=data))


@pytest.fixture
def reference() -> Reference:
    reference = Reference()
    commit(reference, v2.Set(b"/d/a", b"1"), v2.Set(b"/d/b", b"2"))
    commit(reference, v2.Set(b"/d/a", b"3"))
    commit(reference, v2.Delete(b"/d", is_recursive=True))
    return reference


def test_it_marks_the_state_after_each_entry(reference: Reference) -> None:
    assert reference.terms == [3, 3, 3]
    assert [mark[:3] for mark in reference.marks] == [
        (1, -1, 0),
        (3, -1, 3),
        (4, -1, 3),
        (5, -1, 0),
    ]


def test_it_knows_every_change(reference: Reference) -> None:
    assert list(reference.revisions_between(2, 4)) == [3, 4]
    assert list(reference.revisions_between(0, 99)) == [2, 3, 4, 5]
    assert [change.record.value for change in reference.by_key[b"/d/a"]] == [b"1", b"3", b""]
    found = reference.find_change(b"/d/a", 3)
    assert found is not None
    assert found.record.value == b"1"
    assert reference.find_change(b"/d/b", 2) is None
    assert reference.live_at(2) == {b"/d/": pack(2, 1), b"/d/a": pack(2)}
    assert reference.live_at(5) == {}


def test_it_remembers_records_that_compaction_would_take(reference: Reference) -> None:
    commit(reference, Compact(5))
    place, data = reference.places[2][0]
    assert place == to_key(pack(2))
    assert reference.records[pack(2)] == data
    assert reference.compactions == [5]


def test_an_entry_committed_twice_under_one_id_does_nothing(reference: Reference) -> None:
    data = encode_batch(Batch(1, 10, [v2.Set(b"/k", b"v")]))
    reference.commit(Entry(3, 4, data=data))
    assert reference.revision == 5


def test_a_key_expires_when_its_time_is_over(reference: Reference) -> None:
    commit(reference, v2.Set(b"/t", b"v", expiration=100))
    commit(reference, v2.Expire(99))
    assert b"/t" in reference.live_at(reference.revision)
    commit(reference, v2.Expire(100))
    assert b"/t" not in reference.live_at(reference.revision)


def test_a_key_must_not_expire_before_its_time(
    reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(reference, v2.Set(b"/t", b"v", expiration=100))
    expiring = reference._applier.store.expiring
    monkeypatch.setattr(type(expiring), "due", lambda *_: [b"/t"])
    with pytest.raises(Violation, match="though its time is 100"):
        commit(reference, v2.Expire(99))


def test_it_follows_leases_from_grant_to_end() -> None:
    times = iter((1.5, 2.5, 3.5))
    reference = Reference(lambda: next(times))
    commit(reference, LeaseGrant(7, 10), LeaseGrant(8, 10), LeaseGrant(9, 10), Put(b"k", b"1", 8))
    commit(reference, LeaseRevoke(7), LeaseRevoke(7), LeaseExpire(3, [(8, 1), (7, 1), (9, 0)]))
    assert reference.lives == {
        7: LeaseLife(7, 10, 1, 2),
        8: LeaseLife(8, 10, 1, 2, is_expired=True),
        9: LeaseLife(9, 10, 1),
    }
    assert [sorted(mark.leases) for mark in reference.marks] == [[], [7, 8, 9], [9]]
    assert reference.made_by == {2: 1, 3: 2}
    assert reference.time_of(2) == 2.5
    commit(reference, LeaseRenew(9))
    assert reference.marks[2].leases[9].stamp == 1
    assert reference.marks[3].leases[9].stamp == 3


def test_a_lease_revoked_beside_a_vain_expiry_has_not_expired(reference: Reference) -> None:
    commit(reference, LeaseGrant(7, 10))
    commit(reference, LeaseExpire(2, [(7, 4)]), LeaseRevoke(7))
    assert reference.lives[7] == LeaseLife(7, 10, 4, 5)
