"""What goes over the wire to a discovery service, and what its answers are taken for."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from kvorum.client.answers import Event
from kvorum.errors import KeyExists, KvorumError, RemoteProtocolError, UnavailableError
from kvorum.net.dialer import HttpReply
from kvorum.server import registry as module
from kvorum.server.registry import Registry

URL = "http://10.0.0.1:4001/v2/keys/_etcd/registry/8d9c"

NODE = b'{"action":"get","node":{"key":"/a","value":"1","modifiedIndex":4,"createdIndex":4}}'
FOUND = HttpReply(200, {b"x-etcd-index": b"7"}, NODE)
EXISTS = HttpReply(412, {}, b'{"errorCode":105,"message":"Key already exists","index":7}')

Call = Callable[[Registry], Coroutine[Any, Any, Event]]


class Wire:
    """Gives its answers one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: HttpReply) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self._answers = list(answers)
        monkeypatch.setattr(module, "http_request", self._request)

    async def _request(
        self, url: str, method: str, headers: dict[str, str], body: bytes, seconds: float
    ) -> HttpReply:
        assert seconds > 0
        assert bool(body) == ("Content-Type" in headers)
        self.asked.append((method, url, body))
        return self._answers.pop(0)


def call(what: Call, url: str = URL) -> Event:
    return asyncio.run(what(Registry(url)))


@pytest.mark.parametrize(
    ("what", "method", "target", "body"),
    [
        (lambda one: one.get(), "GET", "", b""),
        (lambda one: one.get("a b"), "GET", "/a%20b", b""),
        (lambda one: one.get(sorted="false"), "GET", "?sorted=false", b""),
        (lambda one: one.wait(9, 60.0), "GET", "?recursive=true&wait=true&waitIndex=9", b""),
        (
            lambda one: one.set("m1", "http://127.0.0.1:7001", 604800),
            "PUT", "/m1", b"ttl=604800&value=http%3A%2F%2F127.0.0.1%3A7001",
        ),
        (
            lambda one: one.create("_state", "started"),
            "PUT", "/_state?prevExist=false", b"value=started",
        ),
    ],
)  # fmt: skip
def test_requests_are_those_of_the_protocol(
    monkeypatch: pytest.MonkeyPatch, what: Call, method: str, target: str, body: bytes
) -> None:
    wire = Wire(monkeypatch, FOUND)
    event = call(what, URL + "/")
    assert (event.node.value, event.etcd_index) == ("1", 7)
    assert wire.asked == [(method, URL + target, body)]


def test_redirects_are_followed_with_the_same_body(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = "http://10.0.0.2:4001/v2/keys/_etcd/registry/8d9c/m1"
    wire = Wire(monkeypatch, HttpReply(307, {b"location": elsewhere.encode()}, b""), FOUND)
    call(lambda one: one.set("m1", "x", 1))
    assert wire.asked == [
        ("PUT", f"{URL}/m1", b"ttl=1&value=x"),
        ("PUT", elsewhere, b"ttl=1&value=x"),
    ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (EXISTS, KeyExists),
        (
            HttpReply(500, {}, b'{"errorCode":300,"message":"Raft Internal Error"}'),
            UnavailableError,
        ),
        (HttpReply(503, {}, b"<html>"), UnavailableError),
        (HttpReply(404, {}, b"404 page not found\n"), RemoteProtocolError),
        (HttpReply(200, {}, b"<html>"), RemoteProtocolError),
    ],
)
def test_each_failure_is_of_its_kind(
    monkeypatch: pytest.MonkeyPatch, answer: HttpReply, error: type[KvorumError]
) -> None:
    Wire(monkeypatch, answer)
    with pytest.raises(error):
        call(lambda one: one.create("m1", "x"))
