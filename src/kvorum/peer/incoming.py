"""The connections other members make, from the upgrade on.

Rules:
    A caller that says nothing for SILENT_ROUNDS_MAX rounds is hung up on. Rounds, not a clock: when
    this process was held up, what the caller said meanwhile is still to be read.
    A frame out of place, or one that cannot be read, ends the connection.
    Only the newest transfer of an image is received; an older one is broken off, and its caller
    told so by that.
"""

import asyncio
import logging
from typing import Protocol, cast

from kvorum.backend.base import Installer
from kvorum.errors import KvorumError, RemoteProtocolError
from kvorum.peer.codec import FrameKind, FrameReader, decode_messages, encode_frame
from kvorum.peer.stream import DEAD_SECONDS, SNAPSHOT_DEAD_SECONDS, set_socket_options
from kvorum.raft.types import MemberId, Message

_log = logging.getLogger("kvorum.peer")

SILENT_ROUNDS_MAX = 2


class Receiver(Protocol):
    """What the transport tells of."""

    def receive(self, messages: list[Message]) -> None:
        """Messages from other members."""

    def unreachable(self, member_id: MemberId) -> None:
        """A message to this member was lost."""

    def snapshot_sent(self, member_id: MemberId, ok: bool) -> None:  # noqa: FBT001 -- raft's word
        """A transfer to this member has ended."""

    def begin_snapshot(self) -> Installer:
        """Room for an image."""

    def receive_snapshot(self, message: Message, installer: Installer) -> None:
        """An image has arrived whole."""

    def was_removed(self, member_id: MemberId) -> bool:
        """Whether this id was a member once and is no longer."""


class Owner(Protocol):
    """What an incoming connection asks of the transport it belongs to."""

    name: str
    receiver: Receiver

    def opened(self, connection: "Incoming") -> None:
        """The connection is open."""

    def heard(self, member_id: MemberId) -> None:
        """The member has shown that it is alive."""

    def closed(self, connection: "Incoming") -> None:
        """The connection is gone."""

    def take_over(self, transfer: "IncomingSnapshot") -> None:
        """An image begins to arrive; no other one shall."""


class Incoming(asyncio.Protocol):
    """A connection another member made, behind the upgrade.

    Attributes:
        member_id: who made it.
    """

    dead_seconds = DEAD_SECONDS

    def __init__(self, owner: Owner, member_id: MemberId) -> None:
        self.member_id = member_id
        self._owner = owner
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._silent_rounds = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is ours from now on."""
        self._transport = cast("asyncio.Transport", transport)
        set_socket_options(transport, self.dead_seconds)
        self._owner.opened(self)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Reads frames."""
        self._silent_rounds = 0
        self._owner.heard(self.member_id)
        try:
            for kind, payload in self._frames.receive_data(data):
                self._take(kind, payload)
        except (KvorumError, OSError) as error:
            _log.warning("%s: hung up on %x: %s", self._owner.name, self.member_id, error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        del exc
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._owner.closed(self)

    def close(self) -> None:
        """Hangs up at once."""
        if self._transport is not None:
            self._transport.abort()

    def _take(self, kind: FrameKind, payload: bytes) -> None:
        raise RemoteProtocolError(f"a {kind.name} frame of {len(payload)} bytes out of place")

    def _watch(self) -> None:
        self._silent_rounds += 1
        if self._silent_rounds > SILENT_ROUNDS_MAX:
            self.close()
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.dead_seconds / SILENT_ROUNDS_MAX, self._watch)


class IncomingStream(Incoming):
    """Raft's messages from one member."""

    def _take(self, kind: FrameKind, payload: bytes) -> None:
        if kind is not FrameKind.MESSAGES:
            super()._take(kind, payload)
        messages = decode_messages(payload)
        if messages:
            self._owner.receiver.receive(messages)


class IncomingSnapshot(Incoming):
    """An image of the state from one member."""

    dead_seconds = SNAPSHOT_DEAD_SECONDS

    def __init__(self, owner: Owner, member_id: MemberId) -> None:
        super().__init__(owner, member_id)
        self._message: Message | None = None
        self._installer: Installer | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; half an image is none."""
        super().connection_lost(exc)
        self._abort()

    def close(self) -> None:
        """Hangs up and forgets what was received."""
        super().close()
        self._abort()

    def _take(self, kind: FrameKind, payload: bytes) -> None:
        if kind is FrameKind.MESSAGES and self._message is None:
            self._begin(decode_messages(payload))
        elif kind is FrameKind.CHUNK and self._installer is not None:
            self._installer.write(payload)
        elif kind is FrameKind.END and self._installer is not None:
            self._end()
        else:
            super()._take(kind, payload)

    def _begin(self, messages: list[Message]) -> None:
        if len(messages) != 1 or messages[0].snapshot is None:
            raise RemoteProtocolError("a snapshot begins with its message alone")
        self._message = messages[0]
        self._owner.take_over(self)
        self._installer = self._owner.receiver.begin_snapshot()

    def _end(self) -> None:
        installer, self._installer = self._installer, None
        assert self._message is not None
        assert installer is not None
        self._owner.receiver.receive_snapshot(self._message, installer)
        if self._transport is not None:
            self._transport.write(encode_frame(FrameKind.DONE))

    def _abort(self) -> None:
        installer, self._installer = self._installer, None
        if installer is not None:
            installer.abort()
