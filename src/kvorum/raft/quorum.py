"""Majorities, and pairs of majorities: which index a quorum has, how a vote stands.

Pure arithmetic without state. In a joint configuration a decision needs a majority of the
incoming *and* of the outgoing voters; an empty set of outgoing voters agrees to everything.

Rules, for n voters with acknowledged indexes a_i and quorum q = n // 2 + 1:

    majority_index = max { x : |{ i : a_i >= x }| >= q }
    WON  <=> |granted| >= q            LOST <=> |granted| + |silent| < q

Source: Raft thesis, sections 3.6.2 and 4.3.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum

from kvorum.raft.types import MemberId


class VoteResult(IntEnum):
    """How a vote stands: ordered, so that a joint vote is the lesser of its two halves."""

    LOST = 0
    PENDING = 1
    WON = 2


def majority_index(acknowledged: Sequence[int]) -> int:
    """The highest index a majority has acknowledged; one value per voter, at least one."""
    return sorted(acknowledged)[(len(acknowledged) - 1) // 2]


def joint_index(incoming: Sequence[int], outgoing: Sequence[int]) -> int:
    """The highest index that both majorities have acknowledged."""
    index = majority_index(incoming)
    return min(index, majority_index(outgoing)) if outgoing else index


def majority_vote(voters: Sequence[MemberId], votes: Mapping[MemberId, bool]) -> VoteResult:
    """How a vote stands among `voters`; votes of others do not count."""
    if not voters:
        return VoteResult.WON
    quorum = len(voters) // 2 + 1
    granted = sum(votes.get(voter, False) for voter in voters)
    silent = sum(voter not in votes for voter in voters)
    if granted >= quorum:
        return VoteResult.WON
    return VoteResult.PENDING if granted + silent >= quorum else VoteResult.LOST


def joint_vote(
    incoming: Sequence[MemberId], outgoing: Sequence[MemberId], votes: Mapping[MemberId, bool]
) -> VoteResult:
    """How a vote stands when both majorities must grant it."""
    return min(majority_vote(incoming, votes), majority_vote(outgoing, votes))
