"""Who takes part, what is known of each, and how the vote at hand stands.

Owns the configuration in force and a `Progress` for everyone in it. Every quorum is counted here,
and here only: over voters and outgoing voters, never over learners.

Rules: progress.keys() == voters | outgoing | learners; iteration is in order of member id.
Source: Raft thesis, sections 4.2.1 and 4.3.
"""

from kvorum.raft.progress import Inflights, Progress
from kvorum.raft.quorum import VoteResult, joint_index, joint_vote
from kvorum.raft.types import ConfState, Index, MemberId


class Tracker:
    """The configuration, the progress of its members, and the votes of a campaign."""

    def __init__(self, own_id: MemberId, inflight_max: int) -> None:
        self._own_id = own_id
        self._inflight_max = inflight_max
        self.conf_state = ConfState()
        self.progress: dict[MemberId, Progress] = {}
        self.peers: list[Progress] = []
        """Everyone but this member."""
        self.votes: dict[MemberId, bool] = {}
        self._incoming: list[Progress] = []
        self._outgoing: list[Progress] = []

    def switch(self, conf_state: ConfState, next_index: Index) -> None:
        """Puts a configuration in force. Those new in it are probed from `next_index` down."""
        old = self.progress
        ids = sorted({*conf_state.voters, *conf_state.outgoing, *conf_state.learners})
        self.conf_state = conf_state
        self.progress = {
            member_id: old.get(member_id) or self._new_progress(member_id, next_index)
            for member_id in ids
        }
        self._index()

    def reset(self, last_index: Index, durable: Index) -> None:
        """Forgets what was known of everyone: a term begins. Own entries are known to `durable`."""
        self.votes = {}
        for member_id in self.progress:
            self.progress[member_id] = self._new_progress(member_id, last_index + 1)
        own = self.progress.get(self._own_id)
        if own is not None:
            own.match = durable
            own.become_replicate()
        self._index()

    def _new_progress(self, member_id: MemberId, next_index: Index) -> Progress:
        progress = Progress(member_id, max(next_index, 1), Inflights(self._inflight_max))
        # A member without a past counts as heard, or the first check would end the leadership.
        progress.is_recently_active = True
        return progress

    def _index(self) -> None:
        self.peers = [p for p in self.progress.values() if p.member_id != self._own_id]
        self._incoming = [self.progress[member_id] for member_id in self.conf_state.voters]
        self._outgoing = [self.progress[member_id] for member_id in self.conf_state.outgoing]

    @property
    def is_joint(self) -> bool:
        """Whether two majorities decide."""
        return bool(self._outgoing)

    def is_voter(self, member_id: MemberId) -> bool:
        """Whether the member's vote counts, in either half of a joint configuration."""
        return member_id in self.conf_state.voters or member_id in self.conf_state.outgoing

    @property
    def is_alone(self) -> bool:
        """Whether this member is the only voter, so that it decides by itself."""
        return self.conf_state.voters == (self._own_id,) and not self._outgoing

    def committed_index(self) -> Index:
        """The highest index that a quorum has made durable."""
        return joint_index([p.match for p in self._incoming], [p.match for p in self._outgoing])

    def confirmed_round(self) -> int:
        """The latest ReadIndex round that a quorum has answered."""
        return joint_index(
            [p.acknowledged_round for p in self._incoming],
            [p.acknowledged_round for p in self._outgoing],
        )

    def known_commit(self) -> Index:
        """The highest commit index that a quorum knows."""
        return joint_index(
            [p.known_commit for p in self._incoming], [p.known_commit for p in self._outgoing]
        )

    def is_quorum_active(self) -> bool:
        """Whether a quorum was heard since the last call; forgets it for the next one."""
        active = {member_id: p.is_recently_active for member_id, p in self.progress.items()}
        for progress in self.peers:
            progress.is_recently_active = False
        return self._vote(active) is VoteResult.WON

    def record_vote(self, member_id: MemberId, *, is_granted: bool) -> VoteResult:
        """Takes a member's first vote of this campaign; returns how the vote stands."""
        self.votes.setdefault(member_id, is_granted)
        return self._vote(self.votes)

    def _vote(self, votes: dict[MemberId, bool]) -> VoteResult:
        return joint_vote(self.conf_state.voters, self.conf_state.outgoing, votes)
