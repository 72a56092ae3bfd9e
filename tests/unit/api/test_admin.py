"""What operators of the 0.4 era do over the peer port."""

from typing import cast

import msgspec
import pytest
from tests.unit.api.conftest import FakeExchange, FakeServer

from kvorum.api.admin import merge_config
from kvorum.api.peers import PeerRouter
from kvorum.config import LEGACY_CONFIG, Config
from kvorum.errors import UnavailableError
from kvorum.membership import ClusterConfig, Member, MembershipFault
from kvorum.server.reconfiguration import Answer, AnswerCompletion, Reconfiguration
from kvorum.server.server import Server

MACHINE_2 = (
    '{"name":"machine2","state":"follower","clientURL":"http://127.0.0.1:4002",'
    '"peerURL":"http://127.0.0.1:7002"}'
)


class AdminServer(FakeServer):
    """Takes a config at once."""

    def propose_config(self, config: ClusterConfig, completion: object) -> None:
        assert callable(completion)
        if self.unavailable is None:
            self.cluster.set_attributes(
                msgspec.structs.replace(self.cluster.attributes, config=config)
            )
        completion(self.unavailable or self.cluster.attributes)


class Desk:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, config: Config = LEGACY_CONFIG) -> None:
        self.server = AdminServer(config, first_revision=3)
        self.server.applied_index = 300
        self.server.add_member(2, index=4)
        self.removed: list[int] = []
        self.answer: Answer = Member(2, "machine2", ())
        self.router = PeerRouter(cast("Server", self.server), lambda _: None)

        def remove(_: Reconfiguration, member_id: int, completion: AnswerCompletion) -> None:
            self.removed.append(member_id)
            completion(self.answer)

        monkeypatch.setattr(Reconfiguration, "remove", remove)

    def send(self, method: str, target: str, body: bytes = b"") -> FakeExchange:
        exchange = FakeExchange(method, target.encode(), body)
        self.router(exchange)  # type: ignore[arg-type]
        return exchange


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


@pytest.mark.parametrize("target", ["/v2/admin/machines/machine2", "/remove/machine2"])
def test_a_removal_answers_the_index_as_a_varint(desk: Desk, target: str) -> None:
    exchange = desk.send("DELETE", target)
    assert exchange.status == 200
    assert exchange.header_lines["Content-Type"] == "application/octet-stream"
    assert exchange.sent == b"\xac\x02\0\0\0\0\0\0"
    assert desk.removed == [2]


def test_the_name_in_a_path_may_be_escaped(desk: Desk) -> None:
    desk.send("DELETE", "/remove/machine%32")
    assert desk.removed == [2]


def test_removing_an_unknown_machine_does_nothing_and_says_so_in_the_log(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = desk.send("DELETE", "/remove/nobody")
    assert (exchange.status, exchange.sent) == (200, b"")
    assert desk.removed == []
    assert "nobody was not removed: no such machine" in caplog.text


def test_removing_without_a_leader_does_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.server.leader_id = 0
    exchange = desk.send("DELETE", "/remove/machine2")
    assert (exchange.status, exchange.sent) == (200, b"")
    assert desk.removed == []
    assert "machine2 was not removed: no leader" in caplog.text


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (MembershipFault.UNHEALTHY, "unhealthy cluster"),
        (UnavailableError("request timed out"), "request timed out"),
    ],
)
def test_a_removal_that_cannot_be_made_is_an_error(
    desk: Desk, caplog: pytest.LogCaptureFixture, answer: Answer, cause: str
) -> None:
    desk.answer = answer
    exchange = desk.send("DELETE", "/remove/machine2")
    assert exchange.status == 500
    assert f'"errorCode":300,"message":"Raft Internal Error","cause":"{cause}"' in exchange.text
    assert f"machine2 was not removed: {cause}" in caplog.text


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("DELETE", "/v2/admin/machines/machine1"),
        ("DELETE", "/remove/machine2"),
        ("PUT", "/v2/admin/config"),
    ],
)
def test_a_follower_redirects_to_the_leaders_peer_url(desk: Desk, method: str, target: str) -> None:
    desk.server.leader_id = 2
    exchange = desk.send(method, target, b"{}")
    assert exchange.status == 307
    assert exchange.header_lines["Location"] == f"http://127.0.0.1:7002{target}"
    assert desk.removed == []
    old_config = '{"activeSize":9,"removeDelay":1800,"syncInterval":5}\n'
    assert exchange.text == (old_config if method == "PUT" else "")


def test_only_delete_removes(desk: Desk) -> None:
    exchange = desk.send("GET", "/remove/machine2")
    assert (exchange.status, exchange.sent) == (405, b"")
    assert desk.send("POST", "/v2/admin/machines/machine2").status == 404
    assert desk.send("DELETE", "/v2/admin/machines/").status == 404
    assert desk.send("DELETE", "/v2/admin/machines").status == 404
    assert desk.send("OPTIONS", "/remove/machine2").status == 200
    assert desk.removed == []


def test_one_machine(desk: Desk) -> None:
    assert desk.send("GET", "/v2/admin/machines/machine2").text == MACHINE_2 + "\n"
    unknown = desk.send("GET", "/v2/admin/machines/nobody")
    assert (unknown.status, unknown.text) == (200, "null\n")


def test_the_config_is_replaced_as_far_as_it_is_given(desk: Desk) -> None:
    body = b'{"activeSize":1, "removeDelay":0.5,"syncInterval":0.1}'
    exchange = desk.send("PUT", "/v2/admin/config", body)
    assert exchange.status == 200
    assert exchange.text == '{"activeSize":3,"removeDelay":2,"syncInterval":1}\n'
    assert exchange.header_lines["Content-Type"] == "application/json"
    assert desk.send("GET", "/v2/admin/config").text == exchange.text
    assert desk.send("POST", "/v2/admin/config").status == 404
    assert desk.send("DELETE", "/v2/admin/config").status == 404


@pytest.mark.parametrize(
    ("given", "merged"),
    [
        (b"{}", ClusterConfig(9, 1800, 5)),
        (b'{"activeSize":5.9}', ClusterConfig(5, 1800, 5)),
        (b'{"activeSize":"7","removeDelay":true,"syncInterval":null}', ClusterConfig(9, 1800, 5)),
        (b'{"removeDelay":2.5,"other":[1]}', ClusterConfig(9, 2.5, 5)),
        (b'{"activeSize":-1e300,"removeDelay":1e300}', ClusterConfig(3, float(1 << 53), 5)),
    ],
)
def test_only_numbers_count(given: bytes, merged: ClusterConfig) -> None:
    raw = msgspec.json.decode(given, type=dict[str, msgspec.Raw])
    assert merge_config(ClusterConfig(), raw) == merged


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"junk", "invalid character 'j' looking for beginning of value\n"),
        (b"", "EOF\n"),
        (b'{"other":' + b"[" * 100_000, "nested too deep\n"),
    ],
)
def test_a_config_that_is_no_json_is_an_error(desk: Desk, body: bytes, text: str) -> None:
    exchange = desk.send("PUT", "/v2/admin/config", body)
    assert (exchange.status, exchange.text) == (500, text)


def test_a_config_that_is_not_committed_is_an_error(desk: Desk) -> None:
    desk.server.unavailable = UnavailableError("request timed out")
    assert desk.send("PUT", "/v2/admin/config", b"{}").status == 500
    desk.server.leader_id = 0
    assert '"errorCode":300' in desk.send("PUT", "/v2/admin/config", b"{}").text


@pytest.mark.parametrize(
    "target", ["/v2/admin/config", "/v2/admin/machines", "/v2/admin/machines/machine2"]
)
def test_there_is_none_of_it_in_the_later_era(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    desk = Desk(monkeypatch, Config())
    assert desk.send("GET", target).status == 404
    assert desk.send("DELETE", "/remove/machine2").status == 404
