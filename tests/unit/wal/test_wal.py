"""The log as a whole: what was acknowledged is there again, whatever happens in between."""

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from kvorum.errors import LocalProtocolError, StorageError
from kvorum.raft.types import ConfState, Entry, EntryType, HardState, SnapshotMeta
from kvorum.wal import wal as wal_module
from kvorum.wal.memory import MemoryLogFiles, StepSyncer
from kvorum.wal.replay import Recovered
from kvorum.wal.segment import OsLogFiles, segment_name
from kvorum.wal.syncer import ThreadSyncer
from kvorum.wal.wal import Wal

DEADLINE_SECONDS = 20


def entry(index: int, term: int = 1, size: int = 10) -> Entry:
    return Entry(term, index, EntryType.NORMAL, bytes([index % 256]) * size)


class Member:
    """A log over memory, and the thread that owns it: posted callables run at once."""

    def __init__(self, disk: MemoryLogFiles | None = None, segment_bytes: int = 4096) -> None:
        self.disk = disk or MemoryLogFiles()
        self.segment_bytes = segment_bytes
        self.failures: list[BaseException] = []
        self.acknowledged: list[object] = []
        self.syncer = StepSyncer(lambda callback: callback())

    def create(self) -> Wal:
        return Wal.create_in(
            self.disk, b"meta", self.syncer, self.failures.append, self.segment_bytes
        )

    def open(self) -> tuple[Wal, Recovered]:
        return Wal.open_in(self.disk, self.syncer, self.failures.append, self.segment_bytes)

    def sync(self, wal: Wal, what: object = None) -> None:
        wal.sync(lambda: self.acknowledged.append(what))
        self.syncer.step()


def reopen(member: Member, keep: Callable[[int], int] = lambda _: 0) -> tuple[Wal, Recovered]:
    """After a power cut; by default nothing unsynced survives."""
    return Member(member.disk.crash(keep), member.segment_bytes).open()


def test_new_log_is_empty_and_durable() -> None:
    member = Member()
    member.create()
    _, recovered = reopen(member)
    assert recovered == Recovered(b"meta", HardState(), SnapshotMeta(), [], 0)


def test_acknowledged_writes_come_back() -> None:
    member = Member()
    wal = member.create()
    wal.append(HardState(2, 7, 1), [entry(1), entry(2, term=2)])
    member.sync(wal, "first")
    wal.append(HardState(3, 0, 1), [])
    wal.append(None, [entry(2, term=3), entry(3, term=3)])
    member.sync(wal, "second")
    assert member.acknowledged == ["first", "second"]
    _, recovered = reopen(member)
    assert recovered.hard_state == HardState(3, 0, 1)
    assert recovered.entries == [entry(1), entry(2, term=3), entry(3, term=3)]
    assert recovered.last_index == 3


def test_writes_without_a_sync_promise_nothing() -> None:
    member = Member()
    wal = member.create()
    wal.append(HardState(1, 0, 0), [entry(1)])
    assert reopen(member)[1].entries == []
    assert reopen(member, lambda count: count)[1].entries == [entry(1)]


def test_log_goes_on_after_it_was_opened() -> None:
    member = Member()
    member.create().close()
    for index in range(1, 40):
        wal, recovered = member.open()
        assert [found.index for found in recovered.entries] == list(range(1, index))
        wal.append(HardState(1, 0, index), [entry(index, size=400)])
        wal.close()
    assert len(member.disk.names()) > 3


def test_marker_comes_back_with_what_follows_it() -> None:
    member = Member()
    wal = member.create()
    wal.append(None, [entry(1), entry(2), entry(3)])
    marker = SnapshotMeta(2, 1, ConfState(voters=(1, 2, 3)))
    wal.append_snapshot(marker)
    wal.append(None, [entry(3, term=2)])
    member.sync(wal)
    _, recovered = reopen(member)
    assert (recovered.snapshot, recovered.entries) == (marker, [entry(3, term=2)])


def test_installed_snapshot_begins_the_log_anew() -> None:
    member = Member()
    wal = member.create()
    wal.append(HardState(1, 0, 1), [entry(1), entry(2)])
    wal.append_snapshot(SnapshotMeta(50, 4))
    wal.append(HardState(4, 0, 50), [entry(51, term=4)])
    member.sync(wal)
    _, recovered = reopen(member)
    assert recovered.entries == [entry(51, term=4)]
    assert recovered.last_index == 51


def test_log_begun_anew_comes_back_when_the_entries_it_replaced_are_half_released() -> None:
    member = Member(segment_bytes=600)
    wal = member.create()
    wal.append(HardState(1, 0, 3), [entry(1), entry(2), entry(3)])
    for index in range(4, 13):
        wal.append(None, [entry(index, term=2, size=200)])
    wal.append_snapshot(SnapshotMeta(6, 4))
    for index in range(7, 11):
        wal.append(HardState(4, 0, index), [entry(index, term=4, size=200)])
        member.sync(wal)
    before = len(member.disk.names())
    wal.release(10)
    assert 1 < len(member.disk.names()) < before
    _, recovered = reopen(member)
    assert recovered.entries == [entry(index, term=4, size=200) for index in range(7, 11)]


def test_every_segment_repeats_what_the_released_ones_knew() -> None:
    member = Member()
    wal = member.create()
    marker = SnapshotMeta(3, 1, ConfState(voters=(5,)))
    for index in range(1, 31):
        wal.append(HardState(1, 9, index) if index < 5 else None, [entry(index, size=400)])
        if index == 3:
            wal.append_snapshot(marker)
        member.sync(wal)
    count = len(member.disk.names())
    wal.release(20)
    assert 1 < len(member.disk.names()) < count
    _, recovered = reopen(member)
    assert (recovered.hard_state, recovered.snapshot) == (HardState(1, 9, 4), marker)
    indexes = [found.index for found in recovered.entries]
    assert indexes == list(range(indexes[0], 31))
    assert 1 < indexes[0] <= 21
    wal.release(30)
    assert len(member.disk.names()) == 1
    assert reopen(member)[1].last_index == 30


def test_release_keeps_a_segment_until_the_next_is_durable() -> None:
    member = Member()
    wal = member.create()
    for index in range(1, 10):
        wal.append(HardState(1, 9, index), [entry(index, size=400)])
    wal.release(9)
    assert len(member.disk.names()) == 1
    member.sync(wal)
    assert len(member.disk.names()) == 2
    wal.release(9)
    assert len(member.disk.names()) == 1
    assert reopen(member)[1].last_index == 9


def test_entry_larger_than_a_segment_gets_a_larger_one() -> None:
    member = Member()
    wal = member.create()
    wal.append(None, [entry(1, size=20_000)])
    wal.append(None, [entry(2)])
    member.sync(wal)
    _, recovered = reopen(member)
    assert recovered.entries == [entry(1, size=20_000), entry(2)]
    for name, file in member.disk.published.items():
        assert file.size <= member.disk.size(name)


def test_empty_append_writes_nothing() -> None:
    member = Member()
    wal = member.create()
    before = member.disk.read(member.disk.names()[0])
    wal.append(None, [])
    assert member.disk.read(member.disk.names()[0]) == before


def test_entries_that_cannot_follow_end_the_log() -> None:
    member = Member()
    wal = member.create()
    with pytest.raises(LocalProtocolError, match="does not follow"):
        wal.append(None, [entry(1), entry(3)])
    assert isinstance(wal.failed, LocalProtocolError)
    wal.append(None, [entry(1)])
    member.sync(wal, "never")
    assert member.acknowledged == []
    assert reopen(member, lambda count: count)[1].entries == []


def test_marker_that_goes_back_is_refused_and_not_written() -> None:
    member = Member()
    wal = member.create()
    wal.append_snapshot(SnapshotMeta(5, 1))
    with pytest.raises(LocalProtocolError, match="marker 4 comes after"):
        wal.append_snapshot(SnapshotMeta(4, 1))
    wal.append(None, [entry(6)])
    member.sync(wal)
    assert reopen(member)[1].snapshot == SnapshotMeta(5, 1)


@pytest.mark.parametrize("room", [0, 5, 700])
def test_full_disk_is_final(room: int) -> None:
    member = Member()
    wal = member.create()
    wal.append(HardState(1, 0, 1), [entry(1, size=100)])
    member.sync(wal, 1)
    member.disk.free_bytes = room
    wal.append(HardState(1, 0, 2), [entry(2, size=2000)])
    assert isinstance(wal.failed, OSError)
    assert member.failures == [wal.failed]
    member.disk.free_bytes = 1 << 20
    wal.append(HardState(1, 0, 2), [entry(2, size=2000)])
    wal.append_snapshot(SnapshotMeta(2, 1))
    wal.release(9)
    member.sync(wal, 2)
    with pytest.raises(StorageError, match="No space left on device"):
        wal.sync_now()
    wal.close()
    assert member.acknowledged == [1]
    assert len(member.failures) == 1
    _, recovered = reopen(member, lambda count: count)
    assert recovered.entries == [entry(1, size=100)]


def test_full_disk_at_a_new_segment_is_final() -> None:
    member = Member()
    wal = member.create()
    member.disk.free_bytes = 20
    wal.append(None, [entry(1, size=9000)])
    assert [error for error in member.failures if isinstance(error, OSError)]
    member.sync(wal, "never")
    assert member.acknowledged == []
    assert reopen(member)[1].entries == []


def test_failed_sync_is_final() -> None:
    member = Member()
    wal = member.create()
    wal.append(None, [entry(1)])
    member.disk.sync_error = OSError(errno.EIO, "Input/output error")
    member.sync(wal, "never")
    assert wal.failed is member.disk.sync_error
    member.disk.sync_error = None
    member.sync(wal, "never")
    assert member.acknowledged == []
    assert len(member.failures) == 1


def test_failed_blocking_sync_is_final() -> None:
    member = Member()
    wal = member.create()
    wal.append(None, [entry(1)])
    member.disk.sync_error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(StorageError, match="Input/output error") as caught:
        wal.close()
    assert caught.value.path.name == segment_name(1, 1)
    assert len(member.failures) == 1


def test_torn_tail_is_cut_off_with_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    member = Member()
    wal = member.create()
    wal.append(None, [entry(1)])
    member.sync(wal)
    wal.append(None, [entry(2, size=1500)])
    survivors = iter([1, 0, 1, 1])
    with caplog.at_level(logging.WARNING, "kvorum.wal"):
        wal, recovered = reopen(member, lambda _: next(survivors))
    assert recovered.entries == [entry(1)]
    assert "cut off a torn tail" in caplog.text
    assert segment_name(1, 1) in caplog.text
    caplog.clear()
    wal.append(None, [entry(2)])
    wal.close()
    disk = wal._files
    assert isinstance(disk, MemoryLogFiles)
    assert Member(disk).open()[1].entries == [entry(1), entry(2)]
    assert caplog.text == ""


def test_damaged_log_is_refused_and_not_changed(tmp_path: Path) -> None:
    posted: SimpleQueue[Callable[[], object]] = SimpleQueue()
    wal = Wal.create(tmp_path, b"", posted.put, unexpected)
    for index in range(1, 6):
        wal.append(HardState(1, 0, index), [entry(index)])
        wal.sync_now()
    wal.close()
    path = tmp_path / segment_name(1, 1)
    with path.open("r+b") as file:
        file.seek(130)
        file.write(b"\xff")
    before = path.read_bytes()
    with pytest.raises(StorageError) as caught:
        Wal.open(tmp_path, posted.put, unexpected)
    assert caught.value.path == path
    assert caught.value.offset is not None
    assert path.read_bytes() == before


def unexpected(error: BaseException) -> None:
    raise AssertionError from error


def test_real_log_with_its_thread(tmp_path: Path) -> None:
    posted: SimpleQueue[Callable[[], object]] = SimpleQueue()
    acknowledged: list[int] = []
    wal = Wal.create(tmp_path, b"meta", posted.put, unexpected)
    for index in range(1, 101):
        wal.append(HardState(1, 0, index), [entry(index, size=2000)])
        wal.sync(lambda index=index: acknowledged.append(index))  # type: ignore[misc]
    while len(acknowledged) < 100:
        posted.get(timeout=DEADLINE_SECONDS)()
    assert acknowledged == list(range(1, 101))
    wal.close()
    wal, recovered = Wal.open(tmp_path, posted.put, unexpected)
    assert [found.index for found in recovered.entries] == list(range(1, 101))
    wal.close()


def test_shortened_file_gets_its_length_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    posted: SimpleQueue[Callable[[], object]] = SimpleQueue()
    wal = Wal.create(tmp_path, b"", posted.put, unexpected)
    wal.append(None, [entry(1), entry(2, size=1000)])
    wal.close()
    path = tmp_path / segment_name(1, 1)
    os.truncate(path, 600)
    wal, recovered = Wal.open(tmp_path, posted.put, unexpected)
    wal.close()
    assert recovered.entries == [entry(1)]
    assert path.stat().st_size == wal_module.SEGMENT_BYTES
    assert "cut off a torn tail" in caplog.text
    assert f"shortened it by {wal_module.SEGMENT_BYTES - 600} bytes" in caplog.text


def test_missing_log_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no log here"):
        Wal.open(tmp_path, lambda _: None, unexpected)
    with pytest.raises(StorageError, match="cannot be opened: No such file"):
        Wal.open(tmp_path / "none", lambda _: None, unexpected)
    with pytest.raises(StorageError, match="cannot be made: No such file"):
        Wal.create(tmp_path / "none", b"", lambda _: None, unexpected)


def test_second_log_is_not_made_over_the_first(tmp_path: Path) -> None:
    Wal.create(tmp_path, b"", lambda _: None, unexpected).close()
    with pytest.raises(StorageError, match="a log is here already"):
        Wal.create(tmp_path, b"", lambda _: None, unexpected)


WRITER = """
import sys
from pathlib import Path
from queue import SimpleQueue
from kvorum.raft.types import Entry, EntryType, HardState
from kvorum.wal.segment import OsLogFiles
from kvorum.wal.syncer import ThreadSyncer
from kvorum.wal.wal import Wal

posted = SimpleQueue()
files = OsLogFiles(Path(sys.argv[1]))
args = (ThreadSyncer(posted.put), sys.exit, 1 << 16)
wal = Wal.open_in(files, *args)[0] if files.names() else Wal.create_in(files, b"", *args)
index = wal._state.last_index
while True:
    for _ in range(8):
        index += 1
        data = index.to_bytes(8, "big") * (index % 200)
        wal.append(HardState(1, 1, index - 1), [Entry(1, index, EntryType.NORMAL, data)])
        wal.sync(lambda index=index: print(index, flush=True))
    wal.release(index - 2000)
    posted.get()()
    while not posted.empty():
        posted.get()()
"""


@pytest.mark.slow
def test_killed_process_has_lost_nothing_it_acknowledged(tmp_path: Path) -> None:
    for round_number in range(1, 6):
        acknowledged = kill_after(tmp_path, 37 * round_number**2)
        wal, recovered = Wal.open_in(
            OsLogFiles(tmp_path), ThreadSyncer(lambda _: None), unexpected, 1 << 16
        )
        wal.close()
        assert recovered.last_index >= acknowledged
        assert recovered.hard_state.commit >= acknowledged - 1
        for found in recovered.entries:
            assert found.data == found.index.to_bytes(8, "big") * (found.index % 200)
        assert recovered.entries[0].index <= max(1, recovered.last_index - 1999)


def kill_after(directory: Path, count: int) -> int:
    """Runs the writer until it has acknowledged so many more entries; the last one it said."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for _ in range(count):
            process.stdout.readline()
        process.kill()
        lines = process.stdout.read().split(b"\n")
        said = [int(line) for line in lines[:-1]]
    return said[-1] if said else 0


class State(NamedTuple):
    """What a log holds after some of its records."""

    hard_state: HardState = HardState()
    snapshot: SnapshotMeta = SnapshotMeta()
    entries: tuple[Entry, ...] = ()
    last_index: int = 0

    def term_at(self, index: int) -> int:
        """Term of the entry there, or of the marker."""
        known = {found.index: found.term for found in self.entries}
        return known.get(index, self.snapshot.term)


class LogMachine(RuleBasedStateMachine):
    """Any use of a log against the list of states it went through, one a record.

    After a crash it holds one of them, at or after the last acknowledged one.
    """

    @initialize(segment_bytes=st.sampled_from([600, 1500, 1 << 20]))
    def begin(self, segment_bytes: int) -> None:
        self.member = Member(segment_bytes=segment_bytes)
        self.wal = self.member.create()
        self.states = [State()]
        self.durable_count = 1
        self.released = 0

    @rule(
        back=st.integers(0, 3),
        sizes=st.lists(st.sampled_from([0, 30, 300, 1200]), max_size=4),
        rise=st.integers(0, 1),
        vote=st.none() | st.integers(0, 2),
    )
    def append(self, back: int, sizes: list[int], rise: int, vote: int | None) -> None:
        state = self.states[-1]
        floor = max(state.hard_state.commit, state.snapshot.index, self.released)
        first = max(state.last_index + 1 - back, floor + 1)
        term = max(1, state.term_at(first - 1), state.hard_state.term) + rise
        entries = [entry(first + i, term, size) for i, size in enumerate(sizes)]
        for new in entries:
            kept = tuple(old for old in state.entries if old.index < new.index)
            state = state._replace(entries=(*kept, new), last_index=new.index)
            self.states.append(state)
        hard_state = None
        if vote is not None:
            hard_state = HardState(term, vote, (floor + state.last_index) // 2)
            self.states.append(state._replace(hard_state=hard_state))
        self.wal.append(hard_state, entries)

    @rule(ahead=st.integers(-4, 3), rise=st.integers(0, 1))
    def append_snapshot(self, ahead: int, rise: int) -> None:
        state = self.states[-1]
        floor = max(state.hard_state.commit, state.snapshot.index, self.released)
        index = max(state.last_index + ahead, floor)
        term = state.term_at(min(index, state.last_index)) + rise
        marker = SnapshotMeta(index, term, ConfState(voters=(1, index)))
        self.states.append(State(state.hard_state, marker, (), index))
        self.wal.append_snapshot(marker)

    @rule()
    def request_sync(self) -> None:
        count = len(self.states)
        self.wal.sync(lambda: setattr(self, "durable_count", count))

    @rule()
    def finish_sync(self) -> None:
        self.member.syncer.step()

    @rule(back=st.integers(0, 5))
    def release(self, back: int) -> None:
        durable = self.states[self.durable_count - 1]
        index = min(durable.hard_state.commit, self.states[-1].hard_state.commit) - back
        self.released = max(self.released, index)
        self.wal.release(index)

    @rule()
    def close(self) -> None:
        self.wal.close()
        self.durable_count = len(self.states)
        self.recover(self.member.disk)

    @rule()
    def kill(self) -> None:
        """What was written is still there to read, and no more durable than before."""
        self.recover(self.member.disk)

    @rule(random=st.randoms(use_true_random=False))
    def cut_power(self, random: "Randoms") -> None:
        self.recover(self.member.disk.crash(lambda count: random.randint(0, count)))

    def recover(self, disk: MemoryLogFiles) -> None:
        self.member = Member(disk, self.member.segment_bytes)
        self.wal, recovered = self.member.open()
        assert self.member.failures == []
        self.states = [self.find_state(recovered)]
        self.durable_count = 1

    def find_state(self, recovered: Recovered) -> State:
        for state in self.states[self.durable_count - 1 :]:
            kept = state.entries[len(state.entries) - len(recovered.entries) :]
            missing = state.entries[: len(state.entries) - len(recovered.entries)]
            if (
                (recovered.hard_state, recovered.snapshot) == state[:2]
                and recovered.last_index == state.last_index
                and recovered.entries == list(kept)
                and all(old.index <= self.released for old in missing)
            ):
                return state._replace(entries=tuple(recovered.entries))
        raise AssertionError(f"{recovered} is none of {self.states[self.durable_count - 1 :]}")

    def teardown(self) -> None:
        assert not hasattr(self, "member") or self.member.failures == []


class Randoms(NamedTuple):
    """What hypothesis gives for chance."""

    randint: Callable[[int, int], int]


LogMachine.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestLogMachine = pytest.mark.slow(LogMachine.TestCase)
