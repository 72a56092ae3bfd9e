"""An ordered set of keys: the one that follows, a slice, a count, each in about a microsecond.

Keys stand in blocks, each a sorted tuple, with the first key of each block beside. A look-up is
two bisections in C. Tuples rather than lists, because the garbage collector stops looking into a
tuple of bytes after its first visit: a million keys are 10,000 tuples to it. The price is that an
insertion copies a block, so blocks are short.

    a block has 1 .. BLOCK_KEYS_MAX keys; blocks and the keys in them ascend
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

BLOCK_KEYS_MAX = 128

FROM_KEY = b"\0"
"""As the end of a range: every key from its start on. No other range could end there."""


class SortedKeys:
    """Distinct keys in byte order. Ranges are `start <= key < end`, or open with `FROM_KEY`."""

    __slots__ = ("_blocks", "_firsts", "_size")

    def __init__(self, keys: list[bytes]) -> None:
        """Takes distinct keys, sorted."""
        step = BLOCK_KEYS_MAX * 3 // 4
        self._blocks = [tuple(keys[at : at + step]) for at in range(0, len(keys), step)]
        self._firsts = [block[0] for block in self._blocks]
        self._size = len(keys)

    def __len__(self) -> int:
        return self._size

    def add(self, key: bytes) -> None:
        """Adds a key that is not there yet."""
        self._size += 1
        at = bisect_right(self._firsts, key) - 1
        if at < 0:
            if not self._blocks:
                self._blocks.append((key,))
                self._firsts.append(key)
                return
            at = 0
        block = self._blocks[at]
        inner = bisect_left(block, key)
        block = (*block[:inner], key, *block[inner:])
        self._firsts[at] = block[0]
        if len(block) <= BLOCK_KEYS_MAX:
            self._blocks[at] = block
        else:
            self._split(at, block, inner)

    def _split(self, at: int, block: tuple[bytes, ...], inner: int) -> None:
        # Ascending insertion is common (queues): leave full blocks behind, not half-full ones.
        middle = inner if inner == BLOCK_KEYS_MAX else len(block) // 2
        self._blocks[at : at + 1] = (block[:middle], block[middle:])
        self._firsts.insert(at + 1, block[middle])

    def remove(self, key: bytes) -> None:
        """Removes a key that is there."""
        self._size -= 1
        at = bisect_right(self._firsts, key) - 1
        block = self._blocks[at]
        inner = bisect_left(block, key)
        assert block[inner] == key
        block = block[:inner] + block[inner + 1 :]
        if block:
            self._blocks[at] = block
            self._firsts[at] = block[0]
        else:
            del self._blocks[at]
            del self._firsts[at]

    def find_next(self, start: bytes) -> bytes | None:
        """The smallest key that is not below `start`."""
        at = bisect_right(self._firsts, start) - 1
        if at >= 0:
            block = self._blocks[at]
            inner = bisect_left(block, start)
            if inner < len(block):
                return block[inner]
        at += 1
        return self._firsts[at] if at < len(self._firsts) else None

    def iterate(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """The keys of a range, ascending. The set must not change meanwhile."""
        first, inner = self._locate(start)
        last, cut = self._end(end)
        for at in range(first, min(last + 1, len(self._blocks))):
            block = self._blocks[at]
            yield from block[inner if at == first else 0 : cut if at == last else len(block)]

    def count(self, start: bytes, end: bytes) -> int:
        """How many keys a range holds."""
        first, inner = self._locate(start)
        last, cut = self._end(end)
        if first > last:
            return 0
        if first == last:
            return max(cut - inner, 0)
        return sum(map(len, self._blocks[first:last])) - inner + cut

    def _end(self, end: bytes) -> tuple[int, int]:
        return (len(self._blocks), 0) if end == FROM_KEY else self._locate(end)

    def _locate(self, key: bytes) -> tuple[int, int]:
        """Block, and place in it, of the first key that is not below `key`."""
        at = max(bisect_right(self._firsts, key) - 1, 0)
        if at == len(self._blocks):
            return at, 0
        return at, bisect_left(self._blocks[at], key)
