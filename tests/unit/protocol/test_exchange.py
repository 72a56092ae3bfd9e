"""Answers as bytes, the order of calls, and what a client that has gone means."""

import pytest
from tests.unit.protocol.conftest import DATE, OK, Wire

from kvorum.errors import LocalProtocolError
from kvorum.protocol.exchange import Exchange

CLOSE = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def request(method: bytes = b"GET", version: bytes = b"1.1", lines: bytes = b"") -> bytes:
    return method + b" / HTTP/" + version + b"\r\nHost: h\r\n" + lines + b"\r\n"


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (request(), OK + DATE + b"Content-Length: 2\r\n\r\nhi"),
        (
            request(lines=b"Connection: close\r\n"),
            OK + DATE + CLOSE + b"Content-Length: 2\r\n\r\nhi",
        ),
        (
            request(version=b"1.0"),
            b"HTTP/1.0 200 OK\r\n" + DATE + CLOSE + b"Content-Length: 2\r\n\r\nhi",
        ),
        (
            request(version=b"1.0", lines=b"Connection: keep-alive\r\n"),
            b"HTTP/1.0 200 OK\r\n" + DATE + b"Connection: keep-alive\r\n"
            b"Content-Length: 2\r\n\r\nhi",
        ),
        (request(b"HEAD"), OK + DATE + b"\r\n"),
    ],
)
def test_whole_answer(wire: Wire, data: bytes, answer: bytes) -> None:
    wire.receive_one(data).respond(OK, b"hi")
    assert wire.sent() == answer


def test_length_of_a_head_is_the_handlers(wire: Wire) -> None:
    wire.receive_one(request(b"HEAD")).respond(OK + b"Content-Length: 7\r\n", b"dropped")
    assert wire.sent() == OK + b"Content-Length: 7\r\n" + DATE + b"\r\n"


def test_empty_answer_says_so(wire: Wire) -> None:
    wire.receive_one(request()).respond(OK)
    assert wire.sent() == OK + DATE + b"Content-Length: 0\r\n\r\n"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_bodiless_status_has_no_length(wire: Wire, status: bytes) -> None:
    head = b"HTTP/1.1 " + status + b"\r\n"
    wire.receive_one(request()).respond(head)
    assert wire.sent() == head + DATE + b"\r\n"


@pytest.mark.parametrize(
    ("data", "head", "body"),
    [
        (request(), OK + DATE + CHUNKED + b"\r\n", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        (request(version=b"1.0"), b"HTTP/1.0 200 OK\r\n" + DATE + CLOSE + b"\r\n", b"abcde"),
        (
            request(version=b"1.0", lines=b"Connection: keep-alive\r\n"),
            b"HTTP/1.0 200 OK\r\n" + DATE + CLOSE + b"\r\n",
            b"abcde",
        ),
        (request(b"HEAD"), OK + DATE + b"\r\n", b""),
    ],
)
def test_streamed_answer(wire: Wire, data: bytes, head: bytes, body: bytes) -> None:
    exchange = wire.receive_one(data)
    exchange.begin(OK)
    assert wire.sent() == head
    exchange.write(b"abc")
    exchange.write(b"")
    exchange.write(b"de")
    exchange.end()
    assert wire.sent() == body
    assert wire.core.should_close is exchange.http_1_0


def test_handler_may_end_the_connection(wire: Wire) -> None:
    exchange = wire.receive_one(request())
    exchange.keep_alive = False
    exchange.respond(OK, b"x")
    assert CLOSE in wire.sent()
    assert wire.core.should_close


def begin(exchange: Exchange) -> None:
    exchange.begin(OK)


def respond(exchange: Exchange) -> None:
    exchange.respond(OK)


def write(exchange: Exchange) -> None:
    exchange.write(b"x")


def end(exchange: Exchange) -> None:
    exchange.end()


@pytest.mark.parametrize(
    "calls",
    [
        (respond, respond),
        (respond, begin),
        (respond, write),
        (respond, end),
        (write,),
        (end,),
        (begin, begin),
        (begin, respond),
        (begin, end, write),
        (begin, end, end),
    ],
)
def test_calls_out_of_order_are_our_fault(wire: Wire, calls: tuple[object, ...]) -> None:
    exchange = wire.receive_one(request())
    *before, wrong = calls
    for call in before:
        call(exchange)  # type: ignore[operator]
    with pytest.raises(LocalProtocolError):
        wrong(exchange)  # type: ignore[operator]


@pytest.mark.parametrize("calls", [(respond,), (begin, write, end)])
def test_answers_to_a_client_that_has_gone_are_nothing(
    wire: Wire, calls: tuple[object, ...]
) -> None:
    exchange = wire.receive_one(request())
    wire.core.connection_lost()
    for call in calls:
        call(exchange)  # type: ignore[operator]
    assert not exchange.is_open
    assert not exchange.is_writable
    assert wire.sent() == b""


def test_client_that_leaves_is_told_once(wire: Wire) -> None:
    exchange = wire.receive_one(request())
    told = []
    exchange.on_close = lambda: told.append("gone")
    exchange.begin(OK)
    wire.core.stop_receiving()
    wire.core.connection_lost()
    assert told == ["gone"]


def test_answered_exchange_is_not_told_that_its_client_left(wire: Wire) -> None:
    exchange = wire.receive_one(request())
    told = []
    exchange.on_close = lambda: told.append("gone")
    exchange.respond(OK)
    wire.core.connection_lost()
    assert told == []


def test_who_comes_late_to_a_client_that_has_gone_is_told_at_once(wire: Wire) -> None:
    exchange = wire.receive_one(request())
    wire.core.connection_lost()
    told = []
    exchange.on_close = lambda: told.append("gone")
    assert told == ["gone"]


def test_upgrade_that_was_not_offered_is_our_fault(wire: Wire) -> None:
    with pytest.raises(LocalProtocolError):
        wire.receive_one(request()).upgrade(b"HTTP/1.1 101 Switching Protocols\r\n", object())


def test_refusal_cuts_off_an_answer_that_has_begun(wire: Wire) -> None:
    exchange = wire.receive_one(request())
    exchange.begin(OK)
    exchange.write(b"abc")
    exchange.refuse(500)
    assert wire.sent().endswith(b"3\r\nabc\r\n")
    assert wire.core.should_close


def test_refusal_may_say_why(wire: Wire) -> None:
    wire.receive_one(request()).refuse(503, b"too many")
    assert wire.sent() == (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
        + DATE
        + CLOSE
        + b"Content-Length: 8\r\n\r\ntoo many"
    )
