"""What a follower answers, and what it passes on."""

from collections.abc import Callable
from typing import Any

import pytest

from kvorum.raft.types import ConfState, Entry, Message, MessageType, Role, SnapshotMeta

Make = Callable[..., Any]
T = MessageType


def test_an_old_append_is_answered_with_the_commit_index(new_member: Make) -> None:
    member = new_member(log=(1, 1))
    member.step(Message(T.HEARTBEAT, 1, 2, 1, commit=3))
    member.step(Message(T.APPEND, 1, 2, 1, 1, 1))
    answer = member.work()[-1]
    assert (answer.index, answer.reject) == (3, False)


def test_a_commit_index_is_taken_as_far_as_the_logs_are_known_to_match(new_member: Make) -> None:
    member = new_member(log=(1, 1, 1))
    message = Message(T.APPEND, 1, 2, 1, 1, 1, 9)
    message.entries = [Entry(1, 2)]
    member.step(message)
    assert member.status().commit == 2


def test_a_rejection_says_where_the_logs_may_match(new_member: Make) -> None:
    member = new_member(log=(1, 1, 4, 4))
    member.step(Message(T.APPEND, 1, 2, 5, 9, 3))
    (answer,) = member.work()
    assert (answer.reject, answer.index, answer.reject_hint, answer.log_term) == (True, 9, 3, 1)


def test_a_commit_beyond_the_log_means_that_entries_were_lost(new_member: Make) -> None:
    with pytest.raises(AssertionError, match="lost"):
        new_member().step(Message(T.HEARTBEAT, 1, 2, 1, commit=5))


def test_a_heartbeat_is_answered_with_its_context(new_member: Make) -> None:
    member = new_member()
    member.step(Message(T.HEARTBEAT, 1, 2, 1, context=7))
    (answer,) = member.work()
    assert (answer.type, answer.context, answer.commit) == (T.HEARTBEAT_RESPONSE, 7, 1)


def snapshot(index: int, term: int) -> Message:
    message = Message(T.SNAPSHOT, 1, 2, 3)
    message.snapshot = SnapshotMeta(index, term, ConfState(voters=(2, 3)))
    return message


def test_a_snapshot_replaces_log_and_configuration(new_member: Make) -> None:
    member = new_member(log=(1, 1))
    member.step(snapshot(9, 3))
    ready = member.ready()
    assert ready.snapshot.index == 9
    assert (ready.hard_state.commit, ready.entries) == (9, [])
    assert [m.index for m in ready.messages_after_persist] == [9]
    status = member.status()
    assert (status.commit, status.applied, status.conf_state.voters) == (9, 9, (2, 3))


def test_a_snapshot_that_the_log_matches_only_commits(new_member: Make) -> None:
    member = new_member(log=(1, 1))
    member.step(snapshot(2, 1))
    ready = member.ready()
    assert ready.snapshot is None
    assert [entry.index for entry in ready.committed] == [2]
    assert member.status().conf_state.voters == (1, 2, 3)


def test_an_old_snapshot_is_refused(new_member: Make) -> None:
    member = new_member()
    member.step(snapshot(1, 1))
    (answer,) = member.work()
    assert (answer.type, answer.index) == (T.APPEND_RESPONSE, 1)


def test_requests_for_the_leader_are_passed_on(new_member: Make) -> None:
    member = new_member()
    for kind in (T.PROPOSE, T.READ_INDEX, T.TRANSFER_LEADER):
        member.step(Message(kind, 1, 3))
    assert member.work() == []
    member.step(Message(T.HEARTBEAT, 1, 2, 1))
    member.work()
    for kind in (T.PROPOSE, T.READ_INDEX, T.TRANSFER_LEADER):
        member.step(Message(kind, 1, 3))
        (passed,) = member.work()
        assert (passed.type, passed.target, passed.source, passed.term) == (kind, 2, 3, 0)


def test_a_told_follower_campaigns_without_a_pre_vote(new_member: Make) -> None:
    member = new_member()
    member.step(Message(T.TIMEOUT_NOW, 1, 2, 1))
    assert member.status().role is Role.CANDIDATE
    assert all(m.context for m in member.work() if m.type is T.VOTE)


def test_a_read_index_of_the_leader_becomes_a_read_state(new_member: Make) -> None:
    member = new_member()
    member.step(Message(T.READ_INDEX_RESPONSE, 1, 2, 1, 5, context=8))
    member.work()
    assert [(state.context, state.index) for state in member.reads] == [(8, 5)]
