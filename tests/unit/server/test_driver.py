"""The order of a turn: what leaves before the disk, what after it, what a failure stops."""

import pytest
from tests.unit.server.conftest import Member, MemoryCluster

from kvorum.raft.types import Message, MessageType
from kvorum.v2 import commands as v2


class Tap:
    """Sees what a member sends, in the order it sends it."""

    def __init__(self, member: Member) -> None:
        self.sent: list[Message] = []
        self._send = member.wire.send
        member.wire.send = self.send  # type: ignore[method-assign]

    def send(self, messages: list[Message]) -> None:
        self.sent += messages
        self._send(messages)

    def kinds(self) -> set[MessageType]:
        return {message.type for message in self.sent}


def test_the_leader_sends_while_its_own_disk_writes(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader = cluster.leader()
    tap = Tap(leader)
    leader.is_sync_held = True
    results = leader.propose(v2.Set(b"/a", b"1"))
    cluster.settle()
    assert any(m.type is MessageType.APPEND and m.entries for m in tap.sent)
    assert isinstance(results, list)
    assert len(three) == 3


def test_two_disks_of_three_are_enough(cluster: MemoryCluster, three: list[Member]) -> None:
    leader = cluster.leader()
    slow = next(member for member in three if member is not leader)
    slow.is_sync_held = True
    results = leader.propose(v2.Set(b"/a", b"1"))
    cluster.run_until(lambda: bool(results))


def test_one_disk_of_three_is_not_enough(cluster: MemoryCluster, three: list[Member]) -> None:
    leader = cluster.leader()
    for member in three:
        member.is_sync_held = member is not leader
    results = leader.propose(v2.Set(b"/a", b"1"))
    cluster.settle()
    assert results == []
    for member in three:
        member.is_sync_held = False
    cluster.run_until(lambda: bool(results))


def test_a_follower_acknowledges_only_what_is_durable(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader = cluster.leader()
    follower = next(member for member in three if member is not leader)
    tap = Tap(follower)
    follower.is_sync_held = True
    leader.propose(v2.Set(b"/a", b"1"))
    cluster.settle()
    assert MessageType.APPEND_RESPONSE not in tap.kinds()
    follower.is_sync_held = False
    cluster.settle()
    assert MessageType.APPEND_RESPONSE in tap.kinds()


@pytest.mark.usefixtures("three")
def test_a_vote_waits_for_the_disk(cluster: MemoryCluster) -> None:
    old = cluster.leader()
    others = [member for member in cluster.members if member is not old]
    taps = [Tap(member) for member in others]
    old.crash()
    for member in others:
        member.is_sync_held = True
    cluster.advance(1.5)
    promises = {MessageType.VOTE, MessageType.VOTE_RESPONSE}
    assert not any(promises & tap.kinds() for tap in taps)
    for member in others:
        member.is_sync_held = False
    assert cluster.leader() in others
