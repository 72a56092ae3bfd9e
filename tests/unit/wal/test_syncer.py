"""Group commit: one suite for the thread and for the one that is stepped."""

import errno
import queue
import threading
from collections.abc import Callable
from functools import partial

import pytest

from kvorum.wal.memory import MemoryLogFiles, StepSyncer
from kvorum.wal.segment import LogFile
from kvorum.wal.syncer import Callback, ThreadSyncer

DEADLINE_SECONDS = 10


class SlowFile:
    """A file whose syncs last until the test lets them end."""

    size = durable = 0

    def __init__(self) -> None:
        self.started: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.may_end = threading.Semaphore(0)
        self.sync_count = 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> None:
        raise AssertionError(data)

    def sync(self) -> None:
        self.started.put(None)
        assert self.may_end.acquire(timeout=DEADLINE_SECONDS)
        self.sync_count += 1
        if self.error is not None:
            raise self.error

    def seal(self) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


class Owner:
    """The owning thread: what was posted, run when the test says."""

    def __init__(self) -> None:
        self.posted: queue.SimpleQueue[Callback] = queue.SimpleQueue()
        self.seen: list[object] = []

    def note(self, what: object) -> Callable[[], None]:
        return partial(self.seen.append, what)

    def run_one(self) -> None:
        self.posted.get(timeout=DEADLINE_SECONDS)()


def start_thread(owner: Owner) -> ThreadSyncer:
    syncer = ThreadSyncer(owner.posted.put)
    syncer.start(owner.seen.append)
    return syncer


def test_requests_during_a_sync_share_the_next_one() -> None:
    owner, file = Owner(), SlowFile()
    syncer = start_thread(owner)
    syncer.request(file, owner.note(1))
    file.started.get(timeout=DEADLINE_SECONDS)
    for number in (2, 3, 4):
        syncer.request(file, owner.note(number))
    file.may_end.release(2)
    owner.run_one()
    assert owner.seen == [1]
    owner.run_one()
    assert owner.seen == [1, 2, 3, 4]
    syncer.stop()
    assert file.sync_count == 2
    assert owner.posted.empty()


def test_nothing_is_told_before_the_sync_has_ended() -> None:
    owner, file = Owner(), SlowFile()
    syncer = start_thread(owner)
    syncer.request(file, owner.note("done"))
    file.started.get(timeout=DEADLINE_SECONDS)
    assert owner.posted.empty()
    file.may_end.release()
    owner.run_one()
    assert owner.seen == ["done"]
    syncer.stop()


def test_first_error_is_the_last_word() -> None:
    owner, file = Owner(), SlowFile()
    file.error = OSError(errno.EIO, "Input/output error")
    syncer = start_thread(owner)
    syncer.request(file, owner.note("never"))
    file.started.get(timeout=DEADLINE_SECONDS)
    syncer.request(file, owner.note("never"))
    file.may_end.release()
    owner.run_one()
    syncer.request(file, owner.note("never"))
    with pytest.raises(OSError, match="Input/output"):
        syncer.flush(file)
    syncer.stop()
    assert owner.seen == [file.error]
    assert owner.posted.empty()
    assert file.sync_count == 1


def test_flush_waits_for_what_came_before() -> None:
    owner, file = Owner(), SlowFile()
    syncer = start_thread(owner)
    file.may_end.release(9)
    syncer.request(file, owner.note("before"))
    syncer.flush(file)
    owner.run_one()
    assert owner.seen == ["before"]
    syncer.stop()


def test_stop_deals_with_what_was_requested() -> None:
    owner, file = Owner(), SlowFile()
    syncer = start_thread(owner)
    file.may_end.release(9)
    syncer.request(file, owner.note("last"))
    syncer.stop()
    owner.run_one()
    assert owner.seen == ["last"]


@pytest.mark.parametrize("kind", [ThreadSyncer, StepSyncer])
def test_files_are_synced_in_order_and_once(kind: type[ThreadSyncer] | type[StepSyncer]) -> None:
    order: list[str] = []

    class Noted(SlowFile):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def sync(self) -> None:
            order.append(self.name)

    owner = Owner()
    old: LogFile = Noted("old")
    new: LogFile = Noted("new")
    syncer = kind(owner.posted.put)
    for number, file in enumerate([old, old, new, new]):
        syncer.request(file, owner.note(number))
    syncer.start(owner.seen.append)
    syncer.stop()
    owner.run_one()
    assert owner.seen == [0, 1, 2, 3]
    assert order == ["old", "new"]


def test_stepped_syncer_does_nothing_by_itself() -> None:
    owner, disk = Owner(), MemoryLogFiles()
    syncer = StepSyncer(owner.posted.put)
    syncer.start(owner.seen.append)
    file = disk.create("name", 8)
    file.write(b"x")
    syncer.request(file, owner.note("done"))
    assert (disk.names(), owner.posted.empty()) == ([], True)
    syncer.step()
    owner.run_one()
    assert (disk.names(), owner.seen) == (["name"], ["done"])


def test_stepped_syncer_ends_with_the_first_error() -> None:
    owner, disk = Owner(), MemoryLogFiles()
    syncer = StepSyncer(owner.posted.put)
    syncer.start(owner.seen.append)
    file = disk.create("name", 8)
    disk.sync_error = OSError(errno.EIO, "Input/output error")
    syncer.request(file, owner.note("never"))
    syncer.step()
    owner.run_one()
    syncer.request(file, owner.note("never"))
    disk.sync_error = None
    syncer.stop()
    assert owner.posted.empty()
    assert [str(error) for error in owner.seen] == ["[Errno 5] Input/output error"]
