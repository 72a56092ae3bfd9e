"""The lessor: leases, which are time-bound ownership of keys.

Two kinds of state live here:

    replicated   which leases there are, their TTL and stamp; changed by applied entries only, kept
                 in the backend, the same on every member
    local        when each one ends, on the clock of the member that leads: the primary lessor. No
                 other member counts time.

A lease's stamp is the index of the entry that granted it or last renewed it through the log. Who
wants to end a lease because its time is over names the stamp it saw: if another entry has touched
the lease since, its time is not over.

    a deadline is set when the primary sees the grant, renews, or becomes primary: always later than
    what the client was promised, so no lease ends before its TTL; every new primary begins anew
    expired(now) is {lease: deadline <= now}; they stay until an entry revokes them

The caller: `restore()` after the store's; `grant`, `renew` and `forget` while applying entries;
`promote` once it leads and has applied all that was committed before, `start` after each turn,
`demote` when it leads no more. Times are nanoseconds of one steady clock and come from outside.
Source: v3-grpc section 4.
"""

import msgspec
from msgspec import Struct

from kvorum.backend.base import Table
from kvorum.mvcc.expiry import ExpiryQueue
from kvorum.mvcc.keyspace import Keyspace

NS = 1_000_000_000


class Lease(Struct, array_like=True, frozen=True, gc=False):
    """One lease, as every member knows it.

    Attributes:
        id: any int64 but 0.
        ttl: seconds it lives without being renewed.
        stamp: see the module.
    """

    id: int
    ttl: int
    stamp: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Lease).decode


def _place_of(lease_id: int) -> bytes:
    return lease_id.to_bytes(8, "big", signed=True)


class Lessor:
    """All leases of one store.

    Attributes:
        leases: by id.
        is_primary: whether this member counts their time.
    """

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
        self.leases: dict[int, Lease] = {}
        self.is_primary = False
        self._deadlines: ExpiryQueue[int] = ExpiryQueue()
        self._unstarted: dict[int, None] = {}

    def restore(self) -> None:
        """Reads the leases anew from the backend; nobody counts their time yet."""
        self.demote()
        leases = [_decode(data) for _, data in self._keyspace.backend.scan(Table.LEASES, b"")]
        self.leases = {lease.id: lease for lease in leases}

    # Replicated.

    def grant(self, lease_id: int, ttl: int, index: int) -> None:
        """A new lease, granted by the entry at `index`."""
        self._put(Lease(lease_id, ttl, index))

    def renew(self, lease_id: int, index: int) -> None:
        """The lease lives for its whole TTL again, by the entry at `index`."""
        self._put(Lease(lease_id, self.leases[lease_id].ttl, index))

    def _put(self, lease: Lease) -> None:
        self.leases[lease.id] = lease
        self._keyspace.backend.put(Table.LEASES, _place_of(lease.id), _encode(lease))
        if self.is_primary:
            self._deadlines.set(lease.id, 0)
            self._unstarted[lease.id] = None

    def forget(self, lease_id: int) -> None:
        """The lease is over. Whoever revokes it deletes its keys in the same entry."""
        del self.leases[lease_id]
        self._keyspace.backend.delete(Table.LEASES, _place_of(lease_id))
        self._unstarted.pop(lease_id, None)
        if self.is_primary:
            self._deadlines.set(lease_id, 0)

    def keys_of(self, lease_id: int) -> list[bytes]:
        """The keys attached to a lease, in byte order."""
        return self._keyspace.attachments.keys_of(lease_id)

    # Local.

    def promote(self, now_ns: int, extend_ns: int) -> None:
        """This member counts time from now on: every lease has its whole TTL and a bit more.

        `extend_ns` is for clients that have yet to find the new leader.
        """
        self.is_primary = True
        self._unstarted.clear()
        self._deadlines = ExpiryQueue(
            {lease.id: now_ns + lease.ttl * NS + extend_ns for lease in self.leases.values()}
        )

    def demote(self) -> None:
        """Another member counts time, or nobody."""
        self.is_primary = False
        self._unstarted.clear()
        self._deadlines = ExpiryQueue()

    def start(self, now_ns: int) -> None:
        """Begins to count for the leases that entries have granted or renewed."""
        if self._unstarted:
            for lease_id in self._unstarted:
                self._deadlines.set(lease_id, now_ns + self.leases[lease_id].ttl * NS)
            self._unstarted.clear()

    def extend(self, lease_id: int, now_ns: int) -> bool:
        """Renews a lease without the log. False if its time is over: only the log can tell then."""
        if self.remaining_ns(lease_id, now_ns) <= 0:
            return False
        self._deadlines.set(lease_id, now_ns + self.leases[lease_id].ttl * NS)
        return True

    def remaining_ns(self, lease_id: int, now_ns: int) -> int:
        """How long the primary lets a lease live from now on."""
        deadline = self._deadlines.get(lease_id)
        # One whose time has not begun was granted or renewed in this very turn.
        return deadline - now_ns if deadline else self.leases[lease_id].ttl * NS

    def expired(self, now_ns: int, leases_max: int) -> list[Lease]:
        """The leases whose time is over, the first `leases_max`."""
        return [self.leases[one] for one in self._deadlines.due(now_ns, leases_max)]

    def by_deadline(self) -> list[int]:
        """All leases, the one that ends first in front; by id where nobody counts time."""
        return sorted(self.leases, key=lambda one: (self._deadlines.get(one), one))
