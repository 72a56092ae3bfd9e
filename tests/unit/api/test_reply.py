from collections.abc import Callable
from typing import Any

import pytest

from kvorum.api.reply import JSON, STATUS_LINES, Cors, Replies
from kvorum.errors import KeyNotFound, RequestError
from kvorum.v2.policy import LEGACY, MODERN


class Exchange:
    """Remembers a reply."""

    def __init__(self, method: str = "GET", origin: bytes = b"") -> None:
        self.method = method
        self.headers = {b"origin": origin} if origin else {}
        self.head = b""
        self.body = b""

    def respond(self, head: bytes, body: bytes = b"") -> None:
        self.head, self.body = head, body


def lines_for(origin: bytes) -> bytes:
    return (
        b"Access-Control-Allow-Origin: " + origin + b"\r\n"
        b"Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n"
        b"Access-Control-Allow-Headers: accept, content-type\r\n"
    )


@pytest.mark.parametrize(
    ("origins", "origin", "lines"),
    [
        ((), b"http://a", b""),
        (("*",), b"", lines_for(b"*")),
        (("*", "http://a"), b"http://a", lines_for(b"*")),
        (("http://a", "http://b"), b"http://b", lines_for(b"http://b")),
        (("http://a",), b"http://a:80", b""),
        (("http://a",), b"", b""),
    ],
)
def test_cors(origins: tuple[str, ...], origin: bytes, lines: bytes) -> None:
    exchange: Any = Exchange(origin=origin)
    assert Cors(origins, LEGACY.cors_request_headers).lines(exchange) == lines


SENDERS: list[Callable[[Replies, Any], None]] = [
    lambda replies, exchange: replies.text(exchange, b"x"),
    lambda replies, exchange: replies.json(exchange, b"{}"),
    lambda replies, exchange: replies.error(exchange, KeyNotFound("/a", 1)),
    lambda replies, exchange: replies.redirect(exchange, 301, b"/a"),
]


@pytest.mark.parametrize("send", SENDERS)
def test_every_reply_carries_cors(send: Callable[[Replies, Any], None]) -> None:
    exchange = Exchange()
    send(Replies(("*",), LEGACY), exchange)
    assert exchange.head.endswith(lines_for(b"*"))


def test_a_redirect_is_one_line_wherever_it_leads() -> None:
    exchange: Any = Exchange()
    Replies((), LEGACY).redirect(exchange, 307, b"http://h:1\r\nSet-Cookie: a/v2/keys/")
    assert exchange.head == STATUS_LINES[307] + b"Location: http://h:1Set-Cookie: a/v2/keys/\r\n"


OURS = [error for error in RequestError.by_v2_code.values() if error.__module__ == "kvorum.errors"]


@pytest.mark.parametrize("error", OURS)
def test_every_error_has_a_status_line(error: type[RequestError]) -> None:
    exchange: Any = Exchange()
    Replies((), LEGACY).error(exchange, error("/c", 7))
    assert exchange.head == STATUS_LINES[error.http_status] + JSON + b"X-Etcd-Index: 7\r\n"
    assert b'"cause":"/c","index":7}\n' in exchange.body


def test_another_status_for_an_error() -> None:
    exchange: Any = Exchange()
    Replies((), LEGACY).error(exchange, KeyNotFound(), 413)
    assert exchange.head.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")


def test_head_has_a_length_in_the_modern_era_only() -> None:
    for policy, length in ((LEGACY, b""), (MODERN, b"Content-Length: 3\r\n")):
        exchange: Any = Exchange("HEAD")
        Replies((), policy).text(exchange, b"abc")
        assert exchange.body == b""
        assert exchange.head.endswith(b"utf-8\r\n" + length)


def test_status_lines_name_their_status() -> None:
    for status, line in STATUS_LINES.items():
        assert line.startswith(b"HTTP/1.1 %d " % status)
        assert line.partition(b"\r\n")[1:] == (b"\r\n", b"")
