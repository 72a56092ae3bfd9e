"""The key index: for every key, where its records stand. In memory, rebuilt at start.

    live     key -> Revision of its current record
    keys     the live keys in order
    history  key -> its past since the last compaction (see keyindex), for keys that have one
    dead     keys in order that have a history and no current record

So a key that was written once costs one dictionary entry, one int and its bytes, counts and
"which key follows" never step over deleted keys, and nothing per key is seen by the garbage
collector. About 150 bytes a key of 8 bytes.
"""

from kvorum.mvcc import keyindex
from kvorum.mvcc.keyindex import History
from kvorum.mvcc.revision import SUB_BITS, Revision
from kvorum.mvcc.sortedkeys import FROM_KEY, SortedKeys


class Index:
    """Every key's current revision and its history.

    Attributes:
        live: key to the revision of its current record. Read freely; written only here.
        keys: the live keys, in order.
    """

    __slots__ = ("_dead", "_history", "keys", "live")

    def __init__(self) -> None:
        self.live: dict[bytes, Revision] = {}
        self.keys = SortedKeys([])
        self._history: dict[bytes, History] = {}
        self._dead = SortedKeys([])

    def put(self, key: bytes, revision: Revision, previous: Revision | None) -> None:
        """A put at `revision` replaces the record at `previous`, the key's current one."""
        self.live[key] = revision
        if previous is not None:
            history = self._history
            history[key] = keyindex.append(history.get(key), previous)
            return
        self.keys.add(key)
        if key in self._history:
            self._dead.remove(key)

    def remove(self, key: bytes, revision: Revision) -> None:
        """A tombstone at `revision` ends a live key."""
        history = keyindex.append(self._history.get(key), self.live.pop(key))
        self._history[key] = keyindex.append(history, revision, dead=True)
        self.keys.remove(key)
        self._dead.add(key)

    def find_at(self, key: bytes, main: int) -> Revision | None:
        """Where the record of `key` at revision `main` stands; None when it did not exist."""
        current = self.live.get(key)
        if current is not None and current >> SUB_BITS <= main:
            return current
        return keyindex.find_at(self._history.get(key), main)

    def range_at(self, start: bytes, end: bytes, main: int) -> list[Revision]:
        """Where the records of the keys in a range at revision `main` stand, in key order."""
        keys = sorted([*self.keys.iterate(start, end), *self._dead.iterate(start, end)])
        found = (self.find_at(key, main) for key in keys)
        return [revision for revision in found if revision is not None]

    def compact(self, key: bytes, main: int) -> None:
        """Forgets what reads of `key` at `main` and later cannot see."""
        history = self._history.get(key)
        if history is None:
            return
        current = self.live.get(key)
        left = keyindex.compact(history, main, current)
        if left is not None:
            self._history[key] = left
            return
        del self._history[key]
        if current is None:
            self._dead.remove(key)


class IndexBuilder:
    """Rebuilds an index from records in order of revision; sorts the keys once at the end."""

    def __init__(self) -> None:
        self._live: dict[bytes, Revision] = {}
        self._history: dict[bytes, History] = {}

    def add(self, key: bytes, revision: Revision, *, tombstone: bool) -> None:
        """Takes the next record."""
        live = self._live
        if not tombstone:
            previous = live.get(key)
            live[key] = revision
            if previous is not None:
                self._history[key] = keyindex.append(self._history.get(key), previous)
            return
        history = self._history.get(key)
        if key in live:
            history = keyindex.append(history, live.pop(key))
        self._history[key] = keyindex.append(history, revision, dead=True)

    def build(self) -> Index:
        """The finished index."""
        index = Index()
        index.live = self._live
        index.keys = SortedKeys(sorted(self._live))
        index._history = self._history  # noqa: SLF001 - the builder is the index's constructor
        index._dead = SortedKeys(sorted(key for key in self._history if key not in self._live))  # noqa: SLF001
        return index


__all__ = ["FROM_KEY", "Index", "IndexBuilder"]
