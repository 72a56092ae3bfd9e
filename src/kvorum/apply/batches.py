"""Which batches were applied lately, so that none is ever applied twice.

A member that forwarded a batch and lost its leader cannot know whether the batch is in the log. It
proposes the same batch again; the log may then hold it twice, and the second copy must do nothing.

Rules, the same on every member because they follow from the log alone:
    a batch found at an index beyond its horizon is not applied: it comes too late
    a batch whose id was applied within the last `WINDOW` entries is not applied again
    horizon <= (index of the first proposal) + WINDOW, so the two rules leave no gap
The ids are kept in the backend beside the applied index, in a ring of `WINDOW` places.
Source: Raft thesis, section 6.3.
"""

from kvorum.backend.base import Backend, Table
from kvorum.raft.types import Index

WINDOW = 1 << 14
"""Entries; some seconds of the busiest log, more than any request waits."""

_PREFIX = b"batch/"
_PLACE_BYTES = 2
_ID_BYTES = 8


class AppliedBatches:
    """The ids of the batches in the last `WINDOW` entries."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._by_place: dict[int, int] = {}
        self._ids: set[int] = set()

    def restore(self) -> None:
        """Reads everything anew from the backend."""
        after = _PREFIX[:-1] + bytes((_PREFIX[-1] + 1,))
        self._by_place = {
            int.from_bytes(key[len(_PREFIX) :], "big"): int.from_bytes(value, "big")
            for key, value in self._backend.scan(Table.META, _PREFIX, after)
        }
        self._ids = set(self._by_place.values())

    def __contains__(self, batch_id: int) -> bool:
        return batch_id in self._ids

    def add(self, batch_id: int, index: Index) -> None:
        """The batch was applied at this index."""
        place = index % WINDOW
        self._ids.discard(self._by_place.get(place, 0))
        self._by_place[place] = batch_id
        self._ids.add(batch_id)
        key = _PREFIX + place.to_bytes(_PLACE_BYTES, "big")
        self._backend.put(Table.META, key, batch_id.to_bytes(_ID_BYTES, "big"))
