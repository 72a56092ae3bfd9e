"""The connections between this member and the others.

Every member calls each of the others and only talks on the connection it made itself; what the
other has to say comes in on the connection the other made. A message is written at once or not at
all: raft repeats what matters, so nothing is queued for a peer that is away, and what a slow one
does not take is bounded by `UNSENT_BYTES_MAX`.

Once a second each side shows that it is alive; TCP gives up on data that nobody acknowledges for
`DEAD_SECONDS`, and a caller that is silent for so long is hung up on. So a peer whose machine
vanished is found out by either side.

A caller may be unknown here: a member whose state is behind has not read yet that it joined, and
must be able to answer it all the same, or it would stay behind for as long as that one leads. So
every caller says where it listens, and is called back for as long as it stays connected.

An image goes beside the messages, on a connection of its own, one per peer at a time: a piece is
read from the store only when the network has taken those before it.

The caller, on the thread of the event loop: `receiver` set first; `set_peer` for every other
member, `send` any time, `handle` for upgrade requests on the peer port, `close` at the end.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable

from kvorum.backend.base import ReadView
from kvorum.clock import Clock
from kvorum.errors import KvorumError, UnavailableError
from kvorum.net.dialer import split_address
from kvorum.net.tls import Credentials
from kvorum.peer import handshake
from kvorum.peer.codec import FrameKind, encode_frame, encode_messages
from kvorum.peer.incoming import Incoming, IncomingSnapshot, IncomingStream, Receiver
from kvorum.peer.stream import SNAPSHOT_DEAD_SECONDS, Call, Link, dial
from kvorum.protocol.exchange import Exchange
from kvorum.raft.types import MemberId, Message

_log = logging.getLogger("kvorum.peer")

CHUNK_BYTES = 256 << 10
"""One piece of a snapshot: read from the store between two turns."""

REFUSED_MAX = 256
"""Refused callers that are remembered, so that each is logged once."""


def _nothing() -> None:
    """Nobody wants to know."""


class Transport:
    """All connections of one member. Implements what `Server` calls a transport."""

    def __init__(
        self,
        cluster_id: int,
        member_id: MemberId,
        name: str,
        clock: Clock,
        credentials: Credentials | None = None,
    ) -> None:
        """Calls nobody yet.

        Args:
            cluster_id: of the cluster that both sides of a call must belong to.
            member_id: this member.
            name: this member, for the log.
            clock: tells when a peer was heard; draws pauses.
            credentials: for peers at https URLs; None trusts what the system trusts.
        """
        self.cluster_id = cluster_id
        self.member_id = member_id
        self.name = name
        self.clock = clock
        self.credentials = credentials
        self.receiver: Receiver
        """Set before the first peer is."""
        self.own_url = ""
        """Where this member listens; set before the first peer is."""
        self.on_removed: Callable[[], object] = _nothing
        """Called when another member says that this one was removed from the cluster."""
        self._links: dict[MemberId, Link] = {}
        self._strangers: set[MemberId] = set()
        """Members called back that nobody has set as a peer."""
        self._heard: dict[MemberId, float] = {}
        self._incoming: set[Incoming] = set()
        self._transfer_in: IncomingSnapshot | None = None
        self._transfers: dict[MemberId, asyncio.Task[None]] = {}
        self._refused: dict[MemberId, str] = {}
        self._is_closed = False

    def set_peer(self, member_id: MemberId, url: str) -> None:
        """Calls this member at this URL, and goes on calling until it is removed."""
        self._drop_link(member_id)
        request = handshake.request(url, handshake.STREAM_PATH, *self._who(member_id), self.own_url)
        link = Link(
            url,
            request,
            self.clock,
            lambda: self.receiver.unreachable(member_id),
            self.credentials,
        )
        link.on_removed = self.on_removed
        self._links[member_id] = link

    def remove_peer(self, member_id: MemberId) -> None:
        """Stops talking and listening to this member."""
        self._drop_link(member_id)
        for connection in [one for one in self._incoming if one.member_id == member_id]:
            connection.close()

    def is_connected(self, member_id: MemberId) -> bool:
        """Whether messages to this member leave."""
        link = self._links.get(member_id)
        return link is not None and link.is_up

    def last_contact(self, member_id: MemberId) -> float:
        """When this member was last heard, by the monotonic clock; 0 for never."""
        return self._heard.get(member_id, 0.0)

    def send(self, messages: list[Message]) -> None:
        """Writes each peer's messages as one batch."""
        by_target: dict[MemberId, list[Message]] = defaultdict(list)
        for message in messages:
            by_target[message.target].append(message)
        for target, batch in by_target.items():
            link = self._links.get(target)
            if link is not None and not (link.is_up and link.write(encode_messages(batch))):
                self.receiver.unreachable(target)

    def send_snapshot(self, message: Message, view: ReadView) -> None:
        """Sends an image; `Receiver.snapshot_sent` tells how it went. The view is closed here.

        While one is on its way to a peer, another to it is dropped: the first one's end is told.
        """
        target = message.target
        link = self._links.get(target)
        if link is None or target in self._transfers:
            view.close()
            if link is None:
                self.receiver.snapshot_sent(target, ok=False)
            return
        task = asyncio.get_running_loop().create_task(self._transfer(link.url, message, view))
        self._transfers[target] = task

    def handle(self, exchange: Exchange) -> None:
        """Answers an upgrade request of another member on the peer port."""
        caller = handshake.read_caller(exchange.headers, self.cluster_id, self.member_id)
        fault = caller.fault or ("this member stops" if self._is_closed else "")
        was_removed = caller.is_of_cluster and self.receiver.was_removed(caller.member_id)
        if was_removed:
            fault = "the caller was removed from the cluster"
        if not fault and not exchange.can_upgrade:
            fault = "an upgrade must be the only request under way"
        if fault:
            self._note_refusal(caller.member_id, fault)
            exchange.keep_alive = False
            head = handshake.refusal_head(was_removed=was_removed)
            exchange.respond(head, fault.encode())
            return
        if caller.member_id not in self._links:
            self._call_back(caller)
        is_stream = exchange.path == handshake.STREAM_PATH.encode()
        kind = IncomingStream if is_stream else IncomingSnapshot
        exchange.upgrade(handshake.accept_head(), kind(self, caller.member_id))

    def close(self) -> None:
        """Hangs up everywhere, for good."""
        self._is_closed = True
        for member_id in list(self._links):
            self._drop_link(member_id)
        for task in list(self._transfers.values()):
            task.cancel()
        for connection in list(self._incoming):
            connection.close()

    # For incoming connections.

    def opened(self, connection: Incoming) -> None:
        """A connection came in; its peer is up, and may be called at once."""
        self._incoming.add(connection)
        self.heard(connection.member_id)
        link = self._links.get(connection.member_id)
        if link is not None:
            link.call_now()

    def heard(self, member_id: MemberId) -> None:
        """A member has shown that it is alive."""
        self._heard[member_id] = self.clock.monotonic()

    def closed(self, connection: Incoming) -> None:
        """A connection that came in is gone."""
        self._incoming.discard(connection)
        if self._transfer_in is connection:
            self._transfer_in = None
        member_id = connection.member_id
        is_gone = all(one.member_id != member_id for one in self._incoming)
        if is_gone and member_id in self._strangers:
            self._drop_link(member_id)

    def take_over(self, transfer: IncomingSnapshot) -> None:
        """An image begins to arrive: its sender leads now, so any older one is pointless."""
        if self._transfer_in is not None:
            self._transfer_in.close()
        self._transfer_in = transfer

    def _call_back(self, caller: handshake.Caller) -> None:
        """Makes it possible to answer a member that this one's state does not know yet."""
        try:
            split_address(caller.url)
        except UnavailableError:
            return
        self.set_peer(caller.member_id, caller.url)
        self._strangers.add(caller.member_id)

    def _drop_link(self, member_id: MemberId) -> None:
        self._strangers.discard(member_id)
        link = self._links.pop(member_id, None)
        if link is not None:
            link.close()

    async def _transfer(self, url: str, message: Message, view: ReadView) -> None:
        target = message.target
        request = handshake.request(url, handshake.SNAPSHOT_PATH, *self._who(target))
        call = Call(request, SNAPSHOT_DEAD_SECONDS)
        ok = False
        try:
            await dial(url, call, self.credentials)
            await call.write_in_turn(encode_messages([message]))
            for chunk in view.chunks(CHUNK_BYTES):
                await call.write_in_turn(encode_frame(FrameKind.CHUNK, chunk))
            await call.write_in_turn(encode_frame(FrameKind.END))
            ok = await call.wait_done()
        except (OSError, KvorumError) as error:
            _log.warning("%s: snapshot to %x failed: %s", self.name, target, error)
        except Exception:
            _log.exception("%s: a bug: snapshot to %x failed", self.name, target)
        finally:
            view.close()
            call.close()
            del self._transfers[target]
        self.receiver.snapshot_sent(target, ok=ok)

    def _who(self, target: MemberId) -> tuple[int, MemberId, MemberId]:
        return self.cluster_id, self.member_id, target

    def _note_refusal(self, member_id: MemberId, fault: str) -> None:
        if self._refused.get(member_id) == fault:
            return
        if len(self._refused) >= REFUSED_MAX:
            self._refused.clear()
        self._refused[member_id] = fault
        _log.warning("%s: refused a call of %x: %s", self.name, member_id, fault)
