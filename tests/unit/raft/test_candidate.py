"""When a member campaigns, and when not."""

from collections.abc import Callable
from typing import Any

from kvorum.raft.candidate import ORPHAN_TIMEOUTS
from kvorum.raft.confchange import encode_conf_change
from kvorum.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    Entry,
    EntryType,
    Message,
    MessageType,
    Role,
)

Make = Callable[..., Any]
T = MessageType


def test_a_learner_never_campaigns(new_member: Make) -> None:
    member = new_member(1, voters=(2, 3), learners=(1,))
    member.campaign()
    member.step(Message(T.TIMEOUT_NOW, 1, 2, 1))
    member.ticks(300)
    assert member.work() == []
    assert member.status().role is Role.FOLLOWER


def test_a_member_that_is_in_no_configuration_waits(new_member: Make) -> None:
    member = new_member(1, voters=())
    member.ticks(300)
    assert member.work() == []


def test_nobody_campaigns_before_a_committed_change_is_applied(new_member: Make) -> None:
    member = new_member()
    change = ConfChange((ConfChangeSingle(ConfChangeType.ADD_VOTER, 4),))
    message = Message(T.APPEND, 1, 2, 2, 1, 1, 2)
    message.entries = [Entry(2, 2, EntryType.CONF_CHANGE, encode_conf_change(change))]
    member.step(message)
    member.campaign()
    assert member.status().role is Role.FOLLOWER
    member.work()
    member.campaign()
    assert {m.target for m in member.work()} == {2, 3, 4}


def test_votes_are_asked_of_voters_only(new_member: Make) -> None:
    member = new_member(1, voters=(1, 2, 3), learners=(4,))
    member.campaign()
    assert [m.target for m in member.work()] == [2, 3]


def test_the_own_vote_counts_when_it_is_durable(new_member: Make) -> None:
    member = new_member(1, voters=(1,))
    member.campaign()
    ready = member.ready()
    assert member.status().role is Role.CANDIDATE
    member.persisted(ready.number)
    assert member.status().role is Role.LEADER


def test_a_vote_of_an_earlier_campaign_does_not_count(new_member: Make) -> None:
    member = new_member(1, voters=(1,))
    member.campaign()
    ready = member.ready()
    member.step(Message(T.APPEND, 1, 2, 5, 1, 1))
    member.campaign()
    member.persisted(ready.number)
    assert member.status().role is not Role.LEADER


def test_an_orphan_leads_until_the_voters_can(new_group: Make) -> None:
    """Member 2 lost its vote but has the longer log, and 1 still believes to need it."""
    group = new_group(2)
    change = ConfChange((ConfChangeSingle(ConfChangeType.REMOVE, 2),))
    entry = Entry(2, 2, EntryType.CONF_CHANGE, encode_conf_change(change))
    for member_id, commit, entries in ((1, 1, [entry]), (2, 2, [entry, Entry(2, 3)])):
        message = Message(T.APPEND, member_id, 2, 2, 1, 1, commit)
        message.entries = entries
        group[member_id].step(message)
        group[member_id].work()
    assert group[2].status().conf_state.voters == (1,)
    assert group[1].status().conf_state.voters == (1, 2)
    for _ in range(2 * ORPHAN_TIMEOUTS * 10):
        group[1].tick()
        group[2].tick()
        group.settle()
    assert group[1].status().role is Role.LEADER
    assert group[1].status().conf_state.voters == (1,)
    assert group[1].terms[:2] == [2, 2]
