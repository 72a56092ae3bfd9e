"""Members on loopback: real transports and listeners, with receivers and images that are fakes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.unit.net.conftest import Run, Wire, _both_wires, run, tls_files, wait_until

from kvorum.clock import SystemClock
from kvorum.errors import StorageError
from kvorum.net.connection import Limits
from kvorum.net.listener import Listener, bind
from kvorum.net.tls import caller_credentials, server_credentials
from kvorum.peer.transport import Transport
from kvorum.raft.types import Entry, MemberId, Message, MessageType, SnapshotMeta

__all__ = ["Run", "Wire", "_both_wires", "run", "wait_until"]

CLUSTER = 0xC1
FILES = tls_files("server", "ca")


def heartbeat(target: MemberId, source: MemberId, term: int = 1) -> Message:
    return Message(MessageType.HEARTBEAT, target, source, term)


def append(target: MemberId, source: MemberId, data: bytes) -> Message:
    return Message(MessageType.APPEND, target, source, 1, entries=[Entry(1, 1, data=data)])


def snapshot(target: MemberId, source: MemberId) -> Message:
    return Message(MessageType.SNAPSHOT, target, source, 1, snapshot=SnapshotMeta(7, 1))


class FakeInstaller:
    """Keeps the pieces of an image; may be told to fail."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.is_aborted = False
        self.failure: Exception | None = None

    def write(self, chunk: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        assert not self.is_aborted
        self.chunks.append(chunk)

    def prepare(self) -> tuple[int, int]:
        raise AssertionError("only the server installs")

    def finish(self) -> None:
        raise AssertionError("only the server installs")

    def abort(self) -> None:
        self.is_aborted = True


class FakeView:
    """An image made of given pieces; may break, or wait for a signal, behind one of them."""

    applied_index = 7

    def __init__(self, pieces: list[bytes], failure: Exception | None = None) -> None:
        self._pieces = pieces
        self._failure = failure
        self.taken = 0
        self.is_closed = False

    def chunks(self, chunk_bytes: int) -> Iterator[bytes]:
        assert chunk_bytes > 0
        for piece in self._pieces:
            assert not self.is_closed
            self.taken += 1
            yield piece
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        self.is_closed = True


class FakeReceiver:
    """Remembers what the transport told."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.lost: list[MemberId] = []
        self.outcomes: list[tuple[MemberId, bool]] = []
        self.images: list[tuple[Message, FakeInstaller]] = []
        self.installers: list[FakeInstaller] = []
        self.removed: set[MemberId] = set()
        self.installer_failure: Exception | None = None

    def receive(self, messages: list[Message]) -> None:
        self.received += messages

    def unreachable(self, member_id: MemberId) -> None:
        self.lost.append(member_id)

    def snapshot_sent(self, member_id: MemberId, ok: bool) -> None:
        self.outcomes.append((member_id, ok))

    def begin_snapshot(self) -> FakeInstaller:
        installer = FakeInstaller()
        installer.failure = self.installer_failure
        self.installers.append(installer)
        return installer

    def receive_snapshot(self, message: Message, installer: object) -> None:
        assert isinstance(installer, FakeInstaller)
        self.images.append((message, installer))

    def was_removed(self, member_id: MemberId) -> bool:
        return member_id in self.removed


class Member:
    """One member: its transport, its listener, and what it was told."""

    def __init__(self, member_id: MemberId, cluster_id: int = CLUSTER) -> None:
        self.id = member_id
        self.receiver = FakeReceiver()
        self.is_tls = Wire.is_tls
        shown = caller_credentials(FILES) if self.is_tls else None
        self.transport = Transport(cluster_id, member_id, f"m{member_id}", SystemClock(), shown)
        self.transport.receiver = self.receiver
        self.listener: Listener
        self.port = 0

    async def start(self) -> None:
        self.listener = Listener(
            bind("127.0.0.1", self.port),
            self.transport.handle,
            Limits(),
            SystemClock(),
            server_credentials(FILES) if self.is_tls else None,
        )
        await self.listener.start()
        self.port = self.listener.port
        self.transport.own_url = self.url

    async def stop(self) -> None:
        self.transport.close()
        await self.listener.close()

    @property
    def url(self) -> str:
        return f"http{'s' * self.is_tls}://127.0.0.1:{self.port}"

    def call(self, other: "Member") -> None:
        self.transport.set_peer(other.id, other.url)


@asynccontextmanager
async def members(count: int) -> AsyncIterator[list[Member]]:
    """Members of one cluster that listen and do not know each other yet."""
    started = [Member(number + 1) for number in range(count)]
    for member in started:
        await member.start()
    try:
        yield started
    finally:
        for member in started:
            await member.stop()


async def connect(one: Member, other: Member) -> None:
    """Both call each other and are let in."""
    one.call(other)
    other.call(one)
    await wait_until(lambda: one.transport.is_connected(other.id))
    await wait_until(lambda: other.transport.is_connected(one.id))


def storage_error() -> StorageError:
    return StorageError("no space left on device", Path("/data"))
