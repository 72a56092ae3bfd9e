"""Outgoing connections: one request and its answer; where redirects lead; pauses between attempts.

What for: a starting server asks others over HTTP, a few times in its life. One connection serves
one request; nothing is retried or kept open here.

Rules:
    pause = uniform in [limit / 2, limit], where limit doubles with every failure, from the first to
    the last that the caller names. Half of it is chance, so that members which lost the same peer
    do not call in step.

The caller: every wait has a deadline; `http_request` raises and leaves nothing open.
"""

import asyncio
import errno
import ssl
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, cast
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

from kvorum.errors import RemoteProtocolError, UnavailableError
from kvorum.net.tls import Credentials, describe_tls, system_credentials
from kvorum.net.tlsstream import TlsProtocol
from kvorum.protocol.http1client import ResponseReader

FIRST_PAUSE_SECONDS = 0.05
LAST_PAUSE_SECONDS = 1.0
"""Pauses between calls of a peer."""

REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
REDIRECTS_MAX = 10

JITTER_STEPS = 1000
DEFAULT_PORTS = {"http": 80, "https": 443}


class Backoff:
    """How long to wait before the next attempt at one address."""

    __slots__ = ("_first", "_last", "_limit", "_random_below")

    def __init__(
        self,
        random_below: Callable[[int], int],
        first_seconds: float = FIRST_PAUSE_SECONDS,
        last_seconds: float = LAST_PAUSE_SECONDS,
    ) -> None:
        self._random_below = random_below
        self._limit = self._first = first_seconds
        self._last = last_seconds

    def next_pause(self) -> float:
        """Seconds to wait after one more failure."""
        limit = self._limit
        self._limit = min(2 * limit, self._last)
        return limit / 2 * (1 + self._random_below(JITTER_STEPS + 1) / JITTER_STEPS)

    def reset(self) -> None:
        """An attempt has succeeded."""
        self._limit = self._first


class HttpReply(Struct, frozen=True):
    """What came back; header names are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Endpoint(NamedTuple):
    """Where a URL leads."""

    host: str
    port: int
    is_tls: bool


async def http_request(
    url: str,
    method: str,
    headers: Mapping[str, str],
    body: bytes,
    timeout_seconds: float,
    credentials: Credentials | None = None,
) -> HttpReply:
    """Sends one request on a connection of its own and reads the answer.

    Args:
        url: `http://host:port/path?query`, or https.
        method: in upper case.
        headers: besides Host, Connection and Content-Length.
        body: empty for none.
        timeout_seconds: for all of it.
        credentials: for https; None trusts what the system trusts.

    Raises:
        UnavailableError: nobody answered in time, or what answered is no HTTP server, or not the
            one that was meant.
    """
    endpoint = split_address(url)
    caller = _Caller(_render_request(url, method, headers, body))
    try:
        async with asyncio.timeout(timeout_seconds):
            transport = await connect(lambda: caller, endpoint, credentials)
            try:
                return await caller.answered
            finally:
                transport.close()
    except TimeoutError as error:
        raise UnavailableError(f"{url}: no answer within {timeout_seconds:g} s") from error
    except (OSError, RemoteProtocolError) as error:
        raise UnavailableError(f"{url}: {describe(error)}") from error


async def follow(url: str, ask: Callable[[str], Awaitable[HttpReply]]) -> HttpReply:
    """Asks at a URL, and wherever the answers redirect to.

    Raises:
        UnavailableError: the redirects do not end, or lead nowhere, or whatever `ask` raises.
    """
    for _ in range(REDIRECTS_MAX):
        reply = await ask(url)
        location = reply.headers.get(b"location", b"").decode("ascii", "replace")
        if reply.status not in REDIRECTS or not location:
            return reply
        try:
            url = urljoin(url, location)
        except ValueError as error:
            raise UnavailableError(f"{location!r}: {error}") from error
    raise UnavailableError(f"{url}: too many redirects")


async def connect(
    make_protocol: Callable[[], asyncio.Protocol],
    endpoint: Endpoint,
    credentials: Credentials | None,
) -> asyncio.Transport:
    """Opens one connection; over TLS it is open once the other side has proved its name.

    Raises:
        OSError: it cannot; `describe` says why.
    """
    loop = asyncio.get_running_loop()
    host, port, is_tls = endpoint
    if not is_tls:
        transport, _ = await loop.create_connection(make_protocol, host, port)
        return transport
    context = (credentials or system_credentials()).current()
    calling = _CallingTls(make_protocol(), context, host)
    over_tls = calling.transport
    raw, _ = await loop.create_connection(lambda: calling, host, port)
    try:
        await calling.done
    except BaseException:
        raw.close()
        raise
    return over_tls


class _CallingTls(TlsProtocol):
    """The caller's side of a TLS connection; `done` is resolved when it is open, or has failed."""

    def __init__(self, inner: asyncio.Protocol, context: ssl.SSLContext, host: str) -> None:
        super().__init__(inner)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._context = context
        self._host = host

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        return self._context.wrap_bio(incoming, outgoing, server_hostname=self._host)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.shake_hands()

    def opened(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def failed(self, error: Exception | None) -> None:
        self.raw.write(self.take_alert())
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError("the connection broke off"))


def split_address(url: str) -> Endpoint:
    """Where an `http` or `https` URL leads.

    Raises:
        UnavailableError: there is no such address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError as error:
        raise UnavailableError(f"{url!r}: {error}") from error
    if parts.scheme not in DEFAULT_PORTS or not host or not url.isprintable():
        raise UnavailableError(f"{url}: not an address of the form http://host:port")
    return Endpoint(host, port or DEFAULT_PORTS[parts.scheme], parts.scheme == "https")


def describe(error: Exception) -> str:
    """What went wrong with a connection, in a few words."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLError):
        return describe_tls(error)
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return str(error.strerror)
    return str(error) or type(error).__name__


def _render_request(url: str, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


class _Caller(asyncio.Protocol):
    """Writes a request as soon as it is connected, and reads one answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._reader = ResponseReader()
        self.answered: asyncio.Future[HttpReply] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._read(lambda: self._reader.receive_data(data))

    def eof_received(self) -> None:
        self._read(self._reader.receive_eof)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(exc or ConnectionResetError("the connection broke off"))

    def _read(self, step: Callable[[], None]) -> None:
        if self.answered.done():
            return
        reader = self._reader
        try:
            step()
        except RemoteProtocolError as error:
            self.answered.set_exception(error)
        else:
            if reader.is_complete:
                self.answered.set_result(HttpReply(reader.status, reader.headers, reader.body))
