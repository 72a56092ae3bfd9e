"""What an operator reads of elections: role, leader and term, in the words of 0.4.

Rules, so that the lines tell a story and not raft's every step: a pre-candidate has changed
nothing yet and is not told; a change of role comes before the change of leader it causes; a
follower does not tell whom it follows (the leader tells that it leads), only that it lost one.
Source: reference contract, v2-api section 12.
"""

import logging

from kvorum.membership import Cluster
from kvorum.raft.rawnode import SoftState
from kvorum.raft.types import NO_MEMBER, MemberId, Role, Term

_log = logging.getLogger("kvorum.server")

_ROLE_NAMES = {
    Role.FOLLOWER: "follower",
    Role.CANDIDATE: "candidate",
    Role.LEADER: "leader",
}


class Announcer:
    """Writes a line for each change worth telling."""

    def __init__(self, name: str, cluster: Cluster) -> None:
        self._name = name
        self._cluster = cluster
        self._role = "initialized"
        self._leader = NO_MEMBER
        self._leader_name = ""
        self._term: Term = 0

    def started(self, term: Term) -> None:
        """The member takes part from now on, beginning in this term."""
        self._term = term
        self._become("follower")

    def changed(self, state: SoftState, term: Term) -> None:
        """Role, leader or term are now these."""
        if state.role is Role.PRE_CANDIDATE:
            return
        role = _ROLE_NAMES[state.role]
        if term > self._term:
            is_news = self._term > 0  # a joiner has only found out which term it is
            self._term = term
            if is_news and state.role is Role.FOLLOWER:
                _log.info("%s: term #%d started.", self._name, term)
        is_alone = len(self._cluster.conf_state.voters) == 1
        if not (state.role is Role.CANDIDATE and is_alone):
            self._become(role)
        self._follow(state)

    def _become(self, role: str) -> None:
        if role != self._role:
            _log.info("%s: state changed from '%s' to '%s'.", self._name, self._role, role)
            self._role = role

    def _follow(self, state: SoftState) -> None:
        old, self._leader = self._leader, state.leader
        old_name = self._member_name(old) if old in self._cluster.members else self._leader_name
        self._leader_name = new_name = self._member_name(state.leader)
        if old == state.leader or (state.role is Role.FOLLOWER and old == NO_MEMBER):
            return
        _log.info("%s: leader changed from '%s' to '%s'.", self._name, old_name, new_name)

    def _member_name(self, member_id: MemberId) -> str:
        if member_id == NO_MEMBER:
            return ""
        member = self._cluster.members.get(member_id)
        return member.name if member and member.name else f"{member_id:x}"
