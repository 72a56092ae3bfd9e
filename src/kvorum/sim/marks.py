"""Rare branches of the real code, and whether runs have met them.

A simulation that never meets a branch proves nothing of it. Each mark names one: a function that
is wrapped for the time of a run, and what must hold of a call for it to count.

Rules: only functions that are called rarely are wrapped, so that runs stay fast; a wrapped function
does what it did before.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

from kvorum.apply.batches import AppliedBatches
from kvorum.mvcc.compaction import Compactor
from kvorum.mvcc.watch import WatchHub
from kvorum.raft import candidate, leader
from kvorum.raft.core import Raft
from kvorum.raft.log import RaftLog
from kvorum.raft.readindex import ReadIndex
from kvorum.server.changes import MembershipChanges
from kvorum.server.proposals import Proposals
from kvorum.server.server import Server
from kvorum.sim.network import Transfer
from kvorum.sim.watches import Session
from kvorum.wal.memory import MemoryLogFiles
from kvorum.wal.wal import Wal

Counts = dict[str, int]


class Mark(NamedTuple):
    """A branch.

    Attributes:
        owner: what has the function.
        attribute: its name there.
        holds: of result and arguments of a call, once it is over.
    """

    owner: object
    attribute: str
    holds: Callable[..., object] = lambda *_, **__: True


MARKS: dict[str, Mark] = {
    "pre-vote": Mark(Raft, "become_pre_candidate"),
    "vote refused for an old log": Mark(RaftLog, "is_up_to_date", lambda result, *_: not result),
    "vote refused for a live leader": Mark(Raft, "_has_live_leader", lambda result, _: result),
    "campaign of who was handed over to": Mark(
        candidate, "campaign", lambda *_, is_transfer=False: is_transfer
    ),
    "campaign of an orphan": Mark(candidate, "_is_orphaned", lambda result, _: result),
    "answer to a lower term": Mark(Raft, "_answer_lower_term"),
    "APPEND rejected": Mark(leader, "_on_reject"),
    "log cut back": Mark(RaftLog, "_cut"),
    "log replaced by a snapshot": Mark(RaftLog, "restore"),
    "read before the first commit": Mark(ReadIndex, "wait"),
    "joint configuration": Mark(Raft, "switch_to", lambda _, __, state: state.outgoing),
    "membership refused": Mark(MembershipChanges, "applied", lambda _, __, one: one.fault),
    "batch proposed again": Mark(Proposals, "leader_changed", lambda _, own: own.has_work),
    "batch arrived twice": Mark(AppliedBatches, "__contains__", lambda result, *_: result),
    "request timed out": Mark(
        Proposals, "_fail", lambda _, __, ___, reason: reason == "request timed out"
    ),
    "snapshot sent": Mark(Server, "_send_snapshot"),
    "snapshot installed": Mark(Server, "_install"),
    "snapshot broken off": Mark(Transfer, "_end", lambda _, __, *, ok: not ok),
    "leadership given away": Mark(Server, "hand_over", lambda result, *_: result),
    "removed member told": Mark(Server, "leave"),
    "torn tail": Mark(Wal, "_repair", lambda _, __, report: report.torn),
    "segment begun": Mark(Wal, "_begin_segment"),
    "segment removed": Mark(MemoryLogFiles, "remove"),
    "compaction in slices": Mark(Compactor, "clean", lambda is_done, *_: not is_done),
    "watch caught up": Mark(WatchHub, "_serve"),
    "watch over an installed snapshot": Mark(WatchHub, "restored", lambda _, hub: hub.behind_count),
    "watch ended by compaction": Mark(Session, "compacted"),
}
"""Every branch, by its name in reports."""


@contextmanager
def counted() -> Iterator[Counts]:
    """Counts how often each branch is met while it lasts; one never met is not in the result."""
    counts: Counts = {}
    before = [(mark, getattr(mark.owner, mark.attribute)) for mark in MARKS.values()]
    try:
        for name, mark in MARKS.items():
            setattr(mark.owner, mark.attribute, _wrapped(name, mark, counts))
        yield counts
    finally:
        for mark, original in before:
            setattr(mark.owner, mark.attribute, original)


def _wrapped(name: str, mark: Mark, counts: Counts) -> Callable[..., Any]:
    original, holds = getattr(mark.owner, mark.attribute), mark.holds

    @wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 -- whatever is wrapped
        result = original(*arguments, **named)
        if holds(result, *arguments, **named):
            counts[name] = counts.get(name, 0) + 1
        return result

    return call
