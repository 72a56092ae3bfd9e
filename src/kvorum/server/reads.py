"""Linearizable reads: a ReadIndex round for all readers of a turn, then wait until applied.

A reader is in one of three places:

    waiting   collected for the next round
    rounds    its round is under way: a quorum is asked whether the leader still leads
    confirmed the round gave a read index that this member has not applied yet

Rules: a completion is called exactly once; with None only when this member has applied every
entry that was committed before `read` was called. A reader never joins a round already under way,
because that round's index may be older than the read. A lost round is asked again under a new
context: reads have no effect, so repeating is harmless.
Source: Raft thesis, section 6.4.
"""

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from kvorum.clock import Clock
from kvorum.errors import UnavailableError
from kvorum.raft.rawnode import RawNode, ReadState

ReadCompletion: TypeAlias = Callable[[UnavailableError | None], None]

WAITING_READS_MAX = 16_384
"""Readers without an answer; more are refused."""


class _Reader(Struct):
    completion: ReadCompletion
    deadline: float


class _Round(Struct):
    readers: list[_Reader]
    ask_again_at: float


class Reads:
    """Turns calls of `read` into ReadIndex rounds, one under way at a time."""

    def __init__(self, raft: RawNode, clock: Clock, timeout_seconds: float, retry: float) -> None:
        self._raft = raft
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._retry_seconds = retry
        self._waiting: list[_Reader] = []
        self._rounds: dict[int, _Round] = {}
        self._confirmed: list[tuple[int, list[_Reader]]] = []
        self.pending_count = 0
        """Readers without an answer."""
        self._next_context = clock.random_below(1 << 62) + 1

    def read(self, completion: ReadCompletion) -> None:
        """Calls `completion(None)` once a read here is linearizable, or with why it cannot be."""
        if self.pending_count >= WAITING_READS_MAX:
            completion(UnavailableError("too many requests"))
            return
        self.pending_count += 1
        deadline = self._clock.monotonic() + self._timeout_seconds
        self._waiting.append(_Reader(completion, deadline))

    @property
    def has_work(self) -> bool:
        """Whether `flush` would start a round."""
        return bool(self._waiting) and not self._rounds

    def flush(self) -> None:
        """Starts a round for all who wait, unless one is under way or no leader is known."""
        if not self.has_work:
            return
        context = self._next_context
        if not self._raft.read_index(context):
            return
        self._next_context += 1
        ask_again_at = self._clock.monotonic() + self._retry_seconds
        self._rounds[context] = _Round(self._waiting, ask_again_at)
        self._waiting = []

    def confirmed(self, state: ReadState) -> None:
        """A round was answered: its readers may go once `state.index` is applied."""
        finished = self._rounds.pop(state.context, None)
        if finished is not None:
            self._confirmed.append((state.index, finished.readers))

    def applied(self, applied_index: int) -> None:
        """Answers the readers whose read index is applied."""
        if not self._confirmed:
            return
        ready = [readers for index, readers in self._confirmed if index <= applied_index]
        self._confirmed = [item for item in self._confirmed if item[0] > applied_index]
        for readers in ready:
            self.pending_count -= len(readers)
            for reader in readers:
                reader.completion(None)

    def expire(self, now: float) -> None:
        """Gives up on readers past their deadline, and asks again where a round seems lost."""
        for context, lost in list(self._rounds.items()):
            if lost.ask_again_at <= now:
                del self._rounds[context]
                self._waiting = lost.readers + self._waiting
        late: list[_Reader] = []
        self._waiting = _in_time(self._waiting, now, late)
        confirmed = [(index, _in_time(readers, now, late)) for index, readers in self._confirmed]
        self._confirmed = [item for item in confirmed if item[1]]
        self._fail(late, "request timed out")

    def fail_waiting(self, reason: str) -> None:
        """Answers all who wait for a round to start."""
        waiting, self._waiting = self._waiting, []
        self._fail(waiting, reason)

    def close(self) -> None:
        """Answers everyone: the server stops."""
        for readers in [lost.readers for lost in self._rounds.values()]:
            self._waiting += readers
        for _, readers in self._confirmed:
            self._waiting += readers
        self._rounds.clear()
        self._confirmed.clear()
        self.fail_waiting("server stopped")

    def _fail(self, readers: list[_Reader], reason: str) -> None:
        self.pending_count -= len(readers)
        for reader in readers:
            reader.completion(UnavailableError(reason))


def _in_time(readers: list[_Reader], now: float, late: list[_Reader]) -> list[_Reader]:
    """Those whose deadline has not passed; the others are added to `late`."""
    overdue = [reader for reader in readers if reader.deadline <= now]
    if not overdue:
        return readers
    late += overdue
    return [reader for reader in readers if reader.deadline > now]
