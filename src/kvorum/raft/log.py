"""The replicated log: a durable part behind `Storage`, and a tail that is not durable yet.

Owns the tail, what of it was handed out to be written, and how far the log is committed and
applied. It writes nothing: `take_unwritten` hands entries out, `persisted` reports them durable.

Rules:

    first_index - 1 <= applied <= applying <= min(committed, durable)
    committed <= last_index            durable <= written <= last_index
    tail == entries (durable, last_index]

    Entries up to `committed` never change. Cutting the log back to `i - 1` lowers `written` and
    `durable` to at most `i - 1`, and also every promise of a write still under way: that write
    may reach the disk, but a later one replaces what it wrote from `i` on. So an entry counts as
    durable only when the *last* write that touched its position is done, even if the same entry
    comes back in between (5@1, then 5@2, then 5@1 again).

The caller: appends what `take_unwritten` returned to the storage before it takes more, and reports
writes as done in the order they were handed out.
Source: Raft thesis, sections 3.5, 3.6 and 10.2.1.
"""

from collections import deque
from collections.abc import Sequence

from kvorum.raft.storage import Storage, fitting
from kvorum.raft.types import Entry, Index, SnapshotMeta, Term


class RaftLog:
    """A member's log and its watermarks."""

    def __init__(self, storage: Storage, committed: Index, applied: Index) -> None:
        last_index = storage.last_index()
        assert storage.first_index() - 1 <= applied <= last_index, "applied is not in the log"
        # The commit index is written lazily: what was applied is known to be committed.
        self.committed = max(committed, applied)
        assert self.committed <= last_index, "committed entries are missing from the log"
        self.storage = storage
        self.applied = applied
        self.applying = applied
        self.last_index = last_index
        self.durable = last_index
        self.snapshot: SnapshotMeta | None = None
        """A received snapshot that the storage may not have taken yet."""
        self._tail: list[Entry] = []
        self._written = last_index
        self._is_snapshot_taken = False
        self._writes: deque[tuple[int, Index]] = deque()
        """Writes under way: number, and the index up to which it makes the log durable."""

    # Reading

    @property
    def first_index(self) -> Index:
        """Index of the first entry that can be read."""
        return self.snapshot.index + 1 if self.snapshot else self.storage.first_index()

    @property
    def last_term(self) -> Term:
        """Term of the last entry."""
        if self._tail:
            return self._tail[-1].term
        return self._term(self.last_index)

    def find_term(self, index: Index) -> Term | None:
        """Term of the entry at `index`; None if it was compacted or is not there yet."""
        if index > self.last_index:
            return None
        if index <= self.durable and index < self.first_index - 1:
            return None
        return self._term(index)

    def _term(self, index: Index) -> Term:
        if index > self.durable:
            return self._tail[index - self.durable - 1].term
        if self.snapshot and index == self.snapshot.index:
            return self.snapshot.term
        return self.storage.term(index)

    def matches(self, index: Index, term: Term) -> bool:
        """Whether this log holds the entry of `term` at `index`, hence the same prefix."""
        return self.find_term(index) == term

    def is_up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """Whether a log with this end is at least as complete as ours (section 3.6.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def find_conflict_by_term(self, index: Index, term: Term) -> tuple[Index, Term]:
        """The last position up to `index` whose term is at most `term`; (i, 0) if compacted.

        Whoever's log ends in `term` at `index` can match ours at this position at the latest.
        """
        index = min(index, self.last_index)
        while index > 0:
            own = self.find_term(index)
            if own is None:
                return index, 0
            if own <= term:
                return index, own
            index -= 1
        return 0, 0

    def entries(self, low: Index, high: Index, bytes_max: int) -> list[Entry]:
        """Entries `low <= index < high` within `bytes_max` of data, at least one."""
        assert self.first_index <= low <= high <= self.last_index + 1, "entries out of range"
        durable = self.durable
        if low > durable:
            found = self._tail[low - durable - 1 : high - durable - 1]
            if len(found) > 1:
                del found[fitting(found, bytes_max) :]
            return found
        found = self.storage.entries(low, min(high, durable + 1), bytes_max)
        if low + len(found) == durable + 1 < high:
            found += self._tail[: high - durable - 1]
            del found[fitting(found, bytes_max) :]
        return found

    # Writing

    def append(self, entries: Sequence[Entry]) -> None:
        """Appends `entries`, cutting back whatever stood at their first index and after it."""
        first = entries[0].index
        assert self.committed < first <= self.last_index + 1, "committed entries never change"
        if first <= self.last_index:
            self._cut(first - 1)
        self._tail += entries
        self.last_index += len(entries)

    def _cut(self, last_index: Index) -> None:
        if last_index < self.durable:
            self._tail = []
            self.durable = last_index
        else:
            del self._tail[last_index - self.durable :]
        self.last_index = last_index
        self._written = min(self._written, last_index)
        self._lower_writes(last_index)

    def _lower_writes(self, index: Index) -> None:
        self._writes = deque((number, min(upto, index)) for number, upto in self._writes)

    def maybe_append(self, index: Index, term: Term, entries: Sequence[Entry]) -> bool:
        """Appends a leader's `entries` after `(index, term)`; False if our log has no such entry.

        Entries already here are kept: a delayed APPEND must not cut off what followed it.
        """
        if not self.matches(index, term):
            return False
        for position, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                self.append(entries[position:])
                break
        return True

    def restore(self, snapshot: SnapshotMeta) -> None:
        """A snapshot takes the place of the whole log."""
        assert snapshot.index > self.committed, "a snapshot never goes back"
        index = snapshot.index
        self.snapshot = snapshot
        self._is_snapshot_taken = False
        self._tail = []
        self._lower_writes(index)
        self.last_index = self.durable = self._written = index
        self.committed = self.applying = self.applied = index

    def commit_to(self, index: Index) -> bool:
        """Marks entries up to `index` committed; False if they were."""
        if index <= self.committed:
            return False
        assert index <= self.last_index, "a commit index beyond the log: entries were lost"
        self.committed = index
        return True

    # Handing out

    @property
    def has_unwritten(self) -> bool:
        """Whether entries or a snapshot wait to be handed out for writing."""
        return self._written < self.last_index or (
            self.snapshot is not None and not self._is_snapshot_taken
        )

    def take_unwritten(self) -> tuple[SnapshotMeta | None, list[Entry]]:
        """What is to be written next, in this order; each is handed out once."""
        if self._is_snapshot_taken:
            self.snapshot = None
        snapshot = self.snapshot
        self._is_snapshot_taken = snapshot is not None
        entries = self._tail[self._written - self.durable :]
        self._written = self.last_index
        return snapshot, entries

    def writing(self, number: int) -> None:
        """Write `number` is under way; it includes all that was taken so far."""
        self._writes.append((number, self._written))

    def persisted(self, number: int) -> bool:
        """Writes up to `number` are done. True if entries became durable by it."""
        durable = self.durable
        writes = self._writes
        while writes and writes[0][0] <= number:
            durable = max(durable, writes.popleft()[1])
        if durable == self.durable:
            return False
        del self._tail[: durable - self.durable]
        self.durable = durable
        return True

    @property
    def has_committed(self) -> bool:
        """Whether committed, durable entries wait to be handed out for applying."""
        return self.applying < min(self.committed, self.durable)

    def take_committed(self, bytes_max: int) -> list[Entry]:
        """The next committed entries to apply, all durable; each is handed out once."""
        if not self.has_committed:
            return []
        high = min(self.committed, self.durable) + 1
        entries = self.entries(self.applying + 1, high, bytes_max)
        self.applying += len(entries)
        return entries

    def applied_to(self, index: Index) -> None:
        """The caller has applied entries up to `index`."""
        assert index <= self.applying, "applied what was never handed out"
        self.applied = max(self.applied, index)
