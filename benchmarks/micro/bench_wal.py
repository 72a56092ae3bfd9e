"""The write-ahead log, in files on the disk where temporary files are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from benchmarks.micro.fixture import BATCH, Benchmark

from kvorum.raft.types import Entry, HardState
from kvorum.wal.segment import OsLogFiles
from kvorum.wal.syncer import ThreadSyncer
from kvorum.wal.wal import Wal


@contextmanager
def _log(directory: Path) -> Iterator[tuple[Wal, Callable[[], None]]]:
    """A new log, and what appends the next batch to it."""
    failures: list[BaseException] = []
    syncer = ThreadSyncer(lambda callback: callback())
    wal = Wal.create_in(OsLogFiles(directory), b"", syncer, failures.append)
    indexes = count(1)

    def append() -> None:
        index = next(indexes)
        wal.append(HardState(1, 1, index - 1), [Entry(1, index, data=BATCH)])
        wal.release(index - 1)

    yield wal, append
    wal.close()
    assert not failures


def bench_append(benchmark: Benchmark, tmp_path: Path) -> None:
    """A batch written, not synced."""
    with _log(tmp_path) as (_, append):
        benchmark(append)


def bench_append_and_sync(benchmark: Benchmark, tmp_path: Path) -> None:
    """A batch made durable: the disk's cost, above all."""
    with _log(tmp_path) as (wal, append):

        def append_and_sync() -> None:
            append()
            wal.sync_now()

        benchmark(append_and_sync)
