"""What raft reads of the log that it has handed out, and the log in memory.

Raft reads through `Storage` and never writes: the caller appends the entries of each Ready before
it asks for the next one. `MemoryStorage` holds everything a member needs between its newest
compaction and the end of its log; the file behind it is the caller's.

Rules, with `offset` the index that compaction or a snapshot has reached:

    first_index == offset + 1          last_index == offset + number of entries
    term(i) is known for offset <= i <= last_index
    snapshot().index >= offset         (who is sent a snapshot can go on with the entries here)

Source: Raft thesis, section 5.1.
"""

from collections.abc import Sequence
from typing import Protocol

from kvorum.raft.types import ConfState, Entry, HardState, Index, SnapshotMeta, Term


class Storage(Protocol):
    """The stable part of the log, as raft sees it."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """What a start begins with; the ConfState is the one at the applied index."""

    def first_index(self) -> Index:
        """Index of the first entry still held, or that the next entry will have."""

    def last_index(self) -> Index:
        """Index of the last entry, or of the snapshot when there is none."""

    def term(self, index: Index) -> Term:
        """Term of an entry, `first_index() - 1 <= index <= last_index()`."""

    def entries(self, low: Index, high: Index, bytes_max: int) -> list[Entry]:
        """Entries `low <= index < high`, as many as fit `bytes_max` of data but at least one."""

    def snapshot(self) -> SnapshotMeta:
        """What a snapshot sent now stands for; its index is at least `first_index() - 1`."""


def fitting(entries: Sequence[Entry], bytes_max: int) -> int:
    """How many of `entries` from the front fit `bytes_max` of data; the first one always does."""
    count, room = 0, bytes_max
    for entry in entries:
        room -= len(entry.data)
        if room < 0 and count:
            break
        count += 1
    return count


class MemoryStorage:
    """A log in memory.

    Attributes:
        data_bytes: the data of all entries held.
    """

    def __init__(self) -> None:
        self.data_bytes = 0
        self._hard_state = HardState()
        self._snapshot = SnapshotMeta()
        self._offset: Index = 0
        self._offset_term: Term = 0
        self._entries: list[Entry] = []

    def initial_state(self) -> tuple[HardState, ConfState]:
        """The hard state last set, and the ConfState of the newest snapshot meta."""
        return self._hard_state, self._snapshot.conf_state

    def first_index(self) -> Index:
        """Index of the first entry still held."""
        return self._offset + 1

    def last_index(self) -> Index:
        """Index of the last entry."""
        return self._offset + len(self._entries)

    def term(self, index: Index) -> Term:
        """Term of the entry at `index`."""
        if index == self._offset:
            return self._offset_term
        assert index > self._offset, "the entry was compacted"
        return self._entries[index - self._offset - 1].term

    def entries(self, low: Index, high: Index, bytes_max: int) -> list[Entry]:
        """Entries `low <= index < high` within `bytes_max`, at least one."""
        assert self._offset < low <= high <= self.last_index() + 1, "entries out of range"
        start = low - self._offset - 1
        found = self._entries[start : high - self._offset - 1]
        if len(found) > 1:
            del found[fitting(found, bytes_max) :]
        return found

    def snapshot(self) -> SnapshotMeta:
        """The newest snapshot meta."""
        return self._snapshot

    def append(self, entries: Sequence[Entry]) -> None:
        """Appends `entries`; whatever stood at their first index and after it goes."""
        if not entries:
            return
        start = entries[0].index - self._offset - 1
        assert 0 <= start <= len(self._entries), "entries must join the log"
        if start < len(self._entries):
            self.data_bytes -= _data_bytes(self._entries[start:])
        self._entries[start:] = entries
        self.data_bytes += _data_bytes(entries)

    def set_hard_state(self, hard_state: HardState) -> None:
        """Takes the hard state of a Ready."""
        self._hard_state = hard_state

    def set_snapshot_meta(self, meta: SnapshotMeta) -> None:
        """From now on a snapshot stands for `meta`, and a restart begins with its ConfState."""
        assert meta.index >= self._offset, "a snapshot must reach what was compacted"
        self._snapshot = meta

    def apply_snapshot(self, meta: SnapshotMeta) -> None:
        """A received snapshot takes the place of the whole log."""
        self._snapshot = meta
        self._offset, self._offset_term = meta.index, meta.term
        self._entries = []
        self.data_bytes = 0

    def compact(self, index: Index) -> None:
        """Drops the entries up to and including `index`; a snapshot meta must reach so far."""
        if index <= self._offset:
            return
        assert index <= self._snapshot.index, "only what a snapshot covers may go"
        term = self.term(index)
        self.data_bytes -= _data_bytes(self._entries[: index - self._offset])
        del self._entries[: index - self._offset]
        self._offset, self._offset_term = index, term


def _data_bytes(entries: Sequence[Entry]) -> int:
    return sum(len(entry.data) for entry in entries)
