"""Commands waiting to be committed, and who waits for their results.

All commands that come in while the log is busy become one batch, one Raft entry: the batch grows
by itself under load. A batch is in one of three places:

    queue    commands of the current turn, not yet encoded
    unsent   encoded, but there is no leader to take it; kept in order until one is known
    pending  given to raft; resolved when this member applies the entry, or times out

A batch given to a leader that then vanished may be in the log or lost: it goes back to `unsent` and
is proposed again, the same bytes under the same id. Applying drops the second copy.

Rules: every completion is called exactly once. After a timeout the command may still be committed:
the answer says that the outcome is unknown, never that it failed.

The caller: `flush` once a turn while the log is idle, `resolve` for every applied batch,
`leader_changed`, and `expire` at every heartbeat.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from kvorum.apply.applier import Applier
from kvorum.apply.batches import WINDOW
from kvorum.apply.commands import Batch, Command, encode_batch
from kvorum.clock import Clock
from kvorum.errors import UnavailableError
from kvorum.raft.rawnode import ProposalDropped, RawNode

Completion: TypeAlias = Callable[[object], None]

BATCH_BYTES_MAX = 1 << 20
"""A batch larger than this is halved: one entry must not hold up heartbeats behind it."""

WAITING_COMMANDS_MAX = 16_384
"""Commands without an answer; more are refused, so that memory and delay stay bounded."""


class _Waiting(Struct):
    id: int
    data: bytes
    completions: list[Completion]
    deadline: float


class Proposals:
    """Turns commands into batches for raft and results into answers."""

    def __init__(
        self, raft: RawNode, applier: Applier, clock: Clock, timeout_seconds: float
    ) -> None:
        self._raft = raft
        self._applier = applier
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._commands: list[Command] = []
        self._completions: list[Completion] = []
        self._unsent: deque[_Waiting] = deque()
        self._pending: dict[int, _Waiting] = {}
        self._pending_commands = 0
        self.failed_count = 0
        """Commands that were answered with an UnavailableError."""
        # A random start keeps a batch of an earlier life of this process apart from ours.
        self._next_id = clock.random_below(1 << 62)

    def propose(self, command: Command, completion: Completion) -> None:
        """Takes a command; `completion` gets its result, or an UnavailableError."""
        if len(self._completions) + self._pending_commands >= WAITING_COMMANDS_MAX:
            self.failed_count += 1
            completion(UnavailableError("too many requests"))
            return
        self._commands.append(command)
        self._completions.append(completion)

    @property
    def pending_count(self) -> int:
        """Commands without an answer."""
        return len(self._completions) + self._pending_commands

    @property
    def has_work(self) -> bool:
        """Whether `flush` would have anything to give to raft."""
        return bool(self._commands or self._unsent)

    def flush(self) -> None:
        """Gives everything collected to raft, as far as there is a leader to take it."""
        if self._commands:
            commands, completions = self._commands, self._completions
            self._commands, self._completions = [], []
            self._encode(commands, completions, self._clock.monotonic() + self._timeout_seconds)
        while self._unsent:
            waiting = self._unsent[0]
            try:
                self._raft.propose(waiting.data)
            except ProposalDropped:
                return
            self._unsent.popleft()
            self._pending[waiting.id] = waiting

    def _encode(
        self, commands: list[Command], completions: list[Completion], deadline: float
    ) -> None:
        horizon = self._applier.applied_index + WINDOW
        data = encode_batch(Batch(self._next_id, horizon, commands))
        if len(data) > BATCH_BYTES_MAX and len(commands) > 1:
            half = len(commands) // 2
            self._encode(commands[:half], completions[:half], deadline)
            self._encode(commands[half:], completions[half:], deadline)
            return
        self._unsent.append(_Waiting(self._next_id, data, completions, deadline))
        self._pending_commands += len(completions)
        self._next_id += 1

    def resolve(self, batch_id: int, results: list[object]) -> None:
        """Answers those who wait for this batch; a batch of another member is nobody's here."""
        waiting = self._pending.pop(batch_id, None) or self._take_unsent(batch_id)
        if waiting is None:
            return
        self._pending_commands -= len(results)
        for completion, result in zip(waiting.completions, results, strict=True):
            completion(result)

    def leader_changed(self) -> None:
        """What the old leader was given is proposed again: it may never have arrived."""
        self._unsent.extendleft(reversed(self._pending.values()))
        self._pending.clear()

    def expire(self, now: float) -> None:
        """Answers the batches whose deadline has passed."""
        while self._unsent and self._unsent[0].deadline <= now:
            self._fail(self._unsent.popleft(), "no leader")
        overdue = [waiting for waiting in self._pending.values() if waiting.deadline <= now]
        for waiting in overdue:
            del self._pending[waiting.id]
            self._fail(waiting, "request timed out")

    def _take_unsent(self, batch_id: int) -> _Waiting | None:
        """A batch about to be proposed again, though the first copy has arrived."""
        for waiting in self._unsent:
            if waiting.id == batch_id:
                self._unsent.remove(waiting)
                return waiting
        return None

    def fail_unsent(self, reason: str) -> None:
        """Answers what no leader has taken: it is certain that it was not done."""
        while self._unsent:
            self._fail(self._unsent.popleft(), reason)

    def close(self) -> None:
        """Answers everyone: the server stops."""
        self.flush()
        self.fail_unsent("server stopped")
        for waiting in list(self._pending.values()):
            del self._pending[waiting.id]
            self._fail(waiting, "server stopped")

    def _fail(self, waiting: _Waiting, reason: str) -> None:
        self._pending_commands -= len(waiting.completions)
        self.failed_count += len(waiting.completions)
        error = UnavailableError(reason)
        for completion in waiting.completions:
            completion(error)
