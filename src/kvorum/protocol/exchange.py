"""One request and its way back, whatever protocol carried it.

What for: handlers answer an `Exchange` and know nothing of connections; connections carry answers
and know nothing of handlers.

Owns: what has become of the answer, and the part of it that has to wait for earlier answers.

Rules:
    waiting -> done by respond, refuse or upgrade; waiting -> streaming by begin; streaming -> done
    by end; waiting or streaming -> gone when the client is. Done and gone are final.
    A call out of this order raises LocalProtocolError; on an exchange that is gone it is nothing.
    `on_close` is called at most once, and only for an exchange that is gone.

The caller: a handler gets the exchange once, answers it now or later, and never waits.
Source: RFC 9110, sections 6.4 and 8.6; RFC 9112, sections 7.1 and 9.3.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from kvorum.errors import LocalProtocolError

REASONS = {
    400: b"Bad Request",
    413: b"Request Entity Too Large",
    417: b"Expectation Failed",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}
"""Of the statuses a connection answers with itself."""

_VERSION_1_1 = b"HTTP/1.1"
_BODILESS_STATUSES = (b"204", b"304")

# What has become of an exchange.
_WAITING, _STREAMING, _DONE, _GONE = range(4)


class Settings:
    """What all connections of a listener share.

    Attributes:
        body_bytes_max: the largest request body.
        date_line: a whole `Date` header line; the shell renews it every second.
        known_fields: what the parser made of blocks of header fields: the headers, and how long
            a body they announce.
    """

    __slots__ = ("body_bytes_max", "date_line", "known_fields")

    def __init__(self, body_bytes_max: int) -> None:
        self.body_bytes_max = body_bytes_max
        self.date_line = b""
        self.known_fields: dict[bytes, tuple[Mapping[bytes, bytes], int]] = {}


class Carrier(Protocol):
    """What an exchange asks of the connection, or stream, that brought it."""

    settings: Settings
    remote: str
    is_ending: bool

    def send(self, exchange: "Exchange", data: bytes) -> None:
        """Takes a part of the answer."""

    def finish(self, exchange: "Exchange", data: bytes) -> None:
        """Takes the last part of the answer."""

    def is_writable(self, exchange: "Exchange") -> bool:
        """Whether what it writes would leave soon."""

    def can_upgrade(self, exchange: "Exchange") -> bool:
        """Whether the connection may be handed over now."""

    def hand_over(self, exchange: "Exchange", data: bytes, protocol: object) -> None:
        """Takes the last bytes before the connection is the other protocol's."""

    def stop_receiving(self) -> None:
        """Takes no more requests, and ends waits."""


class Exchange:
    """One request and its way back. See the module's note for the order of calls.

    Answer with `respond`, or with `begin`, any number of `write`, `end`; or take the connection
    over with `upgrade`. An answer to a client that has gone is dropped silently.

    Attributes:
        method: as sent; names are case-sensitive.
        target: the request target as sent.
        path: its path, percent-encoded as it was.
        query: what follows the first `?`; empty for none.
        headers: lower-case names; values of a name given twice are joined by `, `. Requests with
            the same header fields share one mapping.
        body: the whole body, without transfer encoding.
        keep_alive: whether the connection goes on after the answer; a handler may clear it.
        http_1_0: the client speaks HTTP/1.0.
        remote: `address:port` of the client.
        on_writable: called when `is_writable` turns true again.
    """

    __slots__ = (
        "_carrier",
        "_held",
        "_on_close",
        "_state",
        "body",
        "headers",
        "http_1_0",
        "keep_alive",
        "method",
        "on_writable",
        "path",
        "query",
        "remote",
        "target",
    )

    def __init__(
        self, carrier: Carrier, method: str, target: bytes, headers: Mapping[bytes, bytes]
    ) -> None:
        self._carrier = carrier
        self._held: bytearray | None = None
        self._on_close: Callable[[], None] | None = None
        self._state = _WAITING
        self.body = b""
        self.headers = headers
        self.http_1_0 = False
        self.keep_alive = True
        self.method = method
        self.on_writable: Callable[[], None] | None = None
        self.path, _, self.query = target.partition(b"?")
        self.remote = carrier.remote
        self.target = target

    def respond(self, head: bytes, body: bytes = b"") -> None:
        """Sends a whole answer.

        Args:
            head: status line and header lines, each ending in CRLF; no Date, Content-Length (but
                for HEAD it may have one) or Connection.
            body: sent with its length; to HEAD it is not sent.
        """
        if self._state != _WAITING:
            self._check_gone()
            return
        self._state = _DONE
        carrier = self._carrier
        if body and self.keep_alive and not self.http_1_0 and self.method != "HEAD":
            data = b"%b%bContent-Length: %d\r\n\r\n%b" % (
                head,
                carrier.settings.date_line,
                len(body),
                body,
            )
        else:
            data = self._render(head, body)
        carrier.finish(self, data)

    def begin(self, head: bytes) -> None:
        """Sends the head of an answer whose body follows by `write` until `end`."""
        if self._state != _WAITING:
            self._check_gone()
            return
        self._state = _STREAMING
        framing = b"Transfer-Encoding: chunked\r\n"
        if self.method == "HEAD":
            framing = b""
        elif self.http_1_0:
            self.keep_alive = False
            framing = b""
        data = self._version_head(head) + self._common_lines() + framing + b"\r\n"
        self._carrier.send(self, data)

    def write(self, data: bytes) -> None:
        """Sends a piece of the body; an empty one is nothing."""
        if self._state != _STREAMING:
            self._check_gone()
        elif data and self.method != "HEAD":
            self._carrier.send(self, data if self.http_1_0 else b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Ends the body."""
        if self._state != _STREAMING:
            self._check_gone()
            return
        self._state = _DONE
        is_chunked = not self.http_1_0 and self.method != "HEAD"
        self._carrier.finish(self, b"0\r\n\r\n" if is_chunked else b"")

    @property
    def is_open(self) -> bool:
        """Whether an answer, or more of it, would still be sent."""
        return self._state in (_WAITING, _STREAMING)

    @property
    def is_writable(self) -> bool:
        """Whether more would leave soon. What is written while this is false only takes memory."""
        return self.is_open and self._carrier.is_writable(self)

    @property
    def on_close(self) -> Callable[[], None] | None:
        """Set by a handler that waits: called once if the client goes away before the end.

        Setting it says that the answer may take for ever; a client that ends its side of the
        connection is then taken for gone. It is called at once when the client has gone already.
        """
        return self._on_close

    @on_close.setter
    def on_close(self, callback: Callable[[], None] | None) -> None:
        self._on_close = callback
        if callback is None:
            return
        if self._state == _GONE:
            self.abandon()
        elif self.is_open and self._carrier.is_ending:
            self._carrier.stop_receiving()

    @property
    def can_upgrade(self) -> bool:
        """Whether `upgrade` may be called: only while the handler runs, and nothing else is due."""
        return self._state == _WAITING and self._carrier.can_upgrade(self)

    def upgrade(self, head: bytes, protocol: object) -> None:
        """Sends `head` and hands the connection to `protocol`, an `asyncio.Protocol`."""
        if not self.can_upgrade:
            raise LocalProtocolError("this request offers no upgrade, or not any more")
        self._state = _DONE
        self._carrier.hand_over(self, head + b"\r\n", protocol)

    # For the connection.

    def refuse(self, status: int, text: bytes = b"") -> None:
        """Answers in plain text and announces the end of the connection.

        An answer that has begun is cut off.
        """
        self.keep_alive = False
        if self._state == _WAITING:
            status_text = b"%d %b" % (status, REASONS[status])
            head = b"HTTP/1.1 %b\r\nContent-Type: text/plain; charset=utf-8\r\n" % status_text
            self.respond(head, text or status_text)
        elif self._state == _STREAMING:
            self._state = _DONE
            self._carrier.finish(self, b"")

    @property
    def is_done(self) -> bool:
        """Whether the answer is complete."""
        return self._state == _DONE

    @property
    def held_bytes(self) -> int:
        """How much waits for earlier answers."""
        return len(self._held) if self._held else 0

    def hold(self, data: bytes) -> None:
        """Keeps a part of the answer until its turn."""
        if self._held is None:
            self._held = bytearray()
        self._held += data

    def take_held(self) -> bytes:
        """What was held; it is the answer's turn."""
        held, self._held = self._held, None
        return bytes(held) if held else b""

    def abandon(self) -> None:
        """The client will not see the rest of this answer."""
        self._state = _GONE
        self._held = None
        callback, self._on_close = self._on_close, None
        self.on_writable = None
        if callback is not None:
            callback()

    def _check_gone(self) -> None:
        if self._state != _GONE:
            raise LocalProtocolError(f"answered out of order: {self.method} {self.target!r}")

    def _version_head(self, head: bytes) -> bytes:
        return b"HTTP/1.0" + head[len(_VERSION_1_1) :] if self.http_1_0 else head

    def _common_lines(self) -> bytes:
        date_line = self._carrier.settings.date_line
        if not self.keep_alive:
            return date_line + b"Connection: close\r\n"
        return date_line + b"Connection: keep-alive\r\n" if self.http_1_0 else date_line

    def _render(self, head: bytes, body: bytes) -> bytes:
        lines = self._version_head(head) + self._common_lines()
        if self.method == "HEAD" or head[9:12] in _BODILESS_STATUSES:
            return lines + b"\r\n"
        return b"%bContent-Length: %d\r\n\r\n%b" % (lines, len(body), body)
