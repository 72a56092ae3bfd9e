"""Runs a test's coroutine on both event loops, and talks to listeners over loopback."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from kvorum.clock import SystemClock
from kvorum.config import TlsFiles
from kvorum.net.connection import Handler, Limits
from kvorum.net.listener import Listener, bind, serve
from kvorum.net.tls import make_caller_context, server_credentials

WAIT_SECONDS = 10.0

TLS = Path(__file__).parents[2] / "data" / "tls"
"""Certificates for tests; `make.sh` there tells what each is."""

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def runner(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as one:
            one.run(asyncio.wait_for(main, WAIT_SECONDS))

    return runner


class Wire:
    """How listeners of this test are reached, when the test does not say."""

    is_tls = False


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def _both_wires(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test in the clear and over TLS."""
    wire = sys.modules["tests.unit.net.conftest"].Wire  # pytest has a copy of its own
    monkeypatch.setattr(wire, "is_tls", request.param)


async def wait_until(condition: Callable[[], object]) -> None:
    """Lets the loop run until the condition holds; the test's deadline bounds it."""
    while not condition():  # noqa: ASYNC110 -- any condition, not one that can be told
        await asyncio.sleep(0)


async def soon(awaitable: Awaitable[bytes]) -> bytes:
    return await asyncio.wait_for(awaitable, WAIT_SECONDS / 2)


def tls_files(name: str, ca: str = "") -> TlsFiles:
    """A test certificate with its key, and the CA that vouches for the other side."""
    return TlsFiles(
        cert_file=TLS / f"{name}.pem",
        key_file=TLS / f"{name}.key",
        ca_file=TLS / f"{ca}.pem" if ca else None,
    )


class Client:
    """A connection to a listener, on which tests write bytes and read bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read_answer(self) -> tuple[int, bytes]:
        """Status and body of one answer with a length."""
        head = await soon(self.reader.readuntil(b"\r\n\r\n"))
        lines = head.lower().split(b"\r\n")
        (length,) = (int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        return int(head[9:12]), await soon(self.reader.readexactly(length))

    async def read_to_end(self) -> bytes:
        return await soon(self.reader.read())

    def close(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def listening(
    handler: Handler, limits: Limits | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Listener]:
    if Wire.is_tls:
        async with listening_tls(handler, tls_files("server"), limits) as one:
            yield one
        return
    listener = await serve(handler, host, 0, limits)
    try:
        yield listener
    finally:
        await listener.close()


@asynccontextmanager
async def listening_tls(
    handler: Handler, files: TlsFiles, limits: Limits | None = None
) -> AsyncIterator[Listener]:
    sock = bind("127.0.0.1", 0)
    credentials = server_credentials(files)
    listener = Listener(sock, handler, limits or Limits(), SystemClock(), credentials)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.close()


@asynccontextmanager
async def connected(
    listener: Listener, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> AsyncIterator[Client]:
    if context is None and Wire.is_tls:
        context = make_caller_context(tls_files("server", "ca"))
    client = Client(*await asyncio.open_connection(host, listener.port, ssl=context))
    try:
        yield client
    finally:
        client.close()
