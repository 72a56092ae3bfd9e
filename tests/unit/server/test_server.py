"""A server as its handlers see it: proposals, reads, joins, failures."""

import errno

import msgspec
import pytest
from tests.unit.server.conftest import Member, MemoryCluster

from kvorum.apply.commands import SetPeerUrls
from kvorum.backend import memory
from kvorum.backend.base import Installer
from kvorum.errors import (
    KeyExists,
    KeyNotFound,
    RemoteProtocolError,
    StorageError,
    UnavailableError,
)
from kvorum.raft.types import Message, MessageType, SnapshotMeta
from kvorum.server.server import Server
from kvorum.v2 import commands as v2
from kvorum.v2.node import Event


def value_of(member: Member, key: bytes) -> bytes | None:
    record = member.server.store.get(key)
    return None if record is None else record.value


def hashes(members: list[Member]) -> set[int]:
    return {m.server.store.hash_at(m.server.store.revision) for m in members}


def test_a_cluster_of_one_gives_its_first_user_write_index_3(
    cluster: MemoryCluster, single: Member
) -> None:
    results = single.propose(v2.Set(b"/message", b"Hello"))
    cluster.settle()
    assert isinstance(results[0], Event)
    assert results[0].node.modified_index == 3


def test_a_member_is_ready_within_a_tick_of_its_first_entries(cluster: MemoryCluster) -> None:
    member = cluster.add(cluster.legacy_config(1))
    member.start()
    ready: list[bool] = []
    member.server.when_ready(lambda: ready.append(True))
    cluster.settle()
    cluster.advance(member.server.tick_seconds)
    assert ready == [True]


def test_nothing_is_answered_before_it_is_durable(cluster: MemoryCluster, single: Member) -> None:
    single.is_sync_held = True
    results = single.propose(v2.Set(b"/a", b"1"))
    cluster.settle()
    assert results == []
    single.is_sync_held = False
    cluster.settle()
    assert isinstance(results[0], Event)


def test_all_commands_of_a_sync_share_one_entry(cluster: MemoryCluster, single: Member) -> None:
    before = single.server.applied_index
    single.is_sync_held = True
    waiting = [single.propose(v2.Set(b"/first", b""))]
    cluster.settle()
    waiting += [single.propose(v2.Set(b"/k%d" % number, b"")) for number in range(50)]
    cluster.settle()
    single.is_sync_held = False
    cluster.settle()
    assert all(len(results) == 1 for results in waiting)
    assert single.server.applied_index == before + 2


def test_a_restart_brings_back_every_acknowledged_write(
    cluster: MemoryCluster, single: Member
) -> None:
    for number in range(20):
        single.propose(v2.Set(b"/k%d" % number, b"v"))
    cluster.settle()
    revision = single.server.store.revision
    single.crash()
    single.start()
    cluster.run_until(lambda: single.server.store.revision == revision, "the old revision")
    assert value_of(single, b"/k19") == b"v"


def test_a_failed_sync_acknowledges_nothing_ever_again(
    cluster: MemoryCluster, single: Member
) -> None:
    single.files.fail_syncs(OSError(errno.EIO, "Input/output error"))
    results = single.propose(v2.Set(b"/a", b"1"))
    cluster.advance(1)
    assert results == []
    assert len(single.files.failures) == 1


def test_a_write_reaches_every_member(cluster: MemoryCluster, three: list[Member]) -> None:
    results = three[0].propose(v2.Set(b"/message", b"hoge"))
    cluster.run_until(lambda: bool(results))
    cluster.advance(0.1)
    assert [value_of(member, b"/message") for member in three] == [b"hoge"] * 3
    assert len(hashes(three)) == 1


def test_a_follower_forwards_writes(cluster: MemoryCluster, three: list[Member]) -> None:
    results = three[2].propose(v2.Set(b"/message", b"hoge"))
    cluster.run_until(lambda: bool(results))
    assert isinstance(results[0], Event)


def test_a_follower_reads_what_was_written_before(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    results = three[0].propose(v2.Set(b"/message", b"hoge"))
    cluster.run_until(lambda: bool(results))
    answers = three[1].read()
    cluster.run_until(lambda: bool(answers))
    assert answers == [None]
    assert value_of(three[1], b"/message") == b"hoge"


def test_a_new_leader_serves_what_the_old_one_acknowledged(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    results = three[0].propose(v2.Set(b"/message", b"hoge"))
    cluster.run_until(lambda: bool(results))
    old = cluster.leader()
    old.crash()
    new = cluster.leader()
    assert new is not old
    assert value_of(new, b"/message") == b"hoge"
    results = new.propose(v2.Set(b"/message", b"2"))
    cluster.run_until(lambda: bool(results))
    old.start()
    cluster.run_until(lambda: value_of(old, b"/message") == b"2")


@pytest.mark.usefixtures("three")
def test_a_read_at_a_deposed_leader_is_not_answered(cluster: MemoryCluster) -> None:
    old = cluster.leader()
    cluster.isolate(old)
    answers = old.read()
    cluster.advance(2)
    assert answers == []
    cluster.advance(10)
    assert isinstance(answers[0], UnavailableError)


@pytest.mark.usefixtures("three")
def test_a_write_without_quorum_is_answered_at_its_deadline(cluster: MemoryCluster) -> None:
    old = cluster.leader()
    cluster.isolate(old)
    results = old.propose(v2.Set(b"/a", b"1"))
    cluster.advance(10)
    assert isinstance(results[0], UnavailableError)


def test_a_write_waits_for_a_leader_to_be_elected(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    writer, other, leader = sorted(three, key=lambda member: member.server.is_leader)
    leader.crash()
    other.crash()
    cluster.run_until(lambda: writer.server.leader_id == 0)
    results = writer.propose(v2.Set(b"/a", b"1"))
    cluster.advance(1)
    assert results == []
    other.start()
    cluster.run_until(lambda: bool(results))
    assert isinstance(results[0], Event)


def test_a_leader_whose_disk_hangs_gives_leadership_away(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    old = cluster.leader()
    old.is_sync_held = True
    stuck = old.propose(v2.Set(b"/a", b"1"))
    cluster.run_until(lambda: not old.server.is_leader, "the hand-over")
    new = next(member for member in three if member is not old)
    results = new.propose(v2.Set(b"/b", b"2"))
    cluster.run_until(lambda: bool(results), "a write elsewhere")
    assert stuck == []
    old.is_sync_held = False
    cluster.run_until(lambda: bool(stuck), "the first write")
    assert isinstance(stuck[0], Event)


def test_a_far_behind_member_is_caught_up_by_a_snapshot(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    three[2].crash()
    for member in three[:2]:
        member.server._log_keeper._snapshot_count = 10
    for number in range(60):
        cluster.write(v2.Set(b"/k%d" % number, b"v"))
    three[2].start()
    revision = three[0].server.store.revision
    cluster.run_until(lambda: three[2].server.store.revision == revision, "catching up")
    assert len(hashes(three)) == 1
    three[2].crash()
    three[2].start()
    cluster.run_until(lambda: three[2].server.store.revision == revision, "restart after it")


def test_a_wiped_member_comes_back_under_a_new_id(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    old_id = three[2].server.member_id
    three[2].crash()
    cluster.advance(1)
    wiped = cluster.add(three[2].config)
    cluster.members.remove(three[2])
    cluster.join(wiped)
    cluster.run_until(lambda: len(wiped.server.cluster.members) == 3)
    assert wiped.server.member_id != old_id
    assert wiped.server.cluster.was_removed(old_id)
    results = wiped.propose(v2.Set(b"/a", b"1"))
    cluster.run_until(lambda: bool(results))
    assert isinstance(results[0], Event)


@pytest.mark.usefixtures("three")
def test_the_name_of_a_living_member_is_refused(cluster: MemoryCluster) -> None:
    other = cluster.add(cluster.legacy_config(2, advertised_peer_urls=("http://127.0.0.1:7009",)))
    assert isinstance(cluster.join(other)[0], KeyExists)


def test_expired_keys_go_on_every_member(cluster: MemoryCluster, three: list[Member]) -> None:
    expiration = cluster.clock.wall_ns() + 2_000_000_000
    results = three[0].propose(v2.Set(b"/t", b"x", expiration=expiration))
    cluster.run_until(lambda: bool(results))
    cluster.advance(1.9)
    assert value_of(three[1], b"/t") == b"x"
    cluster.advance(0.4)
    assert [value_of(member, b"/t") for member in three] == [None] * 3


def test_old_history_goes_by_itself(cluster: MemoryCluster) -> None:
    member = cluster.add(cluster.legacy_config(1, auto_compaction_retention=100))
    member.start()
    cluster.leader()
    for _ in range(300):
        member.propose(v2.Set(b"/a", b"1"))
        cluster.settle()
    cluster.advance(0.3)
    assert member.server.store.compacted_revision >= member.server.store.revision - 110


def test_stop_answers_everyone_who_waits(cluster: MemoryCluster, single: Member) -> None:
    single.is_sync_held = True
    results = single.propose(v2.Set(b"/a", b"1"))
    cluster.settle()
    more = single.propose(v2.Set(b"/b", b"1"))
    applied_index = single.server.applied_index
    single.server.stop()
    assert isinstance(results[0], UnavailableError)
    assert isinstance(more[0], UnavailableError)
    cluster.settle()
    assert single.server.applied_index == applied_index


def test_a_new_leader_misses_the_one_it_joined_through(
    cluster: MemoryCluster, three: list[Member], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kvorum.server")
    three[0].crash()
    cluster.run_until(
        lambda: any('peer="machine1" missed=1' in one.getMessage() for one in caplog.records)
    )


def test_every_other_member_tells_of_one_that_moved(
    cluster: MemoryCluster, three: list[Member], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kvorum.server")
    moved = three[1].server
    old = moved.cluster.members[moved.member_id]
    results = three[0].propose(SetPeerUrls(moved.member_id, ("http://new:7009",)))
    cluster.run_until(lambda: bool(results))
    cluster.advance(0.5)
    line = f"Rejoin with http://new:7009 instead of {old.peer_urls[0]} from {old.name}"
    assert caplog.messages.count(line) == 2


def test_a_failed_backend_sends_no_snapshot_and_takes_nothing_else_down(
    cluster: MemoryCluster,
) -> None:
    members = [cluster.add(cluster.legacy_config(n, snapshot_count=3)) for n in (1, 2, 3)]
    members[0].start()
    cluster.leader()
    for member in members[1:]:
        cluster.join(member)
    cluster.run_until(lambda: all(len(m.server.cluster.members) == 3 for m in members))
    members[2].crash()
    for number in range(10):
        cluster.write(v2.Set(b"/a", b"%d" % number))
    leader = cluster.leader()
    leader.files.memory.failed = StorageError("the disk is full", leader.files.log_path)
    members[2].start()
    cluster.advance(1.0)
    assert members[2].server.applied_index < leader.server.applied_index
    results = leader.propose(v2.Set(b"/b", b"1"))
    cluster.run_until(lambda: bool(results), "an answer")


def test_an_image_that_cannot_be_kept_changes_nothing(
    cluster: MemoryCluster, three: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    behind, message, image = image_for_one_behind(cluster, three)
    server = behind.server
    applied_index = server.applied_index

    def prepare(_: object) -> tuple[int, int]:
        raise StorageError("the disk is full", behind.files.log_path)

    with monkeypatch.context() as patch:
        patch.setattr(memory._MemoryInstaller, "prepare", prepare)
        with pytest.raises(StorageError):
            server.receive_snapshot(message, fill(server, image))
    assert server.applied_index == applied_index
    server.receive_snapshot(message, fill(server, image))
    assert server.applied_index > applied_index
    cluster.run_until(lambda: len(hashes(three)) == 1, "catching up")


def test_an_image_of_another_entry_is_refused(cluster: MemoryCluster, three: list[Member]) -> None:
    behind, message, image = image_for_one_behind(cluster, three)
    assert message.snapshot is not None
    message.snapshot = msgspec.structs.replace(message.snapshot, index=message.snapshot.index - 1)
    with pytest.raises(RemoteProtocolError, match="came as one of"):
        behind.server.receive_snapshot(message, fill(behind.server, image))
    cluster.run_until(lambda: len(hashes(three)) == 1, "catching up")


def test_a_member_whose_store_cannot_be_replaced_ends(
    cluster: MemoryCluster, three: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    behind, message, image = image_for_one_behind(cluster, three)
    failures: list[str] = []
    behind.server.on_failure = failures.append

    def finish(_: object) -> None:
        raise StorageError("the disk is gone", behind.files.log_path)

    monkeypatch.setattr(memory._MemoryInstaller, "finish", finish)
    with pytest.raises(StorageError):
        behind.server.receive_snapshot(message, fill(behind.server, image))
    assert len(failures) == 1
    assert "the disk is gone" in failures[0]
    applied_index = behind.server.applied_index
    cluster.advance(1.0)
    assert behind.server.applied_index == applied_index, "it does nothing more"


def image_for_one_behind(
    cluster: MemoryCluster, three: list[Member]
) -> tuple[Member, Message, bytes]:
    """A member without the last writes, and the leader's image with its message."""
    behind = next(member for member in three if not member.server.is_leader)
    behind.crash()
    for number in range(9):
        cluster.write(v2.Set(b"/k%d" % number, b"v"))
    leader = cluster.leader().server
    view = leader._backend.view()
    image = b"".join(view.chunks(1000))
    view.close()
    behind.start()
    message = Message(MessageType.SNAPSHOT, behind.server.member_id, leader.member_id)
    message.term = leader.term
    message.snapshot = SnapshotMeta(*leader._backend.applied, leader.cluster.conf_state)
    return behind, message, image


def fill(server: Server, image: bytes) -> Installer:
    installer = server.begin_snapshot()
    installer.write(image)
    return installer


def test_a_member_with_a_bug_ends_and_what_was_half_done_does_not_last(
    cluster: MemoryCluster, single: Member
) -> None:
    single.propose(v2.Set(b"/k", b"before"))
    cluster.settle()
    revision = single.server.store.revision
    commands = single.server._applier._apply_command

    def fail(_: v2.Delete) -> object:
        raise AssertionError("a bug")

    commands[v2.Delete] = fail
    single.propose(v2.Set(b"/k", b"after"))
    answers = single.propose(v2.Delete(b"/k"))
    with pytest.raises(AssertionError, match="a bug"):
        cluster.settle()
    assert "internal error" in single.stopped_because[0]
    applied_index = single.server.applied_index
    cluster.advance(1.0)
    assert single.server.applied_index == applied_index, "it does nothing more"
    assert not answers
    single.server.stop()
    single.crash()
    single.start()
    cluster.run_until(lambda: single.server.is_leader, "the log is applied again")
    assert isinstance(single.server.tree.get(b"/k"), KeyNotFound)
    assert single.server.store.revision == revision + 2, "each was done once"
