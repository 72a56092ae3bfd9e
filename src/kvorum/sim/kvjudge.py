"""Whether callers of the v3 API were told the truth about keys.

The log says which revision each write made, and an answer says at which revision it was given. So
every answer can be held against what the `Model` makes of the same request at that revision:

    answered    it says what the model says
    written     the revision it tells has exactly the changes that the model makes, made by it alone
    explained   every other revision of a caller's key was made by a call nobody answered, once, or
                by the end of a lease, which takes all that the lease owned
    refused     at some moment between request and refusal there was reason to

With `checkers.check_order`, which holds the revisions against real time, answered calls so are
strictly serializable, across keys and together with the v2 API.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from math import inf

from kvorum.errors import KeyMissing, LeaseNotFound, RevisionCompacted, RevisionInFuture, RpcError
from kvorum.mvcc.record import Changes
from kvorum.sim.callers import KEYS
from kvorum.sim.calls import Call, KvRequest
from kvorum.sim.history import RevisionNumber, Told, Violation
from kvorum.sim.kvmodel import Kv, Model, face_of, kv_of
from kvorum.sim.reference import Reference
from kvorum.v3.commands import DeleteRange, Put, Range, Txn

Writes = list[tuple[bytes, Kv | None]]


def check(calls: Sequence[Call], told: Sequence[Told], reference: Reference) -> None:
    """Holds the calls about keys against the log; `told` is what anybody was told.

    Raises:
        Violation: somebody was told something else, or the log has what nobody asked for.
    """
    judge = _Judge(calls, told, reference)
    judge.check_answers()
    judge.check_log()


class _Judge:
    def __init__(self, calls: Sequence[Call], told: Sequence[Told], reference: Reference) -> None:
        self._calls = [one for one in calls if isinstance(one.request, KvRequest)]
        self._reference = reference
        self._makers: dict[RevisionNumber, Call] = {}
        ordered = sorted((one.completed, one.revision) for one in told)
        self._told_times = [completed for completed, _ in ordered]
        self._told_highest: list[RevisionNumber] = []
        for _, revision in ordered:
            self._told_highest.append(max(revision, *self._told_highest[-1:], 0))

    # What was answered.

    def check_answers(self) -> None:
        for call in self._calls:
            if isinstance(call.answer, RpcError):
                self._check_refusal(call, call.answer)
            elif call.answer is not None:
                self._check_answer(call)

    def _check_answer(self, call: Call) -> None:
        revision = call.revision
        model = Model(self._reference, revision - call.has_written)
        due = model.do(_request_of(call))
        if due != face_of(call.answer):
            raise Violation(f"due was {due}, but the answer is another: {call}")
        if call.has_written:
            other = self._makers.setdefault(revision, call)
            if other is not call:
                raise Violation(f"one revision was told of two writes: {other}; and {call}")
            self._check_written(call, model.writes)

    def _check_written(self, call: Call, writes: Writes) -> None:
        changes = self._reference.changes.get(call.revision)
        if changes is None or _writes_of(changes) != writes:
            raise Violation(f"an acknowledged write is not in the log: {call}")

    # What was refused.

    def _check_refusal(self, call: Call, refusal: RpcError) -> None:
        request, reference = _request_of(call), self._reference
        is_true = False
        if isinstance(refusal, RevisionCompacted):
            wanted = max((one for one in reference.compactions), default=0)
            is_true = any(one.revision < wanted for one in _ranges_of(request))
        elif isinstance(refusal, RevisionInFuture):
            lowest = 0 if call.is_local else self._told_before(call.invoked)
            is_true = any(one.revision > lowest for one in _ranges_of(request))
        elif isinstance(refusal, LeaseNotFound):
            is_true = any(self._may_lack(one.lease, call) for one in _puts_of(request))
        elif isinstance(refusal, KeyMissing):
            is_true = any(self._may_be_absent(one.key, call) for one in _puts_of(request))
        if not is_true:
            raise Violation(f"it was refused without a reason: {call}")

    def _may_lack(self, lease_id: int, call: Call) -> bool:
        """Whether there was no such lease at some moment of the call."""
        reference = self._reference
        life = reference.lives.get(lease_id)
        if lease_id == 0 or life is None:
            return lease_id != 0
        is_later = reference.time_of(life.granted) > call.invoked
        return is_later or (life.ended > 0 and reference.time_of(life.ended) <= call.completed)

    def _may_be_absent(self, key: bytes, call: Call) -> bool:
        """Whether the key was not there at some revision of the call."""
        model = Model(self._reference, 0)
        first = self._told_before(call.invoked)
        changes = self._reference.by_key.get(key, [])
        later = [one.record.mod_revision for one in changes if one.record.mod_revision > first]
        return any(model.at(key, revision) is None for revision in (first, *later))

    def _told_before(self, time: float) -> RevisionNumber:
        """The highest revision that anybody had been told."""
        at = bisect_right(self._told_times, time) - 1
        return self._told_highest[at] if at >= 0 else 0

    # What the log has.

    def check_log(self) -> None:
        """Every change of the callers' keys has one cause."""
        unknown = [one for one in self._calls if one.completed == inf and not _only_reads(one)]
        for revision, changes in self._reference.changes.items():
            if revision not in self._makers and changes.changes[0].record.key in KEYS:
                self._explain(changes, unknown)

    def _explain(self, changes: Changes, unknown: list[Call]) -> None:
        reference, revision = self._reference, changes.revision
        writes = _writes_of(changes)
        committed = reference.time_of(reference.made_by[revision])
        for at, call in enumerate(unknown):
            if call.invoked > committed:
                break
            model = Model(reference, revision - 1)
            model.do(_request_of(call))
            if model.writes == writes:
                if _is_telling(writes, _request_of(call)):
                    del unknown[at]
                return
        if all(kv is None for _, kv in writes) and self._was_end_of_lease(revision, writes):
            return
        raise Violation(f"nobody asked for what was done at {revision}: {writes}")

    def _was_end_of_lease(self, revision: RevisionNumber, writes: Writes) -> bool:
        reference = self._reference
        model = Model(reference, revision - 1)
        owned = {kv.lease for kv in (model.get(key) for key, _ in writes) if kv is not None}
        lease_id = min(owned, default=0)
        life = reference.lives.get(lease_id)
        if len(owned) != 1 or life is None or life.ended != reference.made_by[revision]:
            return False
        due = [kv.key for kv in model.keys(b"\0", b"\0") if kv.lease == lease_id]
        return [key for key, _ in writes] == due


def _request_of(call: Call) -> KvRequest:
    assert isinstance(call.request, KvRequest), "the others were left out"
    return call.request


def _writes_of(changes: Changes) -> Writes:
    return [
        (one.record.key, None if one.record.tombstone else kv_of(one.record))
        for one in changes.changes
    ]


def _parts_of(request: KvRequest) -> Iterator[Range | Put | DeleteRange]:
    """The request, or all that a transaction may do."""
    if not isinstance(request, Txn):
        yield request
        return
    for one in (*request.success, *request.failure):
        assert one is not None, "it was checked before it was sent"
        yield from _parts_of(one)


def _ranges_of(request: KvRequest) -> list[Range]:
    return [one for one in _parts_of(request) if isinstance(one, Range)]


def _puts_of(request: KvRequest) -> list[Put]:
    return [one for one in _parts_of(request) if isinstance(one, Put)]


def _only_reads(call: Call) -> bool:
    return all(isinstance(one, Range) for one in _parts_of(_request_of(call)))


def _is_telling(writes: Writes, request: KvRequest) -> bool:
    """Whether nobody else can have done this: every value is put by one call only."""
    values = {one.value for one in _puts_of(request) if not one.ignore_value}
    return any(kv is not None and kv.value in values for _, kv in writes)
