"""Who calls whom, and whom a member refuses."""

import pytest

from kvorum.peer import handshake
from kvorum.protocol.exchange import Exchange, Settings
from kvorum.protocol.http1 import Http1Connection
from kvorum.protocol.http1client import ResponseReader

CLUSTER, CALLER, TARGET = 0xC1, 0xA, 0xB
URL = "http://[::1]:7001"


def receive(request: bytes) -> Exchange:
    core = Http1Connection(Settings(100), "", lambda: None)
    (exchange,) = core.receive_data(request)
    return exchange


def test_request_offers_an_upgrade_and_says_who_calls() -> None:
    request = handshake.request(URL, handshake.STREAM_PATH, CLUSTER, CALLER, TARGET)
    exchange = receive(request)
    assert exchange.can_upgrade
    assert (exchange.method, exchange.path) == ("POST", b"/raft/stream")
    assert exchange.headers[b"host"] == b"[::1]:7001"
    caller = handshake.read_caller(exchange.headers, CLUSTER, TARGET)
    assert caller == handshake.Caller(CALLER, "")


def test_request_may_say_where_the_caller_listens() -> None:
    request = handshake.request(URL, handshake.STREAM_PATH, CLUSTER, CALLER, TARGET, "http://h:7")
    caller = handshake.read_caller(receive(request).headers, CLUSTER, TARGET)
    assert caller == handshake.Caller(CALLER, "", "http://h:7")


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        (b"upgrade", b"websocket", "only talks to kvorum members"),
        (b"x-kvorum-protocol", b"2", "speaks version 1"),
        (b"x-kvorum-cluster-id", b"c2", "another cluster: cluster ID mismatch"),
        (b"x-kvorum-cluster-id", b"junk", "another cluster"),
        (b"x-kvorum-target-id", b"a", "another member"),
        (b"x-kvorum-member-id", b"0", "does not say who it is"),
        (b"x-kvorum-member-id", b"-", "does not say who it is"),
        (b"x-kvorum-member-id", b"-a", "does not say who it is"),
        (b"x-kvorum-member-id", b"1_0", "does not say who it is"),
        (b"x-kvorum-member-id", b" 7 ", "does not say who it is"),
        (b"x-kvorum-member-id", b"1" * 40, "does not say who it is"),
        (b"x-kvorum-member-id", b"\xff", "does not say who it is"),
    ],
)
def test_caller_with_a_fault_is_told_which(name: bytes, value: bytes, fault: str) -> None:
    request = handshake.request(URL, handshake.STREAM_PATH, CLUSTER, CALLER, TARGET)
    headers = receive(request).headers
    for changed in ({**headers, name: value}, {k: v for k, v in headers.items() if k != name}):
        assert fault in handshake.read_caller(changed, CLUSTER, TARGET).fault


@pytest.mark.parametrize("url", ["http://[", "", "http://", "nonsense"])
def test_a_member_at_an_impossible_url_can_be_asked_for_in_vain(url: str) -> None:
    assert handshake.request(url, handshake.STREAM_PATH, CLUSTER, CALLER, TARGET)


def test_acceptance_is_a_switch_of_protocols() -> None:
    reader = ResponseReader()
    reader.receive_data(handshake.accept_head() + b"\r\nrest")
    assert reader.status == handshake.SWITCHING_PROTOCOLS
    assert reader.rest == b"rest"


def test_refusal_is_text() -> None:
    assert handshake.refusal_head(was_removed=False).startswith(b"HTTP/1.1 412 ")
    assert handshake.refusal_head(was_removed=True).startswith(b"HTTP/1.1 410 ")
