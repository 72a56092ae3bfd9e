"""Leases as a member serves them: granting, renewing, and, on the leader, ending them.

The leader counts time (its lessor is primary); the others know which leases there are. It becomes
primary when it has applied an entry of its own term, hence all that was committed before, and then
gives every lease its whole TTL and an election timeout more.

No lease ends before its TTL has passed since the last renewal or grant was asked for, on the clock
of whoever ends it:

    a renewal at the leader is confirmed by a ReadIndex round that began after it was asked for. So
    a leader elected without knowing of it was elected later, and counts the whole TTL from then.
    a renewal elsewhere is a command in the log, and the leader counts from when it applies it. So
    is one at the leader of a lease whose time is over: only the log can tell which came first.
    the leader ends leases by a command that holds in its own term only, and only for leases that no
    other entry has renewed since. A leader that was deposed in its sleep can propose what it likes.

Renewing through the log costs an entry, but shared with all that the turn brings; it needs no
second way between members and has the order of everything else.

The caller: `turned` after each turn, `deposed` at once when this member leads no more, `heartbeat`
at every heartbeat interval. Completions get what `Server.propose` gives.
Source: v3-grpc section 4.
"""

from collections.abc import Callable
from functools import partial
from math import ceil

from kvorum.apply.applier import Applier
from kvorum.apply.commands import Command
from kvorum.clock import Clock
from kvorum.errors import LeaseTtlTooLarge, UnavailableError
from kvorum.mvcc.lease import NS
from kvorum.raft.types import Term
from kvorum.server.proposals import Completion
from kvorum.server.reads import ReadCompletion
from kvorum.server.upkeep import AGAIN_SECONDS
from kvorum.v3.answers import LeaseKeepAliveResponse, LeaseTimeToLiveResponse
from kvorum.v3.commands import LeaseExpire, LeaseGrant, LeaseRenew, LeaseRevoke

TTL_SECONDS_MAX = 9_000_000_000

EXPIRED_LEASES_MAX = 1_000
"""What one `LeaseExpire` ends, so that no entry holds up the loop for long."""


class Leases:
    """Grants and renews for clients; ends what is over."""

    def __init__(
        self,
        applier: Applier,
        clock: Clock,
        election_seconds: float,
        propose: Callable[[Command, Completion], None],
        read: Callable[[ReadCompletion], None],
    ) -> None:
        self._applier = applier
        self._lessor = applier.lessor
        self._clock = clock
        self._extend_ns = int(election_seconds * NS)
        self._propose = propose
        self._read = read
        self._term: Term = 0
        self._expire_again_at = 0.0
        self.ttl_seconds_min = ceil(1.5 * election_seconds)
        """No lease is granted for less: it could not be kept through an election."""

    # What handlers ask.

    def grant(self, lease_id: int, ttl: int, completion: Completion) -> None:
        """Grants a lease; id 0 has one drawn, a TTL below the least there is becomes that."""
        if ttl > TTL_SECONDS_MAX:
            completion(LeaseTtlTooLarge())
            return
        command = LeaseGrant(lease_id or self._draw_id(), max(ttl, self.ttl_seconds_min))
        self._propose(command, completion)

    def revoke(self, lease_id: int, completion: Completion) -> None:
        """Ends a lease, and deletes its keys."""
        self._propose(LeaseRevoke(lease_id), completion)

    def renew(self, lease_id: int, completion: Completion) -> None:
        """Lets a lease live for its whole TTL again; the answer's TTL is 0 when there is none."""
        if self._lessor.is_primary:
            self._read(partial(self._confirmed, lease_id, completion))
        else:
            self._propose(LeaseRenew(lease_id), completion)

    def time_to_live(self, lease_id: int, completion: Completion, *, keys: bool = False) -> None:
        """Tells how long a lease has left. Only the leader knows; elsewhere it is unavailable."""
        if not self._lessor.is_primary:
            completion(UnavailableError("no leader"))
            return
        self._read(partial(self._tell, lease_id, completion, keys))

    def list(self) -> list[int]:
        """The ids of all leases this member knows of, the one that ends first in front."""
        return self._lessor.by_deadline()

    def _draw_id(self) -> int:
        while True:
            lease_id = self._clock.random_below((1 << 63) - 1) + 1
            if lease_id not in self._lessor.leases:
                return lease_id

    def _confirmed(
        self, lease_id: int, completion: Completion, error: UnavailableError | None
    ) -> None:
        """This member, or a later leader, led after the renewal was asked for."""
        lease = self._lessor.leases.get(lease_id)
        if error is not None:
            completion(error)
        elif lease is None:
            completion(LeaseKeepAliveResponse(self._applier.store.revision, lease_id, 0))
        elif self._lessor.is_primary and self._lessor.extend(lease_id, self._now_ns()):
            completion(LeaseKeepAliveResponse(self._applier.store.revision, lease_id, lease.ttl))
        else:
            self._propose(LeaseRenew(lease_id), completion)

    def _tell(
        self,
        lease_id: int,
        completion: Completion,
        keys: bool,  # noqa: FBT001 -- bound by position
        error: UnavailableError | None,
    ) -> None:
        if error is not None or not self._lessor.is_primary:
            completion(error or UnavailableError("no leader"))
            return
        revision = self._applier.store.revision
        lease = self._lessor.leases.get(lease_id)
        if lease is None:
            completion(LeaseTimeToLiveResponse(revision, lease_id, -1, 0, []))
            return
        left = max(self._lessor.remaining_ns(lease_id, self._now_ns()), 0) // NS
        attached = self._lessor.keys_of(lease_id) if keys else []
        completion(LeaseTimeToLiveResponse(revision, lease_id, left, lease.ttl, attached))

    # The leader's side.

    def turned(self, is_leader: bool, term: Term) -> None:  # noqa: FBT001 -- a fact, not an option
        """A turn is over; this member leads, or does not, in this term."""
        lessor = self._lessor
        if lessor.is_primary:
            if not is_leader or term != self._term:
                lessor.demote()
            else:
                lessor.start(self._now_ns())
        elif is_leader and self._applier.applied_term == term:
            self._term = term
            self._expire_again_at = 0.0
            lessor.promote(self._now_ns(), self._extend_ns)

    def deposed(self) -> None:
        """This member leads no more."""
        self._lessor.demote()

    def heartbeat(self, now: float) -> None:
        """Ends the leases whose time is over, unless that is under way."""
        if not self._lessor.is_primary or now < self._expire_again_at:
            return
        expired = self._lessor.expired(int(now * NS), EXPIRED_LEASES_MAX)
        if expired:
            self._expire_again_at = now + AGAIN_SECONDS
            leases = [(lease.id, lease.stamp) for lease in expired]
            self._propose(LeaseExpire(self._term, leases), self._expired)

    def _expired(self, result: object) -> None:
        del result
        self._expire_again_at = 0.0

    def _now_ns(self) -> int:
        return int(self._clock.monotonic() * NS)
