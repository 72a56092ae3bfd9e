"""What connects to a TLS port: look at the first byte, then shake hands or explain.

What for: a listener's connections begin with a handshake, which takes time and fails in many ways;
each is told in one line. Somebody who sends plain HTTP here gets an answer that says so.

Owns: every connection until its handshake is done.

Rules:
    The context is asked for per connection, so a renewed certificate counts at once.
    A handshake has HANDSHAKE_SECONDS, first byte and all; a connection that is closed before it is
    over is somebody's look at the port, and leaves no line.
    Connections under way count against the listener's limit.
    The same fault of the same host is logged once a minute.

The caller (the listener): `accept` makes the protocol of each connection; `close` once.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable

from kvorum.net.connection import format_remote
from kvorum.net.tls import Credentials, describe_tls
from kvorum.net.tlsstream import TlsProtocol

_log = logging.getLogger("kvorum.net")

HANDSHAKE_SECONDS = 10.0
LINGER_SECONDS = 2.0
"""How long the other side may take to read why it is refused."""

LOG_AGAIN_SECONDS = 60.0
FAULTS_MAX = 256
"""Faults that are remembered, so that each is logged once."""

PLAIN_HTTP_ANSWER = (
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
)
"""Go's answer; users search for its text."""


class TlsAcceptor:
    """Turns what connects to a port into TLS connections of a listener."""

    def __init__(
        self,
        credentials: Credentials,
        make_protocol: Callable[[], asyncio.Protocol],
        has_room: Callable[[int], bool],
    ) -> None:
        """Accepts nothing yet.

        Args:
            credentials: what is shown and asked for.
            make_protocol: makes the protocol that gets a connection after its handshake.
            has_room: whether a connection may begin while this many are beginning.
        """
        self.credentials = credentials
        self.has_room = has_room
        self.beginning: set[AcceptedTls] = set()
        self._make_protocol = make_protocol
        self._faults: dict[tuple[str, str], float] = {}

    def accept(self) -> "AcceptedTls":
        """The protocol of a connection that came in."""
        return AcceptedTls(self, self._make_protocol())

    def close(self) -> None:
        """Drops whoever is not through yet."""
        for one in list(self.beginning):
            one.raw.abort()

    def note(self, address: tuple[str, int], fault: str) -> None:
        """Logs why a connection was refused."""
        host = address[0]
        now = asyncio.get_running_loop().time()
        last = self._faults.get((host, fault))
        if last is not None and now - last < LOG_AGAIN_SECONDS:
            return
        if len(self._faults) >= FAULTS_MAX:
            self._faults.clear()
        self._faults[host, fault] = now
        _log.warning("rejected connection from %s: %s", format_remote(address), fault)


class AcceptedTls(TlsProtocol):
    """A connection that came in on a TLS port."""

    def __init__(self, acceptor: TlsAcceptor, inner: asyncio.Protocol) -> None:
        super().__init__(inner)
        self._acceptor = acceptor
        self._address = ("", 0)
        self._has_begun = False

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """The server's side."""
        context = self._acceptor.credentials.current()
        return context.wrap_bio(incoming, outgoing, server_side=True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for the first byte."""
        super().connection_made(transport)
        self._address = transport.get_extra_info("peername") or self._address
        beginning = self._acceptor.beginning
        if self._acceptor.has_room(len(beginning)):
            self.start_timer(HANDSHAKE_SECONDS)
        else:
            self.raw.abort()
        beginning.add(self)

    def data_received(self, data: bytes) -> None:
        """TLS begins with a byte that is no letter, HTTP with one."""
        if not self._has_begun:
            self._has_begun = True
            if data[:1].isalpha():
                self._acceptor.note(self._address, "it sent an HTTP request to an HTTPS server")
                self.refuse(PLAIN_HTTP_ANSWER, LINGER_SECONDS)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._acceptor.beginning.discard(self)
        super().connection_lost(exc)

    def opened(self) -> None:
        """It is the inner protocol's from now on."""
        self._acceptor.beginning.discard(self)

    def failed(self, error: Exception | None) -> None:
        """Says why, on both sides."""
        if isinstance(error, ssl.SSLError):
            self._acceptor.note(self._address, describe_tls(error))
            self.refuse(self.take_alert(), LINGER_SECONDS)

    def timed_out(self) -> None:
        """Neither silence nor slowness lasts for ever."""
        if not self.is_deaf:
            fault = f"no TLS handshake within {HANDSHAKE_SECONDS:g} s"
            self._acceptor.note(self._address, fault)
        super().timed_out()
