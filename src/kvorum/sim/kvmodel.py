"""What the v3 API promises of keys, written down a second time, plainly and slowly.

Ranges, puts, deletes and transactions on the keyspace as it stood at a revision. Nothing is shared
with what members run but the requests: they keep indexes and records, this looks through all
changes there ever were. A judge that ran the same code would make the same mistakes.

    faces      answers are compared as tuples: of a key its name, value, create and mod revision,
               version and lease
    refusals   not known here: a request is one that was done
Source: v3-grpc section 2.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from kvorum.mvcc.record import Record
from kvorum.sim.calls import KvRequest
from kvorum.sim.history import RevisionNumber
from kvorum.sim.reference import Reference
from kvorum.v3.answers import DeleteRangeResponse, PutResponse, RangeResponse, TxnResponse
from kvorum.v3.commands import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    Operation,
    Put,
    Range,
    SortOrder,
    SortTarget,
    Txn,
)


class Kv(NamedTuple):
    """A key as answers show it."""

    key: bytes
    value: bytes
    created: RevisionNumber
    modified: RevisionNumber
    version: int
    lease: int


Face: TypeAlias = tuple[object, ...]
"""An answer."""

_MISSING = Kv(b"", b"", 0, 0, 0, 0)


def covers(start: bytes, end: bytes, key: bytes) -> bool:
    """Whether a key lies in the range of a request."""
    if not end:
        return key == start
    return start <= key and (end == b"\0" or key < end)


def kv_of(record: Record) -> Kv:
    """What is shown of a record."""
    return Kv(
        record.key,
        record.value,
        record.create_revision,
        record.mod_revision,
        record.version,
        record.lease,
    )


class Model:
    """The keyspace at a revision, and what one request makes of it.

    Attributes:
        writes: the keys written, in order, with what they are now; None for a deleted one.
    """

    def __init__(self, reference: Reference, revision: RevisionNumber) -> None:
        self.writes: list[tuple[bytes, Kv | None]] = []
        self._reference = reference
        self._base = revision
        self._written: dict[bytes, Kv | None] = {}

    @property
    def revision(self) -> RevisionNumber:
        """The newest: the request's own once it has written."""
        return self._base + bool(self.writes)

    def do(self, request: KvRequest) -> Face:
        """What the request is answered with."""
        if isinstance(request, Range):
            return self._range(request)
        if isinstance(request, Put):
            return self._put(request)
        if isinstance(request, DeleteRange):
            return self._delete(request)
        _, succeeded, responses = self._run(self._choose(request))
        return (self.revision, succeeded, responses)

    def at(self, key: bytes, revision: RevisionNumber) -> Kv | None:
        """A key as it stood at a revision."""
        change = self._reference.find_change(key, revision)
        return None if change is None or change.record.tombstone else kv_of(change.record)

    def get(self, key: bytes) -> Kv | None:
        """A key as it is now."""
        return self._written[key] if key in self._written else self.at(key, self._base)

    def keys(self, start: bytes, end: bytes, revision: RevisionNumber = 0) -> list[Kv]:
        """All of a range in order, now or at a revision."""
        known = [key for key in self._reference.by_key if covers(start, end, key)]
        if not revision:
            known += [key for key in self._written if covers(start, end, key)]
        found = [self.at(key, revision) if revision else self.get(key) for key in set(known)]
        return sorted(kv for kv in found if kv is not None)

    # Operations.

    def _range(self, request: Range) -> Face:
        found = self.keys(request.key, request.range_end, max(request.revision, 0))
        count = len(found)
        if request.count_only:
            return (self.revision, (), False, count)
        within = [kv for kv in found if _is_within(kv, request)]
        if request.limit > 0 and not (request.sort_order or _has_bounds(request)):
            # etcd's quirk: without an order it is the first keys, and one more, that are sorted.
            del within[request.limit + 1 :]
        if request.sort_target != SortTarget.KEY or request.sort_order == SortOrder.DESCEND:
            by = _SHOWN[SortTarget(request.sort_target)]
            within.sort(key=lambda kv: kv[by], reverse=request.sort_order == SortOrder.DESCEND)
        more = 0 < request.limit < len(within)
        if more:
            del within[request.limit :]
        if request.keys_only:
            within = [kv._replace(value=b"") for kv in within]
        return (self.revision, tuple(within), more, count)

    def _put(self, put: Put) -> Face:
        before = self.get(put.key)
        made = self._base + 1
        value = before.value if put.ignore_value and before else put.value
        lease = before.lease if put.ignore_lease and before else put.lease
        created, version = (before.created, before.version + 1) if before else (made, 1)
        self._write(put.key, Kv(put.key, value, created, made, version, lease))
        return (made, before if put.prev_kv else None)

    def _delete(self, delete: DeleteRange) -> Face:
        gone = self.keys(delete.key, delete.range_end)
        for kv in gone:
            self._write(kv.key, None)
        return (self.revision, len(gone), tuple(gone) if delete.prev_kv else ())

    def _write(self, key: bytes, kv: Kv | None) -> None:
        self.writes.append((key, kv))
        self._written[key] = kv

    # Transactions.

    def _choose(self, txn: Txn) -> "_Branch":
        """The branches to go, of nested transactions too, before anything is written."""
        succeeded = all(map(self._holds, txn.compares))
        operations = txn.success if succeeded else txn.failure
        return _Branch(
            succeeded,
            [self._choose(one) if isinstance(one, Txn) else one for one in operations],
        )

    def _holds(self, compare: Compare) -> bool:
        found = self.keys(compare.key, compare.range_end)
        if not found and compare.target == CompareTarget.VALUE:
            return False
        return all(_compares(kv, compare) for kv in found or [_MISSING])

    def _run(self, branch: "_Branch") -> Face:
        """A nested one tells no revision."""
        responses = [
            self._run(one) if isinstance(one, _Branch) else self.do(_given(one))
            for one in branch.operations
        ]
        return (0, branch.succeeded, tuple(responses))


class _Branch(NamedTuple):
    succeeded: bool
    operations: "Sequence[Operation | _Branch]"


def _given(operation: Operation) -> KvRequest:
    assert operation is not None, "it was checked before it was sent"
    return operation


_SHOWN = {
    SortTarget.KEY: 0,
    SortTarget.VALUE: 1,
    SortTarget.CREATE: 2,
    SortTarget.MOD: 3,
    SortTarget.VERSION: 4,
}
_COMPARED = {
    CompareTarget.VALUE: 1,
    CompareTarget.CREATE: 2,
    CompareTarget.MOD: 3,
    CompareTarget.VERSION: 4,
    CompareTarget.LEASE: 5,
}
"""Which field of a `Kv` it is."""


def _has_bounds(request: Range) -> bool:
    return any(
        (
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
    )


def _is_within(kv: Kv, request: Range) -> bool:
    bounds = (
        (kv.modified, request.min_mod_revision, request.max_mod_revision),
        (kv.created, request.min_create_revision, request.max_create_revision),
    )
    return all(low <= revision <= (high or revision) for revision, low, high in bounds)


def _compares(kv: Kv, compare: Compare) -> bool:
    stored: Any = kv[_COMPARED[CompareTarget(compare.target)]]
    given: Any = compare.value if compare.target == CompareTarget.VALUE else compare.number
    holds: dict[CompareResult, bool] = {
        CompareResult.EQUAL: stored == given,
        CompareResult.GREATER: stored > given,
        CompareResult.LESS: stored < given,
        CompareResult.NOT_EQUAL: stored != given,
    }
    return holds[CompareResult(compare.result)]


def face_of(answer: object) -> Face:
    """The face of a member's answer."""
    if isinstance(answer, RangeResponse):
        return (answer.revision, tuple(map(kv_of, answer.kvs)), answer.more, answer.count)
    if isinstance(answer, PutResponse):
        return (answer.revision, answer.prev_kv and kv_of(answer.prev_kv))
    if isinstance(answer, DeleteRangeResponse):
        return (answer.revision, answer.deleted, tuple(map(kv_of, answer.prev_kvs)))
    assert isinstance(answer, TxnResponse), "there is no other kind"
    return (answer.revision, answer.succeeded, tuple(map(face_of, answer.responses)))
