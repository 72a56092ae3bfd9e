"""A joiner's side: peers in turn, redirects, rounds with pauses, and every kind of refusal."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.server.conftest import FakeClock

from kvorum.config import LEGACY_CONFIG, Config, TlsFiles
from kvorum.errors import ClusterFull, UnavailableError
from kvorum.net.dialer import HttpReply
from kvorum.net.tls import Credentials
from kvorum.server import joining
from kvorum.server.seats import Seat

CONFIG = msgspec.structs.replace(
    LEGACY_CONFIG,
    name="machine2",
    advertised_peer_urls=("http://127.0.0.1:7002",),
    advertised_client_urls=("http://127.0.0.1:4002",),
    peers=("127.0.0.1:7001", " 127.0.0.1:7003", ""),
    retry_interval_seconds=0,
)

TLS = Path(__file__).parents[2] / "data" / "tls"

SEATED = HttpReply(
    200,
    {
        b"x-kvorum-cluster-id": b"ab",
        b"x-kvorum-member-id": b"cd",
        b"x-kvorum-peers": b"1f=http://127.0.0.1:7001",
    },
    b"\x05\0\0\0\0\0\0\0",
)
REDIRECT = HttpReply(307, {b"location": b"http://127.0.0.1:7009/join"}, b"")


class Peers:
    """Answers by URL, or raises; remembers who was asked what."""

    def __init__(self, answers: dict[str, HttpReply | Exception]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, bytes]] = []
        self.shown: list[Credentials | None] = []

    async def request(
        self,
        url: str,
        method: str,
        headers: dict[str, str],
        body: bytes,
        patience: float,
        credentials: Credentials | None,
    ) -> HttpReply:
        del headers, patience
        self.shown.append(credentials)
        self.asked.append((method, url, body))
        answer = self.answers.get(url, UnavailableError("connection refused"))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def peers_of(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[dict[str, HttpReply | Exception]], Peers]:
    def make(answers: dict[str, HttpReply | Exception]) -> Peers:
        peers = Peers(answers)
        monkeypatch.setattr(joining, "http_request", peers.request)
        return peers

    return make


MakePeers = Callable[[dict[str, HttpReply | Exception]], Peers]


def run(coroutine: Coroutine[Any, Any, Seat | None]) -> Seat | None:
    return asyncio.run(coroutine)


def test_the_first_peer_that_answers_gives_the_seat(peers_of: MakePeers) -> None:
    peers = peers_of({"http://127.0.0.1:7003/join": SEATED})
    seat = run(joining.join(CONFIG, FakeClock()))
    assert seat == Seat(0xAB, 0xCD, 0, {0x1F: "http://127.0.0.1:7001"})
    assert [url for _, url, _ in peers.asked] == [
        "http://127.0.0.1:7001/join",
        "http://127.0.0.1:7003/join",
    ]


def test_a_join_says_who_asks_in_the_old_form(peers_of: MakePeers) -> None:
    peers = peers_of({"http://127.0.0.1:7001/join": SEATED})
    run(joining.join(CONFIG, FakeClock()))
    method, _, body = peers.asked[0]
    assert method == "PUT"
    assert msgspec.json.decode(body) == {
        "minVersion": 2,
        "maxVersion": 2,
        "name": "machine2",
        "raftURL": "http://127.0.0.1:7002",
        "etcdURL": "http://127.0.0.1:4002",
    }


def test_with_a_certificate_peers_are_asked_over_https(peers_of: MakePeers) -> None:
    files = TlsFiles(cert_file=TLS / "server.pem", key_file=TLS / "server.key")
    peers = peers_of({"https://127.0.0.1:7003/join": SEATED})
    run(joining.join(msgspec.structs.replace(CONFIG, peer_tls=files), FakeClock()))
    assert [url for _, url, _ in peers.asked] == [
        "https://127.0.0.1:7001/join",
        "https://127.0.0.1:7003/join",
    ]
    assert None not in peers.shown


def test_a_member_with_data_names_its_seat(peers_of: MakePeers) -> None:
    peers = peers_of({"http://127.0.0.1:7001/join": SEATED})
    run(joining.join_once(CONFIG, CONFIG.peers, 0xCD))
    assert msgspec.json.decode(peers.asked[0][2])["memberID"] == "cd"


def test_redirects_lead_to_the_leader(peers_of: MakePeers) -> None:
    peers = peers_of({"http://127.0.0.1:7001/join": REDIRECT, "http://127.0.0.1:7009/join": SEATED})
    assert run(joining.join(CONFIG, FakeClock())) is not None
    assert peers.asked[0][2] == peers.asked[1][2]


def test_redirects_in_a_circle_end(peers_of: MakePeers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kvorum.server")
    peers_of({"http://127.0.0.1:7001/join": REDIRECT, "http://127.0.0.1:7009/join": REDIRECT})
    assert run(joining.join_once(CONFIG, ["127.0.0.1:7001"], 0)) is None
    assert "too many redirects" in caplog.text


@pytest.mark.parametrize("headers", [{}, {b"location": b"\xff"}])
def test_a_redirect_to_nowhere_is_refused(
    peers_of: MakePeers, caplog: pytest.LogCaptureFixture, headers: dict[bytes, bytes]
) -> None:
    caplog.set_level("INFO", "kvorum.server")
    peers_of({"http://127.0.0.1:7001/join": HttpReply(307, headers, b"")})
    assert run(joining.join_once(CONFIG, ["127.0.0.1:7001"], 0)) is None
    assert "attempted to join via 127.0.0.1:7001 failed" in caplog.text


def test_rounds_are_told_and_end(peers_of: MakePeers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kvorum.server")
    peers = peers_of({})
    with pytest.raises(UnavailableError, match="after 3 retries"):
        run(joining.join(CONFIG, FakeClock()))
    assert len(peers.asked) == 6
    assert (
        "machine2 attempted to join via 127.0.0.1:7001 failed: fail checking join version:"
        " Client Internal Error (connection refused)"
    ) in caplog.messages
    assert sum("at 0th time. Retrying in 0.0 seconds" in line for line in caplog.messages) == 1
    assert sum("at 1th time" in line for line in caplog.messages) == 1


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(
            HttpReply(
                400,
                {},
                b'{"errorCode":109,"message":"Peer address has existed","cause":"http://x"}\n',
            ),
            "fail on join request: Peer address has existed (http://x)",
            id="refused",
        ),
        pytest.param(
            HttpReply(404, {}, b"404 page not found"),
            "fail on join request: status 404 (404 page not found)",
            id="no such page",
        ),
        pytest.param(
            HttpReply(200, {}, b"\x05"), "the peer is not a kvorum server", id="another server"
        ),
        pytest.param(
            HttpReply(200, {**SEATED.headers, b"x-kvorum-member-id": b"-1"}, b"\x05"),
            "the peer is not a kvorum server",
            id="an id that is none",
        ),
        pytest.param(
            HttpReply(200, {**SEATED.headers, b"x-kvorum-peers": b"\xff=http://h:1"}, b"\x05"),
            "the peer is not a kvorum server",
            id="a peer's id that is none",
        ),
        pytest.param(
            HttpReply(400, {}, b'{"message":"\xff"}'),
            'fail on join request: status 400 ({"message":"\ufffd"})',
            id="no text",
        ),
        pytest.param(
            HttpReply(500, {}, b'{"x":' + b"[" * 100_000),
            "fail on join request: status 500",
            id="nested without end",
        ),
    ],
)
def test_refusals_are_told(
    peers_of: MakePeers, caplog: pytest.LogCaptureFixture, reply: HttpReply, reason: str
) -> None:
    caplog.set_level("INFO", "kvorum.server")
    peers_of({"http://127.0.0.1:7001/join": reply})
    assert run(joining.join_once(CONFIG, ["127.0.0.1:7001"], 0)) is None
    assert reason in caplog.text


def test_a_full_cluster_is_told_and_not_asked_again(
    peers_of: MakePeers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kvorum.server")
    body = b'{"errorCode":103,"message":"Reached the max number of peers in the cluster"}\n'
    peers = peers_of({"http://127.0.0.1:7001/join": HttpReply(400, {}, body)})
    with pytest.raises(ClusterFull):
        run(joining.join(CONFIG, FakeClock()))
    assert len(peers.asked) == 1
    assert caplog.messages[-1] == (
        "machine2 attempted to join via 127.0.0.1:7001 failed:"
        " Reached the max number of peers in the cluster"
    )


MODERN = Config(
    name="m2",
    advertised_peer_urls=("http://127.0.0.1:2382",),
    initial_cluster={"m1": ("http://127.0.0.1:2381",), "m2": ("http://127.0.0.1:2382",)},
    initial_cluster_state="existing",
)


def listing(*members: joining.ListedMember) -> HttpReply:
    body = msgspec.json.encode(joining.MemberListing("ab", list(members)))
    return HttpReply(200, {}, body)


M1 = joining.ListedMember("1", "m1", ("http://127.0.0.1:2381",), ())
M2 = joining.ListedMember("2", "", ("http://127.0.0.1:2382",), ())


def test_a_seat_is_found_by_its_peer_url(peers_of: MakePeers) -> None:
    peers_of({"http://127.0.0.1:2381/members": listing(M1, M2)})
    assert run(joining.find_seat(MODERN)) == Seat(0xAB, 2, 0, {1: "http://127.0.0.1:2381"})


def test_an_unknown_peer_url_has_no_seat(peers_of: MakePeers) -> None:
    peers_of({"http://127.0.0.1:2381/members": listing(M1)})
    with pytest.raises(UnavailableError, match="no match found"):
        run(joining.find_seat(MODERN))


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b'{"cluster_id":"\xff","members":[]}',
        b'{"x":' + b"[" * 100_000,
        b'{"cluster_id":"x","members":[]}',
        b'{"cluster_id":"a","members":[{"id":"-","name":"","peerURLs":[""],"clientURLs":[]}]}',
        b'{"cluster_id":"a","members":[{"id":"1","name":"","peerURLs":[],"clientURLs":[]}]}',
    ],
)
def test_nobody_to_ask_is_an_error(peers_of: MakePeers, body: bytes) -> None:
    peers_of({"http://127.0.0.1:2381/members": HttpReply(200, {}, body)})
    with pytest.raises(UnavailableError, match="cannot fetch cluster info"):
        run(joining.find_seat(MODERN))


def test_a_member_that_is_behind_is_not_the_last_word(peers_of: MakePeers) -> None:
    config = msgspec.structs.replace(
        MODERN, initial_cluster={**MODERN.initial_cluster, "m3": ("http://127.0.0.1:2383",)}
    )
    peers_of(
        {
            "http://127.0.0.1:2381/members": listing(M1),
            "http://127.0.0.1:2383/members": listing(M1, M2),
        }
    )
    seat = run(joining.find_seat(config))
    assert seat is not None
    assert seat.member_id == 2


def test_a_seat_that_was_taken_is_not_taken_again(peers_of: MakePeers) -> None:
    taken = joining.ListedMember("2", "m2", ("http://127.0.0.1:2382",), ())
    peers_of({"http://127.0.0.1:2381/members": listing(M1, taken)})
    with pytest.raises(UnavailableError, match="member 2 has already been bootstrapped"):
        run(joining.find_seat(MODERN))


def test_a_name_that_another_member_has_is_refused(peers_of: MakePeers) -> None:
    other = joining.ListedMember("7", "m2", ("http://127.0.0.1:2381",), ())
    peers_of({"http://127.0.0.1:2381/members": listing(other, M2)})
    with pytest.raises(UnavailableError, match='cluster, 7, is called "m2" already'):
        run(joining.find_seat(MODERN))


def started(member: joining.ListedMember) -> joining.ListedMember:
    return msgspec.structs.replace(member, name="m2", client_urls=("http://127.0.0.1:2379",))


@pytest.mark.parametrize(
    "answer",
    [
        None,
        HttpReply(404, {}, b"404 page not found"),
        listing(M1),
        listing(M1, M2),
        listing(M1, msgspec.structs.replace(M2, name="m2")),
        listing(started(M1), M2),
    ],
)
def test_a_first_start_is_one_that_nobody_has_seen(
    peers_of: MakePeers, answer: HttpReply | None
) -> None:
    peers = peers_of({"http://127.0.0.1:2381/members": answer} if answer else {})
    asyncio.run(joining.check_first_start(MODERN, 2))
    assert [url for _, url, _ in peers.asked] == ["http://127.0.0.1:2381/members"]


def test_a_second_first_start_is_refused(peers_of: MakePeers) -> None:
    config = msgspec.structs.replace(
        MODERN, initial_cluster={**MODERN.initial_cluster, "m3": ("http://127.0.0.1:2383",)}
    )
    peers_of({"http://127.0.0.1:2383/members": listing(M1, started(M2))})
    with pytest.raises(UnavailableError, match="member 2 has already been bootstrapped"):
        asyncio.run(joining.check_first_start(config, 2))


def of_cluster(cluster_id: str) -> HttpReply:
    return HttpReply(200, {}, msgspec.json.encode(joining.MemberListing(cluster_id, [])))


@pytest.mark.parametrize("others", [[], ["ab"], ["ab", "cd"]])
def test_data_goes_with_peers_of_its_cluster(peers_of: MakePeers, others: list[str]) -> None:
    urls = (f"http://127.0.0.1:{port}/members" for port in (7001, 7003))
    peers_of(dict(zip(urls, map(of_cluster, others), strict=False)))
    assert asyncio.run(joining.still_has_seat(CONFIG, 0xAB, 7))


@pytest.mark.parametrize(
    ("cluster_id", "removed", "has_seat"),
    [("ab", ["6", "7"], False), ("ab", ["6"], True), ("cd", ["7"], True)],
)
def test_peers_know_who_was_removed(
    peers_of: MakePeers, cluster_id: str, removed: list[str], has_seat: bool
) -> None:
    told = msgspec.json.encode(joining.MemberListing(cluster_id, [], removed))
    peers_of(
        {
            "http://127.0.0.1:7001/members": of_cluster("ab"),
            "http://127.0.0.1:7003/members": HttpReply(200, {}, told),
        }
    )
    assert asyncio.run(joining.still_has_seat(CONFIG, 0xAB, 7)) is has_seat


def test_data_of_another_cluster_is_refused(peers_of: MakePeers) -> None:
    peers_of({"http://127.0.0.1:7003/members": of_cluster("cd")})
    with pytest.raises(UnavailableError, match="machine2 holds data of another cluster") as caught:
        asyncio.run(joining.still_has_seat(CONFIG, 0xAB, 7))
    assert "cluster ID mismatch, ab here and cd there" in str(caught.value)
    assert "-force to let it join them" in str(caught.value)
