"""Which ranges hold a key: the look-up behind the watch hub.

Three kinds of range, each where it is found fastest:

    prefix    [p, p with its last byte raised): a dictionary, asked once per distinct prefix length
    tail      [start, FROM_KEY): starts in order; everything up to the key's place holds it
    span      any other [start, end): in order of start, in chunks that know their greatest end

Nearly all real ranges are prefixes. A span costs a look at each chunk that begins before the key,
so one in `CHUNK_SPANS` of the spans and those that hold the key; chunks are computed anew at the
first look-up after a change of the spans.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator
from typing import Generic, TypeVar

from kvorum.mvcc.sortedkeys import FROM_KEY

CHUNK_SPANS = 64

T = TypeVar("T")
Span = tuple[bytes, bytes]


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with `prefix`."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else FROM_KEY


class RangeIndex(Generic[T]):
    """Distinct ranges with one value each."""

    __slots__ = ("_chunk_ends", "_lengths", "_prefixes", "_ranges", "_spans", "_tails")

    def __init__(self) -> None:
        self._ranges: dict[Span, T] = {}
        self._prefixes: dict[bytes, T] = {}
        self._lengths: dict[int, int] = {}
        self._tails: list[bytes] = []
        self._spans: list[Span] = []
        self._chunk_ends: list[bytes] | None = []

    def __len__(self) -> int:
        return len(self._ranges)

    def __iter__(self) -> Iterator[T]:
        return iter(self._ranges.values())

    def find(self, start: bytes, end: bytes) -> T | None:
        """The value of exactly this range."""
        return self._ranges.get((start, end))

    def add(self, start: bytes, end: bytes, value: T) -> None:
        """Adds a range that is not there yet."""
        assert (start, end) not in self._ranges
        self._ranges[start, end] = value
        if end == FROM_KEY:
            insort(self._tails, start)
        elif end == prefix_end(start):
            self._prefixes[start] = value
            self._lengths[len(start)] = self._lengths.get(len(start), 0) + 1
        else:
            insort(self._spans, (start, end))
            self._chunk_ends = None

    def remove(self, start: bytes, end: bytes) -> None:
        """Removes a range that is there."""
        del self._ranges[start, end]
        if end == FROM_KEY:
            self._tails.remove(start)
        elif end == prefix_end(start):
            del self._prefixes[start]
            self._lengths[len(start)] -= 1
            if not self._lengths[len(start)]:
                del self._lengths[len(start)]
        else:
            self._spans.remove((start, end))
            self._chunk_ends = None

    def stab(self, key: bytes) -> list[T]:
        """The values of all ranges that hold `key`."""
        found = []
        prefixes, key_bytes = self._prefixes, len(key)
        for length in self._lengths:
            if length <= key_bytes:
                value = prefixes.get(key[:length])
                if value is not None:
                    found.append(value)
        if self._tails:
            count = bisect_right(self._tails, key)
            found += [self._ranges[start, FROM_KEY] for start in self._tails[:count]]
        if self._spans:
            found += self._stab_spans(key)
        return found

    def _stab_spans(self, key: bytes) -> list[T]:
        spans = self._spans
        if self._chunk_ends is None:
            self._chunk_ends = [
                max(end for _, end in spans[at : at + CHUNK_SPANS])
                for at in range(0, len(spans), CHUNK_SPANS)
            ]
        count = bisect_right(spans, key, key=lambda span: span[0])
        return [
            self._ranges[span]
            for at in range(0, count, CHUNK_SPANS)
            if self._chunk_ends[at // CHUNK_SPANS] > key
            for span in spans[at : min(at + CHUNK_SPANS, count)]
            if span[1] > key
        ]
