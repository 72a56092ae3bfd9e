"""The kernel's own syncs: real files, a real queue in the kernel, and a watch the test steps."""

import ctypes
import errno
import os
import platform
import queue
import select
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from kvorum.wal.aiosyncer import AioSyncer, KernelSync, best_syncer
from kvorum.wal.segment import OsLogFile, OsLogFiles
from kvorum.wal.syncer import Callback, ThreadSyncer

DEADLINE_SECONDS = 10


class Owner:
    """The owning thread: runs what was posted, and what a readable descriptor calls for."""

    def __init__(self) -> None:
        self.posted: queue.SimpleQueue[Callback] = queue.SimpleQueue()
        self.watched: dict[int, Callback] = {}
        self.seen: list[object] = []

    def watch(self, fd: int, callback: Callback) -> Callback:
        self.watched[fd] = callback
        return partial(self.watched.pop, fd)

    def note(self, what: object) -> Callable[[], None]:
        return partial(self.seen.append, what)

    def run_posted(self) -> None:
        self.posted.get(timeout=DEADLINE_SECONDS)()

    def run_watched(self) -> None:
        readable, _, _ = select.select(list(self.watched), [], [], DEADLINE_SECONDS)
        assert readable, "no sync has ended"
        self.watched[readable[0]]()


@pytest.fixture(autouse=True)
def kernel() -> None:
    try:
        KernelSync().close()
    except (OSError, KeyError):
        pytest.skip("this kernel has no asynchronous I/O")


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def syncer(owner: Owner) -> Iterator[AioSyncer]:
    syncer = AioSyncer(owner.posted.put, owner.watch)
    syncer.start(owner.seen.append)
    yield syncer
    if owner.watched:
        syncer.stop()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[OsLogFile]:
    file = OsLogFiles(tmp_path).create("published", 4096)
    file.write(b"head")
    file.sync()
    yield file
    file.close()


def test_what_was_written_before_the_request_becomes_durable(
    owner: Owner, syncer: AioSyncer, file: OsLogFile
) -> None:
    file.write(b"one")
    syncer.request(file, owner.note("done"))
    file.write(b"later")
    assert (owner.seen, file.durable) == ([], 4)
    owner.run_watched()
    assert (owner.seen, file.durable) == (["done"], 7)
    assert owner.posted.empty(), "no thread was asked"


def test_requests_during_a_sync_share_the_next_one(
    owner: Owner, syncer: AioSyncer, file: OsLogFile
) -> None:
    for number in (1, 2, 3):
        file.write(b"x")
        syncer.request(file, owner.note(number))
    owner.run_watched()
    assert (owner.seen, file.durable) == ([1], 5)
    owner.run_watched()
    assert (owner.seen, file.durable) == ([1, 2, 3], 7)


def test_full_and_new_segments_go_to_the_helper_in_order(
    owner: Owner, syncer: AioSyncer, file: OsLogFile, tmp_path: Path
) -> None:
    syncer.request(file, owner.note("first"))
    file.seal()
    syncer.request(file, owner.note("last of old"))
    new = OsLogFiles(tmp_path).create("new", 4096)
    new.write(b"head")
    syncer.request(new, owner.note("first of new"))
    owner.run_watched()
    assert owner.seen == ["first"]
    owner.run_posted()
    assert owner.seen == ["first", "last of old", "first of new"]
    assert (file.plain_fd, (tmp_path / "new").exists(), new.durable) == (None, True, 4)
    new.write(b"x")
    syncer.request(new, owner.note("second of new"))
    owner.run_watched()
    assert owner.seen[-1] == "second of new"
    new.close()


def test_two_files_that_wait_are_both_synced(
    owner: Owner, syncer: AioSyncer, file: OsLogFile, tmp_path: Path
) -> None:
    other = OsLogFiles(tmp_path).create("other", 4096)
    other.write(b"head")
    other.sync()
    syncer.request(file, owner.note(1))
    for number, one in ((2, file), (3, other)):
        one.write(b"x")
        syncer.request(one, owner.note(number))
    owner.run_watched()
    owner.run_posted()
    assert (owner.seen, file.durable, other.durable) == ([1, 2, 3], 5, 5)
    other.close()


def test_first_error_is_the_last_word(
    owner: Owner, syncer: AioSyncer, file: OsLogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.EIO, "Input/output error")

    def fail(self: KernelSync) -> None:
        finish(self)
        raise error

    finish = KernelSync.finish
    monkeypatch.setattr(KernelSync, "finish", fail)
    file.write(b"lost")
    syncer.request(file, owner.note("never"))
    syncer.request(file, owner.note("never"))
    owner.run_watched()
    owner.run_posted()
    syncer.request(file, owner.note("never"))
    with pytest.raises(OSError, match="Input/output"):
        syncer.flush(file)
    syncer.stop()
    assert (owner.seen, file.durable) == ([error], 4)
    assert owner.posted.empty()


def test_what_is_no_file_is_refused() -> None:
    kernel = KernelSync()
    with pytest.raises(OSError, match="Bad file descriptor"):
        kernel.start(999_999)
    kernel.close()


def test_a_signal_is_no_failure(file: OsLogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = KernelSync()
    call, interruptions = kernel._call, [1]

    def interrupted(*arguments: object) -> int:
        if interruptions:
            ctypes.set_errno(errno.EINTR)
            return -interruptions.pop()
        return int(call(*arguments))

    kernel.start(file.plain_fd or -1)
    monkeypatch.setattr(kernel, "_call", interrupted)
    kernel.finish()
    assert not interruptions
    kernel.close()


def test_an_end_that_was_not_told_of_yet_is_one(
    file: OsLogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = KernelSync()
    kernel.start(file.plain_fd or -1)

    def too_early(fd: int) -> int:
        raise BlockingIOError(errno.EAGAIN, f"nothing can be read from {fd}")

    monkeypatch.setattr(os, "eventfd_read", too_early)
    kernel.finish()
    kernel.close()


def test_what_the_kernel_does_not_take_goes_to_the_helper(
    owner: Owner, syncer: AioSyncer, file: OsLogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: KernelSync, _fd: int) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(KernelSync, "start", refuse)
    file.write(b"x")
    syncer.request(file, owner.note("done"))
    owner.run_posted()
    assert (owner.seen, file.durable) == (["done"], 5)


def test_flush_waits_for_what_came_before(owner: Owner, syncer: AioSyncer, file: OsLogFile) -> None:
    file.write(b"x")
    syncer.request(file, owner.note(1))
    syncer.request(file, owner.note(2))
    syncer.flush(file)
    assert file.durable == 5
    owner.run_posted()
    owner.run_posted()
    assert owner.seen == [1, 2]


def test_stop_deals_with_what_was_requested(
    owner: Owner, syncer: AioSyncer, file: OsLogFile
) -> None:
    syncer.request(file, owner.note(1))
    syncer.request(file, owner.note(2))
    syncer.stop()
    owner.run_posted()
    owner.run_posted()
    assert (owner.seen, owner.watched) == ([1, 2], {})


def test_helper_alone_where_nothing_watches_or_the_kernel_has_none(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type(best_syncer(owner.posted.put, None)) is ThreadSyncer
    assert type(best_syncer(owner.posted.put, owner.watch)) is AioSyncer
    monkeypatch.setattr(platform, "machine", lambda: "unknown")
    assert type(best_syncer(owner.posted.put, owner.watch)) is ThreadSyncer
