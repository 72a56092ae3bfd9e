"""HTTP from bytes, on both sides: read or refused, however the bytes are cut, within the limits."""

from unittest.mock import patch

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.fuzz.mutations import CUTS, bytewise, fuzz, mutated, split_at
from tests.unit.protocol.conftest import BODY_BYTES_MAX, OK, Wire, read_statuses
from tests.unit.protocol.test_http1 import GET, PUT, REQUESTS, described
from tests.unit.protocol.test_http1client import (
    CHUNKED,
    INTERIM,
    SWITCHED,
    TO_THE_END,
    WITH_LENGTH,
)

from kvorum.errors import RemoteProtocolError
from kvorum.protocol import http1
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
    assume(data.isascii())  # UTF-8 in a target, and an unknown method, are only read in one piece
    with patch.object(http1, "_request_line", lambda _: None):
        whole, statuses = converse([data])
        for pieces in (bytewise(data), split_at(data, cuts)):
            parted, same_statuses = converse(pieces)
            assert same_statuses == statuses
            assert list(map(described, parted.exchanges)) == list(map(described, whole.exchanges))
            assert parted.core.should_close == whole.core.should_close


def _changed(request: bytes) -> st.SearchStrategy[tuple[bytes, bytes]]:
    head, end, body = request.partition(b"\r\n\r\n")
    other_body = mutated(body, request).map((head + end).__add__)
    return st.tuples(st.just(request), mutated(request) | other_body)


@fuzz
@given(st.sampled_from([GET, PUT]).flatmap(_changed))
def test_fields_that_are_known_change_nothing(case: tuple[bytes, bytes]) -> None:
    request, data = case
    new, known = Wire(), Wire()
    known.settings.known_fields = converse([request])[0].settings.known_fields
    assert known.settings.known_fields
    for wire in (new, known):
        wire.receive(data)
    assert [described(e) for e in known.exchanges] == [described(e) for e in new.exchanges]
    assert known.core.is_refused == new.core.is_refused


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
