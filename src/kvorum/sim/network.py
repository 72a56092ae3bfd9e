"""The network between hosts: real frames on connections that lag, break, and lose.

A connection carries bytes in order, from one process to another, as the real transport's does: it
is made by the member that talks on it, needs a round trip to begin, and what is under way when it
breaks is lost, perhaps in the middle of a frame. In a *lossy* network every frame goes alone
instead: it may be lost, doubled, or overtaken.

    cut      nothing passes from one host to another; the other direction has its own
    clogged  it passes, much later

An image goes beside the messages, piece by piece; a newer transfer to the same process ends an
older one.

The caller: `transport` for each process that starts, then its `start`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from msgspec import Struct

from kvorum.backend.base import Installer, ReadView
from kvorum.errors import KvorumError, RemoteProtocolError, StorageError
from kvorum.peer.codec import (
    FrameKind,
    FrameReader,
    decode_messages,
    encode_frame,
    encode_messages,
)
from kvorum.raft.types import MemberId, Message
from kvorum.server.server import Server
from kvorum.sim.chance import Chance
from kvorum.sim.loop import Callback, SimLoop
from kvorum.sim.trace import Trace

DEAD_SECONDS = 5.0
"""After so long without an acknowledgement a caller knows that a connection is dead."""

WATCH_SECONDS = 0.5
"""A receiver that is gone is noticed within this."""

REDIAL_SECONDS = 0.05
"""Pause between attempts to connect."""

CALL_SECONDS = 1.0
"""A member calls those it is not connected to this often, also when it has nothing to say."""


class Endpoint(Protocol):
    """A process, as the network sees it."""

    @property
    def name(self) -> str:
        """The host's name."""

    @property
    def epoch(self) -> int:
        """Which of the host's processes it is."""

    @property
    def server(self) -> Server:
        """What runs in it."""

    @property
    def is_up(self) -> bool:
        """Whether it runs."""

    @property
    def is_paused(self) -> bool:
        """Whether it sleeps."""

    def run(self, callback: Callback) -> None:
        """Runs `callback` in the process: never if it is gone, later if it sleeps."""

    def hear(self, callback: Callback) -> None:
        """Runs what a message brings: as `run`, but later if it is deaf."""


class LinkRates(Struct):
    """How the network behaves all the time.

    Attributes:
        latency: seconds a frame takes, on average.
        is_lossy: frames go alone; the three rates below count.
        loss: share of frames that never arrive.
        duplication: share of frames that arrive twice.
        reordering: share of frames that are overtaken.
        breaking: share of frames in the middle of which a connection breaks.
        chunk_bytes: size of the pieces of an image.
    """

    latency: float = 0.002
    is_lossy: bool = False
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    breaking: float = 0.0
    chunk_bytes: int = 4096


Pair = tuple[str, str]


class Network:
    """All hosts' connections.

    Attributes:
        cuts: from host, to host: how many faults cut this direction.
        clogs: seconds by which a direction is slower.
        on_send: told of all messages that leave a process.
    """

    def __init__(self, loop: SimLoop, chance: Chance, rates: LinkRates, trace: Trace) -> None:
        self.loop = loop
        self.chance = chance
        self.rates = rates
        self.trace = trace
        self.cuts: dict[Pair, int] = {}
        self.clogs: dict[Pair, float] = {}
        self.on_send: Callable[[Endpoint, list[Message]], None] = _nobody
        self.frame_count = 0
        self._by_url: dict[str, SimTransport] = {}

    def transport(self, endpoint: Endpoint, urls: Sequence[str]) -> "SimTransport":
        """The transport of a process that is about to start, and listens at these URLs."""
        transport = SimTransport(self, endpoint, urls[0])
        for url in urls:
            self._by_url[url] = transport
        return transport

    def find(self, url: str) -> "SimTransport | None":
        """The running process that listens there."""
        transport = self._by_url.get(url)
        return transport if transport is not None and transport.endpoint.is_up else None

    def cut(self, pairs: list[Pair]) -> Callback:
        """Cuts these directions; the result mends them."""
        for pair in pairs:
            self.cuts[pair] = self.cuts.get(pair, 0) + 1
        return lambda: self._mend(pairs)

    def _mend(self, pairs: list[Pair]) -> None:
        for pair in pairs:
            self.cuts[pair] -= 1

    def heal(self) -> None:
        """Links are fast and sound again, and over a connection that is dead nobody waits."""
        self.clogs.clear()
        rates = self.rates
        rates.loss = rates.duplication = rates.reordering = rates.breaking = 0.0
        for transport in self._by_url.values():
            for connection in transport.incoming.values():
                connection.close_if_dead()

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing passes in this direction."""
        return self.cuts.get((source, target), 0) > 0

    def draw_delay(self, source: str, target: str) -> float:
        """How long the next frame takes."""
        latency = self.rates.latency
        delay = latency / 2 + self.chance.exponential(latency / 2)
        return delay + self.clogs.get((source, target), 0.0) if self.clogs else delay


class SimTransport:
    """The connections of one process. Implements what `Server` calls a transport."""

    def __init__(self, network: Network, endpoint: Endpoint, url: str) -> None:
        self.url = url
        self.network = network
        self.endpoint = endpoint
        self.incoming: dict[MemberId, Connection] = {}
        self.transfer_in: Transfer | None = None
        self.transfers: dict[MemberId, Transfer] = {}
        self.on_removed: Callback = _nothing
        """Called when another member says that this one was removed from the cluster."""
        self._links: dict[MemberId, Link] = {}
        self._heard: dict[MemberId, float] = {}

    def start(self) -> None:
        """Calls its peers from now on."""
        for link in list(self._links.values()):
            link.call()
        again = partial(self.endpoint.run, self.start)
        self.network.loop.call_later(CALL_SECONDS, again)

    def set_peer(self, member_id: MemberId, url: str) -> None:
        """Talks to this member at this URL."""
        self._links[member_id] = Link(self, member_id, url)

    def remove_peer(self, member_id: MemberId) -> None:
        """Stops talking and listening to this member."""
        self._links.pop(member_id, None)
        connection = self.incoming.pop(member_id, None)
        if connection is not None:
            connection.close()

    def last_contact(self, member_id: MemberId) -> float:
        """When this member was last heard, by the monotonic clock; 0 for never.

        Connected processes show each other all the time that they are alive.
        """
        link = self._links.get(member_id)
        there = None if link is None else link.reachable()
        if there is not None and not there.endpoint.is_paused:
            self.heard(member_id)
        return self._heard.get(member_id, 0.0)

    def heard(self, member_id: MemberId) -> None:
        """A member has shown that it is alive."""
        self._heard[member_id] = self.endpoint.server.clock.monotonic()

    def send(self, messages: list[Message]) -> None:
        """Sends each peer's messages as one batch."""
        self.network.on_send(self.endpoint, messages)
        by_target: dict[MemberId, list[Message]] = {}
        for message in messages:
            by_target.setdefault(message.target, []).append(message)
        for target, batch in by_target.items():
            link = self._links.get(target)
            if link is not None and not link.write(encode_messages(batch)):
                self.endpoint.server.unreachable(target)

    def send_snapshot(self, message: Message, view: ReadView) -> None:
        """Sends an image; while one is on its way to a peer, another to it is dropped."""
        target = message.target
        link = self._links.get(target)
        if link is None or target in self.transfers:
            view.close()
            if link is None:
                self.endpoint.server.snapshot_sent(target, ok=False)
            return
        self.transfers[target] = Transfer(self, link, message, view)

    def call_back(self, caller: "SimTransport") -> None:
        """A caller that the state here does not know yet can be answered all the same."""
        member_id = caller.endpoint.server.member_id
        if member_id not in self._links:
            self._links[member_id] = Link(self, member_id, caller.url)

    def accepts(self, caller: MemberId, wanted: MemberId) -> bool:
        """Whether a call of this member, for the member `wanted`, is answered here."""
        server = self.endpoint.server
        return wanted == server.member_id and not server.was_removed(caller)

    def refuses(self, caller: MemberId) -> bool:
        """Whether a call of this member, whomever it means, is told that it was removed."""
        return self.endpoint.server.was_removed(caller)


class Link:
    """What one member has to say to another."""

    def __init__(self, owner: SimTransport, target: MemberId, url: str) -> None:
        self.owner = owner
        self.target = target
        self.url = url
        self._connection: Connection | None = None
        self._dial_at = 0.0

    def write(self, data: bytes) -> bool:
        """Puts bytes on their way; False if there is no connection."""
        network = self.owner.network
        if network.rates.is_lossy:
            return self._throw(data)
        connection = self._connection
        if connection is None or not connection.is_open:
            self._dial()
            return False
        connection.write(data)
        return True

    def call(self) -> None:
        """Makes sure of a connection; in a lossy network, asks whether frames are welcome."""
        connection = self._connection
        if connection is None or not connection.is_open:
            self._dial()

    def reachable(self) -> "SimTransport | None":
        """The process at the other end, if it takes a call now."""
        there = self._find()
        own_id = self.owner.endpoint.server.member_id
        return there if there is not None and there.accepts(own_id, self.target) else None

    def _find(self) -> "SimTransport | None":
        """The process that listens at the URL, if a call gets through to it now."""
        network, own = self.owner.network, self.owner.endpoint
        there = network.find(self.url)
        if there is None or network.is_cut(own.name, there.endpoint.name):
            return None
        return None if network.is_cut(there.endpoint.name, own.name) else there

    def _dial(self) -> None:
        network = self.owner.network
        if network.loop.now < self._dial_at:
            return
        self._dial_at = network.loop.now + REDIAL_SECONDS
        delay = 2 * network.rates.latency
        network.loop.call_later(delay, partial(self.owner.endpoint.run, self._connect))

    def _connect(self) -> None:
        there = self._find()
        if there is None or there.endpoint.is_paused:
            return
        own_id = self.owner.endpoint.server.member_id
        if there.refuses(own_id):
            self.owner.on_removed()
        elif not self.owner.network.rates.is_lossy and there.accepts(own_id, self.target):
            self._connection = Connection(self, there)

    def _throw(self, data: bytes) -> bool:
        """A frame goes alone."""
        network, own = self.owner.network, self.owner.endpoint
        there = network.find(self.url)
        if there is None or not there.accepts(own.server.member_id, self.target):
            return False
        chance, rates, names = network.chance, network.rates, (own.name, there.endpoint.name)
        if network.is_cut(*names) or chance.happens(rates.loss):
            return True
        for _ in range(2 if chance.happens(rates.duplication) else 1):
            delay = network.draw_delay(*names)
            if chance.happens(rates.reordering):
                delay += chance.exponential(20 * rates.latency)
            single = Connection(self, there)
            network.loop.call_later(delay, partial(there.endpoint.hear, partial(single.take, data)))
        return True


class Connection:
    """Bytes from one process to another, in order."""

    def __init__(self, link: Link, there: SimTransport) -> None:
        self.is_open = True
        self._network = link.owner.network
        self._source = link.owner.endpoint
        self._source_id = self._source.server.member_id
        self._there = there
        there.call_back(link.owner)
        self._is_whole = True
        self._frames = FrameReader()
        self._arrival = 0.0
        if not self._network.rates.is_lossy:
            there.incoming[self._source_id] = self
            there.heard(self._source_id)

    def close(self) -> None:
        """Ends it; the caller finds out when it writes next."""
        self.is_open = self._is_whole = False

    def close_if_dead(self) -> None:
        """Ends it if something was lost on it: nothing more would arrive."""
        if not self._is_whole:
            self.close()

    def write(self, data: bytes) -> None:
        """Puts bytes on their way."""
        network, there = self._network, self._there.endpoint
        if not there.is_up:
            self.is_open = False
            return
        if not self._is_whole:
            return
        if network.is_cut(self._source.name, there.name):
            self._is_whole = False
            network.loop.call_later(DEAD_SECONDS, self.close)
            return
        if network.chance.happens(network.rates.breaking):
            data = data[: network.chance.below(len(data))]
            self.is_open = self._is_whole = False
        self._arrival = max(
            self._arrival, network.loop.now + network.draw_delay(self._source.name, there.name)
        )
        network.loop.call_at(self._arrival, partial(there.hear, partial(self.take, data)))

    def take(self, data: bytes) -> None:
        """Bytes arrive."""
        network = self._network
        network.frame_count += 1
        network.trace.take(data)
        transport = self._there
        transport.heard(self._source_id)
        try:
            for _, payload in self._frames.receive_data(data):
                transport.endpoint.server.receive(decode_messages(payload))
        except KvorumError:
            self.close()


class Transfer:
    """An image on its way."""

    def __init__(self, owner: SimTransport, link: Link, message: Message, view: ReadView) -> None:
        self._owner = owner
        self._network = owner.network
        self._target = message.target
        self._view = view
        self._there = link.reachable()
        self._pieces = _pieces(message, view, owner.network.rates.chunk_bytes)
        self._frames = FrameReader()
        self._message: Message | None = None
        self._installer: Installer | None = None
        self._is_over = False
        self._source_id = owner.endpoint.server.member_id
        self._network.loop.call_later(4 * self._network.rates.latency, self._next)
        self._watch()

    def _watch(self) -> None:
        """Finds out when the receiver is gone with what was sent to it."""
        there = self._there
        if there is not None and not there.endpoint.is_up:
            self._end(ok=False)
        elif not self._is_over:
            self._network.loop.call_later(WATCH_SECONDS, self._watch)

    def abort(self) -> None:
        """Breaks it off; the sender finds out."""
        self._end(ok=False)

    def _next(self) -> None:
        there = self._there
        if self._is_over:
            return
        if there is None or not self._passes(there):
            self._end(ok=False)
            return
        piece = next(self._pieces, None)
        if piece is None:
            self._end(ok=True)
            return
        delay = self._network.draw_delay(self._owner.endpoint.name, there.endpoint.name)
        take = partial(there.endpoint.hear, partial(self._take, there, piece))
        self._network.loop.call_later(delay, take)

    def _passes(self, there: SimTransport) -> bool:
        network, own, other = self._network, self._owner.endpoint, there.endpoint
        is_cut = network.is_cut(own.name, other.name) or network.is_cut(other.name, own.name)
        is_broken = network.chance.happens(network.rates.breaking + network.rates.loss)
        return own.is_up and other.is_up and not is_cut and not is_broken

    def _take(self, there: SimTransport, piece: bytes) -> None:
        if self._is_over:
            return
        server = there.endpoint.server
        there.heard(self._source_id)
        for kind, payload in self._frames.receive_data(piece):
            if kind is FrameKind.MESSAGES:
                (self._message,) = decode_messages(payload)
                if there.transfer_in is not None:
                    there.transfer_in.abort()
                there.transfer_in = self
                self._installer = server.begin_snapshot()
            elif kind is FrameKind.CHUNK:
                assert self._installer is not None
                self._installer.write(payload)
            else:
                installer, self._installer = self._installer, None
                assert installer is not None
                assert self._message is not None
                there.transfer_in = None
                try:
                    server.receive_snapshot(self._message, installer)
                except (StorageError, RemoteProtocolError):
                    self._end(ok=False)
                    return
        self._network.loop.call_later(0.0, self._next)

    def _end(self, *, ok: bool) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._view.close()
        if self._installer is not None:
            self._installer.abort()
        there = self._there
        if there is not None and there.transfer_in is self:
            there.transfer_in = None
        delay = self._network.rates.latency if ok else 10 * self._network.rates.latency
        owner = self._owner
        self._network.loop.call_later(delay, partial(owner.endpoint.run, partial(self._tell, ok)))

    def _tell(self, ok: bool) -> None:  # noqa: FBT001 -- raft's word
        del self._owner.transfers[self._target]
        self._owner.endpoint.server.snapshot_sent(self._target, ok=ok)


def _pieces(message: Message, view: ReadView, chunk_bytes: int) -> Iterator[bytes]:
    """The frames of a transfer."""
    yield encode_messages([message])
    for chunk in view.chunks(chunk_bytes):
        yield encode_frame(FrameKind.CHUNK, chunk)
    yield encode_frame(FrameKind.END)


def _nothing() -> None:
    """Nobody wants to know."""


def _nobody(endpoint: Endpoint, messages: list[Message]) -> None:
    del endpoint, messages
