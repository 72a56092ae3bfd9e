"""Who may be added, moved and removed while the cluster runs; what operators ask for.

Any member may be asked. It checks what it knows and has the change committed; what follows from
replicated state is checked once more where the change is applied.

Rules (etcd's strict check; a 3.x server may be told to leave it out): after the change, a quorum of
the voters must be alive, and must have told their names, which a member does when it is first
started. One exception: a cluster of one may always grow to two. Removing a member that is down
never makes things worse, so it is never refused while there is a quorum to decide it. The last
member stays, checked or not.
Source: reference contract, v2-api sections 8 and 15, v3-grpc on the member calls; Raft thesis,
chapter 4.
"""

from collections.abc import Callable, Collection
from typing import TypeAlias, cast

from kvorum.apply.applier import MembershipApplied
from kvorum.apply.commands import MembershipChange, SetPeerUrls
from kvorum.errors import UnavailableError
from kvorum.membership import Member, MembershipFault
from kvorum.raft.types import ConfChangeSingle, ConfChangeType, MemberId
from kvorum.server.server import Server

Answer: TypeAlias = Member | MembershipFault | UnavailableError
AnswerCompletion: TypeAlias = Callable[[Answer], None]


class Reconfiguration:
    """Changes the members of one cluster; every completion is called exactly once."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def add(self, peer_urls: tuple[str, ...], completion: AnswerCompletion) -> None:
        """Gives a seat to a member that is to be started; its name comes when it is."""
        server = self._server
        member = Member(server.clock.random_below((1 << 63) - 1) + 1, "", peer_urls)
        fault = server.cluster.find_fault(member, 0) or self._find_growth_fault()
        if fault is not None:
            completion(fault)
            return
        self._change(MembershipChange(0, add=member), ConfChangeType.ADD_VOTER, completion)

    def remove(self, member_id: MemberId, completion: AnswerCompletion) -> None:
        """Takes a member's seat for good."""
        fault = self.find_removal_fault(member_id)
        if fault is not None:
            completion(fault)
            return
        self._change(MembershipChange(0, remove=member_id), ConfChangeType.REMOVE, completion)

    def find_removal_fault(self, member_id: MemberId) -> MembershipFault | None:
        """Why this member cannot go now."""
        fault = self._server.cluster.find_fault(None, member_id)
        return fault or self._find_loss_fault(member_id)

    def move(
        self, member_id: MemberId, peer_urls: tuple[str, ...], completion: AnswerCompletion
    ) -> None:
        """Tells the others where a member is reached from now on."""

        def done(result: object) -> None:
            completion(cast("Answer", result))

        self._server.propose(SetPeerUrls(member_id, peer_urls), done)

    def _change(
        self, change: MembershipChange, kind: ConfChangeType, completion: AnswerCompletion
    ) -> None:
        def done(result: object) -> None:
            if isinstance(result, MembershipApplied):
                answer = result.fault or result.added or result.removed
                assert answer is not None, "one came or one went"
                completion(answer)
            else:
                assert isinstance(result, UnavailableError)
                completion(result)

        member_id = change.add.id if change.add else change.remove
        self._server.change_membership(change, (ConfChangeSingle(kind, member_id),), done)

    def _find_growth_fault(self) -> MembershipFault | None:
        voters = self._server.cluster.conf_state.voters
        if len(voters) == 1:
            return None
        return self._find_quorum_fault(voters, len(voters) + 1)

    def _find_loss_fault(self, member_id: MemberId) -> MembershipFault | None:
        voters = self._server.cluster.conf_state.voters
        if member_id not in voters:
            return None
        rest = [voter for voter in voters if voter != member_id]
        if not rest:
            return MembershipFault.TOO_FEW_STARTED
        return self._find_quorum_fault(rest, len(rest))

    def _find_quorum_fault(self, voters: Collection[MemberId], size: int) -> MembershipFault | None:
        """Whether these, of a configuration of `size` voters, are too few that could decide."""
        if not self._server.config.strict_reconfig_check:
            return None
        members = self._server.cluster.members
        started = [voter for voter in voters if voter in members and members[voter].name]
        quorum = size // 2 + 1
        if len(started) < quorum:
            return MembershipFault.TOO_FEW_STARTED
        if sum(map(self._server.is_responsive, voters)) < quorum:
            return MembershipFault.UNHEALTHY
        return None
