"""The connections this member makes: one call, and the link that keeps calling a peer.

A call begins with the upgrade request; what is written behind it goes out at once or not at all. A
link holds one call to its peer open for ever, with a pause between tries that doubles up to a
second, and shows once a second that this member is alive.

Rules: at most `UNSENT_BYTES_MAX` wait for the network; TCP gives a call up when nothing it sent was
acknowledged for `DEAD_SECONDS`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

from kvorum.clock import Clock
from kvorum.errors import RemoteProtocolError
from kvorum.peer import handshake
from kvorum.peer.codec import FrameKind, FrameReader, encode_messages

_log = logging.getLogger("kvorum.peer")

UNSENT_BYTES_MAX = 32 << 20
"""Bytes written and not yet taken by the network, per peer; more are dropped and reported."""

ALIVE_SECONDS = 1.0
DEAD_SECONDS = 5.0
CONNECT_SECONDS = 2.0

FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 1.0

SNAPSHOT_REPLY_SECONDS = 60.0
"""How long a receiver may take to make the image its own once it is there."""


class Call(asyncio.Protocol):
    """A connection this member makes, from the upgrade request on."""

    def __init__(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._request = request
        self._reply = handshake.ReplyReader()
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.accepted: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[bool] = loop.create_future()
        """Resolved by DONE, or with False when the connection is gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks to be let in."""
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        set_socket_options(transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Reads the answer, and DONE behind it."""
        if not self._reply.is_accepted:
            self._reply.receive_data(data)
            if self._reply.refusal and not self.accepted.done():
                self.accepted.set_exception(RemoteProtocolError(self._reply.refusal))
            if not self._reply.is_accepted:
                return
            if not self.accepted.done():
                self.accepted.set_result(None)
            data = self._reply.rest
        try:
            frames = self._frames.receive_data(data)
        except RemoteProtocolError:
            self.close()
            return
        if any(kind is FrameKind.DONE for kind, _ in frames) and not self.done.done():
            self.done.set_result(True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more can be said."""
        self._transport = None
        self._writable.set()
        if not self.accepted.done():
            self.accepted.set_exception(exc or ConnectionResetError("the peer hung up"))
        if not self.done.done():
            self.done.set_result(False)

    def pause_writing(self) -> None:
        """The network is slower than the writer."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The network has caught up."""
        self._writable.set()

    def write(self, frame: bytes) -> bool:
        """Writes a frame. False when it cannot leave: gone, or too much waits already."""
        transport = self._transport
        if transport is None or transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            return False
        transport.write(frame)
        return True

    async def wait_writable(self) -> None:
        """Waits until the network has taken most of what was written."""
        await self._writable.wait()
        if self._transport is None:
            raise ConnectionResetError("the peer hung up")

    async def wait_done(self) -> bool:
        """Waits for the other side to say DONE."""
        async with asyncio.timeout(SNAPSHOT_REPLY_SECONDS):
            return await self.done

    def close(self) -> None:
        """Hangs up at once."""
        if self._transport is not None:
            self._transport.abort()


class Link:
    """The stream to one peer: called, kept, called again.

    Attributes:
        url: where the peer is.
    """

    def __init__(self, url: str, request: bytes, clock: Clock, on_lost: Callable[[], None]) -> None:
        self.url = url
        self._request = request
        self._clock = clock
        self._on_lost = on_lost
        self._call: Call | None = None
        self._retry = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._keep_calling())

    def write(self, frame: bytes) -> bool:
        """Writes a frame at once. False when there is no connection that takes it."""
        return self._call is not None and self._call.write(frame)

    def call_now(self) -> None:
        """The peer is up: no use in waiting for the next try."""
        if self._call is None:
            self._retry.set()

    def close(self) -> None:
        """Hangs up and calls no more."""
        self._task.cancel()
        if self._call is not None:
            self._call.close()

    async def _keep_calling(self) -> None:
        pause = FIRST_RETRY_SECONDS
        last_fault = ""
        while True:
            call = Call(self._request)
            try:
                await dial(self.url, call)
            except (OSError, TimeoutError, RemoteProtocolError) as error:
                call.close()
                fault = str(error) or type(error).__name__
                if fault != last_fault:
                    _log.debug("cannot reach %s: %s", self.url, fault)
                    last_fault = fault
            else:
                pause, last_fault = FIRST_RETRY_SECONDS, ""
                _log.debug("connected to %s", self.url)
                self._call = call
                await self._stay(call)
                self._call = None
                self._on_lost()
                _log.debug("lost the connection to %s", self.url)
            await self._wait_to_retry(pause)
            pause = min(pause * 2, LAST_RETRY_SECONDS)

    async def _stay(self, call: Call) -> None:
        """Shows once a second that this member is alive, until the connection is gone."""
        alive = encode_messages([])
        while True:
            call.write(alive)
            ended, _ = await asyncio.wait([call.done], timeout=ALIVE_SECONDS)
            if ended:
                return

    async def _wait_to_retry(self, pause: float) -> None:
        self._retry.clear()
        jitter = self._clock.random_below(1000) / 1000
        try:
            async with asyncio.timeout(pause * (1 + jitter) / 2):
                await self._retry.wait()
        except TimeoutError:
            return


async def dial(url: str, call: Call) -> None:
    """Connects and waits until the other side has taken the call.

    Raises:
        OSError: nobody answers there.
        TimeoutError: not within `CONNECT_SECONDS`.
        RemoteProtocolError: it was refused; the text says why.
    """
    parts = urlsplit(url)
    async with asyncio.timeout(CONNECT_SECONDS):
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: call, parts.hostname or "", parts.port or 80)
        await call.accepted


def set_socket_options(transport: asyncio.BaseTransport) -> None:
    """Sends at once, and gives up on a peer that acknowledges nothing."""
    found = transport.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAD_SECONDS * 1000))
