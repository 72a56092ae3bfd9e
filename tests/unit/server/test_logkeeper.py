"""The log is cut when it has grown, never beyond what is durable or a peer may need."""

import pytest

from kvorum.backend.memory import MemoryBackend
from kvorum.membership import Cluster
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import Entry, HardState
from kvorum.server import logkeeper
from kvorum.server.logkeeper import LogKeeper
from kvorum.wal.memory import MemoryLogFiles, StepSyncer
from kvorum.wal.wal import Wal

SEGMENT_BYTES = 4096
SNAPSHOT_COUNT = 100


def ignore(thing: object) -> None:
    del thing


class Desk:
    def __init__(self) -> None:
        self.files = MemoryLogFiles()
        self.syncer = StepSyncer(ignore)
        self.wal = Wal.create_in(self.files, b"", self.syncer, ignore, segment_bytes=SEGMENT_BYTES)
        self.storage = MemoryStorage()
        self.backend = MemoryBackend()
        self.cluster = Cluster(self.backend)
        self.keeper = LogKeeper("one", self.storage, self.wal, self.backend, SNAPSHOT_COUNT)

    def apply_to(self, index: int, entry_bytes: int = 40) -> None:
        entries = [
            Entry(1, i, data=b"x" * entry_bytes)
            for i in range(self.storage.last_index() + 1, index + 1)
        ]
        for entry in entries:
            self.storage.append([entry])
            self.wal.append(HardState(1, 0, 0), [entry])
            self.wal.sync_now()
        self.backend.set_applied(index, 1)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_short_log_stays_whole(desk: Desk) -> None:
    desk.apply_to(SNAPSHOT_COUNT)
    desk.keeper.keep(desk.cluster)
    assert desk.storage.first_index() == 1


def test_a_long_log_is_cut_behind_the_applied_index(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kvorum.server")
    desk.apply_to(SNAPSHOT_COUNT * 3)
    desk.keeper.keep(desk.cluster)
    assert desk.storage.first_index() == SNAPSHOT_COUNT * 2 + 1
    assert desk.storage.snapshot().index == SNAPSHOT_COUNT * 3
    assert caplog.messages == ["one: snapshot of 300 events at index 300 completed"]
    desk.apply_to(SNAPSHOT_COUNT * 3 + 50)
    desk.keeper.keep(desk.cluster)
    assert len(caplog.messages) == 1


def test_few_large_entries_are_cut_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logkeeper, "CATCH_UP_BYTES", 10_000)
    monkeypatch.setattr(logkeeper, "LOG_BYTES_MAX", 20_000)
    desk.apply_to(20, entry_bytes=1_000)
    desk.keeper.keep(desk.cluster)
    assert desk.storage.first_index() == 1
    desk.apply_to(21, entry_bytes=1_000)
    desk.keeper.keep(desk.cluster)
    assert (desk.storage.first_index(), desk.storage.data_bytes) == (12, 10_000)


def test_segments_go_only_when_the_backend_is_durable(desk: Desk) -> None:
    desk.apply_to(SNAPSHOT_COUNT * 3)
    desk.keeper.keep(desk.cluster)
    before = desk.files.names()
    desk.keeper.durable()
    assert desk.files.names() == before
    desk.backend.flush()
    desk.keeper.durable()
    assert len(desk.files.names()) < len(before)
    _, recovered = Wal.open_in(desk.files, StepSyncer(ignore), ignore)
    assert recovered.entries[0].index <= SNAPSHOT_COUNT * 2 + 1
    assert recovered.entries[-1].index == SNAPSHOT_COUNT * 3
