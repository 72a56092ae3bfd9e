"""Who joins gets its vote when it has caught up: the leader sees to it.

A 0.4 join gives a learner's seat. Were it a voter's at once, a holder that dies before it hears of
its seat would count for quorums it can never be part of: a cluster of one could never write again.
So the leader waits until the holder has shown that it holds what is committed, and then proposes
its promotion. Learners that did not join by themselves (`Member.is_joining`) wait for an operator.

Rules: the thesis' rounds. A round has the commit index at its begin for its goal. A learner has
caught up when it has reached the goal of a round within an election timeout; a longer round is
followed by another. It must be fed from the log and be heard now.
Nothing is kept beyond the attempt: one that raft drops, because another change is under way or
leadership is, is made anew at the next turn. One that is lost with its leader is its successor's.

The caller: `promote` after every turn while it leads, `reset` when leadership is won or lost.
Source: Raft thesis, section 4.2.1.
"""

from collections.abc import Callable

from msgspec import Struct

from kvorum.apply.commands import MembershipChange, encode_membership_change
from kvorum.clock import Clock
from kvorum.membership import Cluster
from kvorum.raft.progress import ProgressState
from kvorum.raft.rawnode import ProposalDropped, RawNode
from kvorum.raft.types import ConfChange, ConfChangeSingle, ConfChangeType, Index, MemberId


class _Round(Struct):
    goal: Index
    began: float


class Promotion:
    """Gives votes to those who join, on the leader."""

    def __init__(
        self,
        raft: RawNode,
        cluster: Cluster,
        clock: Clock,
        round_seconds: float,
        is_responsive: Callable[[MemberId], bool],
    ) -> None:
        self._raft = raft
        self._cluster = cluster
        self._clock = clock
        self._round_seconds = round_seconds
        self._is_responsive = is_responsive
        self._rounds: dict[MemberId, _Round] = {}

    def reset(self) -> None:
        """Forgets the rounds: this member leads from now on, or leads no more."""
        self._rounds.clear()

    def promote(self) -> bool:
        """Proposes the promotion of one learner that has caught up; whether it did."""
        if not self._cluster.conf_state.learners:  # at nearly every turn
            return False
        waiting = self._waiting()
        if not waiting:
            return False
        status = self._raft.status()
        for member_id in waiting:
            peer = status.progress.get(member_id)
            is_fed = peer is not None and peer.state is ProgressState.REPLICATE
            if peer and is_fed and self._has_caught_up(member_id, peer.match, status.commit):
                return self._propose(member_id)
        return False

    def _waiting(self) -> list[MemberId]:
        members = self._cluster.members
        return [
            one
            for one in self._cluster.conf_state.learners
            if one in members and members[one].is_joining and self._is_responsive(one)
        ]

    def _has_caught_up(self, member_id: MemberId, match: Index, commit: Index) -> bool:
        now = self._clock.monotonic()
        known = self._rounds.get(member_id)
        if known is not None:
            if match < known.goal:
                return False
            if now - known.began <= self._round_seconds:
                return True
        self._rounds[member_id] = _Round(commit, now)
        return match >= commit

    def _propose(self, member_id: MemberId) -> bool:
        steps = (ConfChangeSingle(ConfChangeType.ADD_VOTER, member_id),)
        context = encode_membership_change(MembershipChange(id=0, promote=member_id))
        try:
            self._raft.propose_conf_change(ConfChange(steps, context))
        except ProposalDropped:
            return False
        return True
