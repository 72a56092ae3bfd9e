"""The v3 commands: ranges, puts, deletes, guarded transactions, compaction, leases.

A transaction is one revision, and one that changes nothing takes none. It is gone through three
times: all its comparisons, those of nested transactions too, choose the branches, seen from the
state before it; then whatever could refuse one of the chosen operations is looked for; only then
anything is changed. So a refused transaction has changed nothing.

A refused command is a returned RpcError. Writes go through the same store as those of the v2 tree,
and each API shows what the other has written.

The caller sets `entry` to the one whose commands are applied, and passes `take_changes` to the
watch hub after it. Source: v3-grpc sections 2 and 4.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from kvorum.errors import (
    KeyMissing,
    LeaseExists,
    LeaseNotFound,
    RevisionCompacted,
    RevisionInFuture,
    RpcError,
)
from kvorum.mvcc.lease import Lessor
from kvorum.mvcc.record import Changes, Record
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.mvcc.store import Compacted, FutureRevision, Store
from kvorum.mvcc.txn import WriteTxn
from kvorum.raft.types import Entry
from kvorum.v3.answers import (
    CompactionResponse,
    DeleteRangeResponse,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseRevokeResponse,
    OperationResponse,
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


class _Branch(Struct):
    """A transaction whose comparisons have been decided, and so those nested in it."""

    succeeded: bool
    operations: "list[_Chosen]"


_Chosen: TypeAlias = Range | Put | DeleteRange | _Branch

_SORT_KEYS = {
    SortTarget.KEY: attrgetter("key"),
    SortTarget.VERSION: attrgetter("version"),
    SortTarget.CREATE: attrgetter("create_revision"),
    SortTarget.MOD: attrgetter("mod_revision"),
    SortTarget.VALUE: attrgetter("value"),
}

_NUMBERS: dict[int, Callable[[Record], int]] = {
    CompareTarget.VERSION: attrgetter("version"),
    CompareTarget.CREATE: attrgetter("create_revision"),
    CompareTarget.MOD: attrgetter("mod_revision"),
    CompareTarget.LEASE: attrgetter("lease"),
}

_ABSENT = Record(b"", b"", 0, 0, 0)
"""A missing key compares as this."""


class KV:
    """Applies v3 commands to a store and its leases, and reads ranges.

    Attributes:
        entry: the entry whose commands are applied.
    """

    def __init__(self, store: Store, lessor: Lessor) -> None:
        self.entry = Entry(0, 0)
        self._store = store
        self._lessor = lessor
        self._changes: list[Changes] = []
        self.operations: dict[type, Callable[[Any], object]] = {
            Put: self._put,
            DeleteRange: self._delete_range,
            Txn: self.txn,
            Compact: self._compact,
            LeaseGrant: self._grant,
            LeaseRevoke: self._revoke,
            LeaseRenew: self._renew,
            LeaseExpire: self._expire,
        }

    def take_changes(self) -> list[Changes]:
        """What was changed since the last call, oldest first."""
        changes, self._changes = self._changes, []
        return changes

    # Reads.

    def range(self, request: Range) -> RangeResponse | RpcError:
        """What a range holds in this member's state."""
        return self._find_revision_fault(request) or _read(self._store, request)

    def _find_revision_fault(self, request: Range) -> RpcError | None:
        if request.revision <= 0:
            return None
        try:
            self._store.check_readable(request.revision)
        except Compacted:
            return RevisionCompacted()
        except FutureRevision:
            return RevisionInFuture()
        return None

    # Writes.

    def _put(self, put: Put) -> PutResponse | RpcError:
        fault = self._find_put_fault(put, ())
        if fault is not None:
            return fault
        txn = self._store.write()
        response = self._put_in(txn, put)
        self._end(txn)
        return response

    def _delete_range(self, delete: DeleteRange) -> DeleteRangeResponse:
        txn = self._store.write()
        response = self._delete_in(txn, delete)
        self._end(txn)
        return response

    def txn(self, txn: Txn) -> TxnResponse | RpcError:
        """Does what a transaction says; one that only reads needs no entry."""
        branch = self._choose(txn)
        fault = self._find_fault(branch, [])
        if fault is not None:
            return fault
        write = self._store.write()
        response = self._run(branch, write)
        self._end(write)
        response.revision = self._store.revision
        return response

    def _end(self, txn: WriteTxn) -> None:
        changes = txn.end()
        if changes is not None:
            self._changes.append(changes)

    # First, the branches are chosen.

    def _choose(self, txn: Txn) -> _Branch:
        succeeded = all(map(self._holds, txn.compares))
        operations = txn.success if succeeded else txn.failure
        return _Branch(succeeded, [self._chosen(one) for one in operations])

    def _chosen(self, operation: Operation) -> _Chosen:
        assert operation is not None, "it was checked before it was proposed"
        return self._choose(operation) if isinstance(operation, Txn) else operation

    def _holds(self, compare: Compare) -> bool:
        records = self._store.range(compare.key, _end_of(compare.range_end)).records
        if not records:
            return compare.target != CompareTarget.VALUE and _compares(_ABSENT, compare)
        return all(_compares(record, compare) for record in records)

    # Then, what could be refused.

    def _find_fault(
        self, branch: _Branch, deleted: "list[tuple[bytes, bytes | None]]"
    ) -> RpcError | None:
        """`deleted` are the ranges that operations before it delete."""
        for operation in branch.operations:
            fault = None
            if type(operation) is Put:
                fault = self._find_put_fault(operation, deleted)
            elif type(operation) is Range:
                fault = self._find_revision_fault(operation)
            elif type(operation) is DeleteRange:
                deleted.append((operation.key, _end_of(operation.range_end)))
            elif type(operation) is _Branch:
                fault = self._find_fault(operation, deleted)
            if fault is not None:
                return fault
        return None

    def _find_put_fault(
        self, put: Put, deleted: "Sequence[tuple[bytes, bytes | None]]"
    ) -> RpcError | None:
        if put.lease and put.lease not in self._lessor.leases:
            return LeaseNotFound()
        if put.ignore_value or put.ignore_lease:
            # A put may only follow a delete that holds its key if that one has no end.
            is_gone = any(end == FROM_KEY and start <= put.key for start, end in deleted)
            if is_gone or put.key not in self._store.index.live:
                return KeyMissing()
        return None

    # And then everything is done.

    def _run(self, branch: _Branch, txn: WriteTxn) -> TxnResponse:
        responses = [self._run_one(one, txn) for one in branch.operations]
        return TxnResponse(0, branch.succeeded, responses)

    def _run_one(self, operation: _Chosen, txn: WriteTxn) -> OperationResponse:
        if type(operation) is Put:
            return self._put_in(txn, operation)
        if type(operation) is Range:
            return _read(self._store, operation)
        if type(operation) is DeleteRange:
            return self._delete_in(txn, operation)
        assert type(operation) is _Branch, "there is no other kind"
        return self._run(operation, txn)

    def _put_in(self, txn: WriteTxn, put: Put) -> PutResponse:
        value, lease = put.value, put.lease
        if put.ignore_value or put.ignore_lease:
            record = txn.get(put.key)
            assert record is not None, "a put that keeps something of nothing was refused"
            value = record.value if put.ignore_value else value
            lease = record.lease if put.ignore_lease else lease
        change = txn.put(put.key, value, lease=lease)
        return PutResponse(txn.revision, change.prev if put.prev_kv else None)

    def _delete_in(self, txn: WriteTxn, delete: DeleteRange) -> DeleteRangeResponse:
        end = _end_of(delete.range_end)
        keys = [delete.key] if end is None else self._keys_of(delete.key, end)
        changes = [txn.delete(key) for key in keys]
        gone = [change.prev for change in changes if change is not None]
        prev_kvs = [record for record in gone if record is not None] if delete.prev_kv else []
        return DeleteRangeResponse(_revision_of(self._store), len(gone), prev_kvs)

    def _keys_of(self, start: bytes, end: bytes) -> list[bytes]:
        return list(self._store.index.keys.iterate(start, end))

    # Compaction.

    def _compact(self, command: Compact) -> CompactionResponse | RpcError:
        try:
            self._store.start_compaction(command.revision)
        except Compacted:
            return RevisionCompacted()
        except FutureRevision:
            return RevisionInFuture()
        return CompactionResponse(self._store.revision)

    # Leases.

    def _grant(self, command: LeaseGrant) -> LeaseGrantResponse | RpcError:
        if command.id in self._lessor.leases:
            return LeaseExists()
        self._lessor.grant(command.id, command.ttl, self.entry.index)
        return LeaseGrantResponse(self._store.revision, command.id, command.ttl)

    def _revoke(self, command: LeaseRevoke) -> LeaseRevokeResponse | RpcError:
        if command.id not in self._lessor.leases:
            return LeaseNotFound()
        self._end_lease(command.id)
        return LeaseRevokeResponse(self._store.revision)

    def _renew(self, command: LeaseRenew) -> LeaseKeepAliveResponse:
        lease = self._lessor.leases.get(command.id)
        if lease is None:
            return LeaseKeepAliveResponse(self._store.revision, command.id, 0)
        self._lessor.renew(command.id, self.entry.index)
        return LeaseKeepAliveResponse(self._store.revision, command.id, lease.ttl)

    def _expire(self, command: LeaseExpire) -> None:
        if command.term != self.entry.term:
            return
        for lease_id, stamp in command.leases:
            lease = self._lessor.leases.get(lease_id)
            if lease is not None and lease.stamp == stamp:
                self._end_lease(lease_id)

    def _end_lease(self, lease_id: int) -> None:
        """A lease is over, and in one revision all its keys go, in byte order."""
        txn = self._store.write()
        for key in self._lessor.keys_of(lease_id):
            txn.delete(key)
        self._end(txn)
        self._lessor.forget(lease_id)


def _end_of(range_end: bytes) -> bytes | None:
    """The end of a range as the keyspace takes it; `FROM_KEY` is one byte 0 in both."""
    return range_end or None


def _revision_of(store: Store) -> int:
    """The newest revision, that of an open transaction if it has changed anything."""
    return max(store.revision, store.changed_revision)


def _read(store: Store, request: Range) -> RangeResponse:
    """What a range holds at a revision that can be read; an open transaction's writes are seen."""
    end = _end_of(request.range_end)
    revision = _revision_of(store)
    if request.count_only:
        found = store.range(request.key, end, revision=request.revision, count_only=True)
        return RangeResponse(revision, [], more=False, count=found.count)
    limit = max(request.limit, 0)
    is_filtered = _has_bounds(request)
    needs_all = is_filtered or request.sort_order != SortOrder.NONE
    found = store.range(
        request.key,
        end,
        revision=request.revision,
        limit=0 if needs_all or not limit else limit + 1,
    )
    records = found.records
    if is_filtered:
        records = [record for record in records if _is_within(record, request)]
    _sort(records, request)
    more = 0 < limit < len(records)
    if more:
        del records[limit:]
    if request.keys_only:
        records = [msgspec.structs.replace(record, value=b"") for record in records]
    return RangeResponse(revision, records, more, found.count)


def _has_bounds(request: Range) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _is_within(record: Record, request: Range) -> bool:
    modified, created = record.mod_revision, record.create_revision
    return (
        modified >= request.min_mod_revision
        and (not request.max_mod_revision or modified <= request.max_mod_revision)
        and created >= request.min_create_revision
        and (not request.max_create_revision or created <= request.max_create_revision)
    )


def _sort(records: list[Record], request: Range) -> None:
    """Sorts what stands in key order; equal ones stay in it. Without an order it is ascending."""
    is_descending = request.sort_order == SortOrder.DESCEND
    if request.sort_target != SortTarget.KEY or is_descending:
        records.sort(key=_SORT_KEYS[SortTarget(request.sort_target)], reverse=is_descending)


def _compares(record: Record, compare: Compare) -> bool:
    """Whether one key stands to what is given as it has to."""
    if compare.target == CompareTarget.VALUE:
        sign = _sign(record.value, compare.value)
    else:
        number = _NUMBERS.get(compare.target)
        sign = 0 if number is None else _sign(number(record), compare.number)
    result = compare.result
    if result == CompareResult.EQUAL:
        return sign == 0
    if result == CompareResult.NOT_EQUAL:
        return sign != 0
    if result == CompareResult.GREATER:
        return sign > 0
    return result != CompareResult.LESS or sign < 0


def _sign(stored: Any, given: Any) -> int:  # noqa: ANN401 -- two numbers, or two byte strings
    return int(stored > given) - int(stored < given)
