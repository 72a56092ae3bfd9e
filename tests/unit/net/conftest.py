"""Runs a test's coroutine on both event loops, and talks to listeners over loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from kvorum.net.connection import Handler, Limits
from kvorum.net.listener import Listener, serve

WAIT_SECONDS = 10.0

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def runner(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as one:
            one.run(asyncio.wait_for(main, WAIT_SECONDS))

    return runner


async def wait_until(condition: Callable[[], object]) -> None:
    """Lets the loop run until the condition holds; the test's deadline bounds it."""
    while not condition():  # noqa: ASYNC110 -- any condition, not one that can be told
        await asyncio.sleep(0)


async def soon(awaitable: Awaitable[bytes]) -> bytes:
    return await asyncio.wait_for(awaitable, WAIT_SECONDS / 2)


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
    listener = await serve(handler, host, 0, limits)
    try:
        yield listener
    finally:
        await listener.close()


@asynccontextmanager
async def connected(listener: Listener, host: str = "127.0.0.1") -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection(host, listener.port))
    try:
        yield client
    finally:
        client.close()
