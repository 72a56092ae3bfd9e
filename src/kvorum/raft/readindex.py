"""ReadIndex: reads that wait until a quorum confirms that this member still leads.

A read is in one of two places:

    waiting   no entry of the leader's own term is committed: its commit index may be behind
    pending   registered with the commit index of that moment, under the number of a round

A round is one heartbeat to everyone that has its number as context; all reads of one turn share it.
Rules: a member that answers round n followed this leader after every read with round <= n was
registered, so an answer counts for all earlier rounds too; a read is answered when a quorum has
answered its round or a later one. Rounds count from 1 in each leadership, and an answer of another
term never gets here.
Source: Raft thesis, section 6.4.
"""

from collections import deque

from kvorum.raft.types import Index, MemberId
from kvorum.structs import Untracked

READS_MAX = 4096
"""Reads without an answer that a leader holds; one per member and turn is the usual load."""


class Read(Untracked):
    """A read that somebody asked for: by whom, under which context, at which index."""

    source: MemberId
    context: int
    index: Index = 0
    round: int = 0


class ReadIndex:
    """The reads of one leadership."""

    def __init__(self) -> None:
        self.round = 0
        """Number of the latest round begun."""
        self._waiting: list[Read] = []
        self._pending: deque[Read] = deque()

    @property
    def is_full(self) -> bool:
        """Whether no further read can be taken."""
        return len(self._waiting) + len(self._pending) >= READS_MAX

    @property
    def has_pending(self) -> bool:
        """Whether a read waits for a round's answers."""
        return bool(self._pending)

    @property
    def is_round_due(self) -> bool:
        """Whether a read waits for a round that has not begun."""
        return bool(self._pending) and self._pending[-1].round > self.round

    def wait(self, read: Read) -> None:
        """Holds a read until an entry of the leader's term is committed."""
        self._waiting.append(read)

    def take_waiting(self) -> list[Read]:
        """The reads that waited for that."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def register(self, read: Read, committed: Index) -> None:
        """Registers a read with the commit index of now; the next round will confirm it."""
        read.index = committed
        read.round = self.round + 1
        self._pending.append(read)

    def begin_round(self) -> int:
        """Starts the next round; returns the context of its heartbeats."""
        self.round += 1
        return self.round

    def confirm(self, confirmed_round: int) -> list[Read]:
        """The reads that are confirmed when a quorum has answered `confirmed_round`."""
        confirmed = []
        while self._pending and self._pending[0].round <= confirmed_round:
            confirmed.append(self._pending.popleft())
        return confirmed
