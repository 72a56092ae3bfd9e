"""What callers were told of leases: each rule on what keeps it and on what breaks it.

The log: lease 7, of three seconds, is granted at 1.0, owns `k1` from 2.0 on, and ends at 5.0.
"""

from math import inf

import pytest
from tests.unit.sim.conftest import Judged

from kvorum.apply.commands import Batch, Command, encode_batch
from kvorum.errors import LeaseExists, LeaseNotFound
from kvorum.raft.types import Entry
from kvorum.sim import leasejudge
from kvorum.sim.calls import Answer, Call, KeepAlive, LeaseRequest, TimeToLive
from kvorum.sim.history import Violation
from kvorum.sim.reference import Reference
from kvorum.v3.answers import (
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseRevokeResponse,
    LeaseTimeToLiveResponse,
)
from kvorum.v3.commands import LeaseExpire, LeaseGrant, LeaseRevoke, Put

LEASE = 7
GRANT, ALIVE, TTL, REVOKE = LeaseGrant(LEASE, 3), KeepAlive(LEASE), TimeToLive(LEASE), LeaseRevoke
GRANTED = LeaseGrantResponse(1, LEASE, 3)
RENEWED = LeaseKeepAliveResponse(2, LEASE, 3)
GONE = LeaseKeepAliveResponse(2, LEASE, 0)


def log_of(*entries: tuple[float, Command]) -> Reference:
    now = 0.0
    reference = Reference(lambda: now)
    for now, command in entries:  # noqa: B007 -- the reference looks at it
        index = reference.last_index + 1
        data = encode_batch(Batch(index, index + 10, [command]))
        reference.commit(Entry(1, index, data=data))
    return reference


def expired(at: float = 5.0) -> Reference:
    return log_of((1.0, GRANT), (2.0, Put(b"k1", b"1", LEASE)), (at, LeaseExpire(1, [(LEASE, 1)])))


def revoked() -> Reference:
    return log_of((1.0, GRANT), (2.0, Put(b"k1", b"1", LEASE)), (5.0, LeaseRevoke(LEASE)))


def call(
    request: LeaseRequest, answer: Answer | None, invoked: float, completed: float = inf
) -> Call:
    return Call("v", "p", request, invoked, completed=completed, answer=answer)


def told(ttl: int, *keys: bytes, revision: int = 2, granted: int = 3) -> LeaseTimeToLiveResponse:
    return LeaseTimeToLiveResponse(revision, LEASE, ttl, granted, list(keys))


@pytest.mark.parametrize(
    "true",
    [
        call(GRANT, GRANTED, 0.5, 1.5),
        call(ALIVE, RENEWED, 1.5, 1.6),
        call(ALIVE, RENEWED, 2.0, 6.0),
        call(ALIVE, GONE, 0.5, 0.9),
        call(ALIVE, GONE, 4.9, 5.0),
        call(TTL, told(1, b"k1"), 3.0, 3.1),
        call(TTL, told(2, revision=1), 1.0, 2.0),
        call(TTL, told(-1, granted=0), 5.0, 5.1),
        call(REVOKE(9), LeaseNotFound(), 2.0, 2.1),
        call(REVOKE(LEASE), LeaseNotFound(), 5.0, 6.0),
        call(ALIVE, None, 2.0),
    ],
)
def test_an_answer_may_be_true_of_any_moment_of_the_call(true: Call) -> None:
    leasejudge.check([true], expired())


@pytest.mark.parametrize(
    ("false", "fault"),
    [
        (call(ALIVE, RENEWED, 2.1, 2.2), "expired 2.900 s after this"),
        (call(GRANT, GRANTED, 2.5, 2.6), "expired 2.500 s after this"),
        (call(ALIVE, GONE, 1.5, 4.5), "lived all the time"),
        (call(TTL, told(-1, granted=0), 1.5, 4.5), "lived all the time"),
        (call(REVOKE(LEASE), LeaseNotFound(), 1.5, 4.5), "lived all the time"),
        (call(ALIVE, RENEWED, 0.5, 0.9), "no such lease"),
        (call(ALIVE, RENEWED, 5.1, 5.2), "no such lease"),
        (call(KeepAlive(9), LeaseKeepAliveResponse(2, 9, 3), 2.0, 3.0), "no such lease"),
        (call(GRANT, LeaseExists(), 2.0, 3.0), "nobody else has this lease"),
        (call(TTL, told(1), 3.0, 3.1), "not shown as it was"),
        (call(TTL, told(1, b"k1", granted=4), 3.0, 3.1), "not shown as it was"),
        (call(ALIVE, LeaseKeepAliveResponse(2, LEASE, 2), 1.5, 1.6), "not shown as it was"),
        (call(REVOKE(LEASE), LeaseRevokeResponse(5), 3.0, 4.0), "not shown as it was"),
    ],
)
def test_an_answer_that_is_not_true_is_found(false: Call, fault: str) -> None:
    with pytest.raises(Violation, match=fault):
        leasejudge.check([false], expired())


def test_a_clock_may_be_fast_and_no_faster() -> None:
    renewed = call(ALIVE, RENEWED, 2.1, 2.2)
    leasejudge.check([renewed], expired(), fastest=1.04)
    with pytest.raises(Violation, match=r"expired 2\.900 s after this"):
        leasejudge.check([renewed], expired(), fastest=1.03)


def test_a_revoked_lease_may_end_at_once_if_somebody_asked() -> None:
    renewed = call(ALIVE, RENEWED, 4.0, 4.5)
    leasejudge.check([renewed, call(REVOKE(LEASE), None, 4.0)], revoked())
    with pytest.raises(Violation, match="nobody has asked to revoke"):
        leasejudge.check([renewed], revoked())


def test_a_key_that_outlives_its_lease_is_found() -> None:
    reference = expired()
    del reference.by_key[b"k1"][1]
    with pytest.raises(Violation, match="a key outlived"):
        leasejudge.check([], reference)


def test_a_key_given_to_a_lease_that_is_over_is_found() -> None:
    reference = expired()
    reference.by_key[b"k1"][0].record.lease = 9
    with pytest.raises(Violation, match="did not live"):
        leasejudge.check([], reference)


def test_a_lease_long_overdue_is_found(one: Judged) -> None:
    server = one.first.server
    server.propose(LeaseGrant(LEASE, 2), lambda _: None)
    one.settle()
    (life,) = one.processes
    leasejudge.check_overdue(life)
    server.leases._expire_again_at = inf
    one.advance(2.0 + leasejudge.LATENESS_SECONDS - 0.5)
    leasejudge.check_overdue(life)
    one.advance(1.0)
    with pytest.raises(Violation, match="overdue"):
        leasejudge.check_overdue(life)
