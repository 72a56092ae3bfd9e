"""What the records of a log add up to: the same rules for reading it back and for writing on.

Rules:

1. An entry's index is at most `last_index + 1`; entries from that index on are replaced by it.
2. Terms never fall along the log.
3. A marker stands for a log that begins anew at `marker.index + 1`, whatever was there: released
   segments must not change what it means.
4. `hard_state.commit <= last_index`: the log never promises what it does not hold.

Source: Raft thesis, sections 3.5 and 5.1.
"""

from bisect import bisect_left

from msgspec import Struct

from kvorum.errors import LocalProtocolError
from kvorum.raft.types import Entry, HardState, Index, SnapshotMeta, Term
from kvorum.wal.record import Head, Payload


class Recovered(Struct):
    """What a member knew when it went down.

    Attributes:
        metadata: the caller's, given to `Wal.create`.
        hard_state: the last one.
        snapshot: the last marker; index 0 when there is none.
        entries: contiguous, after the marker. Without release they begin at `snapshot.index + 1`;
            after `release(index)` they may begin anywhere up to `index + 1`.
        last_index: of the last entry, or of what came before when `entries` is empty. A state
            machine ahead of it means that a part of the log is gone.
    """

    metadata: bytes
    hard_state: HardState
    snapshot: SnapshotMeta
    entries: list[Entry]
    last_index: Index


class LogState:
    """Where a log stands, without its entries.

    Raises LocalProtocolError when the head is of no log: it breaks rule 3 or 4.

    Attributes:
        first_index: of the entries still there; `first_index - 1 <= last_index`.
        last_index: of the last entry, or where the next one follows.
        hard_state: the last one.
        snapshot: the last marker.
    """

    def __init__(self, head: Head) -> None:
        self.first_index = head.next_index
        self.last_index = head.next_index - 1
        self.hard_state = head.hard_state
        self.snapshot = head.snapshot
        last = self.last_index
        if self.hard_state.commit > last or not 0 <= self.snapshot.index <= last:
            raise LocalProtocolError(f"a log that ends at {last} is not the one of its own head")
        # Where each term begins, rising in both; nothing is known of indexes before the first.
        self._term_starts: list[tuple[Index, Term]] = []

    def append(self, term: Term, index: Index) -> None:
        """Takes an entry into account. Raises LocalProtocolError when it breaks rule 1 or 2."""
        starts = self._term_starts
        if index == self.last_index + 1 and starts and starts[-1][1] == term:
            self.last_index = index
            return
        if not self.snapshot.index < index <= self.last_index + 1:
            raise LocalProtocolError(
                f"entry {index} does not follow entry {self.last_index} "
                f"and marker {self.snapshot.index}"
            )
        kept = bisect_left(starts, index, key=_index)
        if kept and starts[kept - 1][1] > term:
            raise LocalProtocolError(f"the term falls to {term} at entry {index}")
        del starts[kept:]
        if not starts or starts[-1][1] != term:
            starts.append((index, term))
        self.first_index = min(self.first_index, index)
        self.last_index = index

    def mark(self, snapshot: SnapshotMeta) -> None:
        """Takes a marker into account. Raises LocalProtocolError when it goes back."""
        index = snapshot.index
        if index < self.snapshot.index:
            raise LocalProtocolError(f"marker {index} comes after marker {self.snapshot.index}")
        self.first_index = index + 1
        self.last_index = index
        self._term_starts = [(index, snapshot.term)]
        self.snapshot = snapshot

    def set_hard_state(self, hard_state: HardState) -> None:
        """Takes a hard state into account. Raises LocalProtocolError when it breaks rule 4."""
        if hard_state.commit > self.last_index:
            raise LocalProtocolError(
                f"entries up to {hard_state.commit} were committed, "
                f"and the log ends at {self.last_index}"
            )
        self.hard_state = hard_state


def _index(start: tuple[Index, Term]) -> Index:
    return start[0]


class Replay:
    """Reads a log from the head of its first segment on.

    Attributes:
        state: where the log stands after the records fed so far.
        entries: those still there.
        metadata: the caller's.
    """

    def __init__(self, head: Head) -> None:
        self.state = LogState(head)
        self.entries: list[Entry] = []
        self.metadata = head.metadata

    def feed(self, value: Payload) -> None:
        """Takes the next record. Raises LocalProtocolError when it cannot follow those before."""
        match value:
            case Entry():
                self._append(value)
            case HardState():
                self.state.set_hard_state(value)
            case SnapshotMeta():
                self._mark(value)
            case Head():
                self._compare(value)

    def _append(self, entry: Entry) -> None:
        self.state.append(entry.term, entry.index)
        entries = self.entries
        if entries and entry.index <= entries[-1].index:
            del entries[max(0, entry.index - entries[0].index) :]
        entries.append(entry)

    def _mark(self, snapshot: SnapshotMeta) -> None:
        self.state.mark(snapshot)
        self.entries.clear()

    def _compare(self, head: Head) -> None:
        state = self.state
        known = (self.metadata, state.hard_state, state.snapshot, state.last_index + 1)
        if known != (head.metadata, head.hard_state, head.snapshot, head.next_index):
            raise LocalProtocolError("the segment's head contradicts the segments before it")

    def recovered(self) -> Recovered:
        """The sum of all that was fed."""
        state = self.state
        return Recovered(
            self.metadata, state.hard_state, state.snapshot, self.entries, state.last_index
        )
