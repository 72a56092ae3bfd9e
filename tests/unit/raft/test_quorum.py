"""Quorum arithmetic against what the definition says, by brute force."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.raft.quorum import (
    VoteResult,
    joint_index,
    joint_vote,
    majority_index,
    majority_vote,
)

indexes = st.lists(st.integers(0, 6), min_size=1, max_size=7)
members = st.sets(st.integers(1, 8), max_size=6).map(sorted)
ballots = st.dictionaries(st.integers(1, 8), st.booleans(), max_size=8)


def has_majority(count: int, total: int) -> bool:
    return 2 * count > total


def brute_index(acknowledged: list[int]) -> int:
    """The highest index that every member of some majority has."""
    size = len(acknowledged)
    return max(
        min(quorum)
        for count in range(1, size + 1)
        if has_majority(count, size)
        for quorum in combinations(acknowledged, count)
    )


def brute_vote(voters: list[int], votes: dict[int, bool]) -> VoteResult:
    """WON if the rest cannot prevent it, LOST if the rest cannot bring it about."""
    silent = [voter for voter in voters if voter not in votes]
    granted = [voter for voter in voters if votes.get(voter)]
    if not voters or has_majority(len(granted), len(voters)):
        return VoteResult.WON
    is_possible = has_majority(len(granted) + len(silent), len(voters))
    return VoteResult.PENDING if is_possible else VoteResult.LOST


@given(indexes)
@settings(deadline=None)
def test_majority_index_is_the_best_of_all_majorities(acknowledged: list[int]) -> None:
    assert majority_index(acknowledged) == brute_index(acknowledged)


@given(indexes, st.lists(st.integers(0, 6), max_size=7))
@settings(deadline=None)
def test_joint_index_needs_both_majorities(incoming: list[int], outgoing: list[int]) -> None:
    halves = [brute_index(half) for half in (incoming, outgoing) if half]
    assert joint_index(incoming, outgoing) == min(halves)


@given(members, ballots)
@settings(deadline=None)
def test_majority_vote(voters: list[int], votes: dict[int, bool]) -> None:
    assert majority_vote(voters, votes) is brute_vote(voters, votes)


@given(members, members, ballots)
@settings(deadline=None)
def test_joint_vote_is_lost_by_one_half_and_won_by_both(
    incoming: list[int], outgoing: list[int], votes: dict[int, bool]
) -> None:
    halves = {brute_vote(incoming, votes), brute_vote(outgoing, votes)}
    result = joint_vote(incoming, outgoing, votes)
    if VoteResult.LOST in halves:
        assert result is VoteResult.LOST
    elif halves == {VoteResult.WON}:
        assert result is VoteResult.WON
    else:
        assert result is VoteResult.PENDING
