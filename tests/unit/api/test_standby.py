"""A machine that stands by: where it sends clients, and what it answers when it knows nowhere."""

import msgspec
import pytest
from tests.unit.api.conftest import FakeExchange

from kvorum.api.standby import StandbyHandlers
from kvorum.config import LEGACY_CONFIG
from kvorum.server.standby import Machine, Standby

CONFIG = msgspec.structs.replace(LEGACY_CONFIG, name="machine4", cors=("*",))
LEADER = Machine("machine1", "leader", "http://127.0.0.1:4001", "http://127.0.0.1:7001")


def ask(port: str, method: str, target: str, machines: list[Machine]) -> FakeExchange:
    handlers = StandbyHandlers(CONFIG, Standby(CONFIG, machines))
    exchange = FakeExchange(method, target.encode())
    getattr(handlers, port)(exchange)
    return exchange


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "HEAD", "get"])
@pytest.mark.parametrize(
    "target", ["/v2/keys/a?recursive=true&sorted=true", "/version", "/", "/a%20b//c/"]
)
def test_everything_is_for_the_leader(method: str, target: str) -> None:
    exchange = ask("client", method, target, [LEADER])
    assert (exchange.status, exchange.sent) == (307, b"")
    assert exchange.header_lines["Location"] == f"http://127.0.0.1:4001{target}"
    assert exchange.header_lines["Access-Control-Allow-Origin"] == "*"


def test_without_a_leader_there_is_an_error() -> None:
    exchange = ask("client", "GET", "/v2/keys/a", [Machine(peer_url="http://127.0.0.1:7001")])
    assert exchange.status == 400
    assert exchange.text == '{"errorCode":402,"message":"Standby Internal Error","index":0}\n'


@pytest.mark.parametrize("machines", [[], [LEADER]])
def test_peers_find_nothing(machines: list[Machine]) -> None:
    for target in ("/v2/admin/machines", "/join", "/raft/stream", "/version"):
        exchange = ask("peer", "GET", target, machines)
        assert (exchange.status, exchange.text) == (404, "404 page not found\n")


@pytest.mark.parametrize("port", ["client", "peer"])
def test_options_are_answered_on_both_ports(port: str) -> None:
    exchange = ask(port, "OPTIONS", "/v2/keys/a", [LEADER])
    assert (exchange.status, exchange.sent) == (200, b"")
    assert exchange.header_lines["Access-Control-Allow-Origin"] == "*"
