"""Which keys, or leases, expire when.

The store's holds exactly the live keys whose current record has an expiration, in nanoseconds since
the epoch. The store keeps it up to date; whoever proposes expiry asks `next_due`, whoever applies
it asks `due` and deletes what it names. The primary lessor's holds leases by id, on a steady clock.
Times always come from outside.
"""

from typing import Generic, TypeVar

from sortedcontainers import SortedList

Name = TypeVar("Name", bytes, int)


class ExpiryQueue(Generic[Name]):
    """Keys with an expiration, ordered by (expiration, key)."""

    __slots__ = ("_expirations", "_order")

    def __init__(self, expirations: dict[Name, int] | None = None) -> None:
        self._expirations: dict[Name, int] = dict(expirations or {})
        self._order = SortedList((at, key) for key, at in self._expirations.items())

    def __len__(self) -> int:
        return len(self._expirations)

    def get(self, key: Name) -> int:
        """When `key` expires; 0 for never."""
        return self._expirations.get(key, 0)

    def set(self, key: Name, expiration: int) -> None:
        """Sets when `key` expires; 0 for never."""
        known = self._expirations.get(key, 0)
        if known == expiration:
            return
        if known:
            self._order.remove((known, key))
        if expiration:
            self._expirations[key] = expiration
            self._order.add((expiration, key))
        else:
            del self._expirations[key]

    def due(self, now_ns: int, keys_max: int) -> list[Name]:
        """The keys due at `now_ns`, the first `keys_max`; they stay until deleted or rewritten."""
        keys = []
        for at, key in self._order.islice(0, keys_max):
            if at > now_ns:
                break
            keys.append(key)
        return keys

    def next_due(self) -> int | None:
        """The earliest expiration, None when nothing expires."""
        return self._order[0][0] if self._order else None
