"""The thesis (Ongaro, Consensus: Bridging Theory and Practice), section by section."""

from collections.abc import Callable
from typing import Any

import pytest

from kvorum.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    Entry,
    Message,
    MessageType,
    Role,
)

Make = Callable[..., Any]
T = MessageType


def kinds(messages: list[Message]) -> list[MessageType]:
    return [message.type for message in messages]


def append(term: int, index: int, log_term: int, *terms: int, commit: int = 0) -> Message:
    message = Message(T.APPEND, 1, 2, term, index, log_term, commit)
    message.entries = [Entry(t, index + 1 + i) for i, t in enumerate(terms)]
    return message


# 3.3 Raft basics: terms


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_3_3_a_higher_term_makes_a_follower(new_group: Make, role: Role) -> None:
    group = new_group(pre_vote=False)
    if role is not Role.FOLLOWER:
        group[1].campaign()
    if role is Role.LEADER:
        group.settle()
    group[1].work()
    assert group[1].status().role is role
    group[1].step(append(9, 1, 1))
    status = group[1].status()
    assert (status.role, status.term, status.leader, status.vote) == (Role.FOLLOWER, 9, 2, 0)


def test_3_3_a_lower_term_is_refused(new_member: Make) -> None:
    member = new_member(log=(2,))
    member.step(append(1, 2, 2, 1))
    assert member.terms == [2]


# 3.4 Leader election


def test_3_4_servers_start_as_followers(new_member: Make) -> None:
    assert new_member().status().role is Role.FOLLOWER


def test_3_4_a_leader_sends_heartbeats(led_group: Make) -> None:
    leader = led_group()[1]
    leader.ticks(2)
    assert leader.work() == []
    leader.ticks(1)
    assert kinds(leader.work()) == [T.HEARTBEAT, T.HEARTBEAT]


def test_3_4_a_follower_without_a_leader_begins_an_election(new_member: Make) -> None:
    member = new_member(pre_vote=False)
    member.ticks(14)
    assert member.status().role is Role.FOLLOWER
    member.ticks(1)
    status = member.status()
    assert (status.role, status.term, status.vote) == (Role.CANDIDATE, 2, 1)
    assert [(m.type, m.target) for m in member.work()] == [(T.VOTE, 2), (T.VOTE, 3)]


@pytest.mark.parametrize(
    ("size", "granted", "refused", "role"),
    [
        (1, 0, 0, Role.LEADER),
        (3, 1, 0, Role.LEADER),
        (3, 0, 1, Role.CANDIDATE),
        (3, 0, 2, Role.FOLLOWER),
        (5, 2, 2, Role.LEADER),
        (5, 1, 2, Role.CANDIDATE),
        (5, 1, 3, Role.FOLLOWER),
    ],
)
def test_3_4_a_majority_elects(
    new_member: Make, size: int, granted: int, refused: int, role: Role
) -> None:
    member = new_member(voters=tuple(range(1, size + 1)), pre_vote=False)
    member.campaign()
    member.work()
    for voter in range(2, 2 + granted + refused):
        refuses = voter >= 2 + granted
        member.step(Message(T.VOTE_RESPONSE, 1, voter, 2, reject=refuses))
    assert member.status().role is role


@pytest.mark.parametrize(
    ("vote", "candidate", "granted"), [(0, 2, True), (2, 2, True), (3, 2, False)]
)
def test_3_4_one_vote_a_term_first_come_first_served(
    new_member: Make, vote: int, candidate: int, granted: bool
) -> None:
    member = new_member()
    if vote:
        member.step(Message(T.VOTE, 1, vote, 2, 1, 1))
    member.step(Message(T.VOTE, 1, candidate, 2, 1, 1))
    answers = [m for m in member.work() if m.target == candidate]
    assert answers
    assert all(m.reject is not granted for m in answers)


def test_3_4_a_candidate_follows_the_leader_of_its_term(new_member: Make) -> None:
    member = new_member(pre_vote=False)
    member.campaign()
    member.step(append(2, 1, 1))
    status = member.status()
    assert (status.role, status.term, status.leader) == (Role.FOLLOWER, 2, 2)


def test_3_4_timeouts_are_spread_over_one_election_timeout(new_member: Make) -> None:
    drawn = []
    for draw in range(10):
        member = new_member(pre_vote=False, random_below=lambda _, draw=draw: draw)
        ticks = 0
        while member.status().role is Role.FOLLOWER:
            member.tick()
            ticks += 1
        drawn.append(ticks)
    assert drawn == list(range(10, 20))


# 3.5 Log replication


def test_3_5_a_proposal_is_appended_and_sent_to_everyone(led_group: Make) -> None:
    group = led_group()
    group[1].propose(b"x")
    ready = group[1].ready()
    assert [entry.data for entry in ready.entries] == [b"x"]
    assert [(m.target, m.index, m.log_term) for m in ready.messages] == [(2, 2, 2), (3, 2, 2)]
    assert ready.committed == []


def test_3_5_a_majority_commits_and_all_before_it(led_group: Make) -> None:
    group = led_group(5)
    for data in (b"a", b"b"):
        group[1].propose(data)
    group.settle(without=(4, 5))
    assert [entry.data for entry in group[1].applied] == [b"", b"a", b"b"]
    assert [entry.data for entry in group[3].applied] == [b"", b"a", b"b"]


def test_3_5_a_minority_does_not_commit(led_group: Make) -> None:
    group = led_group(5)
    group[1].propose(b"a")
    group.settle(without=(3, 4, 5))
    assert group[1].status().commit == 2


@pytest.mark.parametrize(
    ("index", "term", "refused"),
    [(1, 1, False), (2, 1, False), (3, 2, False), (3, 3, True), (4, 2, True)],
)
def test_3_5_consistency_check(new_member: Make, index: int, term: int, refused: bool) -> None:
    member = new_member(log=(1, 2))
    member.step(append(4, index, term))
    (answer,) = member.work()
    assert answer.reject is refused


@pytest.mark.parametrize(
    ("log", "index", "log_term", "terms", "expected"),
    [
        ((1, 1), 3, 1, (3,), [1, 1, 3]),
        ((1, 1), 2, 1, (3, 3), [1, 3, 3]),
        ((1, 1), 1, 1, (1,), [1, 1]),
        ((1, 1, 2), 1, 1, (1, 1, 2), [1, 1, 2]),
        ((1, 2, 2), 2, 1, (3,), [1, 3]),
    ],
)
def test_3_5_conflicting_entries_are_replaced_and_no_others(
    new_member: Make,
    log: tuple[int, ...],
    index: int,
    log_term: int,
    terms: tuple[int, ...],
    expected: list[int],
) -> None:
    member = new_member(log=log)
    member.step(append(3, index, log_term, *terms))
    member.work()
    assert member.terms == expected


@pytest.mark.parametrize(
    "follower",
    [(2,), (1, 1), (1, 1, 1, 1, 3, 4, 4, 9), (1, 1, 1, 2, 2), (1, 1, 1, 1, 1, 5, 6, 6, 6, 7, 7)],
)
def test_3_5_a_leader_brings_any_log_in_line(new_group: Make, follower: tuple[int, ...]) -> None:
    """Figure 3.6: whatever a follower misses or has too much of."""
    group = new_group(3)
    group[1] = type(group[1])(1, (1, 2, 3), log=(1, 1, 3, 4, 4, 8, 8, 8))
    group[3] = type(group[3])(3, (1, 2, 3), log=(1, 1, 3, 4, 4, 8, 8, 8))
    group[2] = type(group[2])(2, (1, 2, 3), log=follower)
    for _ in range(3):
        group[1].campaign()
        group.settle()
    assert group[1].status().role is Role.LEADER
    assert group[2].terms == group[1].terms
    assert group[2].applied == group[1].applied


# 3.6 Safety


@pytest.mark.parametrize(
    ("log", "index", "term", "granted"),
    [
        ((1, 1), 3, 1, True),
        ((1, 1), 9, 1, True),
        ((1, 1), 2, 1, False),
        ((1, 1), 1, 2, True),
        ((1, 2), 9, 1, False),
    ],
)
def test_3_6_1_only_a_log_as_complete_gets_a_vote(
    new_member: Make, log: tuple[int, ...], index: int, term: int, granted: bool
) -> None:
    member = new_member(log=log)
    member.step(Message(T.VOTE, 1, 2, 5, index, term))
    (answer,) = member.work()
    assert answer.reject is not granted


def test_3_6_2_entries_of_earlier_terms_are_not_committed_by_counting(new_group: Make) -> None:
    """Figure 3.7: an entry of term 2 on a majority can still be replaced."""
    group = new_group(3)
    for member_id in (1, 2):
        group[member_id] = type(group[1])(member_id, (1, 2, 3), log=(2,))
    group[1].campaign()
    group.settle(without=(3,))
    leader = group[1]
    assert leader.status().role is Role.LEADER
    # Its own empty entry, of term 3, commits the older one along with itself.
    assert [(entry.term, entry.index) for entry in leader.applied] == [(2, 2), (3, 3)]


def test_3_6_2_an_acknowledged_entry_of_an_earlier_term_waits(new_member: Make) -> None:
    member = new_member(log=(1, 1), pre_vote=False)
    member.campaign()
    member.work()
    member.step(Message(T.VOTE_RESPONSE, 1, 2, 2))
    member.work()
    member.step(Message(T.APPEND_RESPONSE, 1, 2, 2, 3))
    assert member.status().commit == 1
    member.step(Message(T.APPEND_RESPONSE, 1, 2, 2, 4))
    assert member.status().commit == 4


# 3.8 Persisted state and server restarts


def test_3_8_a_restart_remembers_term_vote_and_log(new_member: Make) -> None:
    member = new_member()
    member.step(Message(T.VOTE, 1, 3, 4, 1, 1))
    member.work()
    again = type(member).__mro__[1](member._raft.config, member.storage, 1)
    status = again.status()
    assert (status.term, status.vote, status.role) == (4, 3, Role.FOLLOWER)


# 3.10 Leadership transfer


def test_3_10_the_target_campaigns_at_once_when_its_log_is_complete(led_group: Make) -> None:
    group = led_group()
    group[1].propose(b"x")
    group.settle(without=(3,))
    group[1].transfer_leadership(3)
    group.settle()
    assert group[3].status().role is Role.LEADER
    assert group[3].terms[:2] == [2, 2]


# 4.1 and 4.3: membership


def test_4_1_one_change_at_a_time(led_group: Make) -> None:
    group = led_group()
    step = ConfChange((ConfChangeSingle(ConfChangeType.ADD_LEARNER, 4),))
    group[1].propose_conf_change(step)
    with pytest.raises(Exception, match="another"):
        group[1].propose_conf_change(step)


def test_4_2_3_a_removed_server_does_not_disturb(led_group: Make) -> None:
    group = led_group()
    group[2].step(Message(T.VOTE, 2, 3, 9, 9, 9))
    group[2].step(Message(T.PRE_VOTE, 2, 3, 9, 9, 9))
    assert group[2].work() == []
    assert group[2].status().term == 2


def test_4_3_joint_consensus_ends_by_itself(led_group: Make) -> None:
    group = led_group()
    group[4] = type(group[1])(4)
    group[1].propose_conf_change(
        ConfChange(
            (
                ConfChangeSingle(ConfChangeType.ADD_VOTER, 4),
                ConfChangeSingle(ConfChangeType.REMOVE, 3),
            )
        )
    )
    group.settle()
    assert all(group[i].status().conf_state.voters == (1, 2, 4) for i in (1, 2, 4))
    assert not group[1].status().conf_state.outgoing


# 6.2, 6.4: routing and reads


def test_6_2_a_leader_without_a_quorum_steps_down(led_group: Make) -> None:
    group = led_group()
    group[1].ticks(10)
    assert group[1].status().role is Role.LEADER
    group[1].ticks(10)
    assert group[1].status().role is Role.FOLLOWER


def test_6_4_a_read_sees_what_was_committed_before_it(led_group: Make) -> None:
    group = led_group()
    group[1].propose(b"x")
    group.settle()
    assert group[3].read_index(5)
    group.settle()
    (state,) = group[3].reads
    assert (state.context, state.index) == (5, 3)


def test_6_4_a_deposed_leader_answers_no_read(led_group: Make) -> None:
    group = led_group()
    group[3].ticks(10)
    group[2].campaign()
    group.settle(without=(1,))
    assert group[2].status().role is Role.LEADER
    assert group[1].status().role is Role.LEADER
    assert group[1].read_index(5)
    group.settle()
    assert group[1].reads == []


# 9.6 Preventing disruptions


def test_9_6_a_pre_vote_changes_nothing(new_group: Make) -> None:
    group = new_group()
    group[1].campaign()
    group[1].work()
    assert (group[1].status().role, group[1].status().term) == (Role.PRE_CANDIDATE, 1)
    group[2].step(Message(T.PRE_VOTE, 2, 1, 2, 1, 1))
    assert kinds(group[2].work()) == [T.PRE_VOTE_RESPONSE]
    assert (group[2].status().term, group[2].status().vote) == (1, 0)


# 10.2.1 Writing to the leader's disk in parallel


def test_10_2_1_a_leader_commits_what_is_not_on_its_own_disk(led_group: Make) -> None:
    group = led_group()
    group[1].propose(b"x")
    ready = group[1].ready()
    group[1].storage.append(ready.entries)
    for message in ready.messages:
        group[message.target].step(message)
    for message in group[2].work() + group[3].work():
        group[1].step(message)
    assert group[1].status().commit == 3
    assert group[1].ready().committed == []
    group[1].persisted(ready.number)
    assert [entry.data for entry in group[1].ready().committed] == [b"x"]


def test_10_2_1_the_own_log_counts_when_it_is_durable(led_group: Make) -> None:
    group = led_group()
    group[1].propose(b"x")
    ready = group[1].ready()
    group[1].storage.append(ready.entries)
    group[2].step(next(m for m in ready.messages if m.target == 2))
    for message in group[2].work():
        group[1].step(message)
    assert group[1].status().commit == 2
    group[1].persisted(ready.number)
    assert group[1].status().commit == 3
