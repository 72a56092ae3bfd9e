"""v1 rule by rule; `tests/process/test_contract.py` has whole requests and replies."""

import json
from typing import Any

import pytest

from kvorum.errors import UnavailableError


def found(exchange: Any) -> Any:
    return json.loads(exchange.text)


def test_a_key_is_text_without_the_headers_of_v2(legacy: Any) -> None:
    made = legacy.put("/v1/keys/a", "value=1")
    assert (made.status, made.header_lines) == (200, {"Content-Type": "text/plain; charset=utf-8"})


def test_a_directory_is_the_list_of_its_children(legacy: Any) -> None:
    assert found(legacy.get("/v1/keys/")) == []
    legacy.put("/v2/keys/d/file", "value=1")
    legacy.put("/v2/keys/d/sub/x", "value=2")
    legacy.put("/v2/keys/d/_hidden", "value=3")
    assert sorted(found(legacy.get("/v1/keys/d")), key=lambda one: one["key"]) == [
        {"action": "get", "key": "/d/file", "value": "1", "index": 5},
        {"action": "get", "key": "/d/sub", "dir": True, "index": 5},
    ]


def test_the_machines_are_keys_here_too(legacy: Any) -> None:
    [machine] = found(legacy.get("/v1/keys/_etcd/machines"))
    assert machine["key"] == "/_etcd/machines/machine1"
    assert legacy.put("/v1/keys/_etcd/machines/x", "value=1").status == 400


def test_a_watch_says_nothing_before_its_event(legacy: Any) -> None:
    waiting = legacy.get("/v1/watch/w")
    assert not waiting.head
    assert found(legacy.get("/v2/stats/store"))["watchers"] == 1
    legacy.put("/v2/keys/w/below", "value=1")
    assert not waiting.head
    legacy.delete("/v2/keys/w?recursive=true")
    legacy.put("/v2/keys/w", "value=1")
    assert found(waiting) == []  # the directory went: it has no children any more
    assert found(legacy.get("/v2/stats/store"))["watchers"] == 0


def test_a_watch_shows_what_was_there(legacy: Any) -> None:
    legacy.put("/v2/keys/w", "value=1")
    waiting = legacy.get("/v1/watch/w")
    legacy.put("/v2/keys/w?prevValue=1", "value=2")
    assert found(waiting) == {
        "action": "testAndSet", "key": "/w", "prevValue": "1", "value": "2", "index": 4,
    }  # fmt: skip


def test_a_watch_of_a_get_begins_now_whatever_it_is_told(legacy: Any) -> None:
    legacy.put("/v2/keys/w", "value=1")
    assert not legacy.get("/v1/watch/w?index=3").head


def test_a_watch_may_begin_in_the_past(legacy: Any) -> None:
    legacy.put("/v2/keys/w", "value=1")
    legacy.put("/v2/keys/w", "value=2")
    assert found(legacy.post("/v1/watch/w", "index=3"))["value"] == "1"


def test_a_watch_on_history_that_is_gone_is_refused(legacy: Any) -> None:
    for number in range(5):
        legacy.put("/v2/keys/w", f"value={number}")
    legacy.server.store.start_compaction(6)
    refused = legacy.post("/v1/watch/w", "index=3")
    assert refused.status == 400
    assert found(refused) == {
        "errorCode": 500, "message": "Client Internal Error", "cause": "/w", "index": 7,
    }  # fmt: skip


def test_who_leaves_waits_no_longer(legacy: Any) -> None:
    waiting = legacy.get("/v1/watch/w")
    waiting.on_close()
    assert found(legacy.get("/v2/stats/store"))["watchers"] == 0
    legacy.put("/v2/keys/w", "value=1")
    assert not waiting.head
    assert not legacy.send_and_leave("GET", "/v1/watch/w").head
    assert found(legacy.get("/v2/stats/store"))["watchers"] == 0


def test_a_ttl_is_shown_and_0_ends_at_once(legacy: Any) -> None:
    made = found(legacy.put("/v1/keys/t", "value=1&ttl=5"))
    assert (made["ttl"], made["expiration"]) == (5, "2026-11-18T11:06:45Z")
    assert "ttl" not in found(legacy.put("/v1/keys/t", "value=1&ttl=0"))


def test_bytes_that_are_no_text_are_replaced(legacy: Any) -> None:
    assert found(legacy.put("/v1/keys/a", "value=%FF"))["value"] == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_without_a_leader_nothing_is_written(legacy: Any, method: str) -> None:
    legacy.server.unavailable = UnavailableError("no leader")
    refused = legacy.send(method, "/v1/keys/a", "value=1")
    assert (refused.status, found(refused)["errorCode"]) == (500, 300)


def test_there_is_no_v1_in_the_3_x_era(modern: Any) -> None:
    assert modern.get("/v1/keys/a").status == 404
    assert modern.get("/v1/machines").status == 404
