"""Real members in memory that the judges look at after every event, and clients for them."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.unit.server.conftest import TICK_SECONDS, Member, MemoryCluster, MemoryFiles

from kvorum.config import Config
from kvorum.server.files import LogMetadata, decode_metadata
from kvorum.server.server import Server
from kvorum.sim.callers import CallKind
from kvorum.sim.chance import Chance
from kvorum.sim.checkers import Judges
from kvorum.sim.history import Kind
from kvorum.sim.loop import SimLoop
from kvorum.sim.workload import Load, Workload
from kvorum.wal.replay import Recovered
from kvorum.wal.wal import Wal

SEGMENT_BYTES = 1 << 14


class SmallFiles(MemoryFiles):
    """A log in small segments: a restart reads all of them."""

    def create_log(self, metadata: LogMetadata) -> Wal:
        self.has_data = True
        encoded = msgspec.msgpack.encode(metadata)
        return Wal.create_in(
            self._disk, encoded, self.syncer, self.failures.append, segment_bytes=SEGMENT_BYTES
        )

    def open_log(self) -> tuple[Wal, Recovered, LogMetadata]:
        wal, recovered = Wal.open_in(
            self._disk, self.syncer, self.failures.append, segment_bytes=SEGMENT_BYTES
        )
        return wal, recovered, decode_metadata(recovered.metadata, self.log_path)


class Life:
    """One process of a member, as the simulator has it."""

    def __init__(self, member: Member, server: Server, epoch: int) -> None:
        self.name = member.config.name
        self.epoch = epoch
        self.server = server
        self.member = member

    @property
    def is_up(self) -> bool:
        return self.member.is_up and self.member.server is self.server

    def run(self, callback: Callable[[], object]) -> None:
        if self.is_up:
            callback()


class Judged(MemoryCluster):
    """Members in memory, looked at after every event; they and their clients share one time."""

    def __init__(self, **settings: object) -> None:
        super().__init__()
        self.loop = SimLoop()
        self.judges = Judges(lambda: self.processes, lambda: self.loop.now)
        self.lives: dict[str, Life] = {}
        self.settings = settings
        self.first = self.add(self.legacy_config(1, **settings))
        self.first.start()
        self.run_until(lambda: self.first.server.cluster.attributes.config_index != 0)

    def add(self, config: Config) -> Member:
        member = super().add(config)
        member.files = SmallFiles(self.queue.append)
        return member

    @property
    def processes(self) -> list[Life]:
        return [self.life_of(member) for member in self.members if member.is_up]

    def life_of(self, member: Member) -> Life:
        name = member.config.name
        life = self.lives.get(name)
        if life is None or life.server is not member.server:
            epoch = 0 if life is None else life.epoch + 1
            life = self.lives[name] = Life(member, member.server, epoch)
        return life

    def join_next(self) -> Member:
        member = self.add(self.legacy_config(len(self.members) + 1, **self.settings))
        self.join(member)
        self.run_until(lambda: len(member.server.cluster.members) == len(self.members))
        return member

    def look(self) -> None:
        self.judges.step()

    def settle(self) -> None:
        while True:
            self.look()
            while self.queue:
                self.queue.popleft()()
                self.look()
            for member in self.members:
                if member.is_up and not member.is_sync_held:
                    member.files.syncer.step()
            if not self.queue:
                return

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_SECONDS)):
            self.loop.run_until(self.loop.now + TICK_SECONDS)
            super().advance(TICK_SECONDS)

    def follower(self) -> Member:
        return next(member for member in self.members if not member.server.is_leader)


EVERYTHING = {kind: 1.0 for kind in Kind if kind is not Kind.EXPIRE}


def busy(**changes: Any) -> Load:
    """Clients that ask for everything, all the time."""
    settings: dict[str, Any] = {
        "clients": 6,
        "readers": 0,
        "callers": 4,
        "keepers": 0,
        "watchers": 4,
        "think_seconds": 0.1,
        "stay_seconds": 5.0,
        "compact_seconds": 0.5,
        "weights": EVERYTHING,
        "call_weights": dict.fromkeys(CallKind, 1.0),
    }
    return Load(**(settings | changes))


def work(world: Judged, load: Load, seconds: float, seed: int = 1) -> Workload:
    """Lets clients ask for so long."""
    workload = Workload(world, Chance(seed), load)
    workload.start()
    world.advance(seconds)
    return workload


def finish(world: Judged, workload: Workload) -> None:
    """Lets answers and expirations come in, then has everything judged."""
    workload.stop()
    for member in world.members:
        member.is_sync_held = False
        if not member.is_up:
            member.start()
    world.advance(8.0)
    world.run_until(world.judges.has_converged)
    workload.resume_watches()
    world.advance(0.5)
    world.judges.finish(workload.history, workload.watches)
    assert not world.judges.undecided
    assert not workload.repeated


@pytest.fixture
def one() -> Judged:
    return Judged()


@pytest.fixture
def three() -> Judged:
    judged = Judged()
    judged.join_next()
    judged.join_next()
    return judged
