"""What a leader knows of one peer's log, and how much it may send to it.

Owns all transitions between the three ways of feeding a peer:

    PROBE      its log is unknown: one APPEND at a time, until one is accepted
    REPLICATE  its log matches: a window of APPENDs under way, `next` runs ahead
    SNAPSHOT   it needs entries that are gone: nothing is sent until the snapshot has arrived

    PROBE --accepted--> REPLICATE --rejected, unreachable--> PROBE
    any --entries compacted--> SNAPSHOT --finished, failed, acknowledged--> PROBE

Rules: match < next; in PROBE next == match + 1 unless still searching; entries up to `match` are
durable at the peer in the leader's term. The window is counted in messages.
Source: Raft thesis, sections 3.5 and 10.2.1; the three states are etcd's.
"""

from collections import deque
from enum import IntEnum

from msgspec import Struct

from kvorum.raft.types import Index, MemberId


class ProgressState(IntEnum):
    """How a peer is fed."""

    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2


class Inflights:
    """The last indexes of APPENDs under way, oldest first, at most `capacity` of them."""

    __slots__ = ("_capacity", "_last_indexes")

    def __init__(self, capacity: int) -> None:
        assert capacity > 0, "a window of nothing would never move"
        self._capacity = capacity
        self._last_indexes: deque[Index] = deque()

    def __len__(self) -> int:
        return len(self._last_indexes)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be sent before an acknowledgement."""
        return len(self._last_indexes) >= self._capacity

    def add(self, last_index: Index) -> None:
        """An APPEND whose last entry is `last_index` was sent."""
        assert not self.is_full, "sent more than the window allows"
        self._last_indexes.append(last_index)

    def free_to(self, index: Index) -> None:
        """The peer has everything up to `index`."""
        last_indexes = self._last_indexes
        while last_indexes and last_indexes[0] <= index:
            last_indexes.popleft()

    def clear(self) -> None:
        """Forgets all: nothing sent so far is counted on."""
        self._last_indexes.clear()


class Progress(Struct):
    """One peer as its leader sees it.

    Attributes:
        match: highest index known to be durable at the peer, in the leader's term.
        next: index of the next entry to send.
        sent_commit: highest commit index sent to it.
        known_commit: highest commit index that it has said it knows.
        pending_snapshot: index of the snapshot it is to receive, 0 if none.
        is_waiting: PROBE: an APPEND is out; nothing follows before something is heard.
        is_append_owed: an APPEND is to be sent even if it has no entries.
        is_recently_active: it was heard since the last check of the quorum.
        acknowledged_round: latest ReadIndex round it has answered.
    """

    member_id: MemberId
    next: Index
    inflights: Inflights
    match: Index = 0
    state: ProgressState = ProgressState.PROBE
    sent_commit: Index = 0
    pending_snapshot: Index = 0
    is_waiting: bool = False
    is_append_owed: bool = False
    is_recently_active: bool = False
    acknowledged_round: int = 0
    known_commit: Index = 0

    def _become(self, state: ProgressState) -> None:
        self.state = state
        self.is_waiting = False
        self.is_append_owed = False
        self.pending_snapshot = 0
        self.inflights.clear()

    def become_probe(self) -> None:
        """Searches for where the logs match: after the snapshot, if one was sent."""
        self.next = max(self.match, self.pending_snapshot) + 1
        self.sent_commit = min(self.sent_commit, self.next - 1)
        self._become(ProgressState.PROBE)

    def become_replicate(self) -> None:
        """The logs match up to `match`: entries may be sent ahead."""
        self._become(ProgressState.REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: Index) -> None:
        """A snapshot that stands for `index` was sent."""
        self._become(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1
        self.sent_commit = index

    def snapshot_finished(self, *, is_installed: bool) -> None:
        """The snapshot has arrived, or was lost. What follows waits until the peer is heard."""
        if not is_installed:
            self.pending_snapshot = 0
        self.become_probe()
        self.is_waiting = True

    @property
    def can_send(self) -> bool:
        """Whether an APPEND may be sent at all."""
        return not self.is_waiting and self.state is not ProgressState.SNAPSHOT

    @property
    def can_send_entries(self) -> bool:
        """Whether an APPEND may have entries: the window has room."""
        return self.state is not ProgressState.REPLICATE or not self.inflights.is_full

    def needs_commit(self, committed: Index) -> bool:
        """Whether an APPEND without entries would move the peer's commit index."""
        sent = self.sent_commit
        return self.state is ProgressState.REPLICATE and sent < committed and sent < self.next - 1

    def sent(self, entry_count: int, committed: Index) -> None:
        """An APPEND with so many entries, from `next` on, was sent."""
        self.is_append_owed = False
        self.sent_commit = committed
        if not entry_count:
            return
        if self.state is ProgressState.REPLICATE:
            self.next += entry_count
            self.inflights.add(self.next - 1)
        else:
            self.is_waiting = True

    def acknowledged(self, index: Index, first_index: Index) -> bool:
        """The peer has everything up to `index`; True if `match` advanced.

        `first_index` is the leader's: a peer in SNAPSHOT that can be fed from the log again, is.
        """
        is_news = index > self.match
        if is_news:
            self.match = index
            self.next = max(self.next, index + 1)
            self.is_waiting = False
        if self.state is ProgressState.REPLICATE:
            self.inflights.free_to(index)
        elif self.state is ProgressState.PROBE:
            if index == self.match:
                self.become_replicate()
        elif is_news and self.match + 1 >= first_index:
            self.become_replicate()
        return is_news

    def rejected(self, index: Index, match_hint: Index) -> bool:
        """The peer has no entry that fits at `index`; False if the rejection is an old one.

        Args:
            index: the position before the first entry of the APPEND it refused.
            match_hint: the last position at which the logs can match.
        """
        if self.state is ProgressState.REPLICATE:
            if index <= self.match:
                return False
            self.become_probe()
            return True
        if self.state is ProgressState.SNAPSHOT or self.next - 1 != index:
            return False
        self.next = max(min(index, match_hint + 1), self.match + 1)
        self.sent_commit = min(self.sent_commit, self.next - 1)
        self.is_waiting = False
        return True
