"""The contract of the door: what a Ready holds, and that each thing is handed out once."""

from collections.abc import Callable
from typing import Any

import pytest

from kvorum.raft import rawnode
from kvorum.raft.rawnode import ProposalDropped
from kvorum.raft.types import (
    ConfChange,
    Entry,
    HardState,
    Message,
    MessageType,
    Role,
)

Make = Callable[..., Any]
T = MessageType


def test_nothing_to_do_at_first(new_member: Make) -> None:
    member = new_member()
    assert not member.has_ready()


def test_readys_are_numbered_and_handed_out_once(led_group: Make) -> None:
    leader = led_group()[1]
    leader.propose(b"x")
    first = leader.ready()
    assert (first.entries[0].data, len(first.messages)) == (b"x", 2)
    assert first.hard_state == HardState(2, 1, 2)
    leader.storage.append(first.entries)
    assert not leader.has_ready()
    second = leader.ready()
    assert second.number == first.number + 1
    assert (second.entries, second.messages, second.hard_state) == ([], [], None)


def test_several_readys_may_be_under_way(led_group: Make) -> None:
    leader = led_group(1)[1]
    numbers = []
    for data in (b"a", b"b", b"c"):
        leader.propose(data)
        ready = leader.ready()
        leader.storage.append(ready.entries)
        numbers.append(ready.number)
    leader.persisted(numbers[1])
    assert [entry.data for entry in leader.ready().committed] == [b"a", b"b"]
    leader.persisted(numbers[2])
    assert [entry.data for entry in leader.ready().committed] == [b"c"]


def test_soft_state_is_told_when_it_changes(new_member: Make) -> None:
    member = new_member()
    member.step(Message(T.HEARTBEAT, 1, 2, 1))
    soft = member.ready().soft_state
    assert (soft.leader, soft.role) == (2, Role.FOLLOWER)
    member.step(Message(T.HEARTBEAT, 1, 2, 1))
    assert member.ready().soft_state is None


def test_a_commit_index_alone_is_not_worth_a_write(led_group: Make) -> None:
    group = led_group()
    group[1].propose(b"x")
    group.settle(without=(3,))
    group[3].step(Message(T.HEARTBEAT, 3, 1, 2, commit=2))
    group[2].step(Message(T.HEARTBEAT, 2, 1, 2, commit=3))
    assert group[2].ready().hard_state is None


def test_a_hard_state_never_speaks_of_more_than_is_durable(led_group: Make) -> None:
    group = led_group()
    message = Message(T.APPEND, 2, 1, 2, 2, 2, 3)
    message.entries = [Entry(2, 3), Entry(2, 4)]
    group[2].step(message)
    assert group[2].status().commit == 3
    assert group[2].ready().hard_state == HardState(2, 1, 2)


def test_proposals_without_a_leader_are_refused(new_member: Make) -> None:
    member = new_member()
    with pytest.raises(ProposalDropped) as error:
        member.propose(b"x")
    assert error.value.reason == "no leader is known"
    with pytest.raises(ProposalDropped):
        member.propose_conf_change(ConfChange())
    assert not member.read_index(1)
    member.transfer_leadership(2)
    assert not member.has_ready()


def test_a_long_log_is_applied_in_pieces(new_member: Make, monkeypatch: Any) -> None:
    monkeypatch.setattr(rawnode, "APPLY_BYTES_MAX", 0)
    member = new_member(log=(1, 1, 1))
    member.step(Message(T.HEARTBEAT, 1, 2, 1, commit=4))
    pieces = []
    while member.has_ready():
        ready = member.ready()
        pieces.append([entry.index for entry in ready.committed])
    assert pieces == [[2], [3], [4]]


def test_only_what_was_handed_out_can_be_reported(new_member: Make) -> None:
    member = new_member()
    with pytest.raises(AssertionError):
        member.persisted(1)
    with pytest.raises(AssertionError):
        member.applied_to(2)


def test_status_shows_progress_at_the_leader_only(led_group: Make) -> None:
    group = led_group()
    assert sorted(group[1].status().progress) == [1, 2, 3]
    assert group[2].status().progress == {}
    status = group[1].status()
    assert (status.member_id, status.term, status.leader, status.commit) == (1, 2, 1, 2)


def test_uncommitted_data_is_bounded_but_one_proposal_is_always_taken(led_group: Make) -> None:
    leader = led_group(uncommitted_bytes_max=2)[1]
    leader.propose(b"long enough")
    with pytest.raises(ProposalDropped, match="too much"):
        leader.propose(b"x")
    leader.propose(b"")


def test_an_unreachable_peer_is_probed(led_group: Make) -> None:
    group = led_group()
    group[1].propose(b"a")
    group[1].work()
    group[1].report_unreachable(2)
    group[2].report_unreachable(1)
    group[2].report_snapshot(1, ok=False)
    status = group[1].status().progress[2]
    assert (status.match, status.next, status.state.name) == (2, 3, "PROBE")
