"""The connections between this member and the others.

Every member calls each of the others and only talks on the connection it made itself; what the
other has to say comes in on the connection the other made. A message is written at once or not at
all: raft repeats what matters, so nothing is queued for a peer that is away, and what a slow one
does not take is bounded by `UNSENT_BYTES_MAX`.

Once a second each side shows that it is alive; TCP gives up on data that nobody acknowledges for
`DEAD_SECONDS`, and a caller that is silent for so long is hung up on. So a peer whose machine
vanished is found out by either side.

The caller, on the thread of the event loop: `set_peer` for every other member, `send` any time,
`handle` for upgrade requests on the peer port, `close` at the end.
"""

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol, cast

from kvorum.backend.base import Installer, ReadView
from kvorum.clock import Clock
from kvorum.errors import RemoteProtocolError
from kvorum.peer import handshake
from kvorum.peer.codec import (
    FrameKind,
    FrameReader,
    decode_messages,
    encode_frame,
    encode_messages,
)
from kvorum.peer.stream import DEAD_SECONDS, Call, Link, dial, set_socket_options
from kvorum.raft.types import MemberId, Message

if TYPE_CHECKING:
    from kvorum.protocol.http1 import Exchange

_log = logging.getLogger("kvorum.peer")

CHUNK_BYTES = 256 << 10
"""One piece of a snapshot: read from the store between two turns."""


class Receiver(Protocol):
    """What the transport tells of."""

    def receive(self, messages: list[Message]) -> None:
        """Messages from other members."""

    def unreachable(self, member_id: MemberId) -> None:
        """A message to this member was lost."""

    def snapshot_sent(self, member_id: MemberId, ok: bool) -> None:  # noqa: FBT001
        """A transfer to this member has ended."""

    def begin_snapshot(self) -> Installer:
        """Room for an image."""

    def receive_snapshot(self, message: Message, installer: Installer) -> None:
        """An image has arrived whole."""

    def was_removed(self, member_id: MemberId) -> bool:
        """Whether this id was a member once and is no longer."""


class Transport:
    """All connections of one member. Implements what `Server` calls a transport."""

    def __init__(self, cluster_id: int, member_id: MemberId, name: str, clock: Clock) -> None:
        self.cluster_id = cluster_id
        self.member_id = member_id
        self.name = name
        self.clock = clock
        self.receiver: Receiver
        """Set before the first peer is."""
        self._links: dict[MemberId, Link] = {}
        self._heard: dict[MemberId, float] = {}
        self._incoming: set[asyncio.BaseTransport] = set()
        self._transfers: dict[MemberId, asyncio.Task[None]] = {}

    def set_peer(self, member_id: MemberId, url: str) -> None:
        """Calls this member at this URL, and goes on calling until it is removed."""
        self.remove_peer(member_id)
        request = handshake.request(url, handshake.STREAM_PATH, *self._who(member_id))
        self._links[member_id] = Link(
            url, request, self.clock, lambda: self.receiver.unreachable(member_id)
        )

    def remove_peer(self, member_id: MemberId) -> None:
        """Stops talking to this member."""
        link = self._links.pop(member_id, None)
        if link is not None:
            link.close()

    def last_contact(self, member_id: MemberId) -> float:
        """When this member was last heard, by the monotonic clock; 0 for never."""
        return self._heard.get(member_id, 0.0)

    def send(self, messages: list[Message]) -> None:
        """Writes each peer's messages as one frame."""
        by_target: dict[MemberId, list[Message]] = defaultdict(list)
        for message in messages:
            by_target[message.target].append(message)
        for target, batch in by_target.items():
            link = self._links.get(target)
            if link is not None and not link.write(encode_messages(batch)):
                self.receiver.unreachable(target)

    def send_snapshot(self, message: Message, view: ReadView) -> None:
        """Sends an image beside the messages, on a connection of its own."""
        target = message.target
        link = self._links.get(target)
        if link is None or target in self._transfers:
            view.close()
            if link is None:
                self.receiver.snapshot_sent(target, ok=False)
            return
        task = asyncio.get_running_loop().create_task(self._transfer(link.url, message, view))
        self._transfers[target] = task

    async def _transfer(self, url: str, message: Message, view: ReadView) -> None:
        target = message.target
        ok = False
        call = Call(handshake.request(url, handshake.SNAPSHOT_PATH, *self._who(target)))
        try:
            await dial(url, call)
            call.write(encode_messages([message]))
            for chunk in view.chunks(CHUNK_BYTES):
                call.write(encode_frame(FrameKind.CHUNK, chunk))
                await call.wait_writable()
            call.write(encode_frame(FrameKind.END))
            ok = await call.wait_done()
        except (OSError, TimeoutError, RemoteProtocolError) as error:
            _log.warning("%s: snapshot to %x failed: %s", self.name, target, error)
        finally:
            view.close()
            call.close()
            del self._transfers[target]
        self.receiver.snapshot_sent(target, ok=ok)

    def handle(self, exchange: "Exchange") -> None:
        """Answers an upgrade request of another member on the peer port."""
        caller = handshake.read_caller(exchange.headers, self.cluster_id, self.member_id)
        fault = caller.fault
        if not fault and self.receiver.was_removed(caller.member_id):
            fault = "the caller was removed from the cluster"
        if not fault and not exchange.can_upgrade:
            fault = "an upgrade must be the only request under way"
        if fault:
            _log.info("%s: refused a call of %x: %s", self.name, caller.member_id, fault)
            head = b"HTTP/1.1 412 Precondition Failed\r\nContent-Type: text/plain\r\n"
            exchange.keep_alive = False
            exchange.respond(head, fault.encode())
            return
        is_stream = exchange.path == handshake.STREAM_PATH.encode()
        kind = _IncomingStream if is_stream else _IncomingSnapshot
        exchange.upgrade(handshake.accept_head(), kind(self, caller.member_id))

    def heard(self, member_id: MemberId) -> None:
        """A member has shown that it is alive."""
        self._heard[member_id] = self.clock.monotonic()
        link = self._links.get(member_id)
        if link is not None:
            link.call_now()

    def _who(self, target: MemberId) -> tuple[int, MemberId, MemberId]:
        return self.cluster_id, self.member_id, target

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """A connection came in."""
        self._incoming.add(transport)

    def closed(self, transport: asyncio.BaseTransport | None) -> None:
        """A connection that came in is gone."""
        if transport is not None:
            self._incoming.discard(transport)

    def close(self) -> None:
        """Hangs up everywhere."""
        for member_id in list(self._links):
            self.remove_peer(member_id)
        for task in list(self._transfers.values()):
            task.cancel()
        for transport in list(self._incoming):
            transport.close()


class _Incoming(asyncio.Protocol):
    """A connection another member made, behind the upgrade."""

    def __init__(self, owner: Transport, member_id: MemberId) -> None:
        self._owner = owner
        self._member_id = member_id
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._last_data = owner.clock.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        set_socket_options(transport)
        self._owner.opened(transport)
        self._owner.heard(self._member_id)
        self._watch()

    def _watch(self) -> None:
        """Hangs up on a caller that has been silent for too long."""
        if self._owner.clock.monotonic() - self._last_data > DEAD_SECONDS:
            self._hang_up()
            return
        self._timer = asyncio.get_running_loop().call_later(DEAD_SECONDS / 2, self._watch)

    def data_received(self, data: bytes) -> None:
        self._last_data = self._owner.clock.monotonic()
        self._owner.heard(self._member_id)
        try:
            for kind, payload in self._frames.receive_data(data):
                self._take(kind, payload)
        except RemoteProtocolError as error:
            _log.warning("%s: hung up on %x: %s", self._owner.name, self._member_id, error)
            self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._owner.closed(self._transport)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def _take(self, kind: FrameKind, payload: bytes) -> None:
        raise RemoteProtocolError(f"a frame of kind {kind} out of place, {len(payload)} bytes")

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _IncomingStream(_Incoming):
    """Raft's messages from one member."""

    def _take(self, kind: FrameKind, payload: bytes) -> None:
        if kind is not FrameKind.MESSAGES:
            super()._take(kind, payload)
        messages = decode_messages(payload)
        if messages:
            self._owner.receiver.receive(messages)


class _IncomingSnapshot(_Incoming):
    """An image of the state from one member."""

    def __init__(self, owner: Transport, member_id: MemberId) -> None:
        super().__init__(owner, member_id)
        self._message: Message | None = None
        self._installer: Installer | None = None

    def _take(self, kind: FrameKind, payload: bytes) -> None:
        if kind is FrameKind.MESSAGES and self._installer is None:
            messages = decode_messages(payload)
            if len(messages) != 1 or messages[0].snapshot is None:
                raise RemoteProtocolError("a snapshot begins with its message alone")
            self._message = messages[0]
            self._installer = self._owner.receiver.begin_snapshot()
        elif kind is FrameKind.CHUNK and self._installer is not None:
            self._installer.write(payload)
        elif kind is FrameKind.END and self._installer is not None and self._message is not None:
            installer, self._installer = self._installer, None
            self._owner.receiver.receive_snapshot(self._message, installer)
            if self._transport is not None:
                self._transport.write(encode_frame(FrameKind.DONE))
        else:
            super()._take(kind, payload)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._installer is not None:
            self._installer.abort()
            self._installer = None
