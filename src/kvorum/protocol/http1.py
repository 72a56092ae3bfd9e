"""HTTP/1.1 and 1.0: bytes in, exchanges out; answers in, bytes out.

What for: the server's side of a connection without a socket, and the reading of a response for the
client's side. Parsing is httptools'; what is here are the rules around it.

Owns: the parser of one connection, the queue of unanswered exchanges, the bytes not yet sent.

Rules:
    Answers leave in the order of their requests, whenever they were given: only the first
    exchange of the queue writes through, the others hold what they were given.
    A request is handed out once it is complete, and never when any part of it was refused.
    A refusal is an answer too: it waits its turn, and the connection closes behind it.
    head bytes <= HEAD_BYTES_MAX; body bytes <= settings.body_bytes_max; and what is neither (chunk
    framing, trailers) is bounded by both.
    A request that offers an upgrade halts parsing until its handler has returned.

The caller (a shell): `receive_data`; run the handler for each exchange; then `take_rest` when
`is_halted`; then `data_to_send`. An answer given at any other time calls `on_output` once, and
`data_to_send` is due in the same turn. When `should_close`, close behind the last byte. Report
`stop_receiving`, `connection_lost`, `pause_writing` and `resume_writing` as they happen, and stop
reading while `unanswered` is at UNANSWERED_MAX.
Source: RFC 9112; RFC 9110, sections 7.8, 8.6, 9.3.2 and 10.1.1.
"""

import re
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

from kvorum.errors import LocalProtocolError, RemoteProtocolError

HEAD_BYTES_MAX = 64 * 1024
"""Target, names and values of one request; nginx takes 32 KiB, Go 1 MiB."""

UNANSWERED_MAX = 64
"""Pipelined requests taken before the first is answered; a read in progress may add its own."""

HELD_BYTES_MAX = 64 * 1024
"""What an exchange holds while others are due before it, until it says it is not writable."""

FRAMING_FACTOR = 8
"""A body sent as chunks of one byte takes six times its size on the wire."""

RESPONSE_BYTES_MAX = 16 * 1024 * 1024
"""Largest body a client of ours reads."""

REASONS = {
    400: b"Bad Request",
    404: b"Not Found",
    413: b"Request Entity Too Large",
    417: b"Expectation Failed",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}

_REFUSAL_TEXTS = {404: b"404 page not found\n"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_VERSION_1_1 = b"HTTP/1.1"
_BODILESS_STATUSES = (b"204", b"304")

_malformed_escape = re.compile(rb"%(?![0-9A-Fa-f]{2})").search
_request_line = re.compile(
    rb"(?:^|\r\n)[!#$%&'*+.^_`|~0-9A-Za-z-]+ /[^ \r\n]* HTTP/1\.[01]\r\n"
).search
_authority = re.compile(rb"(?i:https?)://[^/?#]*").match
_non_ascii = re.compile(rb"[\x80-\xff]")

_INTERIM = 1
_SWITCHING = 101

# What has become of an exchange.
_WAITING, _STREAMING, _DONE, _GONE = range(4)


class Settings:
    """What all connections of a listener share.

    Attributes:
        body_bytes_max: the largest request body.
        date_line: a whole `Date` header line; the shell renews it every second.
    """

    __slots__ = ("body_bytes_max", "date_line")

    def __init__(self, body_bytes_max: int) -> None:
        self.body_bytes_max = body_bytes_max
        self.date_line = b""


def _refusal_head(status: int) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: text/plain; charset=utf-8\r\n" % _status_text(status)


def _refusal_text(status: int) -> bytes:
    return _REFUSAL_TEXTS.get(status) or _status_text(status)


def _status_text(status: int) -> bytes:
    return b"%d %b" % (status, REASONS[status])


class Exchange:
    """One request and its way back.

    Answer with `respond`, or with `begin`, any number of `write`, `end`; or take the connection
    over with `upgrade`. An answer to a client that has gone is dropped silently.

    Attributes:
        method: as sent; names are case-sensitive.
        target: the request target as sent.
        path: its path, percent-encoded as it was.
        query: what follows the first `?`; empty for none.
        headers: lower-case names; values of a name given twice are joined by `, `.
        body: the whole body, without transfer encoding.
        keep_alive: whether the connection goes on after the answer; a handler may clear it.
        http_1_0: the client speaks HTTP/1.0.
        remote: `address:port` of the client.
        on_writable: called when `is_writable` turns true again.
    """

    __slots__ = (
        "_connection",
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
        self, connection: "Http1Connection", method: str, target: bytes, headers: dict[bytes, bytes]
    ) -> None:
        self._connection = connection
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
        self.remote = connection.remote
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
        connection = self._connection
        if body and self.keep_alive and not self.http_1_0 and self.method != "HEAD":
            data = b"%b%bContent-Length: %d\r\n\r\n%b" % (
                head,
                connection.settings.date_line,
                len(body),
                body,
            )
        else:
            data = self._render(head, body)
        connection.finish(self, data)

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
        self._connection.send(self, data)

    def write(self, data: bytes) -> None:
        """Sends a piece of the body; an empty one is nothing."""
        if self._state != _STREAMING:
            self._check_gone()
        elif data and self.method != "HEAD":
            self._connection.send(
                self, data if self.http_1_0 else b"%x\r\n%b\r\n" % (len(data), data)
            )

    def end(self) -> None:
        """Ends the body."""
        if self._state != _STREAMING:
            self._check_gone()
            return
        self._state = _DONE
        is_chunked = not self.http_1_0 and self.method != "HEAD"
        self._connection.finish(self, b"0\r\n\r\n" if is_chunked else b"")

    @property
    def is_open(self) -> bool:
        """Whether an answer, or more of it, would still be sent."""
        return self._state in (_WAITING, _STREAMING)

    @property
    def is_writable(self) -> bool:
        """Whether more would leave soon. What is written while this is false only takes memory."""
        return self.is_open and self._connection.is_writable(self)

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
        elif self.is_open and self._connection.is_ending:
            self._connection.stop_receiving()

    @property
    def can_upgrade(self) -> bool:
        """Whether `upgrade` may be called: only while the handler runs, and nothing else is due."""
        return self._state == _WAITING and self._connection.can_upgrade(self)

    def upgrade(self, head: bytes, protocol: object) -> None:
        """Sends `head` and hands the connection to `protocol`, an `asyncio.Protocol`."""
        if not self.can_upgrade:
            raise LocalProtocolError("this request offers no upgrade, or not any more")
        self._state = _DONE
        self._connection.hand_over(self, head + b"\r\n", protocol)

    # For the connection.

    def fail(self) -> None:
        """Answers 500, or cuts off the answer that has begun."""
        self.keep_alive = False
        if self._state == _WAITING:
            self.respond(_refusal_head(500), _refusal_text(500))
        elif self._state == _STREAMING:
            self._state = _DONE
            self._connection.finish(self, b"")

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
        date_line = self._connection.settings.date_line
        if not self.keep_alive:
            return date_line + b"Connection: close\r\n"
        return date_line + b"Connection: keep-alive\r\n" if self.http_1_0 else date_line

    def _render(self, head: bytes, body: bytes) -> bytes:
        lines = self._version_head(head) + self._common_lines()
        if self.method == "HEAD" or head[9:12] in _BODILESS_STATUSES:
            return lines + b"\r\n"
        return b"%bContent-Length: %d\r\n\r\n%b" % (lines, len(body), body)


class Http1Connection:
    """The server's side of one connection. See the module's note for what a shell must do.

    Attributes:
        should_close: everything was said; close behind the last byte.
        is_refused: the client may still be sending; closing at once could cost it the answer.
        is_halted: an upgrade was offered; `take_rest` after its handler has returned.
        is_ending: no more requests are taken.
        upgraded: who takes the connection over, once its handler chose to.
        request_count: requests handed out so far.
    """

    __slots__ = (
        "_body",
        "_events",
        "_exchange",
        "_fed",
        "_headers",
        "_is_paused",
        "_is_signalled",
        "_on_output",
        "_out",
        "_parser",
        "_queue",
        "_rest",
        "_target",
        "is_ending",
        "is_halted",
        "is_refused",
        "remote",
        "request_count",
        "settings",
        "should_close",
        "upgraded",
    )

    def __init__(self, settings: Settings, remote: str, on_output: Callable[[], None]) -> None:
        self.settings = settings
        self.remote = remote
        self._on_output = on_output
        self._is_signalled = False
        self._out: list[bytes] = []
        self._queue: deque[Exchange] = deque()
        self._events: list[Exchange] = []
        self._is_paused = False
        # Of the request being received: _target is set from its first line on, _exchange from
        # the end of its head on, _fed once a read has ended within it.
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._exchange: Exchange | None = None
        self._body: bytes | bytearray = b""
        self._fed = 0
        self._rest = b""
        self.is_halted = False
        self.is_refused = False
        self.is_ending = False
        self.should_close = False
        self.upgraded: object | None = None
        self.request_count = 0
        self._parser: Any = httptools.HttpRequestParser(self)

    # The shell's side.

    def receive_data(self, data: bytes) -> list[Exchange]:
        """Takes what came in and returns the requests it completed, for their handlers."""
        self._is_signalled = True
        if len(data) > HEAD_BYTES_MAX:
            for start in range(0, len(data), HEAD_BYTES_MAX):
                self._feed(data[start : start + HEAD_BYTES_MAX])
        else:
            self._feed(data)
        events = self._events
        if events:
            self._events = []
            self.request_count += len(events)
        return events

    def take_rest(self) -> bytes:
        """Ends a halt: what followed the request that offered an upgrade, to go on with."""
        rest, self._rest = self._rest, b""
        self.is_halted = False
        return rest

    def data_to_send(self) -> bytes:
        """Everything to be written now."""
        self._is_signalled = False
        out = self._out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    def stop_receiving(self) -> None:
        """Takes no more requests: the client ended its side, or we shut down.

        Answers that are on their way still go out; waits end.
        """
        self.is_ending = True
        queue = self._queue
        if self._exchange is not None:
            assert queue.pop() is self._exchange, "what is being received comes last"
            self._exchange = None
        waits = next((n for n, exchange in enumerate(queue) if exchange.on_close), len(queue))
        for exchange in [queue.pop() for _ in range(len(queue) - waits)]:
            exchange.abandon()
        if queue:
            queue[-1].keep_alive = False
        else:
            self._say_close()

    def connection_lost(self) -> None:
        """The connection is gone; those who wait are told."""
        self.should_close = True
        abandoned = list(self._queue)
        self._queue.clear()
        self._out.clear()
        self._parser = None  # it holds our methods: a cycle
        for exchange in abandoned:
            exchange.abandon()

    def refuse(self, status: int, text: bytes = b"") -> None:
        """Answers what is being received with an error, behind all answers due, and closes."""
        if self.is_refused or self.should_close:
            return
        self.is_refused = True
        exchange = self._exchange
        if exchange is None:
            exchange = Exchange(self, "GET", self._target or b"/", self._headers)
            self._queue.append(exchange)
        self._target = b""
        self._exchange = None
        exchange.keep_alive = False
        exchange.respond(_refusal_head(status), text or _refusal_text(status))

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """The transport takes more."""
        self._is_paused = False
        self._tell_writable()

    @property
    def unanswered(self) -> int:
        """Complete requests whose answers are not complete."""
        return len(self._queue) - (self._exchange is not None)

    # For exchanges.

    def send(self, exchange: Exchange, data: bytes) -> None:
        """Sends a part of an answer, or has the exchange hold it."""
        if self._queue[0] is exchange:
            self._put(data)
        else:
            exchange.hold(data)

    def finish(self, exchange: Exchange, data: bytes) -> None:
        """Sends the last part of an answer, or has the exchange hold it."""
        queue = self._queue
        if queue[0] is not exchange:
            exchange.hold(data)
            return
        queue.popleft()
        self._out.append(data)
        if not self._is_signalled:
            self._is_signalled = True
            self._on_output()
        if not exchange.keep_alive:
            self._close_behind()
        elif queue:
            self._advance()

    def is_writable(self, exchange: Exchange) -> bool:
        """Whether this exchange may write without piling up."""
        if self._queue[0] is not exchange:
            return exchange.held_bytes < HELD_BYTES_MAX
        return not self._is_paused

    def can_upgrade(self, exchange: Exchange) -> bool:
        """Whether this exchange offered an upgrade and is the only one due."""
        return self.is_halted and len(self._queue) == 1 and self._queue[0] is exchange

    def hand_over(self, exchange: Exchange, data: bytes, protocol: object) -> None:
        """Sends the last this core sends; the connection belongs to `protocol` behind it."""
        assert self._queue.popleft() is exchange
        self.upgraded = protocol
        self._put(data)

    # The parser's callbacks; their names are httptools'.

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer field, which is dropped."""
        headers = self._headers
        name = name.lower()
        value = value.rstrip(b" \t")
        if name in headers:
            if name == b"host":
                raise RemoteProtocolError("two Host headers")
            value = headers[name] + b", " + value
        headers[name] = value

    def on_headers_complete(self) -> None:
        """The head of a request is complete."""
        if self._exchange is not None:
            return  # the stand-in head of _read_upgrade_body
        headers = self._headers
        self._headers = {}
        if self._fed:
            self._check_head(headers)
        method = self._parser.get_method().decode()
        target = self._target
        if not target.startswith(b"/") or b"%" in target:
            target = _read_target(method, target)
        exchange = self._exchange = Exchange(self, method, target, headers)
        self._queue.append(exchange)
        if not self._parser.should_keep_alive() or b"connection" in headers:
            self._read_version(exchange)
        if b"host" not in headers and not exchange.http_1_0:
            raise RemoteProtocolError("missing Host header")
        if b"content-length" in headers or b"transfer-encoding" in headers:
            self._expect_body(exchange)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        body = self._body
        if not body:
            self._body = data
        elif type(body) is bytearray:
            body += data
        else:
            self._body = bytearray(body) + data
        if len(self._body) > self.settings.body_bytes_max:
            raise RemoteProtocolError("body too large", 413)

    def on_message_complete(self) -> None:
        """The request is complete."""
        exchange = self._exchange
        assert exchange is not None
        if self._body:
            exchange.body = bytes(self._body)
            self._body = b""
        if self._headers:
            self._headers = {}  # trailers
        self._exchange = None
        self._target = b""
        self._fed = 0
        self._events.append(exchange)

    # Receiving.

    def _feed(self, data: bytes) -> None:
        if self.is_refused or self.is_ending or self.should_close:
            return
        if self.is_halted:
            self._rest += data
            return
        if not data.isascii() and not self._target:
            data = _escape_target(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._halt(data[stop.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse_for(error, data)
        if self._target:
            self._count_fed(len(data))

    def _count_fed(self, data_bytes: int) -> None:
        """Bounds what the parser may have taken without telling anybody."""
        self._fed = self._fed + data_bytes if self._fed else 1
        limit, status = HEAD_BYTES_MAX, 431
        if self._exchange is not None:
            limit, status = limit + FRAMING_FACTOR * self.settings.body_bytes_max, 413
        if self._fed > limit:
            self.refuse(status)

    def _check_head(self, headers: dict[bytes, bytes]) -> None:
        head_bytes = len(self._target) + sum(len(n) + len(v) + 4 for n, v in headers.items())
        if head_bytes > HEAD_BYTES_MAX:
            raise RemoteProtocolError("head too large", 431)

    def _read_version(self, exchange: Exchange) -> None:
        version = self._parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            raise RemoteProtocolError("HTTP version", 400 if version == "0.9" else 505)
        exchange.http_1_0 = version == "1.0"
        exchange.keep_alive = self._parser.should_keep_alive()

    def _expect_body(self, exchange: Exchange) -> None:
        headers = exchange.headers
        length = int(headers.get(b"content-length", 0))
        if length > self.settings.body_bytes_max:
            raise RemoteProtocolError("body too large", 413)
        expectation = headers.get(b"expect", b"").lower()
        if not expectation or exchange.http_1_0:
            return
        if expectation != b"100-continue":
            raise RemoteProtocolError("unknown expectation", 417)
        self.send(exchange, _CONTINUE)

    def _halt(self, rest: bytes) -> None:
        """The parser stopped behind a request that offers an upgrade."""
        headers = self._events[-1].headers
        if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
            self._read_upgrade_body(rest)
        else:
            self.is_halted = True
            self._rest = rest

    def _read_upgrade_body(self, rest: bytes) -> None:
        """Reads the body of a request that offers an upgrade too: the offer is not taken.

        httptools takes such a request for bodiless. A parser that was given a head with the same
        framing and without the offer reads the body instead.
        """
        exchange = self._exchange = self._events.pop()
        framing = b"Transfer-Encoding: chunked"
        if b"content-length" in exchange.headers:
            framing = b"Content-Length: " + exchange.headers[b"content-length"]
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"PUT / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        self._feed(rest)

    def _refuse_for(self, error: httptools.HttpParserError, data: bytes) -> None:
        reason = error.__context__
        if isinstance(reason, RemoteProtocolError):
            self.refuse(reason.status)
        elif self._queue and not self._queue[-1].keep_alive and self._exchange is None:
            self.is_refused = True  # said to be the last request: what follows it is not read
        elif isinstance(error, httptools.HttpParserInvalidMethodError) and _request_line(data):
            self.refuse(404)  # a method nobody knows is a path nobody serves
        else:
            self.refuse(400)

    # Sending.

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        if not self._is_signalled:
            self._is_signalled = True
            self._on_output()

    def _advance(self) -> None:
        """Lets out what the exchanges behind an answered one have held."""
        queue = self._queue
        while queue:
            first = queue[0]
            if first.held_bytes:
                self._put(first.take_held())
            if not first.is_done:
                self._tell_writable()
                return
            queue.popleft()
            if not first.keep_alive:
                self._close_behind()

    def _tell_writable(self) -> None:
        if self._queue and not self._is_paused:
            callback = self._queue[0].on_writable
            if callback is not None:
                callback()

    def _close_behind(self) -> None:
        """The last answer of the connection is out; nobody behind it gets one."""
        abandoned = list(self._queue)
        self._queue.clear()
        self._say_close()
        for exchange in abandoned:
            exchange.abandon()

    def _say_close(self) -> None:
        self.should_close = True
        if not self._is_signalled:
            self._is_signalled = True
            self._on_output()


def _read_target(method: str, target: bytes) -> bytes:
    """The target in origin form, or `*`."""
    if target == b"*" and method == "OPTIONS":
        return target
    found = _authority(target)
    if found is not None:
        rest = target[found.end() :]
        target = rest if rest.startswith(b"/") else b"/" + rest
    if not target.startswith(b"/"):
        raise RemoteProtocolError("request target without a path")
    if _malformed_escape(target.partition(b"?")[0]):
        raise RemoteProtocolError("malformed escape in the path")
    return target


def _escape_target(data: bytes) -> bytes:
    """Escapes raw UTF-8 in a first line, which people type, and the parser does not take."""
    line, end, rest = data.partition(b"\r\n")
    if line.isascii():
        return data
    return _non_ascii.sub(lambda found: b"%%%02X" % found[0][0], line) + end + rest


class ResponseReader:
    """Reads one response to a request that was not HEAD.

    Interim responses are skipped; after a `101` the rest of the bytes is another protocol's.

    Attributes:
        status: 0 until the head is complete.
        headers: as in `Exchange`.
        body: the whole body once `is_complete`.
        rest: after a 101, what followed its head.
        is_complete: nothing more is to be read.
    """

    __slots__ = ("_body", "_parser", "body", "headers", "is_complete", "rest", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.rest = b""
        self.is_complete = False
        self._body = bytearray()
        self._parser: Any = httptools.HttpResponseParser(self)

    def receive_data(self, data: bytes) -> None:
        """Takes what came in.

        Raises:
            RemoteProtocolError: it is no response, or larger than RESPONSE_BYTES_MAX.
        """
        if self.is_complete:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self.rest = data[stop.args[0] :]
        except httptools.HttpParserError as error:
            reason = error.__context__
            if isinstance(reason, RemoteProtocolError):
                raise reason from None
            raise RemoteProtocolError(f"malformed response: {error}") from error

    def receive_eof(self) -> None:
        """The server sends no more; a body without a length ends here.

        Raises:
            RemoteProtocolError: the response is not complete.
        """
        is_framed = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        if not self.is_complete and (not self.status or is_framed):
            raise RemoteProtocolError("the response broke off")
        self.on_message_complete()

    # The parser's callbacks; their names are httptools'.

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field."""
        name = name.lower()
        known = self.headers.get(name)
        value = value.rstrip(b" \t")
        self.headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._body += data
        if len(self._body) > RESPONSE_BYTES_MAX:
            raise RemoteProtocolError("the response is too large")

    def on_message_complete(self) -> None:
        """The response is complete, unless it was an interim one."""
        if self.status // 100 == _INTERIM and self.status != _SWITCHING:
            self.status = 0
            self.headers = {}
        else:
            self.is_complete = True
            self.body = bytes(self._body)
