"""Which paths and methods are served, and how all others are answered."""

from collections.abc import Callable
from html import escape
from typing import Any

import msgspec
import pytest

from kvorum.config import LEGACY_CONFIG, Config, Era
from kvorum.protocol.http1 import Http1Connection, Settings

# Path, status of GET in the 0.4 era and in the 3.x era.
SERVED = [
    ("/v2/keys/", 200, 200),
    ("/v2/keys", 404, 200),
    ("/v2/machines", 200, 200),
    ("/v2/peers", 200, 404),
    ("/v2/leader", 200, 404),
    ("/v2/stats/self", 200, 200),
    ("/v2/stats/leader", 200, 200),
    ("/v2/stats/store", 200, 200),
    ("/v2/members", 404, 200),
    ("/v2/members/leader", 404, 200),
    ("/version", 200, 200),
    ("/health", 404, 200),
    ("/v2/machines/", 404, 404),
    ("/v2/leader/", 404, 404),
    ("/version/", 404, 404),
    ("/", 404, 404),
    ("/v2", 404, 404),
    ("/v2/keysx", 404, 404),
    ("/mod/v2/lock/x", 200, 404),
    ("/mod/v2/leader/x", 200, 404),
    ("/mod/dashboard/", 404, 404),
    ("/v2/admin/config", 404, 404),
    ("/config", 404, 404),
]  # fmt: skip


@pytest.mark.parametrize(("path", "in_legacy", "in_modern"), SERVED)
def test_served(legacy: Any, modern: Any, path: str, in_legacy: int, in_modern: int) -> None:
    assert legacy.get(path).status == in_legacy
    assert modern.get(path).status == in_modern


@pytest.mark.parametrize("path", [path for path, _, _ in SERVED])
def test_options_is_answered_everywhere(either: Any, path: str) -> None:
    exchange = either.send("OPTIONS", path)
    assert (exchange.status, exchange.sent) == (200, b"")


@pytest.mark.parametrize("target", ["/v2//keys", "/v2/keys/%2e%2e/x", "/nope"])
def test_options_comes_before_everything_else(either: Any, target: str) -> None:
    assert either.send("OPTIONS", target).status == 200


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/v2/keys//a", "/v2/keys/a"),
        ("/v2/keys/a//b/?x=1&y=%2F", "/v2/keys/a/b/?x=1&y=%2F"),
        ("/v2/keys/a/./b", "/v2/keys/a/b"),
        ("/v2/keys/a/../b", "/v2/keys/b"),
        ("/v2/keys/a/..", "/v2/keys"),
        ("//v2/machines", "/v2/machines"),
        ("/v2/keys/a%2F%2Fb%20c%3F", "/v2/keys/a/b%20c%3F"),
        ("/v2/keys/%2E%2E/%c3%a4", "/v2/%C3%A4"),
        ("/../..", "/"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"])
def test_unclean_path_is_redirected(either: Any, method: str, target: str, location: str) -> None:
    exchange = either.send(method, target, "value=1")
    assert exchange.status == 301
    assert exchange.header_lines["Location"] == location
    shown = f'<a href="{escape(location)}">Moved Permanently</a>.\n\n'
    is_modern = either.server.config.era is Era.MODERN
    assert exchange.text == (shown if is_modern and method == "GET" else "")
    has_type = is_modern and method in {"GET", "HEAD"}
    assert ("Content-Type" in exchange.header_lines) == has_type
    assert either.server.commands == []


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PATCH", "/v2/keys/a", "HEAD,GET,PUT,POST,DELETE"),
        ("get", "/v2/keys/a", "HEAD,GET,PUT,POST,DELETE"),
        ("HEAD", "/version", "GET"),
        ("POST", "/version", "GET"),
        ("PUT", "/v2/machines", "GET,HEAD"),
        ("DELETE", "/v2/stats/store", "GET"),
    ],
)
def test_wrong_method(legacy: Any, modern: Any, method: str, path: str, allow: str) -> None:
    missing = legacy.send(method, path)
    assert missing.status == 404
    assert missing.text == ("" if method == "HEAD" else "404 page not found\n")
    refused = modern.send(method, path)
    assert refused.status == 405
    assert refused.header_lines["Allow"] == allow
    assert refused.header_lines["X-Content-Type-Options"] == "nosniff"
    assert "X-Content-Type-Options" not in missing.header_lines
    assert refused.text == ("" if method == "HEAD" else "Method Not Allowed\n")


def test_unknown_path(either: Any) -> None:
    exchange = either.send("PUT", "/nope", "value=1")
    assert (exchange.status, exchange.text) == (404, "404 page not found\n")
    assert exchange.header_lines["Content-Type"] == "text/plain; charset=utf-8"


def test_cors_of_0_4_is_off_until_asked_for(
    legacy: Any, make_client: Callable[[Config], Any]
) -> None:
    assert "Access-Control-Allow-Origin" not in legacy.get("/v2/keys/").header_lines
    open_to_all = make_client(msgspec.structs.replace(LEGACY_CONFIG, cors=("*",)))
    for target in ("/v2/keys/", "/nope", "/v2//x", "/version", "/v2/keys/nope"):
        lines = open_to_all.get(target).header_lines
        assert lines["Access-Control-Allow-Origin"] == "*"
        assert lines["Access-Control-Allow-Headers"] == "accept, content-type"


def test_cors_echoes_a_listed_origin(make_client: Callable[[Config], Any]) -> None:
    client = make_client(msgspec.structs.replace(LEGACY_CONFIG, cors=("http://a",)))
    known = client.send("GET", "/v2/keys/", headers={b"origin": b"http://a"})
    assert known.header_lines["Access-Control-Allow-Origin"] == "http://a"
    wait = client.send("GET", "/v2/keys/?wait=true", headers={b"origin": b"http://a"})
    assert wait.header_lines["Access-Control-Allow-Origin"] == "http://a"
    other = client.send("GET", "/v2/keys/", headers={b"origin": b"http://b"})
    assert "Access-Control-Allow-Origin" not in other.header_lines


def test_through_a_connection(legacy: Any) -> None:
    """The same router behind the real protocol: bytes in, bytes out."""
    connection = Http1Connection(Settings(1 << 20), "127.0.0.1:5000", lambda: None)

    def talk(data: bytes) -> bytes:
        for exchange in connection.receive_data(data):
            legacy.router(exchange)
        return connection.data_to_send()

    put = talk(
        b"PUT /v2/keys/a HTTP/1.1\r\nHost: h\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nvalue=1"
    )
    assert put == (
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-Etcd-Index: 3\r\n"
        b"X-Raft-Index: 4\r\nX-Raft-Term: 0\r\nContent-Length: 83\r\n\r\n"
        b'{"action":"set","node":{"key":"/a","value":"1","modifiedIndex":3,"createdIndex":3}}'
    )
    assert talk(b"HEAD /v2/keys/a HTTP/1.1\r\nHost: h\r\n\r\n").endswith(b"Term: 0\r\n\r\n")
    head = talk(b"GET /v2/keys/a?wait=true HTTP/1.1\r\nHost: h\r\n\r\n")
    assert head.endswith(b"Transfer-Encoding: chunked\r\n\r\n")
    legacy.put("/v2/keys/a", "value=2")
    event = connection.data_to_send()
    assert event.endswith(b"}}\r\n0\r\n\r\n")
    assert not connection.should_close
    talk(b"GET /v2/keys/a?wait=true HTTP/1.1\r\nHost: h\r\n\r\n")
    assert legacy.server.hub.watcher_count == 1
    connection.connection_lost()
    assert legacy.server.hub.watcher_count == 0


def test_every_request_is_told_when_debug_lines_are_wanted(
    make_client: Callable[[Config], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "kvorum.api")
    client = make_client(LEGACY_CONFIG)
    assert client.get("/v2/keys/%C3%A9?recursive=true").status == 404
    assert client.get("/v2/keys/\u00e9").status == 404
    assert caplog.messages == [
        "[recv] GET http://127.0.0.1:4001 /v2/keys/%C3%A9?recursive=true [127.0.0.1:5000]",
        "[recv] GET http://127.0.0.1:4001 /v2/keys/\u00e9 [127.0.0.1:5000]",
    ]
    caplog.set_level("INFO", "kvorum.api")
    assert make_client(LEGACY_CONFIG).get("/v2/keys/").status == 200
    assert len(caplog.messages) == 2
