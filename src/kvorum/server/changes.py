"""Changes of membership on their way into the log, and who waits for them.

Raft takes one change at a time, and a follower's proposal may be lost on its way to the leader
without a word. So a change is proposed again until it is applied here or its time is up. Copies do
no harm: applying checks each change anew, and the second copy meets a member that is there
already, or gone.

Rules: every completion is called exactly once. After a timeout the change may still be made: the
answer says that the outcome is unknown.
The caller: `applied` for every change that is applied; `again` soon after it, for those that had to
wait for it, and at every heartbeat; `close` at the end.
"""

import logging

from msgspec import Struct

from kvorum.apply.applier import MembershipApplied
from kvorum.apply.commands import MembershipChange, encode_membership_change
from kvorum.clock import Clock
from kvorum.errors import UnavailableError
from kvorum.raft.rawnode import ProposalDropped, RawNode
from kvorum.raft.types import ConfChange, ConfChangeSingle
from kvorum.server.proposals import Completion

_log = logging.getLogger("kvorum.server")

AGAIN_SECONDS = 1.0
"""A change that was given to the leader and not applied after this is proposed once more."""


class _Waiting(Struct):
    conf_change: ConfChange
    completion: Completion
    deadline: float
    again_at: float = 0.0


class MembershipChanges:
    """Brings changes into the log, one by one."""

    def __init__(self, raft: RawNode, clock: Clock, timeout_seconds: float) -> None:
        self._raft = raft
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._waiting: dict[int, _Waiting] = {}

    def propose(
        self,
        change: MembershipChange,
        steps: tuple[ConfChangeSingle, ...],
        completion: Completion,
    ) -> None:
        """Takes a change; `completion` gets a `MembershipApplied`, or an UnavailableError."""
        change.id = self._clock.random_below(1 << 62) + 1
        conf_change = ConfChange(steps, encode_membership_change(change))
        now = self._clock.monotonic()
        waiting = _Waiting(conf_change, completion, now + self._timeout_seconds)
        self._waiting[change.id] = waiting
        self._propose(waiting, now)

    def _propose(self, waiting: _Waiting, now: float) -> None:
        try:
            self._raft.propose_conf_change(waiting.conf_change)
        except ProposalDropped as dropped:
            _log.debug("a change of membership has to wait: %s", dropped.reason)
        else:
            waiting.again_at = now + AGAIN_SECONDS

    def applied(self, outcome: MembershipApplied) -> None:
        """A change was applied, or refused; a copy of one that was answered is nobody's."""
        waiting = self._waiting.pop(outcome.change_id, None)
        if waiting is not None:
            waiting.completion(outcome)

    def again(self, now: float) -> None:
        """Proposes what was not taken or seems lost, and gives up on what is overdue."""
        for change_id, waiting in list(self._waiting.items()):
            if waiting.deadline <= now:
                del self._waiting[change_id]
                waiting.completion(UnavailableError("request timed out"))
            elif waiting.again_at <= now:
                self._propose(waiting, now)

    def close(self) -> None:
        """Answers everyone: the server stops."""
        while self._waiting:
            _, waiting = self._waiting.popitem()
            waiting.completion(UnavailableError("server stopped"))
