"""Long polls and streams, to the client's side of the connection."""

import json
from typing import Any

import pytest

from kvorum.v2 import events


def test_head_is_flushed_at_once_and_tells_the_index_now(legacy: Any) -> None:
    legacy.put("/v2/keys/x", "value=1")
    wait = legacy.get("/v2/keys/a?wait=true")
    assert wait.is_streamed
    assert not wait.is_done
    assert wait.sent == b""
    assert wait.head == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"X-Etcd-Index: 3\r\nX-Raft-Index: 4\r\nX-Raft-Term: 0\r\n"
    )


def test_long_poll_ends_after_one_event(legacy: Any, modern: Any) -> None:
    for client, index, end in ((legacy, 3, ""), (modern, 4, "\n")):
        wait = client.get("/v2/keys/a?wait=true")
        client.put("/v2/keys/a", "value=1")
        client.put("/v2/keys/a", "value=2")
        assert wait.is_done
        assert wait.on_close is None
        assert wait.text == (
            '{"action":"set","node":{"key":"/a","value":"1",'
            f'"modifiedIndex":{index},"createdIndex":{index}}}}}{end}'
        )
        assert client.server.hub.watcher_count == 0


def test_wait_from_history(legacy: Any) -> None:
    legacy.move_to(101)
    for value in "234":
        legacy.put("/v2/keys/w4", f"value={value}")
    wait = legacy.get("/v2/keys/w4?wait=true&waitIndex=102")
    assert wait.text == (
        '{"action":"set","node":{"key":"/w4","value":"3","modifiedIndex":102,"createdIndex":102},'
        '"prevNode":{"key":"/w4","value":"2","modifiedIndex":101,"createdIndex":101}}'
    )
    assert wait.is_done


def test_wait_index_in_the_future_waits(either: Any) -> None:
    index = either.server.store.revision + 2
    wait = either.get(f"/v2/keys/a?wait=true&waitIndex={index}")
    either.put("/v2/keys/a", "value=1")
    assert not wait.is_done
    either.put("/v2/keys/a", "value=2")
    assert json.loads(wait.text)["node"]["modifiedIndex"] == index


@pytest.mark.parametrize("query", ["", "&waitIndex=0"])
def test_without_an_index_the_next_event_counts(either: Any, query: str) -> None:
    either.put("/v2/keys/a", "value=old")
    wait = either.get(f"/v2/keys/a?wait=true{query}")
    assert not wait.is_done
    either.put("/v2/keys/a", "value=new")
    assert json.loads(wait.text)["node"]["value"] == "new"


def test_expired_directory_wakes_a_wait_below_it(legacy: Any) -> None:
    legacy.move_to(42)
    legacy.put("/v2/keys/td", "dir=true&ttl=2")
    legacy.put("/v2/keys/td/k", "value=1")
    wait = legacy.get("/v2/keys/td/k?wait=true")
    legacy.pass_seconds(2)
    assert wait.text == (
        '{"action":"expire","node":{"key":"/td","modifiedIndex":44,"createdIndex":42},'
        '"prevNode":{"key":"/td","dir":true,"expiration":"2026-11-18T11:06:42Z",'
        '"modifiedIndex":42,"createdIndex":42}}'
    )


def test_stream_goes_on(legacy: Any, modern: Any) -> None:
    for client, separator in ((legacy, ""), (modern, "\n")):
        stream = client.get("/v2/keys/d?wait=true&stream=true&recursive=true")
        client.put("/v2/keys/d/a", "value=1")
        client.put("/v2/keys/d/b", "value=2")
        client.delete("/v2/keys/d?recursive=true")
        assert not stream.is_done
        assert stream.text.count('"action"') == 3
        assert stream.text.count('"action":"delete"') == 1
        assert stream.text.count("}" + separator + '{"action"') == 2
        assert stream.text.endswith("}" + separator)


def test_stream_from_history_continues_live(either: Any) -> None:
    start = either.server.store.revision + 1
    for value in "12":
        either.put("/v2/keys/a", f"value={value}")
    stream = either.get(f"/v2/keys/a?wait=true&stream=true&waitIndex={start}")
    either.put("/v2/keys/a", "value=3")
    assert [part[0] for part in stream.text.split('"node":{"key":"/a","value":"')[1:]] == list(
        "123"
    )


def test_slow_stream_pauses_and_misses_nothing(either: Any) -> None:
    stream = either.get("/v2/keys/a?wait=true&stream=true")
    stream.is_writable = False
    for value in "123":
        either.put("/v2/keys/a", f"value={value}")
    assert stream.text.count('"action"') == 1
    stream.is_writable = True
    stream.on_writable()
    while either.server.hub.catch_up(1):
        pass
    assert stream.text.count('"action"') == 3


@pytest.mark.parametrize("query", ["wait=true", "wait=true&stream=true"])
def test_client_that_leaves_frees_its_wait(either: Any, query: str) -> None:
    wait = either.get(f"/v2/keys/a?{query}")
    assert json.loads(either.get("/v2/stats/store").text)["watchers"] == 1
    wait.on_close()
    assert json.loads(either.get("/v2/stats/store").text)["watchers"] == 0
    either.put("/v2/keys/a", "value=1")
    assert wait.sent == b""


def test_client_that_is_gone_already_opens_no_wait(either: Any) -> None:
    either.send_and_leave("GET", "/v2/keys/a?wait=true")
    assert either.server.hub.watcher_count == 0


def test_compacted_history_is_refused(either: Any) -> None:
    either.move_to(1200)
    for _ in range(10):
        either.put("/v2/keys/a", "value=1")
    either.server.store.start_compaction(1204)
    refused = either.get("/v2/keys/a?wait=true&waitIndex=1203")
    assert refused.status == 400
    assert refused.text == (
        '{"errorCode":401,"message":"The event in requested index is outdated and cleared",'
        '"cause":"the requested history has been cleared [1204/1203]","index":1209}\n'
    )
    served = either.get("/v2/keys/a?wait=true&waitIndex=1204")
    assert json.loads(served.text)["node"]["modifiedIndex"] == 1204


def test_bad_wait_index(legacy: Any, modern: Any) -> None:
    assert json.loads(legacy.get("/v2/keys/a?wait=true&waitIndex=-1").text) == {
        "errorCode": 203,
        "message": "The given index in POST form is not a number",
        "cause": "Watch From Index",
        "index": 2,
    }
    assert json.loads(modern.get("/v2/keys/a?wait=true&waitIndex=x").text)["cause"] == (
        'invalid value for "waitIndex"'
    )


def test_refresh_wakes_nobody(modern: Any) -> None:
    modern.put("/v2/keys/a", "value=1")
    wait = modern.get("/v2/keys/a?wait=true")
    modern.put("/v2/keys/a", "ttl=5&refresh=true&prevExist=true")
    assert not wait.is_done
    modern.put("/v2/keys/a", "value=2")
    assert json.loads(wait.text)["node"]["value"] == "2"


def test_too_many_waits_are_refused(either: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WAITS_MAX", 1)
    either.get("/v2/keys/a?wait=true")
    refused = either.get("/v2/keys/a?wait=true")
    assert refused.status == 500
    assert json.loads(refused.text)["cause"] == "too many waiting requests"
    assert either.server.hub.watcher_count == 1


def test_head_with_wait_does_not_wait(legacy: Any, modern: Any) -> None:
    for client, status in ((legacy, 200), (modern, 400)):
        exchange = client.send("HEAD", "/v2/keys/a?wait=true")
        assert (exchange.status, exchange.is_done) == (status, True)
        assert client.server.hub.watcher_count == 0


def test_wait_that_compaction_overtakes_ends_its_reply(either: Any) -> None:
    first = either.server.store.revision + 1
    stream = either.get(f"/v2/keys/a?wait=true&stream=true&waitIndex={first}")
    stream.is_writable = False
    for _ in range(9):
        either.put("/v2/keys/a", "value=1")
    either.server.store.start_compaction(first + 5)
    stream.on_writable()
    either.server.hub.catch_up(10)
    assert stream.is_done
    assert either.server.hub.watcher_count == 0


def test_same_bytes_go_to_all_who_wait(either: Any) -> None:
    waits = [either.get(f"/v2/keys/{path}?wait=true&recursive=true") for path in ("", "a", "a/b")]
    either.put("/v2/keys/a/b", "value=1")
    assert waits[0].sent == waits[1].sent == waits[2].sent != b""
