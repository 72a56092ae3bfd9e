"""Heads and small replies that all handlers share.

What a server always sends along (CORS, the cluster's id) is made into bytes once, so that a reply
of the data plane is one format operation.
Source: v2-api sections 2 and 3.3.
"""

from collections.abc import Iterable, Sequence
from html import escape

from kvorum.errors import RequestError
from kvorum.protocol.exchange import Exchange
from kvorum.v2.node import render_error
from kvorum.v2.policy import V2Policy

STATUS_LINES = {
    200: b"HTTP/1.1 200 OK\r\n",
    201: b"HTTP/1.1 201 Created\r\n",
    204: b"HTTP/1.1 204 No Content\r\n",
    301: b"HTTP/1.1 301 Moved Permanently\r\n",
    307: b"HTTP/1.1 307 Temporary Redirect\r\n",
    400: b"HTTP/1.1 400 Bad Request\r\n",
    401: b"HTTP/1.1 401 Unauthorized\r\n",
    403: b"HTTP/1.1 403 Forbidden\r\n",
    404: b"HTTP/1.1 404 Not Found\r\n",
    405: b"HTTP/1.1 405 Method Not Allowed\r\n",
    409: b"HTTP/1.1 409 Conflict\r\n",
    410: b"HTTP/1.1 410 Gone\r\n",
    412: b"HTTP/1.1 412 Precondition Failed\r\n",
    413: b"HTTP/1.1 413 Request Entity Too Large\r\n",
    415: b"HTTP/1.1 415 Unsupported Media Type\r\n",
    421: b"HTTP/1.1 421 Misdirected Request\r\n",
    500: b"HTTP/1.1 500 Internal Server Error\r\n",
    501: b"HTTP/1.1 501 Not Implemented\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\n",
}

JSON = b"Content-Type: application/json\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
NO_SNIFFING = b"X-Content-Type-Options: nosniff\r\n"


class Cors:
    """Which browsers may read replies: `*` for all, or the origins listed.

    Attributes:
        always: the header lines of every reply; empty when they depend on the request.
    """

    __slots__ = ("_methods_and_headers", "_origins", "always")

    def __init__(self, origins: Sequence[str], request_headers: bytes) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._methods_and_headers = (
            b"Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n"
            b"Access-Control-Allow-Headers: " + request_headers + b"\r\n"
        )
        self.always = self._lines(b"*") if b"*" in self._origins else b""

    def lines(self, exchange: Exchange) -> bytes:
        """The header lines of the reply to this request."""
        if self.always or not self._origins:
            return self.always
        origin = exchange.headers.get(b"origin", b"")
        return self._lines(origin) if origin in self._origins else b""

    def _lines(self, origin: bytes) -> bytes:
        return b"Access-Control-Allow-Origin: " + origin + b"\r\n" + self._methods_and_headers


class Replies:
    """Answers exchanges in one server's manner."""

    __slots__ = ("_head_has_length", "_redirects_have_link", "_refusal_lines", "cors")

    def __init__(self, origins: Sequence[str], policy: V2Policy) -> None:
        self._head_has_length = policy.head_has_length
        self._redirects_have_link = policy.redirects_have_link
        self._refusal_lines = TEXT + policy.refusal_lines
        self.cors = Cors(origins, policy.cors_request_headers)

    def send(self, exchange: Exchange, status: int, header_lines: bytes, body: bytes = b"") -> None:
        """Sends a whole reply."""
        head = STATUS_LINES[status] + header_lines + self.cors.lines(exchange)
        self.respond(exchange, head, body)

    def respond(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        """Sends a head and a body; HEAD gets the head only."""
        if exchange.method == "HEAD":
            if self._head_has_length:
                head += b"Content-Length: %d\r\n" % len(body)
            body = b""
        exchange.respond(head, body)

    def text(self, exchange: Exchange, body: bytes, status: int = 200) -> None:
        """Sends plain text."""
        self.send(exchange, status, TEXT, body)

    def json(self, exchange: Exchange, body: bytes, status: int = 200) -> None:
        """Sends JSON without the headers of the keys API."""
        self.send(exchange, status, JSON, body)

    def error(
        self, exchange: Exchange, error: RequestError, status: int = 0, lines: bytes = JSON
    ) -> None:
        """Sends an error of the v2 API; `status` replaces the one that goes with its code."""
        lines += b"X-Etcd-Index: %d\r\n" % error.index
        self.send(exchange, status or error.http_status, lines, render_error(error))

    def not_found(self, exchange: Exchange) -> None:
        """Nothing is served at the path."""
        self.send(exchange, 404, self._refusal_lines, b"404 page not found\n")

    def not_allowed(self, exchange: Exchange, methods: Iterable[str]) -> None:
        """The path is served, but only to these methods."""
        lines = self._refusal_lines + b"Allow: %b\r\n" % ",".join(methods).encode()
        self.send(exchange, 405, lines, b"Method Not Allowed\n")

    def redirect(self, exchange: Exchange, status: int, location: bytes) -> None:
        """Sends the client elsewhere; only people get a body, and only where the era had one."""
        # It may be a URL that another machine told of itself, whatever that was.
        location = location.translate(None, b"\r\n")
        head = STATUS_LINES[status] + b"Location: " + location + b"\r\n"
        head += self.cors.lines(exchange)
        body = b""
        if self._redirects_have_link and exchange.method in {"GET", "HEAD"}:
            head += b"Content-Type: text/html; charset=utf-8\r\n"
        if self._redirects_have_link and exchange.method == "GET":
            reason = STATUS_LINES[status].strip().split(b" ", 2)[2]
            body = b'<a href="%b">%b</a>.\n\n' % (escape(location.decode()).encode(), reason)
        exchange.respond(head, body)
