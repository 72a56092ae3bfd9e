"""The v2 client: what goes over the wire, whom it asks, when it tries again."""

from collections.abc import Callable

import pytest
from tests.unit.client.conftest import HANG_UP, FakeServer, Reply, broken, legacy, modern, redirect

from kvorum.client import v2
from kvorum.client.connection import AnswerLost, Settings
from kvorum.client.v2 import AllUnreachable, Client, Condition, SyncFailed, find_listening
from kvorum.errors import (
    EventIndexCleared,
    KeyExists,
    LeaderElection,
    RaftInternal,
    RemoteProtocolError,
)

SET = (
    b'{"action":"set","node":{"key":"/message","value":"Hello","modifiedIndex":3,"createdIndex":3}}'
)
NO_LEADER = b'{"errorCode":300,"message":"Raft Internal Error","index":15}\n'
EXISTS = b'{"errorCode":105,"message":"Key already exists","cause":"/a","index":49}\n'
EVERYTHING = Condition(prev_exist=False, prev_value="", prev_index=0)


def event(index: int, value: str = "x") -> bytes:
    node = '{"key":"/w","value":"%s","modifiedIndex":%d,"createdIndex":%d}'
    return ('{"action":"set","node":' + node % (value, index, index) + "}").encode()


def cleared(index: int) -> bytes:
    message = "The event in requested index is outdated and cleared"
    return (
        b'{"errorCode":401,"message":"%b","cause":"the requested history has been cleared'
        b' [210/3]","index":%d}\n' % (message.encode(), index)
    )


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v2, "PAUSE_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("call", "method", "target", "body"),
    [
        (lambda c: c.get("/message"), "GET", "/v2/keys/message", b""),
        (lambda c: c.get("message/"), "GET", "/v2/keys/message", b""),
        (lambda c: c.get("/"), "GET", "/v2/keys/", b""),
        (lambda c: c.get("/a b?/é%"), "GET", "/v2/keys/a%20b%3F/%C3%A9%25", b""),
        (
            lambda c: c.get("/d", recursive=True, is_sorted=True, quorum=True, consistent=True),
            "GET",
            "/v2/keys/d?recursive=true&sorted=true&quorum=true&consistent=true",
            b"",
        ),
        (lambda c: c.put("/a", "x & y"), "PUT", "/v2/keys/a", b"value=x+%26+y"),
        (lambda c: c.put("/a", b"\xff"), "PUT", "/v2/keys/a", b"value=%FF"),
        (lambda c: c.put("/a", "\udcff"), "PUT", "/v2/keys/a", b"value=%FF"),
        (lambda c: c.put("/a", "", ttl=5), "PUT", "/v2/keys/a", b"value=&ttl=5"),
        (lambda c: c.put("/d", is_directory=True), "PUT", "/v2/keys/d", b"dir=true"),
        (
            lambda c: c.put(
                "/a", "b", condition=Condition(prev_exist=False, prev_value="", prev_index=0)
            ),
            "PUT",
            "/v2/keys/a?prevExist=false&prevValue=&prevIndex=0",
            b"value=b",
        ),
        (lambda c: c.post("/q", "job", ttl=9), "POST", "/v2/keys/q", b"value=job&ttl=9"),
        (lambda c: c.delete("/a"), "DELETE", "/v2/keys/a", b""),
        (
            lambda c: c.delete("/d", is_directory=True, recursive=True),
            "DELETE",
            "/v2/keys/d?dir=true&recursive=true",
            b"",
        ),
        (
            lambda c: c.delete("/a", condition=Condition(prev_value="v v", prev_index=7)),
            "DELETE",
            "/v2/keys/a?prevValue=v+v&prevIndex=7",
            b"",
        ),
    ],
)
def test_each_call_is_one_request(
    server: FakeServer, call: Callable[[Client], object], method: str, target: str, body: bytes
) -> None:
    server.answers(legacy(200, SET))
    with Client([server.url]) as client:
        call(client)
    sent = server.received[0]
    assert (sent.method, sent.target, sent.body) == (method, target, body)


@pytest.mark.parametrize("frame", [legacy, modern], ids=["0.4", "3.x"])
def test_an_answer_of_either_era_is_the_same_event(
    server: FakeServer, frame: Callable[..., Reply]
) -> None:
    server.answers(frame(201, SET, index=3))
    with Client([server.url]) as client:
        found = client.put("/message", "Hello")
    assert (found.node.value, found.etcd_index, found.raw) == ("Hello", 3, SET)


def test_a_refusal_raises_the_contracts_error(server: FakeServer) -> None:
    server.answers(legacy(412, EXISTS))
    with Client([server.url]) as client, pytest.raises(KeyExists) as caught:
        client.put("/a", "1", condition=Condition(prev_exist=False))
    assert (caught.value.cause, caught.value.index) == ("/a", 49)


def test_text_endpoints_are_told_as_they_are(server: FakeServer) -> None:
    server.answers(
        legacy(200, b"http://a:4001, http://b:4001", is_event=False),
        legacy(200, b"http://a:7001", is_event=False),
        legacy(200, b"etcd 0.4.6", is_event=False),
        legacy(500, b'{"errorCode":301,"message":"During Leader Election","index":3}\n'),
        legacy(500, b'{"errorCode":301,"message":"During Leader Election","index":3}\n'),
    )
    with Client([server.url]) as client:
        assert client.list_machines() == ["http://a:4001", "http://b:4001"]
        assert client.leader() == "http://a:7001"
        assert client.version() == "etcd 0.4.6"
        with pytest.raises(LeaderElection):
            client.leader()


def test_a_redirect_is_followed_with_method_and_body_and_remembered(
    server: FakeServer, other_server: FakeServer
) -> None:
    server.answers(redirect(f"{other_server.url}/v2/keys/a?prevExist=false"))
    other_server.answers(legacy(201, SET), legacy(200, SET))
    with Client([server.url, other_server.url]) as client:
        client.put("/a", "1", condition=Condition(prev_exist=False))
        client.get("/a")
        assert client.machines == [other_server.url, server.url]
    first = other_server.received[0]
    assert (first.method, first.target) == ("PUT", "/v2/keys/a?prevExist=false")
    assert first.body == b"value=1"
    assert len(server.received) == 1


def test_an_endless_redirect_is_given_up(server: FakeServer) -> None:
    server.answers(*[redirect("/v2/keys/a?consistent=true")] * 11)
    with Client([server.url]) as client, pytest.raises(RemoteProtocolError, match="redirected"):
        client.get("/a", consistent=True)
    assert len(server.received) == 11


def test_each_machine_is_tried_in_turn_twice(server: FakeServer, other_server: FakeServer) -> None:
    other_server.answers(HANG_UP, modern(200, SET))
    with Client([server.url, other_server.url]) as client:
        assert client.get("/message").node.value == "Hello"
    assert (len(server.received), len(other_server.received)) == (2, 2)


def test_with_every_machine_down_the_error_names_each(refusing_url: str) -> None:
    with Client([refusing_url]) as client, pytest.raises(AllUnreachable) as caught:
        client.put("/a", "1")
    assert str(caught.value) == (
        "501: All the given peers are not reachable"
        " (Tried to connect to each peer twice and failed) [0]"
    )
    assert caught.value.reasons == (f"{refusing_url}: connection refused",) * 2


def test_a_dead_machine_is_passed_over_even_by_what_must_not_happen_twice(
    refusing_url: str, server: FakeServer
) -> None:
    server.answers(legacy(201, SET))
    with Client([refusing_url, server.url]) as client:
        client.post("/q", "job")
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.post("/q", "job"),
        lambda c: c.delete("/a"),
        lambda c: c.put("/a", "1", condition=Condition(prev_exist=False)),
        lambda c: c.put("/a", "1", condition=Condition(prev_value="0")),
        lambda c: c.put("/a", "1", condition=Condition(prev_index=7)),
    ],
)
@pytest.mark.parametrize("reply", [HANG_UP, legacy(500, NO_LEADER)], ids=["break", "failure"])
def test_what_must_not_happen_twice_is_sent_once(
    server: FakeServer, reply: Reply, call: Callable[[Client], object]
) -> None:
    server.answers(reply)
    with Client([server.url]) as client, pytest.raises((AnswerLost, RaftInternal)):
        call(client)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "call",
    [lambda c: c.put("/a", "1"), lambda c: c.put("/a", "1", condition=Condition(prev_exist=True))],
)
def test_a_plain_write_may_be_sent_again(
    server: FakeServer, call: Callable[[Client], object]
) -> None:
    server.answers(HANG_UP, legacy(200, SET))
    with Client([server.url]) as client:
        call(client)
    assert len(server.received) == 2


def test_a_write_never_uses_a_connection_that_may_have_gone_stale(server: FakeServer) -> None:
    server.answers(legacy(200, SET), legacy(201, SET))
    with Client([server.url]) as client:
        client.get("/message")
        client.post("/q", "job")
    assert server.connection_count == 2


def test_without_a_leader_a_read_is_tried_twice_and_then_the_server_has_the_word(
    server: FakeServer,
) -> None:
    server.answers(legacy(500, NO_LEADER), legacy(500, NO_LEADER))
    with Client([server.url]) as client, pytest.raises(RaftInternal) as caught:
        client.get("/a", quorum=True)
    assert str(caught.value) == "300: Raft Internal Error () [15]"
    assert len(server.received) == 2


def test_a_silent_server_is_given_up_after_the_whole_time(server: FakeServer) -> None:
    server.answers(Reply(b""), Reply(b""))
    settings = Settings(total_seconds=0.05)
    with (
        Client([server.url], settings) as client,
        pytest.raises(AnswerLost, match="did not answer"),
    ):
        client.get("/a")
    assert len(server.received) == 1


def test_sync_puts_the_leader_first_and_keeps_what_was_given(
    server: FakeServer, other_server: FakeServer
) -> None:
    machines = f"{other_server.url}, http://10.0.0.9:4001"
    server.answers(legacy(200, machines.encode(), is_event=False))
    other_server.answers(legacy(200, SET))
    with Client([server.url]) as client:
        client.sync()
        assert client.machines == [other_server.url, "http://10.0.0.9:4001", server.url]
        client.get("/message")
    assert server.asked() == [("GET", "/v2/machines")]


def test_sync_asks_the_next_when_one_is_down(refusing_url: str, server: FakeServer) -> None:
    server.answers(legacy(200, server.url.encode(), is_event=False))
    with Client([refusing_url, server.url]) as client:
        client.sync()
        assert client.machines == [server.url, refusing_url]


def test_sync_that_fails_everywhere_names_what_was_given(
    refusing_url: str, server: FakeServer
) -> None:
    server.answers(legacy(404, b"404 page not found\n", is_event=False))
    given = [refusing_url.removeprefix("http://"), server.url]
    with Client(given) as client, pytest.raises(SyncFailed) as caught:
        client.sync()
    assert str(caught.value) == f"Cannot sync with the cluster using peers {', '.join(given)}"
    assert "refused" in caught.value.reasons[0]
    assert "--enable-v2" in caught.value.reasons[1]


def test_a_trace_sees_each_request_before_it_leaves(server: FakeServer) -> None:
    server.answers(legacy(200, SET))
    seen: list[str] = []
    with Client(
        [server.url], trace=lambda url, request: seen.append(url + request.target)
    ) as client:
        client.get("/message")
    assert seen == [f"{server.url}/v2/keys/message"]


def test_a_watch_continues_after_each_event(server: FakeServer) -> None:
    server.answers(legacy(200, event(7)), modern(200, event(9)), legacy(200, event(12)))
    with Client([server.url]) as client:
        events = client.watch("/w", after_index=4, recursive=True)
        assert [next(events).node.modified_index for _ in range(3)] == [7, 9, 12]
    query = "/v2/keys/w?wait=true&recursive=true&waitIndex="
    assert [target for _, target in server.asked()] == [f"{query}5", f"{query}8", f"{query}10"]


def test_a_watch_from_now_on_has_no_index_at_first(server: FakeServer) -> None:
    server.answers(legacy(200, event(7)))
    with Client([server.url]) as client:
        next(client.watch("/w"))
    assert server.asked() == [("GET", "/v2/keys/w?wait=true")]


@pytest.mark.parametrize(
    "cut",
    [
        broken(b"HTTP/1.1 200 OK\r\nX-Etcd-Index: 40\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Reply(b"HTTP/1.1 200 OK\r\nX-Etcd-Index: 40\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["broken", "ended empty"],
)
def test_a_poll_that_is_cut_short_loses_no_event(server: FakeServer, cut: Reply) -> None:
    server.answers(cut, legacy(200, event(41)))
    with Client([server.url]) as client:
        assert next(client.watch("/w")).node.modified_index == 41
    assert server.asked()[1] == ("GET", "/v2/keys/w?wait=true&waitIndex=41")


def test_a_poll_cut_short_keeps_the_place_it_had(server: FakeServer) -> None:
    cut = Reply(b"HTTP/1.1 200 OK\r\nX-Etcd-Index: 40\r\nContent-Length: 0\r\n\r\n")
    server.answers(legacy(200, event(7)), cut, legacy(200, event(8)))
    with Client([server.url]) as client:
        events = client.watch("/w")
        assert [next(events).node.modified_index for _ in range(2)] == [7, 8]
    assert server.asked()[2] == ("GET", "/v2/keys/w?wait=true&waitIndex=8")


def test_a_watch_gives_up_on_a_server_that_only_hangs_up(server: FakeServer) -> None:
    server.answers(HANG_UP, HANG_UP)
    with Client([server.url]) as client, pytest.raises(AllUnreachable):
        next(client.watch("/w"))
    assert len(server.received) == 2


def test_history_that_was_gone_from_the_start_is_the_callers_error(server: FakeServer) -> None:
    server.answers(legacy(400, cleared(1209)))
    with Client([server.url]) as client, pytest.raises(EventIndexCleared):
        next(client.watch("/w", after_index=2, on_gap=print))


def test_history_lost_between_polls_is_told_and_the_watch_goes_on(server: FakeServer) -> None:
    server.answers(legacy(200, event(7)), legacy(400, cleared(1209)), legacy(200, event(1300)))
    gaps: list[tuple[int, int]] = []
    with Client([server.url]) as client:
        events = client.watch("/w", on_gap=lambda first, last: gaps.append((first, last)))
        assert [next(events).node.modified_index for _ in range(2)] == [7, 1300]
    assert gaps == [(8, 1209)]
    assert server.asked()[2] == ("GET", "/v2/keys/w?wait=true&waitIndex=1210")


def test_the_first_endpoint_with_a_listener_stands_alone(
    refusing_url: str, server: FakeServer
) -> None:
    assert find_listening([refusing_url, server.url]) == (server.url,)
    assert find_listening([server.url, refusing_url]) == (server.url,)


def test_all_endpoints_are_named_when_nobody_listens(refusing_url: str) -> None:
    assert find_listening([refusing_url, refusing_url]) == (refusing_url, refusing_url)
