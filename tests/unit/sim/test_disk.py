"""A host's disk: slow, forgetful after a power cut, and sometimes broken."""

from collections.abc import Callable

import pytest

from kvorum.backend.base import Table
from kvorum.errors import StorageError
from kvorum.raft.types import Entry, HardState
from kvorum.server.files import Identity, LogMetadata
from kvorum.sim.chance import Chance
from kvorum.sim.disk import Disk, SimFiles
from kvorum.sim.loop import SimLoop
from kvorum.wal.replay import Recovered
from kvorum.wal.wal import Wal

METADATA = LogMetadata(Identity(1, 2, "machine1"))


class Life:
    """What one process has open."""

    def __init__(self, loop: SimLoop, disk: Disk) -> None:
        self.loop, self.disk = loop, disk
        self.is_up = True
        self.failures: list[BaseException] = []
        self.files = SimFiles(disk, self.post, self.failures.append)

    def post(self, callback: Callable[[], object]) -> None:
        self.loop.call_soon(lambda: callback() if self.is_up else None)

    def die(self, *, is_power_cut: bool) -> "Life":
        self.is_up = False
        self.files.close()
        self.disk.lose_process(is_power_cut=is_power_cut)
        return Life(self.loop, self.disk)

    def recover(self) -> Recovered:
        _, recovered, metadata = self.files.open_log()
        assert metadata == METADATA
        return recovered


@pytest.fixture
def loop() -> SimLoop:
    return SimLoop()


@pytest.fixture
def life(loop: SimLoop) -> Life:
    return Life(loop, Disk(loop, Chance(3), 0.01, 1 << 12))


@pytest.fixture
def wal(life: Life) -> Wal:
    return life.files.create_log(METADATA)


def append(wal: Wal, index: int, data: bytes = b"x" * 700) -> list[float]:
    """Writes an entry; the result gets an item once it is durable."""
    done: list[float] = []
    wal.append(HardState(1, 0, 0), [Entry(1, index, data=data)])
    wal.sync(lambda: done.append(index))
    return done


def test_a_sync_takes_its_time(loop: SimLoop, wal: Wal) -> None:
    done = append(wal, 1)
    assert not done
    loop.run_until(1.0)
    assert done == [1]


def test_what_comes_during_a_sync_shares_the_next(loop: SimLoop, life: Life, wal: Wal) -> None:
    life.disk.chance.child("unused")
    first = append(wal, 1)
    later = [append(wal, 2), append(wal, 3)]
    steps = loop.steps
    loop.run_until(1.0)
    assert (first, *later) == ([1], [2], [3])
    assert loop.steps - steps == 4, "two syncs, two reports"


def test_a_power_cut_may_take_what_was_not_synced(loop: SimLoop) -> None:
    kept = set()
    for seed in range(20):
        life = Life(loop, Disk(loop, Chance(seed), 0.01, 1 << 14))
        wal = life.files.create_log(METADATA)
        append(wal, 1)
        loop.run_until(loop.now + 1.0)
        done = append(wal, 2)
        recovered = life.die(is_power_cut=True).recover()
        loop.run_until(loop.now + 1.0)
        assert not done, "a process that is gone hears of nothing"
        kept.add(recovered.last_index)
    assert kept == {1, 2}


def test_a_killed_process_leaves_what_it_wrote(life: Life, wal: Wal) -> None:
    append(wal, 1)
    append(wal, 2)
    assert life.die(is_power_cut=False).recover().last_index == 2


def test_a_failed_sync_is_told_once_and_final(loop: SimLoop, life: Life, wal: Wal) -> None:
    life.disk.sync_failure_rate = 1.0
    done = append(wal, 1)
    loop.run_until(1.0)
    life.disk.sync_failure_rate = 0.0
    done += append(wal, 2)
    loop.run_until(2.0)
    assert not done
    assert [str(one) for one in life.failures] == ["[Errno 5] Input/output error"]


def test_a_full_disk_ends_the_log_until_there_is_room_again(loop: SimLoop, life: Life) -> None:
    wal = life.files.create_log(METADATA)
    life.disk.fill(600)
    append(wal, 1)
    loop.run_until(1.0)
    assert len(life.failures) == 1
    life = life.die(is_power_cut=True)
    life.disk.mend()
    wal, _, _ = life.files.open_log()
    assert append(wal, 1) == []
    loop.run_until(2.0)
    assert not life.failures


@pytest.mark.parametrize("is_power_cut", [True, False])
def test_faults_outlive_a_process_as_often_as_not(loop: SimLoop, *, is_power_cut: bool) -> None:
    left = set()
    for seed in range(20):
        life = Life(loop, Disk(loop, Chance(seed), 0.01, 1 << 14))
        life.disk.fill(10)
        life.die(is_power_cut=is_power_cut)
        left.add(life.disk.is_faulty)
    assert left == {True, False}


def test_a_new_log_meets_the_faults_of_the_disk(life: Life) -> None:
    life.disk.fill(10)
    with pytest.raises(StorageError, match="No space left"):
        life.files.create_log(METADATA)
    assert not life.disk.has_data
    life.disk.mend()
    wal = life.files.create_log(METADATA)
    append(wal, 1)
    life.disk.sync_failure_rate = 1.0
    with pytest.raises(StorageError, match="Input/output error"):
        wal.sync_now()


def test_a_flush_meets_the_faults_of_the_disk(life: Life) -> None:
    life.disk.commit_failure_rate = 1.0
    life.files.backend.set_applied(5, 1)
    for _ in range(2):
        with pytest.raises(StorageError, match="the disk is full"):
            life.files.backend.flush()
    assert life.files.backend.durable_index == 0


def test_rot_in_what_was_durable_is_refused(loop: SimLoop, life: Life, wal: Wal) -> None:
    for index in range(1, 4):
        append(wal, index)
        loop.run_until(float(index))
    life = life.die(is_power_cut=False)
    assert life.disk.rot()
    with pytest.raises(StorageError):
        life.recover()


def test_nothing_rots_while_nothing_is_proven(life: Life, wal: Wal) -> None:
    assert wal.failed is None
    assert not life.disk.rot()


def test_a_commit_under_way_is_done_or_not(loop: SimLoop) -> None:
    kept = set()
    for seed in range(20):
        life = Life(loop, Disk(loop, Chance(seed), 0.01, 1 << 12))
        backend = life.files.backend
        told: list[None] = []
        backend.put(Table.META, b"a", b"1")
        backend.set_applied(5, 1)
        assert backend.commit(lambda told=told: told.append(None))  # type: ignore[misc]
        after = life.die(is_power_cut=True).files.backend
        assert not told
        kept.add((after.applied, after.get(Table.META, b"a")))
    assert kept == {((0, 0), None), ((5, 1), b"1")}


def test_a_failed_commit_fails_the_process(loop: SimLoop, life: Life) -> None:
    life.disk.commit_failure_rate = 1.0
    life.files.backend.set_applied(5, 1)
    life.files.backend.commit()
    loop.run_until(1.0)
    assert len(life.failures) == 1
    assert life.files.backend.durable_index == 0


def test_an_image_meets_the_faults_of_the_disk(life: Life) -> None:
    backend = life.files.backend
    backend.set_applied(5, 1)
    view = backend.view()
    installer = backend.installer()
    for chunk in view.chunks(100):
        installer.write(chunk)
    life.disk.commit_failure_rate = 1.0
    with pytest.raises(StorageError, match="the disk is full"):
        installer.prepare()
    life.disk.mend()
    assert installer.prepare() == (5, 1)


def test_a_wiped_disk_is_empty(life: Life, wal: Wal) -> None:
    assert wal.failed is None
    assert life.disk.has_data
    life.disk.sync_failure_rate = 1.0
    life.disk.wipe()
    assert not life.disk.has_data
    assert not life.disk.is_faulty
