"""Which live keys each lease owns.

Holds exactly the live keys whose current record names a lease: a key has at most one. The store
keeps it up to date with every write, through v3 or v2; the `Lessor` asks it what goes with a lease.
Source: v3-grpc section 4.
"""

from collections.abc import Mapping


class Attachments:
    """Sets of keys by the id of their lease."""

    __slots__ = ("_keys",)

    def __init__(self, leases: Mapping[bytes, int] | None = None) -> None:
        """Takes the lease of each live key that has one."""
        self._keys: dict[int, set[bytes]] = {}
        for key, lease_id in (leases or {}).items():
            self._keys.setdefault(lease_id, set()).add(key)

    def move(self, key: bytes, before: int, after: int) -> None:
        """The key's lease is another one now; 0 means none."""
        if before == after:
            return
        if before:
            keys = self._keys[before]
            keys.remove(key)
            if not keys:
                del self._keys[before]
        if after:
            self._keys.setdefault(after, set()).add(key)

    def keys_of(self, lease_id: int) -> list[bytes]:
        """The keys of a lease in byte order: the order in which they go, the same everywhere."""
        return sorted(self._keys.get(lease_id, ()))
