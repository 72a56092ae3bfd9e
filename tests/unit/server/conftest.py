"""Members of a cluster in one thread: real servers on memory files, a fake network and clock."""

from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from kvorum.apply.commands import Command
from kvorum.backend.base import Backend, ReadView
from kvorum.backend.memory import MemoryBackend
from kvorum.config import LEGACY_CONFIG, Config
from kvorum.errors import UnavailableError
from kvorum.raft.types import MemberId, Message
from kvorum.server import bootstrap
from kvorum.server.files import LogMetadata, decode_metadata
from kvorum.server.seats import Seat, SeatRequest, Seats
from kvorum.server.server import Opened, Server
from kvorum.wal.memory import MemoryLogFiles, StepSyncer
from kvorum.wal.replay import Recovered
from kvorum.wal.wal import Wal

TICK_SECONDS = 0.01

SEGMENT_BYTES = 1 << 20
"""Zeros take time, too."""


def _lose_everything(newest: int) -> int:
    del newest
    return 0


def _ignore(error: BaseException) -> None:
    del error


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0
        self._state = 7

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return int(self.now * 1e9)

    def random_below(self, bound: int) -> int:
        self._state = self._state * 6364136223846793005 + 1442695040888963407 & (1 << 128) - 1
        return (self._state >> 24) % bound


class MemoryFiles:
    """What a member keeps; survives `crash` as far as it was durable."""

    def __init__(self, post: Callable[[Callable[[], object]], None]) -> None:
        self._post = post
        self._disk = MemoryLogFiles()
        self.memory = MemoryBackend()
        self.backend: Backend = self.memory
        self.log_path = Path("memory")
        self.syncer = StepSyncer(post)
        self.failures: list[BaseException] = []
        self.has_data = False
        self.is_open = False

    def create_log(self, metadata: LogMetadata) -> Wal:
        self.has_data = True
        encoded = msgspec.msgpack.encode(metadata)
        return Wal.create_in(self._disk, encoded, self.syncer, self.failures.append, SEGMENT_BYTES)

    def open_log(self) -> tuple[Wal, Recovered, LogMetadata]:
        wal, recovered = Wal.open_in(self._disk, self.syncer, self.failures.append, SEGMENT_BYTES)
        return wal, recovered, decode_metadata(recovered.metadata, self.log_path)

    def fail_syncs(self, error: OSError) -> None:
        self._disk.sync_error = error

    def crash(self) -> None:
        self._disk = self._disk.crash(_lose_everything)
        self.memory.crash()
        self.syncer = StepSyncer(self._post)

    def close(self) -> None:
        self.is_open = False


class Member:
    """One seat's process: files that outlive it, and a server while it runs."""

    def __init__(self, cluster: "MemoryCluster", config: Config) -> None:
        self.cluster = cluster
        self.config = config
        self.files = MemoryFiles(cluster.queue.append)
        self._server: Server | None = None
        self.is_sync_held = False
        self.stopped_because: list[str] = []

    @property
    def server(self) -> Server:
        assert self._server is not None, "the member is down"
        return self._server

    @property
    def is_up(self) -> bool:
        return self._server is not None

    def start(self) -> None:
        coroutine = bootstrap.open_member(
            self.config, self.cluster.clock, lambda: self.files, has_data=self.files.has_data
        )
        try:
            coroutine.send(None)
        except StopIteration as finished:
            self.run(finished.value)
        else:
            raise AssertionError("bootstrap waited for the network")

    def run(self, opened: Opened) -> None:
        schedule = self.cluster.queue.append
        self.wire = Wire(self.cluster, self)
        self._server = Server(self.config, self.cluster.clock, opened, self.wire, schedule)
        self._server.on_failure = self.stopped_because.append
        self.files.memory.on_failure = _ignore
        self.cluster.addresses[self.config.advertised_peer_urls[0]] = self
        self._server.start()

    def crash(self) -> None:
        self._server = None
        self.cluster.queue.clear()
        self.files.crash()

    def propose(self, command: Command) -> list[object]:
        results: list[object] = []
        self.server.propose(command, results.append)
        return results

    def read(self) -> list[UnavailableError | None]:
        answers: list[UnavailableError | None] = []
        self.server.read(answers.append)
        return answers


class Wire:
    """The transport of one member: immediate and in order, unless a link is cut."""

    def __init__(self, cluster: "MemoryCluster", member: Member) -> None:
        self._cluster = cluster
        self._member = member
        self._urls: dict[MemberId, str] = {}
        self.heard: dict[MemberId, float] = {}

    def set_peer(self, member_id: MemberId, url: str) -> None:
        self._urls[member_id] = url

    def remove_peer(self, member_id: MemberId) -> None:
        self._urls.pop(member_id, None)

    def last_contact(self, member_id: MemberId) -> float:
        return self.heard.get(member_id, 0.0)

    def send(self, messages: list[Message]) -> None:
        for message in messages:
            peer = self._cluster.addresses.get(self._urls.get(message.target, ""))
            encoded = msgspec.msgpack.encode(message)
            if peer is not None:
                self._cluster.queue.append(partial(self._arrive, peer, encoded))

    def _arrive(self, peer: Member, data: bytes) -> None:
        message = msgspec.msgpack.decode(data, type=Message)
        if not peer.is_up or self._cluster.is_cut(self._member, peer):
            return
        if peer.server.member_id == message.target:
            peer.wire.heard[message.source] = self._cluster.clock.now
            peer.server.receive([message])

    def send_snapshot(self, message: Message, view: ReadView) -> None:
        chunks = list(view.chunks(1000))
        view.close()
        peer = self._cluster.addresses[self._urls[message.target]]
        self._cluster.queue.append(lambda: self._install(peer, message, chunks))

    def _install(self, peer: Member, message: Message, chunks: list[bytes]) -> None:
        ok = peer.is_up and not self._cluster.is_cut(self._member, peer)
        if ok:
            installer = peer.server.begin_snapshot()
            for chunk in chunks:
                installer.write(chunk)
            peer.server.receive_snapshot(message, installer)
        self._member.server.snapshot_sent(message.target, ok)


class MemoryCluster:
    """Members, the work they have scheduled, and time."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.queue: deque[Callable[[], object]] = deque()
        self.members: list[Member] = []
        self.addresses: dict[str, Member] = {}
        self.cut: set[frozenset[str]] = set()

    def is_cut(self, one: Member, other: Member) -> bool:
        return frozenset((one.config.name, other.config.name)) in self.cut

    def isolate(self, member: Member) -> None:
        self.cut |= {frozenset((member.config.name, m.config.name)) for m in self.members}

    def heal(self) -> None:
        self.cut.clear()

    def add(self, config: Config) -> Member:
        member = Member(self, config)
        self.members.append(member)
        return member

    def legacy_config(self, number: int, **changes: object) -> Config:
        settings: dict[str, object] = {
            "name": f"machine{number}",
            "data_dir": Path(f"machine{number}"),
            "advertised_peer_urls": (f"http://127.0.0.1:700{number}",),
            "advertised_client_urls": (f"http://127.0.0.1:400{number}",),
        }
        return msgspec.structs.replace(LEGACY_CONFIG, **(settings | changes))

    def join(self, member: Member, member_id: MemberId = 0) -> list[object]:
        """Asks the leader for a seat and, when one is given, starts the member in it."""
        config = member.config
        request = SeatRequest(
            config.name, config.advertised_peer_urls[0], config.advertised_client_urls[0], member_id
        )
        answers: list[object] = []
        Seats(self.leader().server).request(request, answers.append)
        self.run_until(lambda: bool(answers))
        seat = answers[0]
        if isinstance(seat, Seat):
            self.sit_down(member, seat)
        return answers

    def sit_down(self, member: Member, seat: Seat) -> None:
        """Starts a member in a seat it was given."""
        member.run(bootstrap.sit_down(member.config, member.files, seat))

    def leader(self) -> Member:
        self.run_until(lambda: bool(self._leaders()), "a leader")
        return self._leaders()[-1]

    def _leaders(self) -> list[Member]:
        up = [member for member in self.members if member.is_up and member.server.is_leader]
        return sorted(up, key=lambda member: member.server.term)

    def write(self, command: Command) -> object:
        """Has the leader propose a command, and waits for its result."""
        results = self.leader().propose(command)
        self.run_until(lambda: bool(results), "the result")
        return results[0]

    def settle(self) -> None:
        """Does all work that needs no time to pass."""
        while True:
            while self.queue:
                self.queue.popleft()()
            for member in self.members:
                if member.is_up and not member.is_sync_held:
                    member.files.syncer.step()
            if not self.queue:
                return

    def advance(self, seconds: float) -> None:
        """Lets time pass, tick by tick."""
        for _ in range(round(seconds / TICK_SECONDS)):
            self.clock.now += TICK_SECONDS
            for member in self.members:
                if member.is_up:
                    member.server.tick()
            self.settle()

    def run_until(self, condition: Callable[[], bool], what: str = "the condition") -> None:
        self.settle()
        for _ in range(2000):
            if condition():
                return
            self.advance(TICK_SECONDS)
        raise AssertionError(f"{what} did not come within 20 s")


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def single(cluster: MemoryCluster) -> Member:
    """A running cluster of one, born in the 0.4 era."""
    member = cluster.add(cluster.legacy_config(1))
    member.start()
    cluster.run_until(lambda: member.server.cluster.attributes.config_index != 0)
    return member


@pytest.fixture
def three(cluster: MemoryCluster, single: Member) -> list[Member]:
    """Three voters, joined the 0.4 way, all caught up."""
    members = [single]
    for number in (2, 3):
        member = cluster.add(cluster.legacy_config(number))
        cluster.join(member)
        members.append(member)
    cluster.run_until(lambda: all(len(m.server.cluster.conf_state.voters) == 3 for m in members))
    return members
