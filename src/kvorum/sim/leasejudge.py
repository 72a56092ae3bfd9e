"""Whether leases live as long as was promised, and their keys no longer.

    promised   a lease whose time is over ends no sooner than its TTL after any grant or renewal
               that was answered had been asked for, on the fastest clock there is
    true       who was told that a lease lives, or is gone, was told so of a moment of the call
    owned      a key names only leases that lived when it was written, and is gone when they are
    asked      a lease that was revoked was revoked by somebody
    punctual   a well cluster has ended what was over: nothing is left that was over long ago

That all members know the same leases is for `invariants` to say.
Source: v3-grpc section 4.
"""

from collections.abc import Sequence
from itertools import zip_longest
from math import inf

from kvorum.errors import RpcError
from kvorum.mvcc.lease import NS
from kvorum.sim.calls import Call, LeaseRequest
from kvorum.sim.history import Violation
from kvorum.sim.invariants import Process, lessor_of
from kvorum.sim.kvmodel import Model
from kvorum.sim.reference import LeaseLife, Reference
from kvorum.v3.answers import (
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseTimeToLiveResponse,
)
from kvorum.v3.commands import LeaseGrant, LeaseRevoke

LATENESS_SECONDS = 3.0
"""A well cluster has ended by then what was over: two rounds of a proposal made again."""


def check(calls: Sequence[Call], reference: Reference, fastest: float = 1.0) -> None:
    """Holds calls about leases, and the keys they own, against the log.

    Args:
        calls: all there were.
        reference: what happened.
        fastest: how many seconds the fastest clock shows in one.

    Raises:
        Violation: a rule is broken.
    """
    for call in calls:
        if isinstance(call.request, LeaseRequest) and call.answer is not None:
            _check_answer(call, reference)
    _check_promises(calls, reference, fastest)
    _check_revocations(calls, reference)
    _check_keys(reference)


def check_overdue(process: Process) -> None:
    """Who leads has no lease that was over long ago."""
    lessor, now_ns = lessor_of(process.server), int(process.server.clock.monotonic() * NS)
    for lease_id in lessor.leases if lessor.is_primary else ():
        lateness = -lessor.remaining_ns(lease_id, now_ns) / NS
        if lateness > LATENESS_SECONDS:
            raise Violation(
                f"{process.name} leads and has lease {lease_id:x} {lateness:.1f} s overdue"
            )


def _check_promises(calls: Sequence[Call], reference: Reference, fastest: float) -> None:
    for call in calls:
        lease_id, ttl = _promise_of(call)
        life = reference.lives.get(lease_id)
        if not ttl or life is None or not life.is_expired:
            continue
        lived = reference.time_of(life.ended) - call.invoked
        if lived * fastest < ttl:
            raise Violation(f"lease {lease_id:x} expired {lived:.3f} s after this: {call}")


def _promise_of(call: Call) -> tuple[int, int]:
    """The lease, and for how long it was promised to live."""
    answer = call.answer
    if isinstance(answer, LeaseGrantResponse | LeaseKeepAliveResponse):
        return answer.id, answer.ttl
    return 0, 0


def _check_answer(call: Call, reference: Reference) -> None:
    """What was told of a lease was so at some moment of the call."""
    request = call.request
    assert isinstance(request, LeaseRequest), "the others were left out"
    life = reference.lives.get(request.id)
    if _tells_of_none(call.answer):
        if isinstance(request, LeaseGrant):
            raise Violation(f"nobody else has this lease: {call}")
        if life is not None and _lived_through(life, call, reference):
            raise Violation(f"the lease lived all the time: {call}")
        return
    if life is None or not _lived_during(life, call, reference):
        raise Violation(f"there was no such lease: {call}")
    if not _shows(call, life, reference):
        raise Violation(f"a lease was not shown as it was ({life}): {call}")


def _tells_of_none(answer: object) -> bool:
    if isinstance(answer, LeaseKeepAliveResponse):
        return answer.ttl == 0
    if isinstance(answer, LeaseTimeToLiveResponse):
        return answer.ttl == -1
    return isinstance(answer, RpcError)


def _shows(call: Call, life: LeaseLife, reference: Reference) -> bool:
    answer = call.answer
    if isinstance(answer, LeaseGrantResponse | LeaseKeepAliveResponse):
        return answer.ttl == life.ttl
    if isinstance(answer, LeaseTimeToLiveResponse):
        keys = Model(reference, answer.revision).keys(b"\0", b"\0")
        owned = [kv.key for kv in keys if kv.lease == life.id]
        return (answer.granted_ttl, answer.keys) == (life.ttl, owned)
    return life.ended > 0 and reference.time_of(life.ended) <= call.completed


def _lived_through(life: LeaseLife, call: Call, reference: Reference) -> bool:
    """Whether it lived at every moment of the call."""
    if reference.time_of(life.granted) > call.invoked:
        return False
    return not life.ended or reference.time_of(life.ended) > call.completed


def _lived_during(life: LeaseLife, call: Call, reference: Reference) -> bool:
    """Whether it lived at any moment of the call."""
    if reference.time_of(life.granted) > call.completed:
        return False
    return not life.ended or reference.time_of(life.ended) >= call.invoked


def _check_revocations(calls: Sequence[Call], reference: Reference) -> None:
    asked = {one.request.id for one in calls if isinstance(one.request, LeaseRevoke)}
    for life in reference.lives.values():
        is_revoked = life.ended and not life.is_expired
        if is_revoked and life.id not in asked:
            raise Violation(f"nobody has asked to revoke {life}")


def _check_keys(reference: Reference) -> None:
    """No key is given to a lease that does not live; none is left when the lease ends."""
    made_by = reference.made_by
    for changes in reference.by_key.values():
        for change, following in zip_longest(changes, changes[1:]):
            record = change.record
            if record.tombstone or not record.lease:
                continue
            life = reference.lives.get(record.lease)
            if life is None or not life.granted <= made_by[record.mod_revision] <= _end_of(life):
                raise Violation(f"a key was given to a lease that did not live: {record}")
            if life.ended and (
                following is None or made_by[following.record.mod_revision] > life.ended
            ):
                raise Violation(f"a key outlived {life}: {record}")


def _end_of(life: LeaseLife) -> float:
    return life.ended or inf
