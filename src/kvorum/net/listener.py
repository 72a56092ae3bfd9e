"""One bound address and the connections accepted on it.

What for: binding with errors a person can act on, the timers that connections share, and an end
that lets answers in flight out.

Owns: the listening socket, the `Date` line, the sweep over silent connections.

Rules:
    Clients never use up the process's file descriptors: they are refused before.
    The empty host is every interface, IPv4 and IPv6, on one port.
    replace: new connections are the new handler's; those that are open end as in close.
    close: no new connection; no new request; what is due is answered within the grace period;
    what is still open then is dropped.

The caller: `serve`, `replace` any time, then `close` once.
"""

import asyncio
import resource
import socket
import sys
import time
from functools import partial

from kvorum.clock import Clock, SystemClock
from kvorum.config import Address
from kvorum.net.connection import Connection, Connections, Handler, Limits
from kvorum.net.tls import Credentials
from kvorum.net.tlsacceptor import TlsAcceptor
from kvorum.protocol.http1 import Http1Connection, Settings

BACKLOG = 1024
"""Connections the system completes before we accept them."""

FILES_RESERVED = 256
"""File descriptors left for everything but clients: the log, the store, peers, refusals."""

DATE_SECONDS = 1.0
SWEEP_SECONDS_MAX = 5.0

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


async def serve(
    handler: Handler,
    host: str,
    port: int,
    limits: Limits | None = None,
    clock: Clock | None = None,
) -> "Listener":
    """Binds and begins to accept.

    Args:
        handler: called for each request, on the loop.
        host: an address to bind; empty for all interfaces.
        port: 0 lets the system choose.
        limits: what clients are granted.
        clock: where the `Date` of answers comes from.

    Raises:
        OSError: the address cannot be bound; `filename` holds it as `host:port`.
    """
    sock = bind(host, port)
    listener = Listener(sock, handler, limits or Limits(), clock or SystemClock())
    await listener.start()
    return listener


def bind(host: str, port: int) -> socket.socket:
    """A bound socket; nobody can connect to it before `Listener.start`.

    Raises:
        OSError: it cannot be bound; `filename` holds the address as `host:port`.
    """
    try:
        return _bind_any(port) if not host else _bind_one(host, port)
    except OSError as error:
        raise _name_address(error, host, port) from error


def _name_address(error: OSError, host: str, port: int) -> OSError:
    return OSError(error.errno, error.strerror or str(error), str(Address(host, port)))


def _bind_any(port: int) -> socket.socket:
    if not socket.has_dualstack_ipv6():
        return _open(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 -- what was asked for
    return _open(socket.AF_INET6, ("::", port), is_dual=True)


def _bind_one(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    return _open(family, address)


def _open(family: int, address: tuple[object, ...], *, is_dual: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not is_dual)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


class Listener:
    """Accepts connections on one address until it is closed."""

    def __init__(
        self,
        sock: socket.socket,
        handler: Handler,
        limits: Limits,
        clock: Clock,
        credentials: Credentials | None = None,
    ) -> None:
        """Accepts nothing yet; with credentials, connections will be over TLS."""
        self._socket = sock
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        limits = limits._replace(connections_max=min(limits.connections_max, _files_max()))
        self._settings = Settings(limits.body_bytes_max)
        self._limits = limits
        self._connections = self._make_connections(handler)
        self._acceptor: TlsAcceptor | None = None
        if credentials is not None:
            self._acceptor = TlsAcceptor(credentials, self._make_connection, self._has_room)
        shortest = min(limits.read_timeout_seconds, limits.write_timeout_seconds)
        self._sweep_seconds = min(shortest / 4, SWEEP_SECONDS_MAX)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._server: asyncio.AbstractServer | None = None
        self.port: int = sock.getsockname()[1]
        """The port that is bound."""

    @property
    def connection_count(self) -> int:
        """Connections open now; those handed over by an upgrade are not counted."""
        return len(self._connections)

    async def start(self) -> None:
        """Begins to accept.

        Raises:
            OSError: somebody who had bound the same address listens on it since.
        """
        try:
            self._socket.listen(BACKLOG)
        except OSError as error:
            host, port, *_ = self._socket.getsockname()
            self._socket.close()
            raise _name_address(error, host, port) from error
        self._renew_date()
        self._sweep()
        self._server = await self._loop.create_server(
            self._acceptor.accept if self._acceptor else self._make_connection,
            sock=self._socket,
            backlog=BACKLOG,
        )

    async def close(self, grace_seconds: float = 0.0) -> None:
        """Stops accepting, waits for answers in flight, then drops what is left."""
        if self._server is not None:
            self._server.close()
        if self._acceptor is not None:
            self._acceptor.close()
        await _drain(self._connections, grace_seconds)
        for timer in self._timers.values():
            timer.cancel()

    async def replace(self, handler: Handler, grace_seconds: float = 0.0) -> None:
        """Has another handler answer from now on; clients of the one before have to call again."""
        old, self._connections = self._connections, self._make_connections(handler)
        await _drain(old, grace_seconds)

    def _make_connections(self, handler: Handler) -> Connections:
        make_core = partial(Http1Connection, self._settings)
        return Connections(self._loop, handler, self._limits, make_core)

    def _make_connection(self) -> Connection:
        return Connection(self._connections)

    def _has_room(self, beginning: int) -> bool:
        return self._connections.has_room(beginning)

    def _renew_date(self) -> None:
        self._settings.date_line = format_date_line(self._clock.wall_ns() // 1_000_000_000)
        self._timers["date"] = self._loop.call_later(DATE_SECONDS, self._renew_date)

    def _sweep(self) -> None:
        self._connections.sweep()
        self._timers["sweep"] = self._loop.call_later(self._sweep_seconds, self._sweep)


async def _drain(connections: Connections, grace_seconds: float) -> None:
    """Waits for answers in flight, then drops what is left."""
    emptied = asyncio.Event()
    connections.on_empty = emptied.set
    connections.stop_receiving()
    if not len(connections):
        return
    try:
        await asyncio.wait_for(emptied.wait(), grace_seconds)
    except TimeoutError:
        connections.abort()
        await emptied.wait()


def _files_max() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft - FILES_RESERVED, 1)


def format_date_line(seconds: int) -> bytes:
    """The `Date` header line of a time in seconds since the epoch, whatever the locale.

    Source: RFC 9110, section 5.6.7.
    """
    utc = time.gmtime(seconds)
    day, month = _DAYS[utc.tm_wday], _MONTHS[utc.tm_mon - 1]
    return (
        f"Date: {day}, {utc.tm_mday:02} {month} {utc.tm_year}"
        f" {utc.tm_hour:02}:{utc.tm_min:02}:{utc.tm_sec:02} GMT\r\n"
    ).encode()
