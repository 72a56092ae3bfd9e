"""One HTTP/1.1 connection: framing, limits, and what a break means."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.client.conftest import HANG_UP, FakeServer, Reply, broken, legacy, modern

from kvorum.client import connection as subject
from kvorum.client.connection import (
    AnswerLost,
    ConnectFailed,
    Connection,
    Request,
    Settings,
    base_url,
)
from kvorum.errors import ConfigError

GET = Request("GET", "/v2/keys/message")
BODY = b'{"action":"get","node":{"key":"/message","value":"Hello"}}'


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("127.0.0.1:4001", "http://127.0.0.1:4001"),
        ("http://127.0.0.1:4001/", "http://127.0.0.1:4001"),
        ("https://etcd.example.com", "https://etcd.example.com"),
        ("[::1]:2379", "http://[::1]:2379"),
    ],
)
def test_an_endpoint_is_written_with_or_without_scheme(endpoint: str, url: str) -> None:
    assert base_url(endpoint) == url


@pytest.mark.parametrize("endpoint", ["ftp://a:1", "127.0.0.1:port", "127.0.0.1:99999", "http://"])
def test_what_is_no_address_is_refused_with_its_text(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="endpoint"):
        base_url(endpoint)


@pytest.mark.parametrize(
    "reply",
    [
        legacy(200, BODY),
        modern(200, BODY[:-1] + b"}"),
        Reply(b"HTTP/1.0 200 OK\r\n\r\n" + BODY, closes=True),
        Reply(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
            % (len(BODY), BODY)
        ),
    ],
    ids=["chunked", "with a length", "until the end", "after an interim answer"],
)
def test_each_framing_gives_the_body(server: FakeServer, reply: Reply) -> None:
    server.answers(reply)
    connection = Connection(server.url)
    answer = connection.request(GET, 5.0)
    connection.close()
    assert (answer.status, answer.body.strip()) == (200, BODY)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_some_answers_have_no_body_whatever_their_length(
    server: FakeServer, method: str, status: int
) -> None:
    server.answers(Reply(b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status))
    connection = Connection(server.url)
    assert connection.request(Request(method, "/"), 5.0).body == b""
    connection.close()


def test_a_form_is_sent_with_its_type_and_length(server: FakeServer) -> None:
    server.answers(legacy(201, BODY))
    connection = Connection(server.url, Settings(user="root:secret"))
    connection.request(Request("PUT", "/v2/keys/a", b"value=1"), 5.0)
    connection.close()
    sent = server.received[0]
    assert sent.body == b"value=1"
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
    assert sent.headers["host"] == f"127.0.0.1:{server.port}"
    assert sent.headers["authorization"] == "Basic cm9vdDpzZWNyZXQ="


def test_a_connection_is_kept_after_a_whole_answer(server: FakeServer) -> None:
    server.answers(legacy(200, BODY), modern(200, BODY))
    connection = Connection(server.url)
    connection.request(GET, 5.0)
    connection.request(GET, 5.0)
    connection.close()
    assert server.connection_count == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", closes=True),
        Reply(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", closes=True),
    ],
    ids=["told to close", "HTTP/1.0"],
)
def test_a_connection_that_ends_is_opened_anew(server: FakeServer, reply: Reply) -> None:
    server.answers(reply, modern(200, BODY))
    connection = Connection(server.url)
    connection.request(GET, 5.0)
    connection.request(GET, 5.0)
    connection.close()
    assert server.connection_count == 2


def test_nobody_listening_is_told_from_other_failures(refusing_url: str) -> None:
    with pytest.raises(ConnectFailed, match="connection refused") as caught:
        Connection(refusing_url).request(GET, 5.0)
    assert caught.value.is_refused


def test_an_unknown_host_is_a_failed_connection() -> None:
    with pytest.raises(ConnectFailed) as caught:
        Connection("http://no-such-host.invalid:1").request(GET, 5.0)
    assert not caught.value.is_refused


@pytest.mark.parametrize(
    ("reply", "has_headers"),
    [
        (HANG_UP, False),
        (Reply(b"HTTP/1.1 200 OK\r\nX-Etc", closes=True), False),
        (
            broken(b"HTTP/1.1 200 OK\r\nX-Etcd-Index: 7\r\nTransfer-Encoding: chunked\r\n\r\n"),
            True,
        ),
        (broken(b"HTTP/1.1 200 OK\r\nX-Etcd-Index: 7\r\nContent-Length: 9\r\n\r\nhalf"), True),
        (broken(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx"), True),
        (broken(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 99 + b"\r\n\r\n"), True),
        (broken(b"SSH-2.0-OpenSSH\r\n"), False),
        (broken(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n"), True),
        (broken(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70000 + b"\r\n\r\n"), False),
    ],
    ids=[
        "nothing",
        "half a head",
        "head",
        "half a body",
        "less than nothing",
        "more than all",
        "not HTTP",
        "many headers",
        "long line",
    ],
)
def test_a_broken_answer_says_how_far_it_came(
    server: FakeServer, reply: Reply, *, has_headers: bool
) -> None:
    server.answers(reply)
    with pytest.raises(AnswerLost) as caught:
        Connection(server.url).request(GET, 5.0)
    assert (caught.value.headers is not None) == has_headers
    assert not caught.value.is_timeout


def test_a_late_answer_is_given_up_and_a_write_is_in_doubt(server: FakeServer) -> None:
    server.answers(Reply(b""))
    with pytest.raises(AnswerLost, match="whether it was done is not known") as caught:
        Connection(server.url).request(Request("PUT", "/v2/keys/a"), 0.02)
    assert caught.value.is_timeout


def test_a_broken_connection_is_not_used_again(server: FakeServer) -> None:
    server.answers(HANG_UP, modern(200, BODY))
    connection = Connection(server.url)
    with pytest.raises(AnswerLost):
        connection.request(GET, 5.0)
    assert connection.request(GET, 5.0).status == 200
    connection.close()


def test_unreadable_certificates_are_a_fault_of_the_configuration(
    server: FakeServer, tmp_path: Path
) -> None:
    url = server.url.replace("http:", "https:")
    with pytest.raises(ConfigError, match=r"open .*nowhere\.pem: no such file"):
        Connection(url, Settings(ca_file=str(tmp_path / "nowhere.pem"))).request(GET, 5.0)


def test_a_plain_server_fails_the_handshake_of_an_https_url(server: FakeServer) -> None:
    url = server.url.replace("http:", "https:")
    with pytest.raises(ConnectFailed, match="TLS handshake failed"):
        Connection(url, Settings(connect_seconds=0.2)).request(GET, 5.0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=20))
def test_chunks_join_to_what_was_cut_and_the_rest_is_left(parts: list[bytes], rest: bytes) -> None:
    wire = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts)
    stream = io.BytesIO(wire + b"0\r\nTrailer: x\r\n\r\n" + rest)
    headers = {"transfer-encoding": "chunked"}
    body, has_certain_end = subject._read_body(stream, "GET", 200, headers)
    assert (body, has_certain_end) == (b"".join(parts), True)
    assert stream.read() == rest
