"""The keys API rule by rule, in both eras; `test_captures.py` has whole requests and replies."""

import json
from itertools import permutations, product
from typing import Any, cast

import msgspec
import pytest
from tests.unit.api.conftest import FakeExchange, FakeServer

from kvorum.api.reply import Replies
from kvorum.api.v2.keys import KNOWN_QUERIES_MAX, Keys
from kvorum.api.v2.params import Read, params_of
from kvorum.config import LEGACY_CONFIG, Config
from kvorum.errors import RequestError, UnavailableError
from kvorum.protocol.exchange import Exchange
from kvorum.server.server import Server
from kvorum.v2 import path as paths
from kvorum.v2.commands import CompareAndSwap, Set, Update
from kvorum.v2.policy import policy_of


def body(exchange: Any) -> Any:
    return json.loads(exchange.text)


def error(exchange: Any) -> tuple[int, int, str, int]:
    """Status, code, cause and index of an error reply."""
    assert exchange.text.endswith("}\n"), "errors end with a newline in both eras"
    found = body(exchange)
    assert exchange.header_lines["X-Etcd-Index"] == str(found["index"])
    assert "X-Raft-Index" not in exchange.header_lines
    return exchange.status, found["errorCode"], found.get("cause", ""), found["index"]


def test_heads_of_0_4(legacy: Any) -> None:
    exchange = legacy.put("/v2/keys/message", "value=Hello")
    assert exchange.head == (
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
        b"X-Etcd-Index: 3\r\nX-Raft-Index: 4\r\nX-Raft-Term: 0\r\n"
    )
    assert legacy.get("/v2/keys/nope").head == (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nX-Etcd-Index: 3\r\n"
    )


def test_heads_of_the_modern_era(modern: Any) -> None:
    head = modern.put("/v2/keys/message", "value=Hello").header_lines
    assert head == {
        "Content-Type": "application/json",
        "X-Etcd-Cluster-Id": "cafe",
        "X-Etcd-Index": "4",
        "X-Raft-Index": "4",
        "X-Raft-Term": "2",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "POST, GET, OPTIONS, PUT, DELETE",
        "Access-Control-Allow-Headers": "accept, content-type, authorization",
    }


def test_read_tells_the_index_now(either: Any) -> None:
    either.put("/v2/keys/a", "value=1")
    either.put("/v2/keys/b", "value=1")
    now = str(either.server.store.revision)
    assert either.get("/v2/keys/a").header_lines["X-Etcd-Index"] == now


def test_delete_tells_its_own_index(either: Any) -> None:
    either.put("/v2/keys/a", "value=1")
    head = either.delete("/v2/keys/a").header_lines
    assert head["X-Etcd-Index"] == str(either.server.store.revision)


# Parameters.


@pytest.mark.parametrize(
    ("target", "sent", "value"),
    [
        ("/v2/keys/a", "value=a%20b+c%26%3D", "a b c&="),
        ("/v2/keys/a?value=query", "", "query"),
        ("/v2/keys/a?value=query", "value=body", "body"),
        ("/v2/keys/a", "value=first&value=second", "first"),
        ("/v2/keys/a", "Value=upper", ""),
        ("/v2/keys/a", "unknown=1&value=x", "x"),
        ("/v2/keys/a", "value=a=b", "a=b"),
        ("/v2/keys/a", "value=TRUE", "TRUE"),
        ("/v2/keys/a", "&&value=x&", "x"),
        ("/v2/keys/a", "value=a;b", "a;b"),
        ("/v2/keys/a", "value=%3Cä%3E", "<ä>"),
        ("/v2/keys/a", "value", ""),
    ],
)
def test_value_comes_from_form_and_query(either: Any, target: str, sent: str, value: str) -> None:
    exchange = either.put(target, sent)
    assert exchange.status == 201
    assert body(exchange)["node"]["value"] == value


@pytest.mark.parametrize(
    ("content_type", "value"),
    [
        (b"application/x-www-form-urlencoded", "x"),
        (b"application/x-www-form-urlencoded; charset=utf-8", "x"),
        (b"Application/X-WWW-Form-Urlencoded", "x"),
        (b"application/json", ""),
        (b"multipart/form-data; boundary=b", ""),
        (None, ""),
    ],
)
def test_only_forms_are_read(either: Any, content_type: bytes | None, value: str) -> None:
    headers = {} if content_type is None else {b"content-type": content_type}
    exchange = either.send("PUT", "/v2/keys/a", "value=x", headers=headers)
    assert body(exchange)["node"]["value"] == value


def test_body_of_delete_is_ignored(either: Any) -> None:
    either.put("/v2/keys/d/x", "value=1")
    assert error(either.delete("/v2/keys/d", "recursive=true"))[:2] == (403, 102)


def test_malformed_pair_is_dropped_in_0_4(legacy: Any) -> None:
    legacy.put("/v2/keys/a?ttl=%zz", "value=1")
    assert legacy.server.commands == [Set(b"/a", b"1")]


def test_malformed_form_is_refused_in_the_modern_era(modern: Any) -> None:
    exchange = modern.put("/v2/keys/a?ttl=%zz", "value=1")
    assert error(exchange) == (400, 210, 'invalid URL escape "%zz"', 0)


def test_invalid_utf8_is_replaced_in_0_4(legacy: Any) -> None:
    for sent in (b"value=a%ff", b"value=a\xff", b"value=a\xff&x=1"):
        exchange = legacy.put("/v2/keys/k", sent)
        assert '"value":"a\ufffd"' in exchange.text
    assert legacy.server.store.get(b"/k").value == "a\ufffd".encode()


def test_invalid_utf8_is_kept_in_the_modern_era(modern: Any) -> None:
    for sent in (b"value=a%ff", b"value=a\xff"):
        assert r'"value":"a\ufffd"' in modern.put("/v2/keys/k", sent).text
    assert modern.server.store.get(b"/k").value == b"a\xff"


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("/v2/keys/s%2Fl", "/s/l"),
        ("/v2/keys/a+b", "/a+b"),
        ("/v2/keys/a%20b", "/a b"),
        ("/v2/keys/a%3Fb", "/a?b"),
        ("/v2/keys/100%25", "/100%"),
        ("/v2/keys/%c3%a4", "/ä"),
        ("/v2/keys/a/", "/a"),
        ("/v2/keys/.a/..b", "/.a/..b"),
        ("/v2/%6beys/a", "/a"),
    ],
)
def test_key_is_the_decoded_path(either: Any, target: str, key: str) -> None:
    assert body(either.put(target, "value=1"))["node"]["key"] == key
    assert body(either.get(target))["node"]["key"] == key


def test_large_keys_and_values(either: Any) -> None:
    assert either.put("/v2/keys/" + "k" * 5000, "value=1").status == 201
    assert either.put("/v2/keys/big", "value=" + "v" * (1 << 20)).status == 201
    assert len(body(either.get("/v2/keys/big"))["node"]["value"]) == 1 << 20


def test_too_deep_or_long_keys_are_refused(either: Any) -> None:
    deep = "/v2/keys" + "/a" * (paths.COMPONENTS_MAX + 1)
    long = "/v2/keys/" + "a" * paths.PATH_BYTES_MAX
    for target in (deep, long):
        for exchange in (either.put(target, "value=1"), either.get(target)):
            status, code, cause, _ = error(exchange)
            assert (status, code) == (400, 209)
            assert cause == "a key has at most 1000 components and 16384 bytes"
    assert either.server.commands == []


def test_too_large_body_is_refused(either: Any) -> None:
    size = either.server.config.request_bytes_max
    assert either.put("/v2/keys/a", b"value=" + b"v" * (size - 6)).status == 201
    exchange = either.put("/v2/keys/a", b"value=" + b"v" * (size - 5))
    assert error(exchange)[:3] == (413, 210, f"request body is larger than {size} bytes")


# Conditions.


@pytest.mark.parametrize(
    ("query", "status", "code", "cause"),
    [
        ("prevValue=two", 412, 101, "[two != one]"),
        ("prevIndex=1", 412, 101, "[1 != 3]"),
        ("prevValue=", 400, 201, "CompareAndSwap"),
        ("prevIndex=", 400, 203, "CompareAndSwap"),
        ("prevIndex=x", 400, 203, "CompareAndSwap"),
        ("prevIndex=-1", 400, 203, "CompareAndSwap"),
        ("prevIndex=18446744073709551616", 400, 203, "CompareAndSwap"),
        ("prevIndex=x&prevValue=", 400, 203, "CompareAndSwap"),
        ("prevIndex=x&ttl=x", 400, 202, "Update"),
        ("prevExist=false&prevIndex=x&prevValue=", 412, 105, "/foo"),
        ("prevExist=true&prevValue=two", 412, 101, "[two != one]"),
        ("prevExist=xyz&prevValue=two", 412, 101, "[two != one]"),
    ],
)
def test_refused_conditions_of_0_4(
    legacy: Any, query: str, status: int, code: int, cause: str
) -> None:
    legacy.put("/v2/keys/foo", "value=one")
    exchange = legacy.put(f"/v2/keys/foo?{query}", "value=new")
    assert error(exchange) == (status, code, cause, 3)


@pytest.mark.parametrize(
    ("query", "action"),
    [
        ("prevExist=", "compareAndSwap"),
        ("prevExist=xyz", "compareAndSwap"),
        ("prevIndex=0", "compareAndSwap"),
        ("prevIndex=3", "compareAndSwap"),
        ("prevValue=one", "compareAndSwap"),
        ("prevExist=true&prevIndex=3", "compareAndSwap"),
        ("prevExist=true", "update"),
        ("prevExist=TrUe", "update"),
        ("refresh=true&noValueOnSuccess=true&wait=true", "set"),
    ],
)
def test_conditions_of_0_4_choose_the_operation(legacy: Any, query: str, action: str) -> None:
    legacy.put("/v2/keys/foo", "value=one")
    exchange = legacy.put(f"/v2/keys/foo?{query}", "value=new")
    assert exchange.status == 200
    assert body(exchange)["action"] == action
    assert body(exchange)["node"]["value"] == "new"


@pytest.mark.parametrize(
    ("query", "code", "cause"),
    [
        ("prevValue=", 201, '"prevValue" cannot be empty'),
        ("prevIndex=", 203, 'invalid value for "prevIndex"'),
        ("prevIndex=x", 203, 'invalid value for "prevIndex"'),
        ("waitIndex=x", 203, 'invalid value for "waitIndex"'),
        ("ttl=x", 202, 'invalid value for "ttl"'),
        ("ttl=-1", 202, 'invalid value for "ttl"'),
        ("prevExist=", 209, "invalid value for prevExist"),
        ("prevExist=yes", 209, "invalid value for prevExist"),
        ("recursive=xyz", 209, 'invalid value for "recursive"'),
        ("sorted=", 209, 'invalid value for "sorted"'),
        ("dir=tRue", 209, 'invalid value for "dir"'),
        ("quorum=2", 209, 'invalid value for "quorum"'),
        ("stream=on", 209, 'invalid value for "stream"'),
        ("noValueOnSuccess=x", 209, 'invalid value for "noValueOnSuccess"'),
        ("refresh=x", 209, "invalid value for refresh"),
        ("wait=xyz", 209, 'invalid value for "wait"'),
        ("wait=true", 209, '"wait" can only be used with GET requests'),
        ("refresh=true&ttl=5", 211, "A value was provided on a refresh"),
        ("wait=true&prevIndex=x", 203, 'invalid value for "prevIndex"'),
        ("ttl=x&prevValue=", 201, '"prevValue" cannot be empty'),
    ],
)
def test_refused_parameters_of_the_modern_era(
    modern: Any, query: str, code: int, cause: str
) -> None:
    exchange = modern.put(f"/v2/keys/foo?{query}", "value=new")
    assert error(exchange) == (400, code, cause, 0)


def test_refresh_needs_a_ttl_in_the_modern_era(modern: Any) -> None:
    assert error(modern.put("/v2/keys/foo", "refresh=true")) == (400, 212, "No TTL value set", 0)


@pytest.mark.parametrize(
    ("query", "action"),
    [
        ("prevIndex=0", "set"),
        ("prevIndex=4", "compareAndSwap"),
        ("prevValue=one", "compareAndSwap"),
        ("prevExist=1", "update"),
        ("prevExist=True&prevIndex=4", "compareAndSwap"),
        ("prevExist=t&prevIndex=0", "update"),
    ],
)
def test_conditions_of_the_modern_era_choose_the_operation(
    modern: Any, query: str, action: str
) -> None:
    modern.put("/v2/keys/foo", "value=one")
    assert body(modern.put(f"/v2/keys/foo?{query}", "value=new"))["action"] == action


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "TRUE", "True"])
def test_booleans_of_the_modern_era(modern: Any, text: str) -> None:
    assert body(modern.put("/v2/keys/d", f"dir={text}"))["node"]["dir"] is True


@pytest.mark.parametrize("text", ["1", "yes", "", "t"])
def test_booleans_of_0_4_are_true_or_nothing(legacy: Any, text: str) -> None:
    assert "dir" not in body(legacy.put("/v2/keys/d", f"dir={text}"))["node"]


def test_update_without_value_and_ttl_in_the_modern_era(modern: Any) -> None:
    modern.put("/v2/keys/a", "value=1&ttl=5")
    node = body(modern.put("/v2/keys/a", "prevExist=true"))["node"]
    assert node == {"key": "/a", "value": "", "modifiedIndex": 5, "createdIndex": 4}
    modern.put("/v2/keys/d", "dir=true&ttl=5")
    node = body(modern.put("/v2/keys/d", "prevExist=true"))["node"]
    assert node == {"key": "/d", "dir": True, "modifiedIndex": 7, "createdIndex": 6}


def test_directory_ttl_is_refreshed_but_not_removed_in_0_4(legacy: Any) -> None:
    legacy.put("/v2/keys/d", "dir=true&ttl=5")
    assert body(legacy.put("/v2/keys/d", "dir=true&ttl=30&prevExist=true"))["node"]["ttl"] == 30
    assert error(legacy.put("/v2/keys/d", "ttl=&prevExist=true"))[1:3] == (204, "Update")


def test_no_value_on_success(modern: Any) -> None:
    created = modern.put("/v2/keys/a", "value=1&noValueOnSuccess=true")
    assert (created.status, created.text) == (201, '{"action":"set"}\n')
    assert created.header_lines["X-Etcd-Index"] == "4"
    swapped = modern.put("/v2/keys/a", "value=2&prevValue=1&noValueOnSuccess=true")
    assert (swapped.status, swapped.text) == (200, '{"action":"compareAndSwap"}\n')
    updated = modern.put("/v2/keys/a", "value=2&prevExist=true&noValueOnSuccess=true")
    assert updated.text == '{"action":"update"}\n'
    posted = modern.post("/v2/keys/q", "value=2&noValueOnSuccess=true")
    assert posted.text == '{"action":"create"}\n'
    failed = modern.put("/v2/keys/a", "value=2&prevValue=1&noValueOnSuccess=true")
    assert error(failed)[1] == 101


def test_refresh_keeps_the_value_in_the_modern_era_only(modern: Any, legacy: Any) -> None:
    for client in (modern, legacy):
        client.put("/v2/keys/a", "value=1&ttl=5")
        client.put("/v2/keys/a", "ttl=50&refresh=true&prevExist=true")
    assert body(modern.get("/v2/keys/a"))["node"]["value"] == "1"
    assert body(modern.get("/v2/keys/a"))["node"]["ttl"] == 50
    assert body(legacy.get("/v2/keys/a"))["node"]["value"] == ""


# In-order keys, deletes.


def test_in_order_keys(legacy: Any, modern: Any) -> None:
    assert body(legacy.post("/v2/keys/", "value=1"))["node"]["key"] == "/3"
    assert body(legacy.post("/v2/keys/q", "dir=true&ttl=9"))["node"]["dir"] is True
    assert error(legacy.post("/v2/keys/q", "ttl=x"))[:3] == (400, 202, "Create")
    padded = modern.post("/v2/keys/queue", "value=1&prevExist=true&prevValue=x")
    assert body(padded)["node"]["key"] == "/queue/00000000000000000004"


@pytest.mark.parametrize(
    ("query", "status", "code", "cause"),
    [
        ("prevValue=two", 412, 101, "[two != one]"),
        ("prevIndex=9", 412, 101, "[9 != 3]"),
        ("prevIndex=x", 400, 203, "CompareAndDelete"),
        ("prevIndex=", 400, 203, "CompareAndDelete"),
        ("prevValue=", 400, 201, "CompareAndDelete"),
    ],
)
def test_refused_deletes_of_0_4(
    legacy: Any, query: str, status: int, code: int, cause: str
) -> None:
    legacy.put("/v2/keys/foo", "value=one")
    assert error(legacy.delete(f"/v2/keys/foo?{query}")) == (status, code, cause, 3)


def test_prev_index_0_deletes(legacy: Any, modern: Any) -> None:
    for client, action in ((legacy, "compareAndDelete"), (modern, "delete")):
        client.put("/v2/keys/foo", "value=one")
        assert body(client.delete("/v2/keys/foo?prevIndex=0&prevExist=false"))["action"] == action


@pytest.mark.parametrize(
    ("target", "status", "code", "cause"),
    [
        ("/v2/keys/d", 403, 102, "/d"),
        ("/v2/keys/d?dir=true", 403, 108, "/d"),
        ("/v2/keys/d?prevValue=1&recursive=true", 403, 102, "/d"),
        ("/v2/keys/?recursive=true", 400, 107, "/"),
        ("/v2/keys/nope/x", 404, 100, "/nope"),
        ("/v2/keys/d/x/y", 400, 104, "/d/x"),
    ],
)
def test_refused_deletes(either: Any, target: str, status: int, code: int, cause: str) -> None:
    either.put("/v2/keys/d/x", "value=1")
    assert error(either.delete(target))[:3] == (status, code, cause)


def test_the_root_has_no_name_in_the_modern_era(legacy: Any, modern: Any) -> None:
    assert error(legacy.delete("/v2/keys/?prevValue=1"))[:3] == (403, 102, "/")
    assert "cause" not in body(modern.delete("/v2/keys/?prevValue=1"))


# Time to live.


def test_ttl_is_counted_up_and_down(either: Any) -> None:
    either.put("/v2/keys/t", "value=1&ttl=5")
    assert body(either.get("/v2/keys/t"))["node"]["ttl"] == 5
    either.server.clock.now_ns += 1
    assert body(either.get("/v2/keys/t"))["node"]["ttl"] == 5
    either.server.clock.now_ns += 1_000_000_000
    assert body(either.get("/v2/keys/t"))["node"]["ttl"] == 4
    either.server.clock.now_ns += 4_000_000_000
    assert "ttl" not in body(either.get("/v2/keys/t"))["node"]
    either.pass_seconds(0)
    assert error(either.get("/v2/keys/t"))[:2] == (404, 100)


def test_ttl_of_zero_or_less(legacy: Any, modern: Any) -> None:
    node = body(legacy.put("/v2/keys/z", "value=1&ttl=0"))["node"]
    assert "expiration" in node
    assert "ttl" not in node
    assert body(legacy.put("/v2/keys/n", "value=1&ttl=-1"))["node"]["ttl"] == -1
    legacy.pass_seconds(0)
    assert legacy.get("/v2/keys/z").status == legacy.get("/v2/keys/n").status == 404
    assert "expiration" in body(modern.put("/v2/keys/z", "value=1&ttl=0"))["node"]


@pytest.mark.parametrize("ttl", ["9223372036854775807", "99999999999"])
def test_absurd_ttl_is_the_far_future(either: Any, ttl: str) -> None:
    node = body(either.put("/v2/keys/t", f"value=1&ttl={ttl}"))["node"]
    assert node["expiration"].startswith("2262-04-11T")


@pytest.mark.parametrize(
    "ttl", ["abc", "1.5", "1e3", " 5", "5 ", "0x5", "9223372036854775808", "1_0"]
)
def test_bad_ttl(legacy: Any, ttl: str) -> None:
    exchange = legacy.put("/v2/keys/t", f"value=1&ttl={ttl}")
    assert error(exchange)[:3] == (400, 202, "Update")


def test_empty_ttl_is_none(either: Any) -> None:
    assert "expiration" not in body(either.put("/v2/keys/t", "value=1&ttl="))["node"]


# Reading.


def test_listing(legacy: Any, modern: Any) -> None:
    for client in (legacy, modern):
        client.put("/v2/keys/foo/b/c", "value=1")
        client.put("/v2/keys/foo/a", "value=<>")
        client.put("/v2/keys/foo/_h", "value=2")
    assert legacy.get("/v2/keys/foo?recursive=true&sorted=true").text == (
        '{"action":"get","node":{"key":"/foo","dir":true,"nodes":['
        r'{"key":"/foo/a","value":"\u003c\u003e","modifiedIndex":4,"createdIndex":4},'
        '{"key":"/foo/b","dir":true,"nodes":['
        '{"key":"/foo/b/c","value":"1","modifiedIndex":3,"createdIndex":3}],'
        '"modifiedIndex":3,"createdIndex":3}],"modifiedIndex":3,"createdIndex":3}}'
    )
    for target in ("/v2/keys/", "/v2/keys"):
        assert modern.get(target).text == (
            '{"action":"get","node":{"dir":true,"nodes":[{"key":"/foo","dir":true,'
            '"modifiedIndex":4,"createdIndex":4}]}}\n'
        )


def test_local_reads_ask_nobody(either: Any) -> None:
    either.put("/v2/keys/a", "value=1")
    for query in ("", "?recursive=true", "?quorum=false"):
        either.get(f"/v2/keys/a{query}")
    assert either.server.reads == 0


def test_quorum_reads_are_linearizable(either: Any) -> None:
    either.put("/v2/keys/a", "value=1")
    assert body(either.get("/v2/keys/a?quorum=true"))["node"]["value"] == "1"
    assert either.server.reads == 1


def test_consistent_reads_are_linearizable_in_0_4_only(legacy: Any, modern: Any) -> None:
    for client, reads in ((legacy, 1), (modern, 0)):
        client.put("/v2/keys/a", "value=1")
        assert client.get("/v2/keys/a?consistent=true").status == 200
        assert client.server.reads == reads


def test_head_of_0_4_has_no_length(legacy: Any) -> None:
    legacy.put("/v2/keys/a", "value=1")
    exchange = legacy.send("HEAD", "/v2/keys/a")
    assert (exchange.status, exchange.sent) == (200, b"")
    assert "Content-Length" not in exchange.header_lines
    assert exchange.header_lines["X-Etcd-Index"] == "3"
    missing = legacy.send("HEAD", "/v2/keys/nope")
    assert (missing.status, missing.sent) == (404, b"")
    assert missing.header_lines == {"Content-Type": "application/json", "X-Etcd-Index": "3"}


def test_head_of_the_modern_era_has_the_length_of_get(modern: Any) -> None:
    modern.put("/v2/keys/a", "value=1")
    exchange = modern.send("HEAD", "/v2/keys/a")
    assert exchange.sent == b""
    length = len(modern.get("/v2/keys/a").sent)
    assert exchange.header_lines["Content-Length"] == str(length)


# No leader, no quorum.


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("PUT", "/v2/keys/a"),
        ("POST", "/v2/keys/a"),
        ("DELETE", "/v2/keys/a"),
        ("GET", "/v2/keys/a?quorum=true"),
    ],
)
def test_unavailable(legacy: Any, modern: Any, method: str, target: str) -> None:
    for client in (legacy, modern):
        client.server.unavailable = UnavailableError("no leader")
    assert legacy.send(method, target).text == (
        '{"errorCode":300,"message":"Raft Internal Error","index":2}\n'
    )
    late = modern.send(method, target)
    assert late.status == 500
    assert late.text == (
        '{"errorCode":300,"message":"Raft Internal Error",'
        '"cause":"etcdserver: request timed out","index":0}\n'
    )


def test_plain_reads_work_without_a_leader(either: Any) -> None:
    either.put("/v2/keys/a", "value=1")
    either.server.unavailable = UnavailableError("no leader")
    assert either.get("/v2/keys/a").status == 200


# Commands carry everything.


def test_commands_carry_times_and_widths(legacy: Any, modern: Any) -> None:
    legacy.put("/v2/keys/a", "value=1&ttl=5")
    expiration = legacy.server.clock.now_ns + 5_000_000_000
    assert legacy.server.commands == [Set(b"/a", b"1", expiration=expiration)]
    modern.put("/v2/keys/a", "value=1")
    modern.put("/v2/keys/a", "ttl=5&refresh=1&prevExist=1")
    modern.put("/v2/keys/a", "value=2&prevIndex=5&ttl=5")
    assert modern.server.commands[1:] == [
        Update(b"/a", b"", expiration, refresh=True),
        CompareAndSwap(b"/a", b"2", b"", 5, expiration),
    ]


# Computed nodes.


def test_machines_are_read_as_nodes_in_0_4(legacy: Any, modern: Any) -> None:
    legacy.server.add_member(2, index=6)
    assert legacy.get("/v2/keys/_etcd/machines?sorted=true").text == (
        '{"action":"get","node":{"key":"/_etcd/machines","dir":true,"nodes":['
        '{"key":"/_etcd/machines/machine1","value":"etcd=http%3A%2F%2F127.0.0.1%3A4001'
        r"\u0026raft=http%3A%2F%2F127.0.0.1%3A7001"
        '","modifiedIndex":1,"createdIndex":1},'
        '{"key":"/_etcd/machines/machine2","value":"etcd=http%3A%2F%2F127.0.0.1%3A4002'
        r"\u0026raft=http%3A%2F%2F127.0.0.1%3A7002"
        '","modifiedIndex":6,"createdIndex":6}],"modifiedIndex":1,"createdIndex":1}}'
    )
    assert error(modern.get("/v2/keys/_etcd/machines"))[:3] == (404, 100, "/_etcd")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_computed_nodes_are_read_only(legacy: Any, modern: Any, method: str) -> None:
    for path in ("machines", "machines/m", "config", "config/x"):
        exchange = legacy.send(method, f"/v2/keys/_etcd/{path}?recursive=true", "value=1")
        assert error(exchange)[:3] == (400, 107, f"/_etcd/{path}")
    assert legacy.server.commands == []
    assert modern.put("/v2/keys/_etcd/machines/m", "value=1").status == 201


def test_other_keys_below_etcd_are_ordinary(legacy: Any) -> None:
    assert legacy.put("/v2/keys/_etcd/mine", "value=1").status == 201
    assert legacy.post("/v2/keys/_etcd", "value=1").status == 201
    assert body(legacy.get("/v2/keys/_etcd/mine"))["node"]["value"] == "1"
    keys = [node["key"] for node in body(legacy.get("/v2/keys/_etcd?sorted=true"))["node"]["nodes"]]
    assert keys == ["/_etcd/4", "/_etcd/config", "/_etcd/machines", "/_etcd/mine"]
    assert legacy.delete("/v2/keys/_etcd/mine").status == 200


def test_a_wait_on_the_machines_fires_when_one_joins(legacy: Any) -> None:
    waiting = legacy.get("/v2/keys/_etcd/machines?wait=true&recursive=true")
    legacy.server.add_member(2, index=legacy.server.store.advance())
    assert waiting.is_done
    assert waiting.text == (
        '{"action":"create","node":{"key":"/_etcd/machines/machine2",'
        '"value":"etcd=http%3A%2F%2F127.0.0.1%3A4002\\u0026raft=http%3A%2F%2F127.0.0.1%3A7002",'
        '"modifiedIndex":3,"createdIndex":3}}'
    )


def test_a_wait_on_the_machines_may_begin_in_the_past(legacy: Any) -> None:
    past = legacy.get("/v2/keys/_etcd/machines?wait=true&recursive=true&waitIndex=1")
    assert past.is_done
    assert past.text.startswith('{"action":"create","node":{"key":"/_etcd/machines/machine1"')


# Queries that were seen before.

PARTS = (
    "wait=true",
    "recursive=true",
    "waitIndex=2",
    "waitIndex=99",
    "waitIndex=",
    "waitIndex=x",
    "wait%49ndex=2",
    "quorum=true",
    "sorted=maybe",
)


def as_used(read: Read) -> Read:
    """Who does not wait does not look at the index."""
    return read if read.is_wait else msgspec.structs.replace(read, wait_index=0)


@pytest.mark.parametrize("config", [LEGACY_CONFIG, Config()], ids=["legacy", "modern"])
def test_a_query_means_the_same_however_many_were_seen_before(config: Config) -> None:
    server = cast("Server", FakeServer(config, first_revision=3))
    policy = policy_of(config.era)
    keys = Keys(server, policy, Replies(config.cors, policy))
    queries = ["&".join(parts) for count in (1, 2, 3) for parts in permutations(PARTS, count)]
    for query, method in product(queries * 2, ("GET", "HEAD")):
        exchange = cast("Exchange", FakeExchange(method, b"/v2/keys/a?%b" % query.encode()))
        fresh = params_of(policy).get(keys._request(exchange, b"/a"))
        read = keys._known_read(exchange) or keys._parse_read(exchange, b"/a")
        if isinstance(fresh, RequestError):
            assert str(read) == str(fresh)
        else:
            assert isinstance(read, Read)
            assert as_used(read) == as_used(fresh)
    assert 0 < len(keys._known_reads) <= KNOWN_QUERIES_MAX


def test_queries_are_forgotten_when_there_are_too_many(legacy: Any) -> None:
    for number in range(3 * KNOWN_QUERIES_MAX):
        assert legacy.get(f"/v2/keys/?recursive=true&n={number}").status == 200
