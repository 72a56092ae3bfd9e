"""Fakes of an exchange and of a server, around the real tree, store, hub and cluster."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import msgspec
import pytest

from kvorum.api.routes import Router, client_router
from kvorum.backend.memory import MemoryBackend
from kvorum.clock import Clock
from kvorum.config import LEGACY_CONFIG, Config, Era
from kvorum.errors import UnavailableError
from kvorum.membership import Attributes, Cluster, Member
from kvorum.mvcc.store import Store
from kvorum.mvcc.watch import WatchHub
from kvorum.server.server import Server
from kvorum.server.stats import ServerStats
from kvorum.server.timers import Timers
from kvorum.v2.commands import Command, Expire
from kvorum.v2.machinelog import MachineLog
from kvorum.v2.tree import Tree

NS = 1_000_000_000
START_NS = 1_795_000_000 * NS
"""2026-11-18T11:06:40Z."""
FORM = {b"content-type": b"application/x-www-form-urlencoded"}


@dataclass
class FakeClock:
    """Stands still until a test moves it."""

    now_ns: int = START_NS

    def wall_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / NS


@dataclass
class FakeExchange:
    """Keeps what a handler sends."""

    method: str
    target: bytes
    body: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    keep_alive: bool = True
    http_1_0: bool = False
    remote: str = "127.0.0.1:5000"
    on_close: Callable[[], None] | None = None
    on_writable: Callable[[], None] | None = None
    is_writable: bool = True
    head: bytes = b""
    sent: bytes = b""
    is_done: bool = False
    is_streamed: bool = False

    def __post_init__(self) -> None:
        self.path, _, self.query = self.target.partition(b"?")

    def respond(self, head: bytes, body: bytes = b"") -> None:
        assert not self.head, "answered twice"
        self.head, self.sent, self.is_done = head, body, True

    def begin(self, head: bytes) -> None:
        assert not self.head, "answered twice"
        self.head, self.is_streamed = head, True

    def write(self, data: bytes) -> None:
        assert self.is_streamed
        assert not self.is_done
        self.sent += data

    def end(self) -> None:
        assert self.is_streamed
        assert not self.is_done
        self.is_done = True

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def header_lines(self) -> dict[str, str]:
        lines = self.head.decode().split("\r\n")
        assert lines[-1] == "", "the head ends with a line end"
        return dict(line.split(": ", 1) for line in lines[1:-1])

    @property
    def text(self) -> str:
        return self.sent.decode()


class LeftExchange(FakeExchange):
    """Its client has gone by the time somebody wants to know."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "on_close" and callable(value):
            value()


class FakeServer:
    """Applies what is proposed at once, or refuses it with `unavailable`."""

    def __init__(self, config: Config, *, first_revision: int) -> None:
        backend = MemoryBackend()
        self.config = config
        self.clock = FakeClock()
        self.timers = Timers(cast("Clock", self.clock))
        self.store = Store(backend)
        self.store.restore()
        self.tree = Tree(self.store)
        self.hub = WatchHub(self.store)
        self.cluster = Cluster(backend)
        self.machine_log = MachineLog(self.cluster)
        self.stats = ServerStats(started_ns=START_NS)
        self.member_id = 1
        self.name = "machine1"
        self.leader_id = 1
        self.term = 0
        self.applied_index = 3
        self.unavailable: UnavailableError | None = None
        self.commands: list[Command] = []
        self.reads = 0
        legacy = config.era is Era.LEGACY
        self.cluster.set_attributes(
            Attributes(cluster_id=0xCAFE, is_legacy=legacy, config_index=2 if legacy else 0)
        )
        index = 1 if legacy else 0
        self.add_member(1, index=index)
        self.store.revision = first_revision - 1

    def add_member(self, number: int, *, index: int = 0) -> None:
        self.cluster.put(
            Member(
                id=number,
                name=f"machine{number}",
                peer_urls=(f"http://127.0.0.1:700{number}",),
                client_urls=(f"http://127.0.0.1:400{number}",),
                created_index=index,
                modified_index=index,
            )
        )
        self.machine_log.update(self.store.revision)

    @property
    def cluster_id(self) -> int:
        return self.cluster.cluster_id

    @property
    def is_leader(self) -> bool:
        return self.leader_id == self.member_id

    def propose(self, command: Command, completion: Callable[[object], None]) -> None:
        if self.unavailable is not None:
            completion(self.unavailable)
            return
        # As through the log: what is not in the encoded command does not arrive.
        command = msgspec.msgpack.decode(msgspec.msgpack.encode(command), type=Command)
        self.commands.append(command)
        self.applied_index += 1
        outcome = self.tree.apply(command)
        self.hub.notify(self.tree.take_changes())
        completion(outcome)

    def read(self, completion: Callable[[UnavailableError | None], None]) -> None:
        self.reads += 1
        completion(self.unavailable)


class Client:
    """Sends requests to a router and gives the exchange back."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.router: Router = client_router(cast("Server", server))

    def send(
        self,
        method: str,
        target: str,
        body: str | bytes = b"",
        headers: dict[bytes, bytes] | None = None,
    ) -> FakeExchange:
        data = body.encode() if isinstance(body, str) else body
        if headers is None:
            headers = FORM if data else {}
        exchange = FakeExchange(method, target.encode(), data, dict(headers))
        self.router(exchange)  # type: ignore[arg-type]
        return exchange

    def send_and_leave(self, method: str, target: str) -> FakeExchange:
        """As `send`, from a client that does not stay for the answer."""
        exchange = LeftExchange(method, target.encode())
        self.router(exchange)  # type: ignore[arg-type]
        return exchange

    def get(self, target: str) -> FakeExchange:
        return self.send("GET", target)

    def put(self, target: str, body: str | bytes = b"") -> FakeExchange:
        return self.send("PUT", target, body)

    def post(self, target: str, body: str | bytes = b"") -> FakeExchange:
        return self.send("POST", target, body)

    def delete(self, target: str, body: str | bytes = b"") -> FakeExchange:
        return self.send("DELETE", target, body)

    def pass_seconds(self, seconds: float) -> None:
        """Moves the clock, calls timers back and lets the leader expire what is due."""
        self.server.clock.now_ns += int(seconds * NS)
        self.server.timers.run(self.server.clock.monotonic())
        self.server.propose(Expire(self.server.clock.now_ns), lambda _: None)

    def move_to(self, index: int) -> None:
        """Makes the next write get this index."""
        self.server.store.revision = index - 1


@pytest.fixture
def legacy() -> Client:
    """A fresh machine of the 0.4 era; its first write gets index 3."""
    return Client(FakeServer(LEGACY_CONFIG, first_revision=3))


@pytest.fixture
def modern() -> Client:
    """A fresh member of the 3.x era; its first write gets index 4 here, as in the contract."""
    server = FakeServer(Config(), first_revision=4)
    server.term = 2
    return Client(server)


@pytest.fixture(params=["legacy", "modern"])
def either(request: pytest.FixtureRequest) -> Client:
    """Each era in turn."""
    client: Client = request.getfixturevalue(request.param)
    return client


def client_of(config: Config) -> Client:
    """A fresh member with other settings."""
    return Client(FakeServer(config, first_revision=3))


@pytest.fixture
def make_client() -> Callable[[Config], Client]:
    """Makes a fresh member with other settings."""
    return client_of
