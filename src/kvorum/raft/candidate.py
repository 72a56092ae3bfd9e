"""Campaigns: when a member starts one, and what a (pre-)candidate does with each message.

    follower --timeout--> pre-candidate --quorum would grant--> candidate --quorum granted--> leader
             `---------------- TIMEOUT_NOW, or no pre-vote ---------^

A pre-candidate's own answer counts at once. A candidate's own vote counts when it is durable: the
caller of `count_vote` sees to it. Whoever leads the term, or a higher one, ends the campaign.
Source: Raft thesis, sections 3.4, 4.2.2 and 9.6.
"""

from kvorum.raft.core import CAMPAIGN_TRANSFER, Raft, RoleRules
from kvorum.raft.quorum import VoteResult
from kvorum.raft.types import NO_MEMBER, MemberId, Message, MessageType, Role

ORPHAN_TIMEOUTS = 5
"""Election timeouts of silence after which voters have had every chance to elect one of them."""


def tick(raft: Raft) -> None:
    """Campaigns when the election timeout has passed."""
    raft.election_elapsed += 1
    raft.leaderless_ticks += 1
    if raft.election_elapsed < raft.election_timeout:
        return
    if raft.is_promotable:
        campaign(raft)
    elif _is_orphaned(raft):
        raft.leaderless_ticks = 0
        _pre_campaign(raft)


def campaign(raft: Raft, *, is_transfer: bool = False) -> None:
    """Starts a campaign if this member may: it votes, and has applied every change it knows of."""
    raft.election_elapsed = 0
    if raft.role is Role.LEADER or not raft.is_promotable or raft.has_unapplied_conf_change():
        return
    if raft.config.pre_vote and not is_transfer:
        _pre_campaign(raft)
    else:
        _campaign_in_new_term(raft, CAMPAIGN_TRANSFER if is_transfer else 0)


def _is_orphaned(raft: Raft) -> bool:
    """Whether a member without a vote must campaign, because nobody else may be able to.

    A leader that lost its vote and was deposed before it could leave in order has a longer log
    than the voters, some of whom still need its vote. It leads once more, as a leader that leaves.
    """
    return (
        raft.leaderless_ticks >= ORPHAN_TIMEOUTS * raft.config.election_ticks
        and bool(raft.tracker.conf_state.voters)
        and raft.log.last_index > raft.log.committed
        and not raft.has_unapplied_conf_change()
    )


def _pre_campaign(raft: Raft) -> None:
    raft.become_pre_candidate()
    _ask(raft, MessageType.PRE_VOTE, context=0)
    count_vote(raft, raft.id, is_granted=True)


def _campaign_in_new_term(raft: Raft, context: int) -> None:
    raft.become_candidate()
    _ask(raft, MessageType.VOTE, context)


def _ask(raft: Raft, kind: MessageType, context: int) -> None:
    term = raft.term + 1 if kind is MessageType.PRE_VOTE else raft.term
    log = raft.log
    for peer in raft.tracker.peers:
        target = peer.member_id
        if raft.tracker.is_voter(target):
            message = Message(kind, target, raft.id, term, log.last_index, log.last_term)
            message.context = context
            raft.send(message)


def count_vote(raft: Raft, member_id: MemberId, *, is_granted: bool) -> None:
    """Takes an answer to the campaign under way and acts on how the vote stands."""
    result = raft.tracker.record_vote(member_id, is_granted=is_granted)
    if result is VoteResult.WON:
        if raft.role is Role.PRE_CANDIDATE:
            _campaign_in_new_term(raft, context=0)
        else:
            raft.become_leader()
    elif result is VoteResult.LOST:
        raft.become_follower(raft.term, NO_MEMBER)


def _on_vote_response(raft: Raft, message: Message) -> None:
    count_vote(raft, message.source, is_granted=not message.reject)


def _on_leader(raft: Raft, message: Message) -> None:
    raft.become_follower(message.term, message.source)
    raft.dispatch(message)


_FOLLOW = {
    MessageType.APPEND: _on_leader,
    MessageType.HEARTBEAT: _on_leader,
    MessageType.SNAPSHOT: _on_leader,
}

PRE_CANDIDATE = RoleRules({**_FOLLOW, MessageType.PRE_VOTE_RESPONSE: _on_vote_response}, tick)
CANDIDATE = RoleRules({**_FOLLOW, MessageType.VOTE_RESPONSE: _on_vote_response}, tick)
