"""Requests from bytes, answers in order, and what is refused."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.protocol.conftest import (
    BODY_BYTES_MAX,
    DATE,
    OK,
    Wire,
    read_statuses,
    split_at,
)

from kvorum.protocol.exchange import Exchange
from kvorum.protocol.http1 import (
    HEAD_BYTES_MAX,
    HEAD_READ_BYTES,
    HELD_BYTES_MAX,
    KNOWN_FIELDS_BYTES_MAX,
    KNOWN_FIELDS_MAX,
)

GET = b"GET /v2/keys/a?recursive=true HTTP/1.1\r\nHost: h\r\n\r\n"
PUT = (
    b"PUT /v2/keys/a HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nvalue=1"
)
CHUNKED = (
    b"POST /q HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n10;ext=1\r\n0123456789abcdef\r\n0\r\nTrailer: t\r\n\r\n"
)
UPGRADE = b"GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
UPGRADE_WITH_BODY = UPGRADE.replace(b"GET", b"PUT").replace(
    b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nxyz"
)
UPGRADE_WITH_CHUNKS = UPGRADE.replace(b"GET", b"PUT").replace(
    b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n"
)
HEAD = b"HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n"
OLD = b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"

REQUESTS = [GET, PUT, CHUNKED, UPGRADE, UPGRADE_WITH_BODY, UPGRADE_WITH_CHUNKS, HEAD, OLD]


def described(exchange: Exchange) -> tuple[object, ...]:
    return (
        exchange.method,
        exchange.target,
        exchange.headers,
        exchange.body,
        exchange.keep_alive,
        exchange.http_1_0,
    )


# Requests.


def test_request_is_read(wire: Wire) -> None:
    exchange = wire.receive_one(PUT.replace(b"/a HTTP", b"/a?x=%20&y?z HTTP"))
    assert exchange.method == "PUT"
    assert exchange.target == b"/v2/keys/a?x=%20&y?z"
    assert exchange.path == b"/v2/keys/a"
    assert exchange.query == b"x=%20&y?z"
    assert exchange.headers == {
        b"host": b"h",
        b"content-length": b"7",
        b"content-type": b"application/x-www-form-urlencoded",
    }
    assert exchange.body == b"value=1"
    assert exchange.remote == "127.0.0.1:5000"
    assert exchange.keep_alive
    assert not exchange.http_1_0


def test_chunks_are_joined_and_trailers_dropped(wire: Wire) -> None:
    first, second = wire.receive(CHUNKED + GET)
    assert first.body == b"abc0123456789abcdef"
    assert b"trailer" not in first.headers
    assert second.headers == {b"host": b"h"}


@given(
    st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4),
    st.lists(st.integers(min_value=0, max_value=2000), max_size=12),
)
@settings(deadline=None, max_examples=150)
def test_any_split_gives_the_same_requests(requests: list[bytes], cuts: list[int]) -> None:
    data = b"".join(requests)
    whole, pieces = Wire(), Wire()
    whole.receive(data)
    pieces.receive(*split_at(data, cuts))
    assert len(whole.exchanges) == len(requests)
    assert [described(e) for e in pieces.exchanges] == [described(e) for e in whole.exchanges]


def test_byte_by_byte_gives_the_same_requests() -> None:
    data = b"".join(REQUESTS)
    whole, pieces = Wire(), Wire()
    whole.receive(data)
    pieces.receive(*(data[at : at + 1] for at in range(len(data))))
    assert [described(e) for e in pieces.exchanges] == [described(e) for e in whole.exchanges]


def test_empty_header_value_does_not_join_the_next_name(wire: Wire) -> None:
    exchange = wire.receive_one(b"GET / HTTP/1.1\r\nHost: h\r\nA:\r\nB: c \t\r\n\r\n")
    assert exchange.headers == {b"host": b"h", b"a": b"", b"b": b"c"}


def test_header_given_twice_is_joined(wire: Wire) -> None:
    exchange = wire.receive_one(b"GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\na: 2\r\n\r\n")
    assert exchange.headers[b"a"] == b"1, 2"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://h:1/p?q", b"/p", b"q"),
        (b"HTTP://h", b"/", b""),
        (b"http://h?q", b"/", b"q"),
        (b"/%41%2f", b"/%41%2f", b""),
        (b"/?bad=%zz", b"/", b"bad=%zz"),
        (b"/\xd0\xba?\xd0\xbb", b"/%D0%BA", b"%D0%BB"),
    ],
)
def test_target_forms(wire: Wire, target: bytes, path: bytes, query: bytes) -> None:
    exchange = wire.receive_one(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (exchange.path, exchange.query) == (path, query)


def test_asterisk_is_for_options(wire: Wire) -> None:
    assert wire.receive_one(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").path == b"*"


@pytest.mark.parametrize(
    ("request_head", "keep_alive", "http_1_0"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", True, False),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", False, False),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", True, False),
        (b"GET / HTTP/1.0\r\n\r\n", False, True),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True, True),
    ],
)
def test_versions_and_connection_header(
    wire: Wire, request_head: bytes, keep_alive: bool, http_1_0: bool
) -> None:
    exchange = wire.receive_one(request_head)
    assert (exchange.keep_alive, exchange.http_1_0) == (keep_alive, http_1_0)
    exchange.respond(OK, b"x")
    assert wire.core.should_close is not keep_alive


# What is refused.

MALFORMED = {
    b"garbage\r\n\r\n": 400,
    b"\x16\x03\x01\x02\x00\x01\x00\x01": 400,
    b"GET / HTTP/1.1\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n": 400,
    b"GET nothing HTTP/1.1\r\nHost: h\r\n\r\n": 400,
    b"GET * HTTP/1.1\r\nHost: h\r\n\r\n": 400,
    b"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n": 400,
    b"GET /%2 HTTP/1.1\r\nHost: h\r\n\r\n": 400,
    b"GET /\r\n\r\n": 400,
    b"GET / HTTP/0.9\r\n\r\n": 400,
    b"GET / HTTP/2.0\r\nHost: h\r\n\r\n": 505,
    b"GET / HTTP/1.1\r\nHost : h\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n folded\r\n\r\n": 400,
    b"GET / HTTP/1.1\nHost: h\n\n": 400,
    b"CONNECT a:1 HTTP/1.1\r\nHost: h\r\n\r\n": 400,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 400,
    b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n": 400,
    b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n": 400,
    b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n": 400,
    b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": 400,
    b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n": 400,
    b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n": 400,
    b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n": 400,
    b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n": 413,
    b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n": 413,
    b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: wonders\r\n\r\n": 417,
    b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"3f0\r\n" + b"x" * 0x3F0 + b"\r\n"
    + b"0\r\n\r\n": 413,
    b"GET /" + b"x" * HEAD_BYTES_MAX + b" HTTP/1.1\r\nHost: h\r\n\r\n": 431,
    b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"x" * 2 * HEAD_BYTES_MAX + b"\r\n\r\n": 431,
    b"GET / HTTP/1.1\r\nHost: h\r\nA:" + b" " * 3 * HEAD_BYTES_MAX + b"\r\n\r\n": 431,
    b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(20_000)): 431,
}  # fmt: skip


@pytest.mark.parametrize("method", [b"get", b"FOO", b"GETS", b"X-Y"])
def test_a_request_with_an_unknown_method_is_read_as_one_that_nobody_serves(
    wire: Wire, method: bytes
) -> None:
    data = method + b" /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    (exchange,) = wire.receive(data)
    assert (exchange.method, exchange.target, exchange.body) == ("PATCH", b"/a?b", b"abc")
    assert exchange.keep_alive
    exchange.respond(b"HTTP/1.1 200 OK\r\n")
    assert wire.statuses(GET) == [200, 200]
    assert not wire.core.should_close


@pytest.mark.parametrize(("data", "status"), MALFORMED.items(), ids=range(len(MALFORMED)))
def test_malformed_request_is_refused(wire: Wire, data: bytes, status: int) -> None:
    assert wire.statuses(GET, data) == [200, status]
    assert wire.core.should_close
    assert wire.core.is_refused
    assert wire.statuses(GET) == [], "nothing is read behind a refusal"


def test_refusal_is_plain_text_and_announces_the_end(wire: Wire) -> None:
    wire.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert wire.sent() == (
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n" + DATE +
        b"Connection: close\r\nContent-Length: 15\r\n\r\n400 Bad Request"
    )  # fmt: skip


def test_refusal_waits_for_earlier_answers(wire: Wire) -> None:
    (exchange,) = wire.receive(GET + b"nonsense\r\n\r\n")
    assert wire.sent() == b""
    assert not wire.core.should_close
    exchange.respond(OK, b"body")
    assert read_statuses(wire.sent()) == [200, 400]
    assert wire.core.should_close


def test_largest_request_is_taken(wire: Wire) -> None:
    body = b"x" * BODY_BYTES_MAX
    target = b"/" + b"y" * (HEAD_BYTES_MAX - 100)
    data = b"PUT %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (
        target,
        len(body),
        body,
    )
    exchange = wire.receive_one(data)
    assert exchange.target == target
    assert exchange.body == body


def head_of(counted: int, fields: str) -> bytes:
    """A head that counts so many bytes: in fields of one form, or in the target."""
    fixed = b"Host: h\r\n"
    rest = counted - len(b"/") - len(fixed)
    if fields == "target":
        return b"GET /" + b"y" * rest + b" HTTP/1.1\r\n" + fixed + b"\r\n"
    name, blank, value = {
        "small": (b"A%05d", b"", b""),
        "blank": (b"A%05d", b" ", b"v"),
        "repeated": (b"A", b" ", b"v"),
    }[fields]
    one_bytes = len(name % 0 if b"%" in name else name) + len(value) + 4
    count = rest // one_bytes - 1
    lines = [(name % n if b"%" in name else name) + b":" + blank + value for n in range(count)]
    filler = b"z" * (rest - count * one_bytes - 5)
    return b"\r\n".join([b"DELETE / HTTP/1.1", b"Host: h", *lines, b"Z: " + filler, b"", b""])


@pytest.mark.parametrize("fields", ["target", "small", "blank", "repeated"])
@pytest.mark.parametrize("first", [0, 1, 30, 30_000, HEAD_READ_BYTES, 60_000])
@pytest.mark.parametrize("piece", [1_000, 7_777, 1 << 20])
def test_the_head_limit_is_exact_however_the_head_arrives(
    wire: Wire, fields: str, first: int, piece: int
) -> None:
    for excess, status in ((0, 200), (1, 431)):
        data = head_of(HEAD_BYTES_MAX + excess, fields)
        rest = data[first:]
        pieces = [rest[start : start + piece] for start in range(0, len(rest), piece)]
        assert wire.statuses(GET + data[:first], *pieces) == [200, status]


def test_fields_that_were_repeated_count_for_their_own_request_only(wire: Wire) -> None:
    repeated = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: v\r\n" * 9_000 + b"\r\n"
    trailers = (
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        + b"A: v\r\n" * 9_000
        + b"\r\n"
    )
    whole = head_of(HEAD_BYTES_MAX, "target")
    for before in (repeated, trailers):
        assert wire.statuses(before) == [200]
        assert wire.statuses(whole[:99], whole[99:]) == [200]


def test_head_limit_does_not_count_what_came_before(wire: Wire) -> None:
    filler = GET * (HEAD_BYTES_MAX // len(GET))
    exchanges = wire.receive(filler + GET[:30], GET[30:40], GET[40:] + GET)
    assert len(exchanges) == HEAD_BYTES_MAX // len(GET) + 2


def test_limits_are_per_request(wire: Wire) -> None:
    for _ in range(2 * HEAD_BYTES_MAX // len(PUT)):
        assert wire.statuses(PUT[:-1], PUT[-1:]) == [200]


def test_one_byte_chunks_are_within_the_framing_limit(wire: Wire) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"1\r\nx\r\n" * BODY_BYTES_MAX + b"0\r\n\r\n"
    exchange = wire.receive_one(head + body)
    assert exchange.body == b"x" * BODY_BYTES_MAX


def test_endless_trailer_is_refused(wire: Wire) -> None:
    wire.receive(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ")
    for _ in range(20):
        wire.receive(b"x" * 8192)
    assert read_statuses(wire.sent()) == [413]


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=5))
@settings(deadline=None, max_examples=300)
def test_random_bytes_are_refused_or_wait_for_more(noise: bytes, cuts: list[int]) -> None:
    wire = Wire()
    statuses = wire.statuses(*split_at(GET + noise, cuts))
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {200, 400, 404, 431, 505}


@given(st.integers(0, len(CHUNKED + PUT) - 1), st.integers(0, 255))
@settings(deadline=None, max_examples=300)
def test_damaged_request_raises_nothing(at: int, byte: int) -> None:
    data = bytearray(CHUNKED + PUT)
    data[at] = byte
    Wire().statuses(bytes(data), GET)


# Header fields that are known.

LONG = PUT.replace(b"/a HTTP", b"/b?x=1&y HTTP").replace(b"value=1", b"value=2")
LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
BARE = b"GET /a HTTP/1.1\nHost: h\n\nGET /b HTTP/1.1\r\nHost: g\r\n\r\n"
FOLDED = b"GET /a HTTP/1.1\r\nHost: h\r\nX: 1\r\n\tcontinued\r\n\r\n"
SHORTER = PUT.replace(b"value=1", b"value=")


class Forgetful(dict[bytes, tuple[Mapping[bytes, bytes], int]]):
    def __setitem__(self, key: bytes, value: object) -> None:
        """Keeps nothing: every request is read by the parser."""


@given(
    st.lists(
        st.sampled_from(
            [*REQUESTS, LONG, LAST, BARE, FOLDED, SHORTER, PUT + GET, GET + GET[:20], GET[:2]]
        ),
        min_size=2,
        max_size=6,
    )
)
@settings(deadline=None, max_examples=300)
def test_known_fields_change_nothing(reads: list[bytes]) -> None:
    knowing, parsing = Wire(), Wire()
    parsing.settings.known_fields = Forgetful()
    for data in reads:
        for wire in (knowing, parsing):
            wire.receive(data)
        assert [described(e) for e in knowing.exchanges] == [
            described(e) for e in parsing.exchanges
        ]
    assert knowing.statuses() == parsing.statuses()
    assert knowing.core.should_close == parsing.core.should_close


def test_requests_with_the_same_fields_share_them(wire: Wire) -> None:
    first, second = wire.receive(PUT, LONG)
    assert first.headers is second.headers
    assert (second.target, second.body) == (b"/v2/keys/b?x=1&y", b"value=2")


@pytest.mark.parametrize(
    "data", [CHUNKED, UPGRADE, LAST, OLD, BARE, FOLDED, b"GET /a HTTP/1.1\r\n"]
)
def test_unusual_requests_are_always_parsed(wire: Wire, data: bytes) -> None:
    wire.receive(data)
    assert not wire.settings.known_fields


def test_known_fields_are_bounded(wire: Wire) -> None:
    for number in range(3 * KNOWN_FIELDS_MAX):
        wire.receive(GET.replace(b"Host: h", b"Host: h%d" % number))
        assert len(wire.settings.known_fields) <= KNOWN_FIELDS_MAX
    wire.settings.known_fields.clear()
    wire.receive(GET.replace(b"Host: h", b"Host: " + b"h" * KNOWN_FIELDS_BYTES_MAX))
    assert not wire.settings.known_fields


# Answers.


def test_answers_leave_in_request_order(wire: Wire) -> None:
    first, second, third = wire.receive(GET * 3)
    third.respond(OK, b"3")
    second.begin(OK)
    second.write(b"2")
    assert wire.sent() == b""
    first.respond(OK, b"1")
    assert wire.sent().endswith(b"1HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked"
                                b"\r\n\r\n1\r\n2\r\n")  # fmt: skip
    second.end()
    assert wire.sent() == b"0\r\n\r\n" + OK + DATE + b"Content-Length: 1\r\n\r\n3"
    assert wire.core.unanswered == 0


@given(st.permutations(range(6)))
@settings(deadline=None, max_examples=60)
def test_any_order_of_completion_gives_the_same_bytes(order: list[int]) -> None:
    wire = Wire()
    exchanges = wire.receive(GET * len(order))
    sent = b""
    for number in order:
        exchanges[number].respond(OK, b"body %d" % number)
        sent += wire.sent()
    bodies = [part[-6:] for part in sent.split(OK)[1:]]
    assert bodies == [b"body %d" % number for number in range(len(order))]


def test_output_is_signalled_once_until_it_is_taken(wire: Wire) -> None:
    for exchange in wire.receive(GET * 2):
        exchange.respond(OK, b"x")
    assert wire.signals == 1
    wire.sent()
    wire.receive_one(GET).respond(OK, b"x")
    assert wire.signals == 2


def test_expectation_is_answered_before_the_body(wire: Wire) -> None:
    head, body = PUT.split(b"\r\n\r\n")
    assert wire.receive(head + b"\r\nExpect: 100-Continue\r\n\r\n") == []
    assert wire.sent() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert wire.receive_one(body).body == body


def test_expectation_waits_for_earlier_answers(wire: Wire) -> None:
    head, _ = PUT.split(b"\r\n\r\n")
    (exchange,) = wire.receive(GET + head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert wire.sent() == b""
    exchange.respond(OK, b"x")
    assert wire.sent().endswith(b"xHTTP/1.1 100 Continue\r\n\r\n")


def test_nothing_is_read_behind_the_last_request(wire: Wire) -> None:
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert wire.statuses(last + GET) == [200]
    assert wire.core.should_close
    assert wire.core.is_refused, "it may still be sending"


def test_answer_that_closes_abandons_those_behind(wire: Wire) -> None:
    first, second = wire.receive(GET * 2)
    told = []
    second.on_close = lambda: told.append("gone")
    first.keep_alive = False
    first.respond(OK, b"x")
    assert b"Connection: close" in wire.sent()
    assert told == ["gone"]
    assert wire.core.should_close


# Upgrades.


def test_upgrade_hands_over_what_follows(wire: Wire) -> None:
    protocol = object()
    (exchange,) = wire.core.receive_data(UPGRADE + b"\x00rest")
    assert wire.core.receive_data(b" and more") == []
    assert exchange.can_upgrade
    exchange.upgrade(b"HTTP/1.1 101 Switching Protocols\r\n", protocol)
    assert wire.sent() == b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    assert wire.core.upgraded is protocol
    assert wire.core.take_rest() == b"\x00rest and more"


def test_upgrade_is_offered_only_while_the_handler_runs(wire: Wire) -> None:
    assert not wire.receive_one(UPGRADE).can_upgrade


def test_upgrade_is_not_offered_behind_an_answer_that_is_due(wire: Wire) -> None:
    _, exchange = wire.core.receive_data(GET + UPGRADE)
    assert not exchange.can_upgrade


# Ends and pressure.


def test_client_that_leaves_is_told_to_those_who_wait(wire: Wire) -> None:
    first, second = wire.receive(GET * 2)
    told = []
    first.on_close = lambda: told.append("first")
    second.on_close = lambda: told.append("second")
    wire.core.connection_lost()
    assert told == ["first", "second"]
    first.respond(OK, b"dropped")
    assert wire.sent() == b""


def test_half_closed_client_gets_its_answers(wire: Wire) -> None:
    first, second = wire.receive(GET * 2 + PUT[:-3])
    wire.core.stop_receiving()
    second.respond(OK, b"2")
    first.respond(OK, b"1")
    sent = wire.sent()
    assert read_statuses(sent) == [200, 200]
    assert sent.count(b"Connection: close") == 1
    assert wire.core.should_close


def test_half_closed_client_has_left_a_wait(wire: Wire) -> None:
    write, wait, behind = wire.receive(GET * 3)
    told = []
    wait.on_close = lambda: told.append("gone")
    wire.core.stop_receiving()
    assert told == ["gone"]
    behind.respond(OK, b"dropped")
    write.respond(OK, b"x")
    assert read_statuses(wire.sent()) == [200]
    assert wire.core.should_close


def test_wait_that_begins_behind_the_end_is_told(wire: Wire) -> None:
    (exchange,) = wire.receive(GET)
    wire.core.stop_receiving()
    told = []
    exchange.on_close = lambda: told.append("gone")
    assert told == ["gone"]
    assert wire.core.should_close


def test_idle_connection_closes_when_it_takes_no_more(wire: Wire) -> None:
    wire.core.stop_receiving()
    assert wire.signals == 1
    assert wire.core.should_close
    assert wire.receive(GET) == []


def test_only_the_first_exchange_feels_the_transport(wire: Wire) -> None:
    first, second = wire.receive(GET * 2)
    told = []
    for exchange in (first, second):
        exchange.begin(OK)
        exchange.on_writable = lambda name=exchange: told.append(name)
    wire.core.pause_writing()
    assert not first.is_writable
    assert second.is_writable
    second.write(b"x" * HELD_BYTES_MAX)
    assert not second.is_writable
    wire.core.resume_writing()
    assert told == [first]
    first.end()
    assert told == [first, second], "its turn has come"
    assert second.is_writable


def test_unanswered_counts_complete_requests(wire: Wire) -> None:
    wire.receive(GET * 2 + PUT[:-1])
    assert wire.core.unanswered == 2
    assert wire.core.request_count == 2
