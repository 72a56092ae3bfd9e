"""Responses from bytes, however they are cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.protocol.conftest import split_at

from kvorum.errors import RemoteProtocolError
from kvorum.protocol.http1client import HEAD_BYTES_MAX, RESPONSE_BYTES_MAX, ResponseReader

WITH_LENGTH = b"HTTP/1.1 200 OK\r\nX: 1\r\nx: 2\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n"
TO_THE_END = b"HTTP/1.0 404 Not Found\r\n\r\nhello"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"


def read(*pieces: bytes) -> ResponseReader:
    reader = ResponseReader()
    for piece in pieces:
        reader.receive_data(piece)
    return reader


@given(
    st.sampled_from([WITH_LENGTH, CHUNKED, INTERIM + WITH_LENGTH]),
    st.lists(st.integers(0, 200), max_size=6),
)
@settings(deadline=None, max_examples=80)
def test_any_split_gives_the_same_response(data: bytes, cuts: list[int]) -> None:
    reader = read(*split_at(data, cuts))
    assert reader.is_complete
    assert (reader.status, reader.body) == (200, b"hello")
    assert b"a" not in reader.headers, "an interim response leaves nothing behind"


def test_headers_given_twice_are_joined() -> None:
    assert read(WITH_LENGTH).headers[b"x"] == b"1, 2"


def test_body_without_length_ends_with_the_connection() -> None:
    reader = read(TO_THE_END)
    assert not reader.is_complete
    reader.receive_eof()
    assert reader.is_complete
    assert (reader.status, reader.body) == (404, b"hello")


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200", WITH_LENGTH[:-1], CHUNKED[:-3]])
def test_response_that_breaks_off_is_an_error(data: bytes) -> None:
    reader = read(data)
    with pytest.raises(RemoteProtocolError, match="broke off"):
        reader.receive_eof()


@pytest.mark.parametrize("rest", [CHUNKED, b"HTTP/1.1 500 No\r\nX: 3\r\n\r\nxyz", b"garbage"])
def test_what_follows_a_response_is_not_read(rest: bytes) -> None:
    for data in (WITH_LENGTH, CHUNKED):
        for pieces in ((data + rest,), (data, rest), (data + rest[:5], rest[5:])):
            reader = read(*pieces)
            assert (reader.status, reader.body) == (200, b"hello")
            assert reader.headers == read(data).headers


@pytest.mark.parametrize("field", [b"a: b\r\n", b"a: " + b"b" * 1000 + b"\r\n"])
def test_fields_without_end_are_refused(field: bytes) -> None:
    reader = read(WITH_LENGTH[:17])
    with pytest.raises(RemoteProtocolError, match="malformed response"):
        reader.receive_data(field * (2 * HEAD_BYTES_MAX // len(field)))


def test_end_behind_a_complete_response_is_nothing() -> None:
    reader = read(WITH_LENGTH)
    reader.receive_eof()
    assert reader.body == b"hello"


def test_what_follows_a_switch_is_kept() -> None:
    reader = read(SWITCHED + b"\x00rest")
    assert (reader.is_complete, reader.status, reader.rest) == (True, 101, b"\x00rest")


@pytest.mark.parametrize(
    "data", [b"garbage\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nBad Name: x\r\n"]
)
def test_malformed_response_is_an_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        read(data)


def test_response_is_bounded() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(RemoteProtocolError, match="too large"):
        reader.receive_data(b"x" * (RESPONSE_BYTES_MAX + 1))


@given(st.binary(max_size=100))
@settings(deadline=None, max_examples=150)
def test_random_bytes_raise_nothing_else(noise: bytes) -> None:
    reader = ResponseReader()
    try:
        reader.receive_data(noise)
        reader.receive_eof()
    except RemoteProtocolError:
        return
    assert reader.is_complete
