"""What holds in every role: terms, votes, and which messages wait for the disk."""

from collections.abc import Callable
from typing import Any

import pytest

from kvorum.raft.core import CAMPAIGN_TRANSFER, RaftConfig
from kvorum.raft.types import Message, MessageType, Role

Make = Callable[..., Any]
T = MessageType


def test_a_config_must_make_sense() -> None:
    with pytest.raises(AssertionError):
        RaftConfig(member_id=0, random_below=lambda _: 0)
    with pytest.raises(AssertionError):
        RaftConfig(member_id=1, random_below=lambda _: 0, election_ticks=3, heartbeat_ticks=3)


def test_a_vote_waits_for_the_disk(new_member: Make) -> None:
    member = new_member()
    member.step(Message(T.VOTE, 1, 2, 2, 1, 1))
    ready = member.ready()
    assert ready.messages == []
    assert [m.type for m in ready.messages_after_persist] == [T.VOTE_RESPONSE]
    assert (ready.hard_state.term, ready.hard_state.vote) == (2, 2)


def test_a_vote_request_and_an_acknowledgement_wait_too(new_member: Make) -> None:
    member = new_member(pre_vote=False)
    member.step(Message(T.APPEND, 1, 2, 2, 1, 1))
    member.ticks(15)
    ready = member.ready()
    assert ready.messages == []
    kinds = [m.type for m in ready.messages_after_persist]
    assert kinds == [T.APPEND_RESPONSE, T.VOTE, T.VOTE]


def test_a_forced_campaign_is_heard_in_spite_of_a_leader(led_group: Make) -> None:
    group = led_group()
    vote = Message(T.VOTE, 2, 3, 3, 2, 2)
    group[2].step(vote)
    assert group[2].work() == []
    vote.context = CAMPAIGN_TRANSFER
    group[2].step(vote)
    (answer,) = group[2].work()
    assert not answer.reject


def test_who_follows_a_leader_gives_no_vote_in_its_term(new_member: Make) -> None:
    member = new_member()
    member.step(Message(T.APPEND, 1, 2, 4, 1, 1))
    member.work()
    member.step(Message(T.VOTE, 1, 3, 4, 1, 1))
    (answer,) = member.work()
    assert answer.reject
    assert member.status().vote == 0


def test_a_leader_of_old_is_told_the_term(new_member: Make) -> None:
    member = new_member(log=(5,))
    for kind in (T.APPEND, T.HEARTBEAT):
        member.step(Message(kind, 1, 2, 3))
        (answer,) = member.work()
        assert (answer.type, answer.term, answer.index) == (T.APPEND_RESPONSE, 5, 0)


def test_a_pre_candidate_of_old_is_told_the_term(new_member: Make) -> None:
    member = new_member(log=(5,))
    member.step(Message(T.PRE_VOTE, 1, 2, 4, 9, 3))
    (answer,) = member.work()
    assert (answer.type, answer.term, answer.reject) == (T.PRE_VOTE_RESPONSE, 5, True)


def test_other_messages_of_a_lower_term_are_dropped(new_member: Make) -> None:
    member = new_member(log=(5,))
    for kind in (T.VOTE, T.SNAPSHOT, T.TIMEOUT_NOW, T.VOTE_RESPONSE):
        member.step(Message(kind, 1, 2, 3))
    assert member.work() == []


def test_a_refused_pre_vote_brings_the_term(new_member: Make) -> None:
    member = new_member()
    member.campaign()
    member.step(Message(T.PRE_VOTE_RESPONSE, 1, 2, 7, reject=True))
    assert (member.status().role, member.status().term) == (Role.FOLLOWER, 7)


def test_a_granted_pre_vote_does_not(new_member: Make) -> None:
    member = new_member(voters=(1, 2, 3, 4, 5))
    member.campaign()
    member.step(Message(T.PRE_VOTE_RESPONSE, 1, 2, 2))
    assert (member.status().role, member.status().term) == (Role.PRE_CANDIDATE, 1)


def test_what_a_role_does_not_expect_is_dropped(new_member: Make) -> None:
    member = new_member()
    for kind in (T.APPEND_RESPONSE, T.HEARTBEAT_RESPONSE, T.VOTE_RESPONSE):
        member.step(Message(kind, 1, 2, 1))
    assert member.work() == []
