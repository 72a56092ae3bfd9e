"""HTTP from bytes, on both sides: read or refused, however the bytes are cut, within the limits."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.fuzz.mutations import CUTS, bytewise, fuzz, mutated, split_at
from tests.unit.protocol.conftest import BODY_BYTES_MAX, OK, Wire, read_statuses
from tests.unit.protocol.test_http1 import REQUESTS, described
from tests.unit.protocol.test_http1client import (
    CHUNKED,
    INTERIM,
    SWITCHED,
    TO_THE_END,
    WITH_LENGTH,
)

from kvorum.errors import RemoteProtocolError
from kvorum.protocol.http1 import HEAD_BYTES_MAX
from kvorum.protocol.http1client import RESPONSE_BYTES_MAX, ResponseReader

ABSOLUTE = b"GET http://h/p?q HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
REQUEST_SEEDS = (*REQUESTS, ABSOLUTE, LAST, REQUESTS[1] * 2, b"".join(REQUESTS))
RESPONSE_SEEDS = (WITH_LENGTH, CHUNKED, INTERIM + WITH_LENGTH, TO_THE_END, SWITCHED + b"rest")


def converse(pieces: list[bytes]) -> tuple[Wire, list[int]]:
    """A connection that took the pieces, with each request answered at once; and the statuses."""
    wire = Wire()
    sent = b""
    for piece in pieces:
        for exchange in wire.receive(piece):
            assert len(exchange.body) <= BODY_BYTES_MAX
            exchange.respond(OK, b"body")
        sent += wire.sent()
    return wire, read_statuses(sent)


@fuzz
@given(mutated(*REQUEST_SEEDS), CUTS)
def test_requests_are_read_or_refused(data: bytes, cuts: list[int]) -> None:
    wire, statuses = converse(split_at(data, cuts))
    assert all(100 <= status < 600 for status in statuses)
    wire.core.stop_receiving()
    wire.core.connection_lost()


@fuzz
@given(mutated(*REQUEST_SEEDS), CUTS)
def test_any_split_gives_the_same_requests(data: bytes, cuts: list[int]) -> None:
    whole, statuses = converse([data])
    assume(all(e.method != "PATCH" for e in whole.exchanges))  # stands for any unknown method,
    assume(data.isascii())  # and like UTF-8 in a target, it is only made out in one piece
    for pieces in (bytewise(data), split_at(data, cuts)):
        parted, same_statuses = converse(pieces)
        assert same_statuses == statuses
        assert [described(e) for e in parted.exchanges] == [described(e) for e in whole.exchanges]
        assert parted.core.should_close == whole.core.should_close


@fuzz
@given(
    st.sampled_from(REQUEST_SEEDS), st.integers(0, 1 << 16), st.sampled_from([b"a", b"a: b\r\n"])
)
def test_what_never_ends_is_refused(seed: bytes, place: int, filler: bytes) -> None:
    wire, _ = converse([seed[: place % len(seed)]])
    flood = filler * (HEAD_BYTES_MAX // len(filler))
    for _ in range(4):
        wire.receive(flood)
    assert wire.core.is_refused or wire.core.should_close


def read_response(pieces: list[bytes]) -> tuple[object, ...] | None:
    reader = ResponseReader()
    try:
        for piece in pieces:
            reader.receive_data(piece)
        reader.receive_eof()
    except RemoteProtocolError:
        return None
    assert reader.is_complete
    return reader.status, reader.headers, reader.body


@fuzz
@given(mutated(*RESPONSE_SEEDS), CUTS)
def test_responses_are_read_or_refused_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    whole = read_response([data])
    assert read_response(split_at(data, cuts)) == whole
    assert read_response(bytewise(data)) == whole


@pytest.mark.parametrize("filler", [b"a", b"a: b\r\n", b"\r\n", b"HTTP/1.1 100 C\r\n\r\n"])
def test_a_response_that_never_ends_is_refused(filler: bytes) -> None:
    flood = filler * (RESPONSE_BYTES_MAX // len(filler) // 2)
    assert read_response([b"HTTP/1.1 200 OK\r\n", flood, flood, flood]) is None
