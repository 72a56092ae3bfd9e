"""HTTP/1.1 and 1.0, the server's side: bytes in, exchanges out; answers in, bytes out.

What for: a connection without a socket. Parsing is httptools'; here are the rules around it.

Owns: the parser of one connection, the queue of unanswered exchanges, the bytes not yet sent.

Rules:
    Answers leave in the order of their requests, whenever they were given: only the first
    exchange of the queue writes through, the others hold what they were given.
    A request is handed out once it is complete, and never when any part of it was refused.
    A refusal is an answer too: it waits its turn, and the connection closes behind it.
    len(target) + sum(len(name) + len(value) + 4 for each field) <= HEAD_BYTES_MAX, however the head
    arrives; body bytes <= settings.body_bytes_max; and what is neither (blanks, chunk framing,
    trailers) is bounded by both.
    A request that offers an upgrade halts parsing until its handler has returned.
    A client sends the same header fields again and again: what the parser made of a block of them
    is kept, and a plain request that comes whole behind the same bytes is read without it.

The caller (a shell): `receive_data`; run the handler for each exchange; then `take_rest` when
`is_halted`. `on_output` is called once when there is something to do: `data_to_send`; then, when
`should_close`, close behind the last byte; when `upgraded`, hand the connection over. Report
`stop_receiving`, `connection_lost`, `pause_writing` and `resume_writing` as they happen, and stop
reading while `unanswered` is at UNANSWERED_MAX.
Source: RFC 9112; RFC 9110, sections 7.8, 8.6, 9.3.2 and 10.1.1.
"""

import re
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

from kvorum.errors import RemoteProtocolError
from kvorum.protocol.exchange import Exchange, Settings

__all__ = ["Exchange", "Http1Connection", "Settings"]

HEAD_BYTES_MAX = 64 * 1024
"""Target and fields of one request, each as `name: value` and a line end; nginx takes 32 KiB, Go
1 MiB."""

HEAD_READ_BYTES = HEAD_BYTES_MAX * 4 // 5
"""A head that comes in one read of this size is within the limit: a field of n bytes counts as
5 n / 4 at most, when its name is one byte, and no blank and no value follow."""

LINE_BYTES_MAX = 64
"""What a head has besides: method, version, and the line ends around it."""

UNANSWERED_MAX = 64
"""Pipelined requests taken before the first is answered; a read in progress may add its own."""

HELD_BYTES_MAX = 64 * 1024
"""What an exchange holds while others are due before it, until it says it is not writable."""

FRAMING_FACTOR = 8
"""A body sent as chunks of one byte takes six times its size on the wire."""

_SPECIAL = frozenset((b"connection", b"expect", b"transfer-encoding", b"upgrade"))
"""Fields after which a request is not read like others."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_UNSERVED_METHOD = b"PATCH"
"""Whoever asks with a method the parser does not know is answered as one who asks with this."""

KNOWN_FIELDS_MAX = 256
KNOWN_FIELDS_BYTES_MAX = 1024
"""Header blocks kept by a listener, and the size of the largest: half a megabyte at most."""

_PLAIN_METHODS = {name.encode(): name for name in ("GET", "PUT", "POST", "DELETE")}
"""Methods whose plain requests are read without the parser."""

_plain_line = re.compile(
    rb"(GET|PUT|POST|DELETE) (/[0-9A-Za-z/_.~!$&'()*+,;=:@?-]*) HTTP/1\.1"
).fullmatch
_plain_fields = re.compile(rb"[^\r\n]+(?:\r\n[^\r\n]+)*").fullmatch
_malformed_escape = re.compile(rb"%(?![0-9A-Fa-f]{2})").search
_request_line = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ /[^ \r\n]* HTTP/1\.[01]\r\n").match
_authority = re.compile(rb"(?i:https?)://[^/?#]*").match
_non_ascii = re.compile(rb"[\x80-\xff]")


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
        "_is_receiving",
        "_is_signalled",
        "_new_fields",
        "_on_output",
        "_out",
        "_parser",
        "_queue",
        "_repeated_bytes",
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
        self._is_receiving = False
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._exchange: Exchange | None = None
        self._body: bytes | bytearray = b""
        self._fed = 0
        self._repeated_bytes = 0  # of the fields that were joined to earlier ones
        self._rest = b""
        self._new_fields = b""
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
        if len(data) > HEAD_READ_BYTES:
            for start in range(0, len(data), HEAD_READ_BYTES):
                self._feed(data[start : start + HEAD_READ_BYTES])
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
        # Both hold methods of ours or the shell's: cycles.
        self._parser = None
        self._on_output = _ignore
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
        exchange.refuse(status, text)

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

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._is_receiving = True

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
            self._repeated_bytes += len(name) + 2
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
        if self._repeated_bytes:
            self._repeated_bytes = 0
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
            self._repeated_bytes = 0
        self._exchange = None
        self._is_receiving = False
        self._target = b""
        self._fed = 0
        self._events.append(exchange)
        if self._new_fields:
            self._keep_fields(exchange)

    # Receiving.

    def _feed(self, data: bytes) -> None:
        if self.is_refused or self.is_ending or self.should_close:
            return
        if self.is_halted:
            self._rest += data
            return
        if not self._is_receiving and self._goes_on and self._read_plain(data):
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

    @property
    def _goes_on(self) -> bool:
        """Whether the last request due an answer left the connection open for more."""
        return not self._queue or self._queue[-1].keep_alive

    def _read_plain(self, data: bytes) -> bool:
        """Reads one whole request whose header fields are known; False when it is anything else.

        Between two requests the parser has no state, so it need not see every one of them.
        """
        line, _, rest = data.partition(b"\r\n")
        plain = _plain_line(line)
        if plain is None:
            return False
        fields, end, body = rest.partition(b"\r\n\r\n")
        known = self.settings.known_fields.get(fields)
        if known is None:
            if end and len(fields) <= KNOWN_FIELDS_BYTES_MAX and _plain_fields(fields):
                self._new_fields = fields
            return False
        headers, length = known
        if len(body) != length:
            return False
        method, target = plain.groups()
        exchange = Exchange(self, _PLAIN_METHODS[method], target, headers)
        exchange.body = body
        self._queue.append(exchange)
        self._events.append(exchange)
        return True

    def _keep_fields(self, exchange: Exchange) -> None:
        """Remembers the header fields of the request just read, if they make nothing special."""
        fields, self._new_fields = self._new_fields, b""
        headers = exchange.headers
        if exchange.http_1_0 or not exchange.keep_alive or not headers.keys().isdisjoint(_SPECIAL):
            return
        known = self.settings.known_fields
        if len(known) >= KNOWN_FIELDS_MAX:
            known.clear()
        known[fields] = headers, len(exchange.body)

    def _count_fed(self, data_bytes: int) -> None:
        """Bounds what the parser may have taken without telling anybody."""
        self._fed = self._fed + data_bytes if self._fed else 1
        limit, status = HEAD_BYTES_MAX + LINE_BYTES_MAX, 431
        if self._exchange is not None:
            limit, status = limit + FRAMING_FACTOR * self.settings.body_bytes_max, 413
        if self._fed > limit:
            self.refuse(status)

    def _check_head(self, headers: dict[bytes, bytes]) -> None:
        fields_bytes = sum(len(n) + len(v) + 4 for n, v in headers.items())
        if len(self._target) + fields_bytes + self._repeated_bytes > HEAD_BYTES_MAX:
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

    def _read_unknown_method(self, data: bytes) -> None:
        """Reads a request whose method the parser does not know under one that nobody serves."""
        self._parser = httptools.HttpRequestParser(self)
        self._feed(_UNSERVED_METHOD + data[data.index(b" ") :])

    def _refuse_for(self, error: httptools.HttpParserError, data: bytes) -> None:
        reason = error.__context__
        if isinstance(reason, RemoteProtocolError):
            self.refuse(reason.status)
        elif self._queue and not self._queue[-1].keep_alive and self._exchange is None:
            self.is_refused = True  # said to be the last request: what follows it is not read
        elif (
            isinstance(error, httptools.HttpParserInvalidMethodError)
            and not self._events
            and _request_line(data)
        ):
            self._read_unknown_method(data)
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


def _ignore() -> None:
    """Nobody is there to send to."""


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
