"""What a leader takes and refuses, sends and waits for."""

from collections.abc import Callable
from typing import Any

import pytest

from kvorum.raft.leader import ProposalDropped
from kvorum.raft.progress import ProgressState
from kvorum.raft.readindex import READS_MAX
from kvorum.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    Entry,
    EntryType,
    Message,
    MessageType,
    Role,
    SnapshotMeta,
)

Make = Callable[..., Any]
T = MessageType
REMOVE = ConfChangeType.REMOVE


def change(*steps: tuple[ConfChangeType, int]) -> ConfChange:
    return ConfChange(tuple(ConfChangeSingle(kind, member_id) for kind, member_id in steps))


def test_all_of_a_turn_goes_into_one_append(led_group: Make) -> None:
    leader = led_group()[1]
    for data in (b"a", b"b", b"c"):
        leader.propose(data)
    messages = leader.ready().messages
    assert [len(m.entries) for m in messages] == [3, 3]


def test_an_append_is_bounded(led_group: Make) -> None:
    leader = led_group(2, batch_bytes_max=2)[1]
    for data in (b"a", b"b", b"c", b"long"):
        leader.propose(data)
    assert [len(m.entries) for m in leader.ready().messages] == [2, 1, 1]


def test_a_rejection_of_long_ago_changes_nothing(led_group: Make) -> None:
    leader = led_group()[1]
    leader.step(Message(T.APPEND_RESPONSE, 1, 2, 2, 1, reject=True))
    assert leader.status().progress[2].state is ProgressState.REPLICATE
    assert leader.work() == []


def test_answers_of_strangers_are_dropped(led_group: Make) -> None:
    leader = led_group()[1]
    leader.step(Message(T.APPEND_RESPONSE, 1, 9, 2, 2))
    leader.step(Message(T.HEARTBEAT_RESPONSE, 1, 9, 2))
    leader.report_unreachable(9)
    leader.report_snapshot(9, ok=True)
    assert leader.work() == []


def test_an_acknowledgement_of_what_was_never_sent_is_a_fault(led_group: Make) -> None:
    with pytest.raises(AssertionError, match="never sent"):
        led_group()[1].step(Message(T.APPEND_RESPONSE, 1, 2, 2, 99))


def test_nothing_is_snapshot_to_who_is_silent(led_group: Make) -> None:
    group = led_group()
    leader = group[1]
    leader.ticks(10)  # nobody was heard since the election
    leader.work()
    leader.storage.set_snapshot_meta(SnapshotMeta(2, 2, leader.status().conf_state))
    leader.storage.compact(2)
    leader._raft.tracker.progress[3].next = 1
    leader.propose(b"x")
    assert not [m for m in leader.work() if m.target == 3 and m.type is not T.HEARTBEAT]
    leader.step(Message(T.HEARTBEAT_RESPONSE, 1, 3, 2))
    assert [m.type for m in leader.work() if m.target == 3] == [T.SNAPSHOT]


def test_forwarded_proposals_are_taken_as_far_as_they_can_be(led_group: Make) -> None:
    leader = led_group(uncommitted_bytes_max=1)[1]
    message = Message(T.PROPOSE, 1, 2)
    message.entries = [Entry(0, 0, EntryType.NORMAL, data) for data in (b"a", b"b")]
    leader.step(message)
    assert [entry.data for entry in leader.ready().entries] == [b"a"]


def test_a_forwarded_change_that_is_none_is_dropped(led_group: Make) -> None:
    leader = led_group()[1]
    message = Message(T.PROPOSE, 1, 2)
    message.entries = [Entry(0, 0, EntryType.CONF_CHANGE, b"\xff")]
    leader.step(message)
    assert leader.work() == []


@pytest.mark.parametrize("steps", [(), ((REMOVE, 1), (REMOVE, 2), (REMOVE, 3))])
def test_a_change_that_cannot_be_made_is_refused(
    led_group: Make, steps: tuple[tuple[ConfChangeType, int], ...]
) -> None:
    with pytest.raises(ProposalDropped) as error:
        led_group()[1].propose_conf_change(change(*steps))
    assert error.value.reason


def test_a_new_leader_takes_no_change_before_it_knows_the_log(new_group: Make) -> None:
    group = new_group(2)
    group[1].campaign()
    group[1].work()
    group.settle(without=(2,))
    group[1].campaign()
    for _ in range(3):
        for message in group[1].work():
            group[2].step(message)
        for message in group[2].work():
            if message.type is not T.APPEND_RESPONSE:
                group[1].step(message)
    assert group[1].status().role is Role.LEADER
    group[1]._raft.pending_conf_index = 2
    with pytest.raises(ProposalDropped):
        group[1].propose_conf_change(change((ConfChangeType.ADD_LEARNER, 3)))


def test_reads_of_one_turn_share_a_round(led_group: Make) -> None:
    leader = led_group()[1]
    assert leader.read_index(1)
    leader.step(Message(T.READ_INDEX, 1, 2, context=5))
    heartbeats = leader.work()
    assert [(m.type, m.context) for m in heartbeats] == [(T.HEARTBEAT, 1), (T.HEARTBEAT, 1)]
    leader.step(Message(T.HEARTBEAT_RESPONSE, 1, 3, 2, context=1))
    (answer,) = leader.work()
    assert (answer.type, answer.target, answer.context) == (T.READ_INDEX_RESPONSE, 2, 5)
    assert [state.context for state in leader.reads] == [1]


def test_a_learners_answer_confirms_no_read(new_member: Make) -> None:
    member = new_member(1, voters=(1, 2), learners=(3,), pre_vote=False)
    member.campaign()
    member.work()
    member.step(Message(T.VOTE_RESPONSE, 1, 2, 2))
    member.work()
    member.step(Message(T.APPEND_RESPONSE, 1, 2, 2, 2))
    member.read_index(1)
    member.work()
    member.step(Message(T.HEARTBEAT_RESPONSE, 1, 3, 2, context=1))
    member.work()
    assert member.reads == []
    member.step(Message(T.HEARTBEAT_RESPONSE, 1, 2, 2, context=1))
    member.work()
    assert len(member.reads) == 1


@pytest.mark.parametrize("is_round_begun", [True, False])
def test_a_read_is_answered_when_nobody_is_left_to_be_asked(
    led_group: Make, is_round_begun: bool
) -> None:
    group = led_group(2)
    leader = group[1]
    leader.propose_conf_change(change((REMOVE, 2)))
    for message in leader.work():
        group[2].step(message)
    if is_round_begun:
        leader.read_index(5)
    for message in group[2].work():
        leader.step(message)
    ready = leader.ready()
    if not is_round_begun:
        leader.read_index(5)
    leader.apply_conf_change(change((REMOVE, 2)))
    leader.applied_to(ready.committed[-1].index)
    leader.work()
    assert [state.context for state in leader.reads] == [5]


def test_reads_without_an_answer_are_bounded(led_group: Make) -> None:
    leader = led_group()[1]
    assert all(leader.read_index(context) for context in range(READS_MAX))
    assert not leader.read_index(READS_MAX)


def test_leadership_moves_to_voters_of_this_group_only(new_member: Make) -> None:
    member = new_member(1, voters=(1,), learners=(2,))
    member.campaign()
    member.work()
    for target in (1, 2, 9):
        member.transfer_leadership(target)
        member.propose(b"still taken")
    assert not [m for m in member.work() if m.type is T.TIMEOUT_NOW]


def test_a_hand_over_has_a_whole_election_timeout(led_group: Make) -> None:
    group = led_group()
    group[1].ticks(8)
    group.settle()
    group[1].transfer_leadership(3)
    group[1].ticks(9)
    with pytest.raises(ProposalDropped, match="handed over"):
        group[1].propose(b"x")
    group[1].tick()
    group[1].propose(b"x")


def test_a_hand_over_ends_when_its_target_is_removed(led_group: Make) -> None:
    group = led_group()
    group[1].propose_conf_change(change((REMOVE, 3)))
    group[1].transfer_leadership(3)
    with pytest.raises(ProposalDropped, match="handed over"):
        group[1].propose(b"x")
    group.settle(without=(3,))
    group[1].propose(b"x")


def test_a_leader_that_removed_itself_leaves_in_order(led_group: Make) -> None:
    group = led_group()
    group[1].propose_conf_change(change((REMOVE, 1)))
    group.settle()
    assert group[1].status().role is Role.FOLLOWER
    assert [group[i].status().role for i in (2, 3)].count(Role.LEADER) == 1


def test_a_leader_of_two_that_removes_itself_stays_until_the_other_can_lead(
    led_group: Make,
) -> None:
    group = led_group(2)
    group[1].propose_conf_change(change((REMOVE, 1)))
    for message in group[1].work():
        group[2].step(message)
    for message in group[2].work():
        group[1].step(message)
    group[1].work()  # whatever it sent is lost: 2 does not know that it is alone
    group[1].ticks(30)
    assert group[1].status().role is Role.LEADER
    with pytest.raises(ProposalDropped, match="leaving"):
        group[1].propose(b"x")
    group.settle()
    assert (group[2].status().role, group[1].status().role) == (Role.LEADER, Role.FOLLOWER)
