"""Entries to state: in order, each once, the same everywhere, with what survives a restart."""

import msgspec
import pytest

from kvorum.apply.applier import Applied, Applier, MembershipApplied
from kvorum.apply.batches import WINDOW
from kvorum.apply.commands import (
    Batch,
    Command,
    MembershipChange,
    SetClusterConfig,
    SetPeerUrls,
    UpdateMember,
    encode_batch,
    encode_membership_change,
)
from kvorum.backend.memory import MemoryBackend
from kvorum.errors import KeyExists
from kvorum.membership import ClusterConfig, Member, MembershipFault
from kvorum.raft.confchange import encode_conf_change
from kvorum.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
)
from kvorum.v2 import commands as v2
from kvorum.v2.node import Event
from kvorum.v3.commands import Compact

ONE = Member(1, "one", ("http://127.0.0.1:7001",), ("http://127.0.0.1:4001",))
TWO = Member(2, "two", ("http://127.0.0.1:7002",), ("http://127.0.0.1:4002",))


class Log:
    """Feeds an applier with entries as a log would."""

    def __init__(self, *, is_legacy: bool = True) -> None:
        self.backend = MemoryBackend()
        self.applier = Applier(self.backend)
        self.applier.restore()
        self._next_batch = 1
        self.change(MembershipChange(0, add=ONE, birth=(7, is_legacy)))

    def entry(self, data: bytes, kind: EntryType = EntryType.NORMAL) -> Entry:
        return Entry(1, self.applier.applied_index + 1, kind, data)

    def change(self, change: MembershipChange) -> MembershipApplied:
        steps = (ConfChangeSingle(ConfChangeType.ADD_VOTER, 1),)
        data = encode_conf_change(ConfChange(steps, encode_membership_change(change)))
        outcome = self.applier.apply(self.entry(data, EntryType.CONF_CHANGE))
        assert isinstance(outcome, MembershipApplied)
        return outcome

    def apply(self, *commands: Command) -> list[object]:
        outcome = self.applier.apply(self.entry(self.batch(*commands)))
        assert isinstance(outcome, Applied)
        return outcome.results

    def batch(self, *commands: Command, horizon: int = 1 << 30) -> bytes:
        self._next_batch += 1
        return encode_batch(Batch(self._next_batch, horizon, list(commands)))

    @property
    def revision(self) -> int:
        return self.applier.store.revision


@pytest.fixture
def log() -> Log:
    return Log()


def test_results_answer_their_commands(log: Log) -> None:
    results = log.apply(v2.Create(b"/a", b"1"), v2.Create(b"/a", b"2"), v2.Set(b"/b", b"3"))
    assert isinstance(results[0], Event)
    assert isinstance(results[1], KeyExists)
    assert isinstance(results[2], Event)


def test_entries_out_of_order_are_a_bug(log: Log) -> None:
    with pytest.raises(AssertionError, match="in order"):
        log.applier.apply(Entry(1, log.applier.applied_index + 2))


def test_an_empty_entry_only_moves_the_index(log: Log) -> None:
    before = log.applier.applied_index
    assert log.applier.apply(log.entry(b"")) is None
    assert log.applier.applied_index == before + 1
    assert log.backend.applied == (before + 1, 1)


def test_the_second_copy_of_a_batch_does_nothing(log: Log) -> None:
    data = log.batch(v2.Create(b"/q", b"1", in_order=True))
    assert isinstance(log.applier.apply(log.entry(data)), Applied)
    revision = log.revision
    assert log.applier.apply(log.entry(data)) is None
    assert log.revision == revision


def test_a_copy_is_recognised_after_a_restart(log: Log) -> None:
    data = log.batch(v2.Set(b"/a", b"1"))
    log.applier.apply(log.entry(data))
    log.backend.flush()
    revision = log.revision
    again = Applier(log.backend)
    again.restore()
    assert again.apply(Entry(1, again.applied_index + 1, EntryType.NORMAL, data)) is None
    assert again.store.revision == revision


def test_a_batch_beyond_its_horizon_does_nothing(log: Log) -> None:
    late = log.batch(v2.Set(b"/a", b"1"), horizon=log.applier.applied_index)
    assert log.applier.apply(log.entry(late)) is None
    assert log.applier.store.get(b"/a") is None


def test_horizon_and_memory_leave_no_gap(log: Log) -> None:
    first = log.applier.applied_index + 1
    data = log.batch(v2.Create(b"/q", b"1", in_order=True), horizon=first - 1 + WINDOW)
    log.applier.apply(log.entry(data))
    revision = log.revision
    while log.applier.applied_index < first + WINDOW + 2:
        if log.applier.applied_index % 1000 < 3:
            assert log.applier.apply(log.entry(data)) is None
        log.applier.apply(log.entry(log.batch()))
    assert log.applier.apply(log.entry(data)) is None
    assert log.revision == revision


@pytest.mark.parametrize(
    ("is_legacy", "first", "second"),
    [pytest.param(True, 1, 2, id="0.4-born"), pytest.param(False, 0, 0, id="3.x-born")],
)
def test_joins_take_revisions_in_a_cluster_born_in_the_old_era(
    is_legacy: bool, first: int, second: int
) -> None:
    log = Log(is_legacy=is_legacy)
    outcome = log.change(MembershipChange(5, add=TWO))
    assert outcome.change_id == 5
    members = log.applier.cluster.members
    assert members[1].created_index == first
    assert members[2].created_index == second
    assert log.revision == (second or 1)


def test_the_config_takes_a_revision(log: Log) -> None:
    log.apply(SetClusterConfig(ClusterConfig(active_size=3)))
    assert log.applier.cluster.attributes.config_index == 2
    assert log.applier.cluster.attributes.config.active_size == 3


def test_an_update_keeps_when_the_member_was_created(log: Log) -> None:
    log.apply(SetClusterConfig(ClusterConfig()))
    moved = Member(1, "one", ("http://127.0.0.1:7009",), ("http://127.0.0.1:4009",))
    log.apply(UpdateMember(moved))
    member = log.applier.cluster.members[1]
    assert member.peer_urls == moved.peer_urls
    assert (member.created_index, member.modified_index) == (1, 3)


def test_an_update_of_a_member_that_left_does_nothing(log: Log) -> None:
    assert log.apply(UpdateMember(TWO)) == [None]
    assert 2 not in log.applier.cluster.members


def test_a_wiped_member_is_replaced_in_one_revision(log: Log) -> None:
    log.change(MembershipChange(1, add=TWO))
    before = log.revision
    back = Member(3, "two", TWO.peer_urls, TWO.client_urls)
    outcome = log.change(MembershipChange(2, add=back, remove=2))
    assert outcome.removed is not None
    assert outcome.removed.id == 2
    assert set(log.applier.cluster.members) == {1, 3}
    assert log.revision == before + 1


@pytest.mark.parametrize("revision", [0, 1, 100])
def test_a_compaction_that_makes_no_sense_does_nothing(log: Log, revision: int) -> None:
    log.apply(v2.Set(b"/a", b"1"), v2.Set(b"/a", b"2"), Compact(2))
    compacted = log.applier.store.compacted_revision
    log.apply(Compact(revision))
    assert log.applier.store.compacted_revision == compacted == 2


def test_equal_logs_give_equal_states() -> None:
    logs = [Log(), Log()]
    for one in logs:
        one.apply(v2.Set(b"/a/b", b"1"), v2.Delete(b"/a", is_recursive=True), v2.Set(b"/t", b"x"))
        one.change(MembershipChange(1, add=TWO))
    first, second = (one.applier for one in logs)
    assert first.store.hash_at(first.store.revision) == second.store.hash_at(second.store.revision)
    assert list(first.cluster) == list(second.cluster)


def test_a_change_that_came_too_late_does_nothing(log: Log) -> None:
    log.change(MembershipChange(1, add=TWO))
    revision = log.revision
    again = log.change(MembershipChange(2, add=Member(3, "three", TWO.peer_urls)))
    assert again.fault is MembershipFault.PEER_URL_EXISTS
    assert (again.added, again.removed) == (None, None)
    assert log.change(MembershipChange(3, remove=2)).fault is None
    assert log.change(MembershipChange(4, remove=2)).fault is MembershipFault.REMOVED
    assert set(log.applier.cluster.members) == {1}
    assert log.revision == revision + 1


def test_a_promotion_takes_no_revision(log: Log) -> None:
    outcome = log.change(MembershipChange(1, add=msgspec.structs.replace(TWO, is_joining=True)))
    assert outcome.added is not None
    log.applier.cluster.set_conf_state(ConfState(voters=(1,), learners=(2,)))
    before, revision = log.applier.cluster.members[2], log.revision
    assert before.is_joining
    promoted = log.change(MembershipChange(2, promote=2)).promoted
    assert promoted == msgspec.structs.replace(before, is_joining=False)
    assert log.applier.cluster.members[2] == promoted
    assert log.revision == revision


def test_who_left_before_its_promotion_gets_no_vote(log: Log) -> None:
    log.change(MembershipChange(1, add=TWO))
    log.change(MembershipChange(2, remove=2))
    outcome = log.change(MembershipChange(3, promote=2))
    assert (outcome.fault, outcome.promoted) == (MembershipFault.REMOVED, None)


def test_an_update_that_crosses_a_promotion_does_not_undo_it(log: Log) -> None:
    joining = msgspec.structs.replace(TWO, is_joining=True)
    log.change(MembershipChange(1, add=joining))
    log.applier.cluster.set_conf_state(ConfState(voters=(1,), learners=(2,)))
    log.change(MembershipChange(2, promote=2))
    log.apply(UpdateMember(joining, keeps_peer_urls=True))
    assert not log.applier.cluster.members[2].is_joining


def test_who_introduces_itself_keeps_the_peer_urls_it_was_given(log: Log) -> None:
    assert log.apply(SetPeerUrls(1, ("http://127.0.0.1:7009",))) != [None]
    log.apply(UpdateMember(Member(1, "uno", ONE.peer_urls, ONE.client_urls), keeps_peer_urls=True))
    member = log.applier.cluster.members[1]
    assert (member.name, member.peer_urls) == ("uno", ("http://127.0.0.1:7009",))


def test_peer_urls_are_checked_where_they_are_applied(log: Log) -> None:
    log.change(MembershipChange(1, add=TWO))
    results = log.apply(SetPeerUrls(1, TWO.peer_urls), SetPeerUrls(9, ("http://h:1",)))
    assert results == [MembershipFault.PEER_URL_EXISTS, MembershipFault.NOT_FOUND]
    assert log.applier.cluster.members[1].peer_urls == ONE.peer_urls
