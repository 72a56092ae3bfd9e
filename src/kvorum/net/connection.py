"""One transport driving one protocol core.

What for: the shell of `Http1Connection` on an asyncio transport. It calls, drains and transmits;
what the bytes mean is the core's business.

Owns: the transport, from accept until it is closed or handed over to another protocol.

Rules:
    One `transport.write` per connection and loop turn: every connection that was answered in a
    turn, for whatever reason, is flushed by one callback at its end. (Measured: writing from
    within data_received costs a client on the same machine one wake-up per answer, and this
    process half as much CPU again.)
    Reading stops while the client does not read its answers, or too many are due.
    A connection on which nothing is due and no request is completed for the read timeout is
    closed; one whose client takes nothing for the write timeout is cut off.
    A refused client is read on for LINGER_SECONDS: closing over unread bytes resets the
    connection, and the client would lose the answer that tells it why.

The caller (the listener): calls `Connections.sweep` from time to time.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple, TypeAlias, cast

from kvorum.protocol.http1 import UNANSWERED_MAX, Exchange, Http1Connection

_log = logging.getLogger("kvorum.net")

Handler: TypeAlias = Callable[[Exchange], None]
"""Answers the exchange, now or later; never waits."""

MakeCore: TypeAlias = Callable[[str, Callable[[], None]], Http1Connection]
"""Makes the protocol core for a client's address and a callback for later output."""

LINGER_SECONDS = 2.0
"""How long a refused client may take to stop sending and read its answer."""

REFUSALS_MAX = 128
"""Connections over the limit that are told so; those beyond are dropped without a word."""

UNANSWERED_RESUME = UNANSWERED_MAX // 2


class Limits(NamedTuple):
    """What a listener grants its clients.

    Attributes:
        connections_max: connections at one time.
        body_bytes_max: size of a request's body.
        read_timeout_seconds: for a whole request to arrive, and between two.
        write_timeout_seconds: for a client to take what waits for it.
    """

    connections_max: int = 10_000
    body_bytes_max: int = 1536 * 1024
    read_timeout_seconds: float = 300.0
    write_timeout_seconds: float = 300.0


class Connections:
    """All connections of a listener, and what they share."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, handler: Handler, limits: Limits, make_core: MakeCore
    ) -> None:
        self.loop = loop
        self.handler = handler
        self.limits = limits
        self.make_core = make_core
        self.on_empty: Callable[[], None] | None = None
        self._open: set[Connection] = set()
        self._answered: list[Connection] = []
        self._is_closing = False
        self._is_full = False

    def __len__(self) -> int:
        return len(self._open)

    def answered(self, connection: "Connection") -> None:
        """The connection has bytes to send; it is flushed in this turn of the loop."""
        if not self._answered:
            self.loop.call_soon(self._flush)
        self._answered.append(connection)

    def add(self, connection: "Connection") -> str:
        """Takes in a new connection. Returns why it is to be refused, or nothing."""
        self._open.add(connection)
        if self._is_closing:
            return "shutting down"
        if len(self._open) <= self.limits.connections_max:
            return ""
        if not self._is_full:
            self._is_full = True
            _log.warning("more than %d connections: refusing others", self.limits.connections_max)
        return "too many connections"

    @property
    def is_overrun(self) -> bool:
        """Too many even to tell them."""
        return not self.has_room(-1)

    def has_room(self, beginning: int) -> bool:
        """Whether one more may be taken in, if only to be refused, while others are beginning."""
        return len(self._open) + beginning < self.limits.connections_max + REFUSALS_MAX

    def discard(self, connection: "Connection") -> None:
        """The connection is closed, or is somebody else's now."""
        self._open.discard(connection)
        if self._is_full and len(self._open) <= self.limits.connections_max // 2:
            self._is_full = False
        if not self._open and self.on_empty is not None:
            self.on_empty()

    def sweep(self) -> None:
        """Closes connections that have been silent, or stuck, for too long."""
        now = self.loop.time()
        for connection in list(self._open):
            connection.check(now)

    def stop_receiving(self) -> None:
        """Closes idle connections, and the others behind the answers they wait for."""
        self._is_closing = True
        for connection in list(self._open):
            connection.stop_receiving()

    def abort(self) -> None:
        """Drops every connection."""
        for connection in list(self._open):
            connection.abort()

    def _flush(self) -> None:
        answered, self._answered = self._answered, []
        for connection in answered:
            try:
                connection.flush()
            except Exception:
                _log.exception("a bug: a connection is dropped")
                connection.abort()


class Connection(asyncio.Protocol):
    """The protocol object of one accepted connection."""

    __slots__ = (
        "_blocked_at",
        "_connections",
        "_core",
        "_handler",
        "_is_lingering",
        "_is_reading",
        "_requests_seen",
        "_since",
        "_transport",
    )

    _core: Http1Connection
    _transport: asyncio.Transport

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._handler = connections.handler
        self._is_reading = True
        self._is_lingering = False
        self._blocked_at = 0.0
        self._requests_seen = 0
        # Since when nothing has happened, as far as sweeps have seen.
        self._since = connections.loop.time()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)
        remote = format_remote(transport.get_extra_info("peername"))
        connections = self._connections
        self._core = connections.make_core(remote, self._answered)
        refusal = connections.add(self)
        if not refusal:
            return
        if connections.is_overrun:
            self.abort()
        else:
            self._core.refuse(503, b"503 Service Unavailable: " + refusal.encode())

    def data_received(self, data: bytes) -> None:
        """Hands requests to the handler."""
        core = self._core
        self._handle(core.receive_data(data))
        while core.is_halted and core.upgraded is None:
            self._handle(core.receive_data(core.take_rest()))
        if core.unanswered >= UNANSWERED_MAX and self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more; it may still read."""
        if self._is_lingering:
            return False
        self._core.stop_receiving()
        return True

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self._blocked_at = self._connections.loop.time()
        self._core.pause_writing()
        if self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._blocked_at = 0.0
        self._core.resume_writing()
        self._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's interface
        """The connection is closed, for whatever reason."""
        self._connections.discard(self)
        self._core.connection_lost()

    # What the listener calls.

    def flush(self) -> None:
        """Sends what the core has and does what it has come to."""
        core = self._core
        data = core.data_to_send()
        if data:
            self._transport.write(data)
        if core.should_close:
            self._close()
        elif core.upgraded is not None:
            self._hand_over(core.upgraded)
        elif not self._is_reading:
            self._resume_reading()

    def stop_receiving(self) -> None:
        """Closes behind the answers that are due."""
        self._core.stop_receiving()

    def abort(self) -> None:
        """Drops the connection and what was not sent yet."""
        self._transport.abort()

    def check(self, now: float) -> None:
        """Closes the connection if its client has been silent or stuck for too long."""
        core = self._core
        limits = self._connections.limits
        if self._blocked_at:
            if now - self._blocked_at > limits.write_timeout_seconds:
                self.abort()
        elif self._is_lingering:
            if now - self._since > LINGER_SECONDS:
                self.abort()
        elif core.unanswered or core.request_count != self._requests_seen:
            self._requests_seen = core.request_count
            self._since = now
        elif now - self._since > limits.read_timeout_seconds:
            self._transport.close()

    def _answered(self) -> None:
        self._connections.answered(self)

    def _handle(self, exchanges: list[Exchange]) -> None:
        handler = self._handler
        for exchange in exchanges:
            try:
                handler(exchange)
            except Exception:
                _log.exception("a bug: no answer to %s %r", exchange.method, exchange.target)
                exchange.refuse(500)

    def _resume_reading(self) -> None:
        core = self._core
        is_due = self._blocked_at or core.unanswered > UNANSWERED_RESUME
        if not self._is_reading and not is_due and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    def _close(self) -> None:
        transport = self._transport
        if not self._core.is_refused or not transport.can_write_eof():
            transport.close()
        elif not self._is_lingering and not transport.is_closing():
            self._is_lingering = True
            self._since = self._connections.loop.time()
            transport.write_eof()
            if not self._is_reading:
                self._is_reading = True
                transport.resume_reading()

    def _hand_over(self, upgraded: object) -> None:
        protocol = cast("asyncio.Protocol", upgraded)
        self._connections.discard(self)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        rest = self._core.take_rest()
        if rest:
            protocol.data_received(rest)


def format_remote(peername: tuple[str, int] | None) -> str:
    """A client's address as logs and answers show it; nothing when it is gone."""
    if not peername:
        return ""
    host = peername[0].removeprefix("::ffff:")
    return f"[{host}]:{peername[1]}" if ":" in host else f"{host}:{peername[1]}"
