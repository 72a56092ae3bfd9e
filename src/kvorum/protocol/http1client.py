"""The client's side of HTTP/1.1: one response from bytes.

Rules: interim responses are skipped; a body without a length ends with the connection; what follows
a response is not read. A response with all its framing has at most RESPONSE_BYTES_MAX bytes, and
HEAD_BYTES_MAX of header fields.

The caller: `receive_data` until `is_complete`, `receive_eof` when the server sends no more.
Source: RFC 9112, section 6; RFC 9110, section 15.2.
"""

from typing import Any

import httptools

from kvorum.errors import RemoteProtocolError

RESPONSE_BYTES_MAX = 16 * 1024 * 1024
"""Largest response a client of ours reads."""

HEAD_BYTES_MAX = 64 * 1024
"""Names and values of all its fields; joining many of one name would take for ever."""

_INTERIM = 1
_SWITCHING = 101


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

    __slots__ = (
        "_body",
        "_head_bytes",
        "_parser",
        "_received_bytes",
        "body",
        "headers",
        "is_complete",
        "rest",
        "status",
    )

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.rest = b""
        self.is_complete = False
        self._body = bytearray()
        self._head_bytes = 0
        self._received_bytes = 0
        self._parser: Any = httptools.HttpResponseParser(self)

    def receive_data(self, data: bytes) -> None:
        """Takes what came in.

        Raises:
            RemoteProtocolError: it is no response, or larger than RESPONSE_BYTES_MAX.
        """
        if self.is_complete:
            return
        self._received_bytes += len(data)
        if self._received_bytes > RESPONSE_BYTES_MAX:
            raise RemoteProtocolError("the response is too large")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self.rest = data[stop.args[0] :]
        except httptools.HttpParserError as error:
            if not self.is_complete:
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
        if self.is_complete:
            return
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        if self._head_bytes > HEAD_BYTES_MAX:
            raise RemoteProtocolError("the head is too large")
        name = name.lower()
        known = self.headers.get(name)
        value = value.rstrip(b" \t")
        self.headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if not self.is_complete:
            self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if not self.is_complete:
            self._body += data

    def on_message_complete(self) -> None:
        """The response is complete, unless it was an interim one."""
        if self.is_complete:
            return
        if self.status // 100 == _INTERIM and self.status != _SWITCHING:
            self.status = 0
            self.headers = {}
        else:
            self.is_complete = True
            self.body = bytes(self._body)
