"""Where the past records of one key stand: its history since the last compaction.

A history is a value, not an object, so that a million of them cost the garbage collector nothing:
an int while it holds one entry, a bytearray of 12-byte entries from two on. An entry is
`revision << 1 | dead`, where `dead` marks a tombstone; entries ascend. The current record of a
live key is not in its history, the tombstone of a dead key is its last entry.

    each function takes a history or None (empty) and returns the one to keep in its place
Source: v3-grpc sections 2.1 and 2.7.
"""

from typing import TypeAlias

from kvorum.mvcc.revision import SUB_BITS, Revision

History: TypeAlias = int | bytearray

_ENTRY_BYTES = 12
_MAIN_SHIFT = SUB_BITS + 1


def append(history: History | None, revision: Revision, *, dead: bool = False) -> History:
    """The history with a newer entry at its end."""
    entry = revision << 1 | dead
    if history is None:
        return entry
    if isinstance(history, int):
        history = bytearray(history.to_bytes(_ENTRY_BYTES, "big"))
    history += entry.to_bytes(_ENTRY_BYTES, "big")
    return history


def entries(history: History | None) -> list[int]:
    """All entries, oldest first."""
    if history is None:
        return []
    if isinstance(history, int):
        return [history]
    return [
        int.from_bytes(history[at : at + _ENTRY_BYTES], "big")
        for at in range(0, len(history), _ENTRY_BYTES)
    ]


def find_at(history: History | None, main: int) -> Revision | None:
    """Where the key's record at revision `main` stands; None when it did not exist then."""
    if history is None:
        return None
    if isinstance(history, int):
        entry = history if history >> _MAIN_SHIFT <= main else 1
    else:
        count = _count_upto(history, main)
        entry = _entry(history, count - 1) if count else 1
    return None if entry & 1 else Revision(entry >> 1)


def compact(history: History | None, main: int, successor: Revision | None) -> History | None:
    """The history without what reads at `main` and later cannot see; None when nothing is left.

    `successor` is the key's current record, which follows the last entry.
    """
    if history is None:
        return None
    if isinstance(history, int):
        # A dead key has two entries at least, its last value and the tombstone.
        assert successor is not None
        return None if successor >> SUB_BITS <= main else history
    count = _count_upto(history, main)
    if count and not _is_needed(history, count, main, successor):
        count += 1
    return _without(history, max(count - 1, 0))


def _is_needed(history: bytearray, count: int, main: int, successor: Revision | None) -> bool:
    """Whether the newest of the first `count` entries is what a read at `main` finds."""
    is_last = count * _ENTRY_BYTES == len(history)
    superseded = is_last and successor is not None and successor >> SUB_BITS <= main
    return not superseded and not _entry(history, count - 1) & 1


def _without(history: bytearray, count: int) -> History | None:
    """The history without its first `count` entries."""
    left = len(history) // _ENTRY_BYTES - count
    if left == 0:
        return None
    if left == 1:
        return _entry(history, count)
    if count:
        del history[: count * _ENTRY_BYTES]
    return history


def _entry(history: bytearray, position: int) -> int:
    at = position * _ENTRY_BYTES
    return int.from_bytes(history[at : at + _ENTRY_BYTES], "big")


def _count_upto(history: bytearray, main: int) -> int:
    """How many entries have a main revision of at most `main`, by bisection."""
    bound = ((main + 1) << _MAIN_SHIFT).to_bytes(_ENTRY_BYTES, "big")
    low, high = 0, len(history) // _ENTRY_BYTES
    while low < high:
        middle = (low + high) // 2
        at = middle * _ENTRY_BYTES
        if history[at : at + _ENTRY_BYTES] < bound:
            low = middle + 1
        else:
            high = middle
    return low
