"""The v3 commands at apply, as the contract tells them; txns against their own rules."""

from collections.abc import Sequence

import pytest

from kvorum.apply.applier import Applied, Applier
from kvorum.apply.commands import Batch, Command, encode_batch
from kvorum.backend.memory import MemoryBackend
from kvorum.errors import (
    KeyMissing,
    LeaseExists,
    LeaseNotFound,
    RevisionCompacted,
    RevisionInFuture,
)
from kvorum.mvcc.record import Record
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.raft.types import Entry, EntryType
from kvorum.v2 import commands as v2
from kvorum.v2.node import Event
from kvorum.v3.answers import (
    CompactionResponse,
    DeleteRangeResponse,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseRevokeResponse,
    PutResponse,
    RangeResponse,
    TxnResponse,
)
from kvorum.v3.commands import (
    Compact,
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    LeaseExpire,
    LeaseGrant,
    LeaseRenew,
    LeaseRevoke,
    Operation,
    Put,
    Range,
    SortOrder,
    SortTarget,
    Txn,
)

TERM = 5


class Member:
    """Feeds commands to an applier, one entry each."""

    def __init__(self) -> None:
        self.backend = MemoryBackend()
        self.applier = Applier(self.backend)
        self.applier.restore()

    def batch(self, *commands: Command, term: int = TERM) -> list[object]:
        index = self.applier.applied_index + 1
        data = encode_batch(Batch(index, 1 << 30, list(commands)))
        outcome = self.applier.apply(Entry(term, index, EntryType.NORMAL, data))
        assert isinstance(outcome, Applied)
        return outcome.results

    def do(self, command: Command, term: int = TERM) -> object:
        return self.batch(command, term=term)[0]

    def txn(
        self,
        compares: list[Compare],
        success: Sequence[Operation] = (),
        failure: Sequence[Operation] = (),
    ) -> TxnResponse:
        response = self.do(Txn(compares, list(success), list(failure)))
        assert isinstance(response, TxnResponse)
        return response

    def range(self, key: bytes, range_end: bytes = b"", **options: int) -> RangeResponse:
        response = self.applier.kv.range(Range(key, range_end, **options))  # type: ignore[arg-type]
        assert isinstance(response, RangeResponse)
        return response

    def keys(self, key: bytes = b"\0", range_end: bytes = FROM_KEY, **options: int) -> list[bytes]:
        return [record.key for record in self.range(key, range_end, **options).kvs]

    @property
    def revision(self) -> int:
        return self.applier.store.revision

    def leases(self) -> list[int]:
        return sorted(self.applier.lessor.leases)


@pytest.fixture
def member() -> Member:
    return Member()


def shown(record: Record | None) -> tuple[bytes, int, int, int, int] | None:
    if record is None:
        return None
    return (
        record.value,
        record.create_revision,
        record.mod_revision,
        record.version,
        record.lease,
    )


def test_revisions_and_versions_of_a_key(member: Member) -> None:
    assert member.do(Put(b"a", b"1")) == PutResponse(2)
    assert member.do(Put(b"a", b"2")) == PutResponse(3)
    assert member.do(Put(b"b")) == PutResponse(4)
    assert member.do(DeleteRange(b"a")) == DeleteRangeResponse(5, 1, [])
    assert member.do(Put(b"a", b"3")) == PutResponse(6)
    [record] = member.range(b"a").kvs
    assert shown(record) == (b"3", 6, 6, 1, 0)
    past = member.range(b"a", revision=3)
    assert past.revision == 6
    assert [shown(one) for one in past.kvs] == [(b"2", 2, 3, 2, 0)]


def test_what_changes_nothing_takes_no_revision(member: Member) -> None:
    assert member.do(DeleteRange(b"a")) == DeleteRangeResponse(1, 0, [])
    assert member.txn([], [DeleteRange(b"a"), Range(b"a")]).revision == 1
    assert member.do(LeaseGrant(1, 5)) == LeaseGrantResponse(1, 1, 5)
    assert member.do(LeaseRevoke(1)) == LeaseRevokeResponse(1)
    assert member.do(LeaseRevoke(1)).__class__ is LeaseNotFound
    assert member.revision == 1


# Range.


@pytest.fixture
def filled(member: Member) -> Member:
    for key, value in ((b"c", b"1"), (b"a", b"3"), (b"b", b"2"), (b"a", b"0")):
        member.do(Put(key, value))
    return member


@pytest.mark.parametrize(
    ("key", "range_end", "found"),
    [
        (b"a", b"", [b"a"]),
        (b"a", b"c", [b"a", b"b"]),
        (b"b", FROM_KEY, [b"b", b"c"]),
        (b"\0", FROM_KEY, [b"a", b"b", b"c"]),
        (b"b", b"a", []),
        (b"b", b"b", []),
        (b"a", b"\0\0", []),
        (b"x", b"", []),
    ],
)
def test_what_a_range_holds(
    filled: Member, key: bytes, range_end: bytes, found: list[bytes]
) -> None:
    assert filled.keys(key, range_end) == found
    assert filled.range(key, range_end, count_only=1) == RangeResponse(5, [], False, len(found))


@pytest.mark.parametrize(
    ("target", "order", "limit", "found"),
    [
        (SortTarget.KEY, SortOrder.NONE, 0, b"abc"),
        (SortTarget.KEY, SortOrder.DESCEND, 0, b"cba"),
        (SortTarget.KEY, SortOrder.DESCEND, 1, b"c"),
        (SortTarget.KEY, SortOrder.ASCEND, 2, b"ab"),
        (SortTarget.VERSION, SortOrder.ASCEND, 0, b"bca"),
        (SortTarget.VERSION, SortOrder.DESCEND, 0, b"abc"),
        (SortTarget.CREATE, SortOrder.ASCEND, 0, b"cab"),
        (SortTarget.MOD, SortOrder.DESCEND, 2, b"ab"),
        (SortTarget.VALUE, SortOrder.ASCEND, 0, b"acb"),
        # Sorted is only what the limit lets be collected.
        (SortTarget.MOD, SortOrder.NONE, 0, b"cba"),
        (SortTarget.MOD, SortOrder.NONE, 1, b"b"),
        (SortTarget.KEY, SortOrder.NONE, -3, b"abc"),
    ],
)
def test_how_a_range_is_sorted_and_cut(
    filled: Member, target: SortTarget, order: SortOrder, limit: int, found: bytes
) -> None:
    answer = filled.range(b"\0", FROM_KEY, sort_target=target, sort_order=order, limit=limit)
    assert b"".join(record.key for record in answer.kvs) == found
    assert answer.count == 3
    assert answer.more is (len(found) < 3)


@pytest.mark.parametrize(
    ("bounds", "found"),
    [
        ({"min_mod_revision": 4}, b"ab"),
        ({"max_mod_revision": 4}, b"bc"),
        ({"min_create_revision": 3}, b"ab"),
        ({"max_create_revision": 3}, b"ac"),
        ({"max_mod_revision": -1}, b""),
        ({"min_mod_revision": 3, "limit": 1}, b"a"),
    ],
)
def test_bounds_leave_out_but_count(filled: Member, bounds: dict[str, int], found: bytes) -> None:
    answer = filled.range(b"\0", FROM_KEY, **bounds)
    assert b"".join(record.key for record in answer.kvs) == found
    assert answer.count == 3
    assert answer.more is ("limit" in bounds)


def test_keys_only_clears_values_after_the_sort(filled: Member) -> None:
    answer = filled.range(b"\0", FROM_KEY, keys_only=1, sort_target=SortTarget.VALUE)
    assert [(record.key, record.value) for record in answer.kvs] == [
        (b"a", b""),
        (b"c", b""),
        (b"b", b""),
    ]
    assert filled.range(b"a").kvs[0].value == b"0"


def test_the_past_can_be_read_down_to_the_compacted_revision(filled: Member) -> None:
    assert filled.do(Compact(4)) == CompactionResponse(5)
    assert filled.keys(revision=4) == [b"a", b"b", b"c"]
    kv = filled.applier.kv
    assert isinstance(kv.range(Range(b"a", revision=3)), RevisionCompacted)
    assert isinstance(kv.range(Range(b"a", revision=6)), RevisionInFuture)
    assert filled.keys(revision=-1) == [b"a", b"b", b"c"]


def test_what_a_compaction_is_answered(filled: Member) -> None:
    assert isinstance(filled.do(Compact(6)), RevisionInFuture)
    assert isinstance(filled.do(Compact(-1)), RevisionCompacted)
    assert filled.do(Compact(0)) == CompactionResponse(5)
    assert isinstance(filled.do(Compact(0)), RevisionCompacted)
    assert filled.do(Compact(5)) == CompactionResponse(5)
    assert isinstance(filled.do(Compact(5)), RevisionCompacted)


# Put and delete.


def test_prev_kv_is_what_was_there(member: Member) -> None:
    member.do(LeaseGrant(7, 5))
    assert member.do(Put(b"a", b"1", lease=7, prev_kv=True)) == PutResponse(2, None)
    response = member.do(Put(b"a", b"2", prev_kv=True))
    assert isinstance(response, PutResponse)
    assert shown(response.prev_kv) == (b"1", 2, 2, 1, 7)
    deleted = member.do(DeleteRange(b"a", b"b", prev_kv=True))
    assert isinstance(deleted, DeleteRangeResponse)
    assert [shown(one) for one in deleted.prev_kvs] == [(b"2", 2, 3, 2, 0)]


def test_a_put_keeps_what_it_is_to_keep(member: Member) -> None:
    member.do(LeaseGrant(7, 5))
    member.do(Put(b"a", b"1", lease=7))
    member.do(Put(b"a", b"2", ignore_lease=True))
    assert shown(member.range(b"a").kvs[0]) == (b"2", 2, 3, 2, 7)
    member.do(Put(b"a", ignore_value=True))
    assert shown(member.range(b"a").kvs[0]) == (b"2", 2, 4, 3, 0)
    for put in (Put(b"x", ignore_value=True), Put(b"x", b"1", ignore_lease=True)):
        assert isinstance(member.do(put), KeyMissing)
    assert isinstance(member.do(Put(b"x", lease=8)), LeaseNotFound)
    assert member.revision == 4


def test_a_range_is_deleted_in_key_order_in_one_revision(filled: Member) -> None:
    assert filled.do(DeleteRange(b"a", b"c")) == DeleteRangeResponse(6, 2, [])
    [changes] = filled.applier.store.history(5, 6, 10)
    assert [change.record.key for change in changes.changes] == [b"a", b"b"]


# Txn.


def test_a_transaction_sees_itself_and_is_one_revision(member: Member) -> None:
    response = member.txn(
        [],
        [
            Range(b"t1"),
            Put(b"t1", b"1"),
            Range(b"t1"),
            Put(b"t2", b"2", prev_kv=True),
            Range(b"t", b"u"),
            DeleteRange(b"x"),
            Range(b"x"),
        ],
    )
    first, put, one, _, two, deleted, none = response.responses
    assert response.revision == member.revision == 2
    assert (first.revision, put.revision, one.revision, none.revision) == (1, 2, 2, 2)
    assert isinstance(one, RangeResponse)
    assert [shown(record) for record in one.kvs] == [(b"1", 2, 2, 1, 0)]
    assert isinstance(two, RangeResponse)
    assert two.count == 2
    assert deleted == DeleteRangeResponse(2, 0, [])


def _holds(member: Member, compare: Compare) -> bool:
    return member.txn([compare]).succeeded


_EQUAL, _GREATER = CompareResult.EQUAL, CompareResult.GREATER
_LESS, _NOT_EQUAL = CompareResult.LESS, CompareResult.NOT_EQUAL


@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        (Compare(b"a", _EQUAL, CompareTarget.VERSION, 2), True),
        (Compare(b"a", _GREATER, CompareTarget.VERSION, 1), True),
        (Compare(b"a", _GREATER, CompareTarget.VERSION, 2), False),
        (Compare(b"a", _LESS, CompareTarget.CREATE, 4), True),
        (Compare(b"a", _NOT_EQUAL, CompareTarget.MOD, 5), False),
        (Compare(b"a", _EQUAL, CompareTarget.VALUE, value=b"0"), True),
        (Compare(b"a", _LESS, CompareTarget.VALUE, value=b"00"), True),
        (Compare(b"a", _EQUAL, CompareTarget.LEASE), True),
        (Compare(b"x", _EQUAL, CompareTarget.VERSION), True),
        (Compare(b"x", _LESS, CompareTarget.MOD, 1), True),
        (Compare(b"x", _NOT_EQUAL, CompareTarget.VALUE, value=b"1"), False),
        (Compare(b"x", 99, CompareTarget.VALUE), False),
        (Compare(b"a", 99, CompareTarget.MOD, 99), True),
        (Compare(b"a", _EQUAL, 99, 99), True),
        (Compare(b"a", _LESS, 99, 99), False),
        (Compare(b"a", _GREATER, CompareTarget.MOD, 1, range_end=b"d"), True),
        (Compare(b"a", _GREATER, CompareTarget.MOD, 2, range_end=b"d"), False),
        (Compare(b"x", _EQUAL, CompareTarget.CREATE, range_end=FROM_KEY), True),
    ],
)
def test_what_a_comparison_says(filled: Member, compare: Compare, *, holds: bool) -> None:
    assert _holds(filled, compare) is holds


def test_all_comparisons_must_hold(filled: Member) -> None:
    there = Compare(b"a", _GREATER, CompareTarget.VERSION)
    assert filled.txn([there, there], [Put(b"y")], [Put(b"n")]).succeeded
    missing = Compare(b"x", _GREATER, CompareTarget.VERSION)
    assert not filled.txn([there, missing], [Put(b"y2")], [Put(b"n")]).succeeded
    assert filled.keys(b"n", b"z") == [b"n", b"y"]


def test_nested_comparisons_see_the_state_before_it_all(member: Member) -> None:
    nested = Txn([Compare(b"n", _GREATER, CompareTarget.VERSION)], [Put(b"y")], [Put(b"z")])
    response = member.txn([], [Put(b"n"), nested])
    assert member.keys() == [b"n", b"z"]
    inner = response.responses[1]
    assert isinstance(inner, TxnResponse)
    assert (inner.succeeded, inner.revision, inner.responses[0].revision) == (False, 0, 2)


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        (Put(b"b", lease=9), LeaseNotFound),
        (Put(b"b", ignore_value=True), KeyMissing),
        (Range(b"b", revision=2), RevisionCompacted),
        (Range(b"b", revision=5), RevisionInFuture),
        (Txn([], [Txn([], [Put(b"b", lease=9)])]), LeaseNotFound),
    ],
)
def test_what_fails_undoes_all(member: Member, operation: Operation, fault: type) -> None:
    member.batch(Put(b"x"), Put(b"x"), Put(b"x"), Compact(3))
    assert isinstance(member.do(Txn([], [Put(b"a"), operation])), fault)
    assert member.revision == 4
    assert member.keys() == [b"x"]
    assert member.txn([Compare(b"x", _EQUAL, CompareTarget.VERSION)], [operation]).revision == 4


def test_a_put_after_a_delete_of_everything_finds_nothing_to_keep(filled: Member) -> None:
    everything = DeleteRange(b"\0", FROM_KEY)
    assert filled.txn([], [Put(b"d"), everything]).revision == 6
    assert filled.keys() == []
    filled.do(Put(b"a", b"1"))
    kept = Txn([], [everything, Put(b"a", ignore_value=True)])
    assert isinstance(filled.do(kept), KeyMissing)
    assert filled.keys() == [b"a"]


def test_a_transaction_that_reads_needs_no_entry(filled: Member) -> None:
    response = filled.applier.kv.txn(Txn([Compare(b"a")], [], [Range(b"a", FROM_KEY)]))
    assert isinstance(response, TxnResponse)
    assert response.revision == filled.revision == 5


# Leases.


def test_a_lease_takes_its_keys_along_in_one_revision(member: Member) -> None:
    member.batch(LeaseGrant(7, 5), *(Put(key, lease=7) for key in (b"c", b"a", b"b")))
    assert isinstance(member.do(LeaseGrant(7, 9)), LeaseExists)
    member.do(Put(b"a"))
    member.do(v2.Set(b"/f", b"1"))
    assert member.do(LeaseRevoke(7)) == LeaseRevokeResponse(7)
    assert member.keys() == [b"/f", b"a"]
    [changes] = member.applier.store.history(6, 7, 10)
    assert [change.record.key for change in changes.changes] == [b"b", b"c"]
    assert isinstance(member.do(Put(b"a", lease=7)), LeaseNotFound)


def test_renewals_through_the_log(member: Member) -> None:
    member.do(LeaseGrant(7, 5))
    assert member.do(LeaseRenew(7)) == LeaseKeepAliveResponse(1, 7, 5)
    assert member.do(LeaseRenew(8)) == LeaseKeepAliveResponse(1, 8, 0)


def test_what_an_old_leader_thinks_of_time_is_nobodys_concern(member: Member) -> None:
    member.do(LeaseGrant(7, 5))
    stamp = member.applier.lessor.leases[7].stamp
    assert member.do(LeaseExpire(TERM, [(7, stamp)]), term=TERM + 1) is None
    assert member.leases() == [7]
    member.do(LeaseExpire(TERM, [(7, stamp), (8, 1)]))
    assert member.leases() == []


def test_a_lease_renewed_or_granted_anew_meanwhile_lives_on(member: Member) -> None:
    member.do(LeaseGrant(7, 5))
    stamp = member.applier.lessor.leases[7].stamp
    member.batch(LeaseRenew(7), LeaseExpire(TERM, [(7, stamp)]))
    assert member.leases() == [7]
    stamp = member.applier.lessor.leases[7].stamp
    member.batch(LeaseRevoke(7), LeaseGrant(7, 5), LeaseExpire(TERM, [(7, stamp)]))
    assert member.leases() == [7]


def test_keys_and_leases_after_a_restart_are_what_they_were(member: Member) -> None:
    member.batch(LeaseGrant(7, 5), Put(b"a", lease=7), Put(b"b", lease=7), LeaseGrant(8, 9))
    again = Applier(member.backend)
    again.restore()
    assert again.lessor.leases == member.applier.lessor.leases
    assert again.lessor.keys_of(7) == [b"a", b"b"]
    assert again.applied_term == TERM


# One keyspace, two APIs.


def test_each_api_shows_what_the_other_wrote(member: Member) -> None:
    member.do(LeaseGrant(7, 5))
    member.do(Put(b"/dir/file", b"1", lease=7))
    found = member.applier.tree.get(b"/dir", is_recursive=True)
    assert isinstance(found, Event)
    assert found.node.nodes is not None
    assert [(node.key, node.value) for node in found.node.nodes] == [(b"/dir/file", b"1")]
    member.do(v2.Set(b"/dir/file", b"2"))
    [record] = member.range(b"/dir/file").kvs
    assert (record.value, record.lease) == (b"2", 0)
    assert member.applier.lessor.keys_of(7) == []
    member.do(LeaseRevoke(7))
    assert member.keys() == [b"/dir/file"]


def test_a_v3_put_takes_the_ttl_of_a_v2_write_away(member: Member) -> None:
    member.do(v2.Set(b"/a", b"1", expiration=10))
    member.do(Put(b"/a", b"2"))
    member.do(v2.Expire(20))
    assert member.keys() == [b"/a"]


def test_watchers_are_told_of_both_in_order(member: Member) -> None:
    told: list[int] = []

    class Sink:
        def deliver(self, changes: object, matched: object) -> None:
            del matched
            told.append(getattr(changes, "revision"))  # noqa: B009

        def compacted(self, compacted_revision: int) -> None:
            raise AssertionError(compacted_revision)

    member.applier.hub.watch(b"\0", FROM_KEY, 0, Sink())
    member.batch(Put(b"a"), v2.Set(b"/a", b""), Put(b"b"), v2.Set(b"/b", b""), DeleteRange(b"a"))
    assert told == [2, 3, 4, 5, 6]
