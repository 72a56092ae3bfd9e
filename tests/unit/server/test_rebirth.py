"""A cluster of one from one member's data."""

from pathlib import Path

import msgspec
import pytest
from tests.unit.server.conftest import Member as Process
from tests.unit.server.conftest import MemoryCluster

from kvorum.apply.applier import Applier
from kvorum.apply.commands import MembershipChange, encode_membership_change
from kvorum.clock import SystemClock
from kvorum.config import Config
from kvorum.errors import StorageError
from kvorum.membership import Member
from kvorum.raft.confchange import encode_conf_change
from kvorum.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    HardState,
)
from kvorum.server.files import DiskFiles, Identity, LogMetadata
from kvorum.server.rebirth import back_up
from kvorum.v2 import commands as v2
from kvorum.wal.datadir import DataDir

URLS: dict[str, tuple[str, ...]] = {
    f"m{number}": (f"http://127.0.0.1:238{number}",) for number in (1, 2, 3)
}
MOVED = "http://127.0.0.1:9999"


def start_three(cluster: MemoryCluster) -> None:
    for name, urls in URLS.items():
        config = Config(name=name, advertised_peer_urls=urls, initial_cluster=URLS)
        cluster.add(config).start()
    cluster.leader()


def test_one_of_three_goes_on_alone_with_everything(cluster: MemoryCluster) -> None:
    start_three(cluster)
    cluster.write(v2.Set(b"/a", b"1"))
    survivor = cluster.leader()
    before = (survivor.server.member_id, survivor.server.cluster_id)
    others = set(survivor.server.cluster.members) - {survivor.server.member_id}
    for member in list(cluster.members):
        member.crash()
    survivor.config = msgspec.structs.replace(
        survivor.config, force_new_cluster=True, advertised_peer_urls=(MOVED,)
    )
    survivor.start()
    cluster.run_until(lambda: survivor.server.leader_id == survivor.server.member_id)
    results = survivor.propose(v2.Set(b"/b", b"2"))
    cluster.run_until(lambda: bool(results))
    server = survivor.server
    assert (server.member_id, server.cluster_id) == before
    assert [member.peer_urls for member in server.cluster] == [(MOVED,)]
    assert all(server.was_removed(other) for other in others)
    assert server.store.revision == 3


def test_who_had_joined_a_04_cluster_goes_on_in_it(three: list[Process]) -> None:
    survivor = three[2]
    for member in three:
        member.crash()
    survivor.config = msgspec.structs.replace(survivor.config, force_new_cluster=True)
    survivor.start()
    assert survivor.server.cluster.is_legacy
    assert [member.name for member in survivor.server.cluster] == ["machine3"]


def change(member: Member, member_id: int, *, is_addition: bool) -> Entry:
    kind = ConfChangeType.ADD_VOTER if is_addition else ConfChangeType.REMOVE
    add, remove = (member, 0) if is_addition else (None, member_id)
    birth = (7, False) if member_id == 1 and is_addition else None
    context = encode_membership_change(MembershipChange(id=0, add=add, remove=remove, birth=birth))
    data = encode_conf_change(ConfChange((ConfChangeSingle(kind, member_id),), context))
    return Entry(1, 0, EntryType.CONF_CHANGE, data)


ONE = Member(1, "m1", URLS["m1"])
TWO = Member(2, "m2", URLS["m2"])


def make_data(path: Path, *entries: Entry, commit: int = 1) -> None:
    """The directory of a member whose state is empty and whose log has these entries."""
    files = DiskFiles(path, lambda _: None, lambda error: pytest.fail(str(error)))
    wal = files.create_log(LogMetadata(Identity(7, 1, "m1")))
    numbered = [Entry(1, at, one.type, one.data) for at, one in enumerate(entries, start=1)]
    wal.append(HardState(1, 1, commit), numbered)
    wal.close()
    files.backend.close()
    files.close()


def test_a_copy_has_what_the_log_holds_and_ids_of_its_own(tmp_path: Path) -> None:
    joined = (change(ONE, 1, is_addition=True), change(TWO, 2, is_addition=True))
    make_data(tmp_path / "data", *joined)
    back_up(tmp_path / "data", tmp_path / "copy", SystemClock())
    files = DiskFiles(tmp_path / "copy", lambda _: None, lambda error: pytest.fail(str(error)))
    wal, recovered, metadata = files.open_log()
    state = Applier(files.backend)
    state.restore()
    (member,) = state.cluster
    assert (member.name, member.peer_urls) == ("m1", ONE.peer_urls)
    assert member.id == metadata.identity.member_id != 1
    assert state.cluster.cluster_id == metadata.identity.cluster_id != 7
    assert state.cluster.conf_state == ConfState(voters=(member.id,))
    assert state.cluster.attributes.removed == []
    assert (recovered.entries, recovered.hard_state.commit, recovered.last_index) == ([], 2, 2)
    assert state.applied_index == 2
    wal.close()
    files.backend.close()
    files.close()


def test_a_log_that_stands_elsewhere_comes_into_the_copy(tmp_path: Path) -> None:
    make_data(tmp_path / "data", change(ONE, 1, is_addition=True))
    (tmp_path / "data" / "member" / "wal").rename(tmp_path / "log")
    with pytest.raises(StorageError, match="no member of kvorum has its data here"):
        back_up(tmp_path / "data", tmp_path / "copy", SystemClock())
    back_up(tmp_path / "data", tmp_path / "copy", SystemClock(), tmp_path / "log")
    assert DataDir.has_data(tmp_path / "copy")


def test_who_was_still_joining_has_a_vote_when_it_is_alone(tmp_path: Path) -> None:
    joining = msgspec.structs.replace(ONE, is_joining=True)
    make_data(tmp_path / "data", change(joining, 1, is_addition=True))
    back_up(tmp_path / "data", tmp_path / "copy", SystemClock())
    files = DiskFiles(tmp_path / "copy", lambda _: None, lambda error: pytest.fail(str(error)))
    state = Applier(files.backend)
    state.restore()
    (member,) = state.cluster
    assert not member.is_joining
    files.backend.close()
    files.close()


def test_what_was_not_known_to_be_committed_is_kept(tmp_path: Path) -> None:
    make_data(tmp_path / "data", change(ONE, 1, is_addition=True), Entry(1, 0), commit=1)
    back_up(tmp_path / "data", tmp_path / "copy", SystemClock())
    files = DiskFiles(tmp_path / "copy", lambda _: None, lambda error: pytest.fail(str(error)))
    assert files.backend.applied == (2, 1)
    files.backend.close()
    files.close()


def test_the_data_of_a_removed_member_is_refused(tmp_path: Path) -> None:
    gone = (
        change(ONE, 1, is_addition=True),
        change(TWO, 2, is_addition=True),
        change(ONE, 1, is_addition=False),
    )
    make_data(tmp_path / "data", *gone)
    with pytest.raises(StorageError, match="was removed from its cluster"):
        back_up(tmp_path / "data", tmp_path / "copy", SystemClock())
    assert not (tmp_path / "copy").exists()
    make_data(tmp_path / "other", *gone[:2])
    back_up(tmp_path / "other", tmp_path / "copy", SystemClock())


def test_damage_is_not_copied(tmp_path: Path) -> None:
    make_data(tmp_path / "data", change(ONE, 1, is_addition=True), Entry(1, 0))
    (segment,) = (tmp_path / "data" / "member" / "wal").glob("*.log")
    content = bytearray(segment.read_bytes())
    content[60] ^= 1
    segment.write_bytes(content)
    with pytest.raises(StorageError, match=segment.name):
        back_up(tmp_path / "data", tmp_path / "copy", SystemClock())
    assert not (tmp_path / "copy").exists()
