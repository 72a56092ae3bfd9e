"""The write buffer in front of stored tables: reads see every write, commits run behind.

    pending    writes since the last batch was taken
    in flight  the batch being made durable; still read from here until it is
    stored     what a subclass keeps; holds at least everything durable

A read looks at pending, then in flight, then stored. A batch holds all tables with the applied
index they stand for, so what becomes durable is a prefix of the writes and nothing else. The
subclass writes batches one at a time and reports each with `_settle`.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeAlias

from msgspec import Struct

from kvorum.backend.base import Table
from kvorum.errors import StorageError

Layer: TypeAlias = dict[bytes, bytes | None]
"""Writes to one table: key to value, None for removed."""

APPLIED_KEY = b"backend.applied"
"""In META: applied index and term, 8 bytes each, big endian."""

PENDING_RECORDS_MAX = 100_000
"""Bounds the memory of a buffer whose disk is too slow: some 50 MB, seconds of writing."""

_TABLE_SLOTS = max(Table) + 1
_NOTHING: Layer = {}


def encode_applied(index: int, term: int) -> bytes:
    """The value kept at `APPLIED_KEY`."""
    return index.to_bytes(8, "big") + term.to_bytes(8, "big")


def decode_applied(data: bytes | None) -> tuple[int, int]:
    """Index and term of the value kept at `APPLIED_KEY`; (0, 0) when there is none."""
    if data is None:
        return 0, 0
    return int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big")


class Batch(Struct):
    """Writes that become durable together.

    Attributes:
        layers: by table number; unused numbers stay empty.
        index: the applied index after these writes.
        term: its term.
        done: to be called once durable.
    """

    layers: list[Layer]
    index: int
    term: int
    done: Callable[[], None] | None


class BufferedBackend(ABC):
    """`Backend` without the storing.

    Attributes:
        failed: why nothing more will become durable; None while all is well.
        on_failure: called once, on the owning thread, when a batch could not be written.
    """

    def __init__(self) -> None:
        self.failed: StorageError | None = None
        self.on_failure: Callable[[StorageError], None] | None = None
        self._start(0, 0)

    def _start(self, index: int, term: int) -> None:
        """Begins with an empty buffer over content that stands for `index`."""
        self._applied = (index, term)
        self._durable = (index, term)
        self._has_news = False
        self._in_flight: Batch | None = None
        self._pending: list[Layer] = [{} for _ in range(_TABLE_SLOTS)]
        self._flying: list[Layer] = [_NOTHING] * _TABLE_SLOTS
        # The sorted keys of each layer, as far as a scan has needed them.
        self._pending_orders: list[list[bytes]] = [[] for _ in range(_TABLE_SLOTS)]
        self._flying_orders: list[list[bytes]] = [[] for _ in range(_TABLE_SLOTS)]

    @abstractmethod
    def _get_stored(self, table: Table, key: bytes) -> bytes | None:
        """The stored value."""

    @abstractmethod
    def _scan_stored(
        self, table: Table, start: bytes, end: bytes | None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Stored pairs of a range in key order, as they are now."""

    @abstractmethod
    def _write(self, batch: Batch) -> None:
        """Starts making a batch durable; `_settle` follows, perhaps before this returns."""

    @abstractmethod
    def _wait(self) -> None:
        """Blocks until the batch in flight is settled."""

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Sets `key`; the write is durable after a later commit."""
        self._pending[table][key] = value
        self._has_news = True

    def delete(self, table: Table, key: bytes) -> None:
        """Removes `key` if it is there."""
        self._pending[table][key] = None
        self._has_news = True

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value at `key`, with every earlier write seen."""
        layer = self._pending[table]
        if key in layer:
            return layer[key]
        layer = self._flying[table]
        if key in layer:
            return layer[key]
        return self._get_stored(table, key)

    def scan(
        self, table: Table, start: bytes, end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with `start <= key < end` in key order; `end` None means to the last."""
        overlay = _cut(self._flying[table], self._flying_orders[table], start, end)
        overlay |= _cut(self._pending[table], self._pending_orders[table], start, end)
        stored = self._scan_stored(table, start, end)
        return _merge(stored, sorted(overlay.items())) if overlay else stored

    def set_applied(self, index: int, term: int) -> None:
        """All writes so far come from entries up to `index`, whose term was `term`."""
        self._applied = (index, term)
        self._has_news = True

    @property
    def applied(self) -> tuple[int, int]:
        """Index and term last given to `set_applied`, or found at open; (0, 0) when new."""
        return self._applied

    @property
    def durable_index(self) -> int:
        """The applied index that survives a crash now."""
        return self._durable[0]

    def commit(self, done: Callable[[], None] | None = None) -> bool:
        """Starts making everything written so far durable.

        Returns False, and does nothing, when a commit is running already, when nothing is to be
        done, and after a failure. It waits for the running one only when more than
        `PENDING_RECORDS_MAX` writes have piled up behind it.
        """
        if self._in_flight is not None and sum(map(len, self._pending)) > PENDING_RECORDS_MAX:
            self._wait()
        if self._in_flight is not None or not self._has_news or self.failed is not None:
            return False
        batch = Batch(self._pending, *self._applied, done)
        self._in_flight = batch
        self._flying, self._flying_orders = self._pending, self._pending_orders
        self._pending = [{} for _ in range(_TABLE_SLOTS)]
        self._pending_orders = [[] for _ in range(_TABLE_SLOTS)]
        self._has_news = False
        self._write(batch)
        return True

    def discard(self) -> None:
        """Forgets what no commit has begun to make durable; the owner reads nothing any more."""
        self._pending = [{} for _ in range(_TABLE_SLOTS)]
        self._has_news = False

    def flush(self) -> None:
        """Makes everything written so far durable before it returns; it blocks.

        Raises:
            StorageError: it cannot be made durable.
        """
        self._wait()
        self.commit()
        self._wait()
        if self.failed is not None:
            raise self.failed

    def _settle(self, batch: Batch) -> None:
        """`batch` is durable, and `_get_stored` finds it from now on."""
        assert batch is self._in_flight
        self._in_flight = None
        self._flying = [_NOTHING] * _TABLE_SLOTS
        self._flying_orders = [[] for _ in range(_TABLE_SLOTS)]
        self._durable = (batch.index, batch.term)

    def _fail(self, error: StorageError) -> None:
        """The batch in flight cannot be made durable. It stays readable; this is final."""
        self.failed = error
        if self.on_failure is not None:
            self.on_failure(error)


def _cut(layer: Layer, order: list[bytes], start: bytes, end: bytes | None) -> Layer:
    """The part of a layer that lies in a range.

    `order` holds the keys the layer had at the last cut, sorted, and is brought up to date: a layer
    only grows, so those are the keys it was given first. New records mostly sort behind, and then
    sorting only copies.
    """
    if len(order) < len(layer):
        order += islice(layer, len(order), None)
        order.sort()
    low = bisect_left(order, start)
    high = len(order) if end is None else bisect_left(order, end)
    return {key: layer[key] for key in order[low:high]}


def _merge(
    stored: Iterator[tuple[bytes, bytes]], overlay: list[tuple[bytes, bytes | None]]
) -> Iterator[tuple[bytes, bytes]]:
    """Stored pairs with the overlay's in their place, in key order."""
    at, count = 0, len(overlay)
    for pair in stored:
        while at < count and overlay[at][0] < pair[0]:
            key, value = overlay[at]
            at += 1
            if value is not None:
                yield key, value
        if at == count or overlay[at][0] > pair[0]:
            yield pair
    for key, value in overlay[at:]:
        if value is not None:
            yield key, value
