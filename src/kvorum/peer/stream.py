"""The connections this member makes: one call, and the link that keeps calling a peer.

A call begins with the upgrade request; what is written behind it goes out at once or not at all. A
link holds one call to its peer open for ever, with a pause between tries that grows, and shows once
a second that this member is alive.

Rules:
    At most UNSENT_BYTES_MAX, and one batch, wait for the network.
    TCP gives a call up when nothing it sent was acknowledged, or its peer's window was shut, for
    the time given to it.
    A refusal, and any other reason not to get through, is logged once, not at every try.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import cast

from kvorum.clock import Clock
from kvorum.errors import RemoteProtocolError, UnavailableError
from kvorum.net.dialer import Backoff, connect, describe, split_address
from kvorum.net.tls import Credentials
from kvorum.peer import handshake
from kvorum.peer.codec import FrameKind, FrameReader, encode_messages
from kvorum.protocol.http1client import ResponseReader

_log = logging.getLogger("kvorum.peer")

UNSENT_BYTES_MAX = 32 << 20
"""Bytes written and not yet taken by the network, per peer; more are dropped and reported."""

ALIVE_SECONDS = 1.0
DEAD_SECONDS = 5.0
CONNECT_SECONDS = 2.0

SNAPSHOT_DEAD_SECONDS = 30.0
"""A member that writes an image to a slow disk may not read for a while."""

SNAPSHOT_REPLY_SECONDS = 60.0
"""How long a receiver may take to make the image its own once it is there."""


class RemovedError(RemoteProtocolError):
    """The peer refuses this member for good: it was removed from the cluster."""


class Call(asyncio.Protocol):
    """A connection this member makes, from the upgrade request on.

    Attributes:
        accepted: resolved when the other side has taken the call, or failed with why not.
        done: resolved with True by DONE, or with False when the connection is gone.
    """

    def __init__(self, request: bytes, dead_seconds: float = DEAD_SECONDS) -> None:
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[bool] = loop.create_future()
        self._request = request
        self._dead_seconds = dead_seconds
        self._reply = ResponseReader()
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks to be let in."""
        self._transport = cast("asyncio.Transport", transport)
        set_socket_options(transport, self._dead_seconds)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Reads the answer, and DONE behind it."""
        try:
            if not self._reply.is_complete:
                data = self._read_reply(data)
            frames = self._frames.receive_data(data)
        except RemoteProtocolError as error:
            if not self.accepted.done():
                self.accepted.set_exception(error)
            self.close()
        else:
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

    async def write_in_turn(self, frame: bytes) -> None:
        """Writes a frame, and lets others have the loop before the next.

        Raises:
            ConnectionResetError: the connection is gone.
        """
        await asyncio.sleep(0)
        await self._writable.wait()
        if self._transport is None:
            raise ConnectionResetError("the peer hung up")
        self._transport.write(frame)

    async def wait_done(self) -> bool:
        """Waits for the other side to say DONE."""
        async with asyncio.timeout(SNAPSHOT_REPLY_SECONDS):
            return await self.done

    def close(self) -> None:
        """Hangs up at once."""
        if self._transport is not None:
            self._transport.abort()

    def _read_reply(self, data: bytes) -> bytes:
        """Reads on in the answer to the upgrade; returns what belongs to the frames."""
        reply = self._reply
        reply.receive_data(data)
        if not reply.is_complete:
            return b""
        if reply.status != handshake.SWITCHING_PROTOCOLS:
            reason = reply.body.decode("utf-8", "replace").strip()
            is_gone = reply.status == handshake.GONE
            raise (RemovedError if is_gone else RemoteProtocolError)(
                f"refused: {reason or reply.status}"
            )
        if not self.accepted.done():
            self.accepted.set_result(None)
        return reply.rest


class Link:
    """The stream to one peer: called, kept, called again.

    Attributes:
        url: where the peer is.
        on_removed: called when the peer says that this member was removed.
    """

    def __init__(
        self,
        url: str,
        request: bytes,
        clock: Clock,
        on_lost: Callable[[], None],
        credentials: Credentials | None,
    ) -> None:
        self.url = url
        self._credentials = credentials
        self.on_removed: Callable[[], object] = _nothing
        self._request = request
        self._backoff = Backoff(clock.random_below)
        self._on_lost = on_lost
        self._call: Call | None = None
        self._last_fault = ""
        self._retry = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._keep_calling())

    @property
    def is_up(self) -> bool:
        """Whether what is written now may arrive."""
        return self._call is not None

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
        while True:
            self._retry.clear()
            call = Call(self._request)
            try:
                await dial(self.url, call, self._credentials)
            except asyncio.CancelledError:
                call.close()
                raise
            except (OSError, UnavailableError, RemoteProtocolError) as error:
                call.close()
                self._note_fault(error)
                if isinstance(error, RemovedError):
                    self.on_removed()
            else:
                self._last_fault = ""
                self._backoff.reset()
                await self._stay(call)
            await self._wait_to_retry()

    async def _stay(self, call: Call) -> None:
        """Shows once a second that this member is alive, until the connection is gone."""
        _log.debug("connected to %s", self.url)
        self._call = call
        alive = encode_messages([])
        while not call.done.done():
            call.write(alive)
            await asyncio.wait([call.done], timeout=ALIVE_SECONDS)
        self._call = None
        _log.debug("lost the connection to %s", self.url)
        self._on_lost()

    async def _wait_to_retry(self) -> None:
        try:
            async with asyncio.timeout(self._backoff.next_pause()):
                await self._retry.wait()
        except TimeoutError:
            return

    def _note_fault(self, error: Exception) -> None:
        fault = describe(error)
        if fault != self._last_fault:
            self._last_fault = fault
            # Somebody answered: what it said will not go away by itself.
            is_answer = isinstance(error, RemoteProtocolError | ssl.SSLError)
            level = logging.WARNING if is_answer else logging.DEBUG
            _log.log(level, "cannot reach the peer at %s: %s", self.url, fault)


def _nothing() -> None:
    """Nobody wants to know."""


async def dial(url: str, call: Call, credentials: Credentials | None) -> None:
    """Connects and waits until the other side has taken the call.

    Raises:
        OSError: nobody answers there, or (TimeoutError) not within CONNECT_SECONDS.
        UnavailableError: the URL is no address.
        RemoteProtocolError: it was refused; the text says why.
    """
    endpoint = split_address(url)
    async with asyncio.timeout(CONNECT_SECONDS):
        await connect(lambda: call, endpoint, credentials)
        await call.accepted


def set_socket_options(transport: asyncio.BaseTransport, dead_seconds: float) -> None:
    """Sends at once, and gives up on a peer that acknowledges nothing."""
    found = transport.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(dead_seconds * 1000))
