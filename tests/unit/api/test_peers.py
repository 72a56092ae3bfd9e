"""The peer port as people and joiners see it."""

import json
from typing import cast

import msgspec
import pytest
from tests.unit.api.conftest import FakeExchange, FakeServer

from kvorum.api.peers import PeerRouter
from kvorum.config import LEGACY_CONFIG
from kvorum.errors import PeerAddressExists, UnavailableError
from kvorum.server.seats import Seat, SeatRequest, Seats
from kvorum.server.server import Server

JOIN = b'{"minVersion":2,"maxVersion":2,"name":"machine4","raftURL":"http://h:7004","etcdURL":"http://h:4004"}'


class Desk:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        config = msgspec.structs.replace(
            LEGACY_CONFIG, name="machine1", advertised_client_urls=("http://127.0.0.1:4001",)
        )
        self.server = FakeServer(config, first_revision=3)
        self.server.add_member(2, index=4)
        self.upgrades: list[object] = []
        self.requests: list[SeatRequest] = []
        self.answer: object = Seat(0xCAFE, 0xBEEF, 300, {1: "http://127.0.0.1:7001"})
        self.router = PeerRouter(cast("Server", self.server), self.upgrades.append)

        def request(seats: Seats, request: SeatRequest, completion: object) -> None:
            del seats
            self.requests.append(request)
            assert callable(completion)
            completion(self.answer)

        monkeypatch.setattr(Seats, "request", request)

    def send(self, method: str, target: str, body: bytes = b"") -> FakeExchange:
        exchange = FakeExchange(method, target.encode(), body)
        self.router(exchange)  # type: ignore[arg-type]
        return exchange


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/version", 200, "2"),
        ("/version/2/check", 200, ""),
        ("/version/3/check", 403, ""),
        ("/version/x/check", 404, "404 page not found\n"),
        ("/name", 200, "machine1"),
        ("/etcdURL", 200, "http://127.0.0.1:4001"),
        ("/v2/keys/", 404, "404 page not found\n"),
        (
            "/v2/admin/config",
            200,
            '{"activeSize":9,"removeDelay":1800,"syncInterval":5}\n',
        ),
        (
            "/v2/admin/machines",
            200,
            '[{"name":"machine1","state":"leader","clientURL":"http://127.0.0.1:4001",'
            '"peerURL":"http://127.0.0.1:7001"},{"name":"machine2","state":"follower",'
            '"clientURL":"http://127.0.0.1:4002","peerURL":"http://127.0.0.1:7002"}]\n',
        ),
        (
            "/members",
            200,
            '{"cluster_id":"cafe","members":[{"id":"1","name":"machine1",'
            '"peerURLs":["http://127.0.0.1:7001"],"clientURLs":["http://127.0.0.1:4001"]},'
            '{"id":"2","name":"machine2","peerURLs":["http://127.0.0.1:7002"],'
            '"clientURLs":["http://127.0.0.1:4002"]}],"removed":[]}\n',
        ),
    ],
)
def test_questions(desk: Desk, target: str, status: int, text: str) -> None:
    exchange = desk.send("GET", target)
    assert (exchange.status, exchange.text) == (status, text)


def test_who_was_removed_is_listed(desk: Desk) -> None:
    desk.server.cluster.remove(2)
    listing = msgspec.json.decode(desk.send("GET", "/members").sent)
    assert [member["id"] for member in listing["members"]] == ["1"]
    assert listing["removed"] == ["2"]


@pytest.mark.parametrize("target", ["/raft/stream", "/raft/snapshot"])
def test_members_calls_go_to_the_transport(desk: Desk, target: str) -> None:
    exchange = desk.send("POST", target)
    assert desk.upgrades == [exchange]
    assert desk.send("GET", target).status == 404


def test_options_are_answered_everywhere(desk: Desk) -> None:
    assert desk.send("OPTIONS", "/nowhere").status == 200


def test_a_seat_is_told_in_headers_and_the_index_as_a_varint(desk: Desk) -> None:
    exchange = desk.send("PUT", "/join", JOIN)
    assert exchange.status == 200
    assert exchange.header_lines == {
        "Content-Type": "application/octet-stream",
        "x-kvorum-cluster-id": "cafe",
        "x-kvorum-member-id": "beef",
        "x-kvorum-peers": "1=http://127.0.0.1:7001",
    }
    assert exchange.sent == b"\xac\x02\0\0\0\0\0\0"
    assert desk.requests == [SeatRequest("machine4", "http://h:7004", "http://h:4004")]


def test_a_follower_redirects_to_the_leaders_peer_url(desk: Desk) -> None:
    desk.server.leader_id = 2
    exchange = desk.send("PUT", "/join", JOIN)
    assert exchange.status == 307
    assert exchange.header_lines["Location"] == "http://127.0.0.1:7002/join"
    assert desk.requests == []


def test_without_a_leader_a_join_is_refused(desk: Desk) -> None:
    desk.server.leader_id = 0
    exchange = desk.send("PUT", "/join", JOIN)
    assert exchange.status == 500
    assert '"errorCode":300' in exchange.text


@pytest.mark.parametrize(
    "body", [b"", b"junk", b"[]", b'{"name":1}', JOIN[:-1] + b',"memberID":"xyz"}']
)
def test_a_join_that_cannot_be_read_is_refused(desk: Desk, body: bytes) -> None:
    exchange = desk.send("PUT", "/join", body)
    assert (exchange.status, exchange.text) == (500, "")


@pytest.mark.parametrize(
    ("answer", "status", "part"),
    [
        (PeerAddressExists("http://h:4004", 9), 400, '"errorCode":109'),
        (UnavailableError("request timed out"), 500, '"errorCode":300'),
    ],
)
def test_refusals_come_as_plain_text(desk: Desk, answer: object, status: int, part: str) -> None:
    desk.answer = answer
    exchange = desk.send("PUT", "/join", JOIN)
    assert exchange.status == status
    assert exchange.header_lines["Content-Type"] == "text/plain; charset=utf-8"
    assert part in exchange.text


def test_who_comes_with_anothers_address_is_told_of(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.answer = PeerAddressExists("http://h:4004", 9)
    desk.send("PUT", "/join", JOIN)
    asked = json.loads(JOIN)
    assert caplog.messages == [
        f"{asked['name']} tries to join the cluster with existing URL {asked['etcdURL']}"
    ]
