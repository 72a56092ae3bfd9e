"""Host names and paths that are not answered to on some addresses."""

from typing import Any

import pytest
from tests.unit.api.conftest import FakeExchange

from kvorum.api.doors import check_hosts, host_of, only_watched
from kvorum.api.reply import Replies
from kvorum.protocol.exchange import Exchange
from kvorum.v2.policy import MODERN

REPLIES = Replies((), MODERN)


def ask(handler: Any, path: str, host: bytes | None = b"h:1") -> int:
    exchange = FakeExchange("GET", path.encode(), headers={} if host is None else {b"host": host})
    handler(exchange)
    return exchange.status


def answer(exchange: Exchange) -> None:
    REPLIES.text(exchange, b"answered")


@pytest.mark.parametrize(
    ("field", "host"),
    [
        (b"etcd.example", "etcd.example"),
        (b"ETCD.example:2379", "etcd.example"),
        (b"127.0.0.1:80", "127.0.0.1"),
        (b"[::1]:2379", "::1"),
        (b"[::1]", "::1"),
        (b"::1", "::1"),
        (b"h:", "h:"),
        (b":1", ":1"),
        (b"", ""),
        (b"\xff", "\xff"),
    ],
)
def test_a_host_is_the_name_without_its_port(field: bytes, host: str) -> None:
    assert host_of(field) == host


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"etcd.example:2379", 200),
        (b"Etcd.Example", 200),
        (b"[::1]:2379", 200),
        (b"evil.example", 421),
        (b"etcd.example.evil", 421),
        (b"", 421),
        (None, 421),
    ],
)
def test_hosts_that_are_not_listed_are_refused(host: bytes | None, status: int) -> None:
    assert ask(check_hosts(answer, ["etcd.example", "[::1]"], REPLIES), "/v2/keys/", host) == status


@pytest.mark.parametrize("names", [[], ["*"], ["a", "*"]])
def test_where_every_host_will_do_nobody_looks(names: list[str]) -> None:
    assert check_hosts(answer, names, REPLIES) is answer


def test_who_watches_sees_nothing_else() -> None:
    handler = only_watched(answer, REPLIES)
    paths = ("/metrics", "/health", "/health?serializable=true", "/v2/keys/", "/metrics/", "/")
    assert [ask(handler, path) for path in paths] == [200, 200, 200, 404, 404, 404]
