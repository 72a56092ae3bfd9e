import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.errors import CompareFailed, KeyNotFound, RaftInternal
from kvorum.v2.node import (
    ACTION_NAMES,
    Action,
    Event,
    Node,
    escape,
    render_error,
    render_event,
    render_node,
    render_time,
    replace_invalid,
    ttl_left,
)
from kvorum.v2.policy import LEGACY, MODERN, V2Policy

NS = 1_000_000_000


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain /_-.", b"plain /_-."),
        (b"<b>&", rb"\u003cb\u003e\u0026"),
        (b'"\\', rb"\"\\"),
        (b"\t\n\r", rb"\t\n\r"),
        (b"\x00\x01\x08\x0b\x0c\x1f", rb"\u0000\u0001\u0008\u000b\u000c\u001f"),
        (b"\x7f", b"\x7f"),
        ("äöü€😀".encode(), "äöü€😀".encode()),
        ("a\u2028b\u2029".encode(), rb"a\u2028b\u2029"),
        (b"\xff", rb"\ufffd"),
        (b"a\xe2\x82b", rb"a\ufffd\ufffdb"),
        ("ä<".encode() + b"\xc3", "ä".encode() + rb"\u003c\ufffd"),
        (b"", b""),
    ],
)
def test_escape(raw: bytes, shown: bytes) -> None:
    assert escape(raw) == shown


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=20))
def test_escaped_text_reads_back(text: str) -> None:
    assert (
        json.loads(b'"' + escape(text.encode("utf-8", "replace")) + b'"')
        == text.encode("utf-8", "replace").decode()
    )


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=20))
def test_any_bytes_give_json(raw: bytes) -> None:
    json.loads(b'"' + escape(raw) + b'"')
    assert replace_invalid(raw).decode().encode() == replace_invalid(raw)


def test_replacement_is_for_each_invalid_byte() -> None:
    assert replace_invalid(b"a\xff\xe2\x82b") == "a\ufffd\ufffd\ufffdb".encode()
    assert replace_invalid("ä".encode()) == "ä".encode()


@pytest.mark.parametrize(
    ("left_ns", "ttl"),
    [
        (5 * NS, 5),
        (5 * NS - 1, 5),
        (4 * NS + 1, 5),
        (1, 1),
        (0, 0),
        (-1, 0),
        (-NS + 1, 0),
        (-NS, -1),
        (-NS - 1, -1),
    ],
)
def test_ttl_is_rounded_up(left_ns: int, ttl: int) -> None:
    assert ttl_left(10 * NS + left_ns, 10 * NS) == ttl


@pytest.mark.parametrize(
    ("time_ns", "shown"),
    [
        (0, b"1970-01-01T00:00:00Z"),
        (1, b"1970-01-01T00:00:00.000000001Z"),
        (1_795_330_023_173_760_718, b"2026-11-22T06:47:03.173760718Z"),
        (951_782_400 * NS, b"2000-02-29T00:00:00Z"),
        (1_000_000_000_500_000_000, b"2001-09-09T01:46:40.5Z"),
        ((1 << 63) - 1, b"2262-04-11T23:47:16.854775807Z"),
    ],
)
def test_render_time(time_ns: int, shown: bytes) -> None:
    assert render_time(time_ns) == shown


@settings(deadline=None, max_examples=300)
@given(st.integers(0, (1 << 63) // NS - 1))
def test_times_agree_with_the_calendar_of_the_library(seconds: int) -> None:
    known = datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    assert render_time(seconds * NS).decode() == known


FILE = Node(b"/message", b"Hello", 3, 3)
DIRECTORY = Node(b"/t", None, 8, 8, is_dir=True)


@pytest.mark.parametrize(
    ("node", "policy", "shown"),
    [
        (FILE, LEGACY, b'{"key":"/message","value":"Hello","modifiedIndex":3,"createdIndex":3}'),
        (
            Node(b"/e", b"", 4, 3),
            LEGACY,
            b'{"key":"/e","value":"","modifiedIndex":4,"createdIndex":3}',
        ),
        (DIRECTORY, LEGACY, b'{"key":"/t","dir":true,"modifiedIndex":8,"createdIndex":8}'),
        (
            Node(b"/t", None, 8, 8, is_dir=True, nodes=[]),
            LEGACY,
            b'{"key":"/t","dir":true,"modifiedIndex":8,"createdIndex":8}',
        ),
        (
            Node(b"/t1", b"bar", 25, 25, 1_795_330_028_998_329_252),
            LEGACY,
            b'{"key":"/t1","value":"bar","expiration":"2026-11-22T06:47:08.998329252Z","ttl":5,'
            b'"modifiedIndex":25,"createdIndex":25}',
        ),
        (
            Node(b"/d", None, 42, 42, 1_795_330_023_173_760_718, is_dir=True),
            MODERN,
            b'{"key":"/d","dir":true,"expiration":"2026-11-22T06:47:03.173760718Z",'
            b'"modifiedIndex":42,"createdIndex":42}',
        ),
        (
            Node(b"/", None, 0, 0, is_dir=True, nodes=[Node(b"/foo", None, 6, 6, is_dir=True)]),
            LEGACY,
            b'{"key":"/","dir":true,"nodes":[{"key":"/foo","dir":true,"modifiedIndex":6,'
            b'"createdIndex":6}]}',
        ),
        (
            Node(b"/", None, 0, 0, is_dir=True, nodes=[Node(b"/foo", None, 6, 6, is_dir=True)]),
            MODERN,
            b'{"dir":true,"nodes":[{"key":"/foo","dir":true,"modifiedIndex":6,"createdIndex":6}]}',
        ),
        (Node(b"/", None, 0, 0, is_dir=True), LEGACY, b'{"key":"/","dir":true}'),
        (Node(b"/", None, 0, 0, is_dir=True), MODERN, b'{"dir":true}'),
        (
            Node(b"/<", b"&", 1, 1),
            MODERN,
            rb'{"key":"/\u003c","value":"\u0026","modifiedIndex":1,"createdIndex":1}',
        ),
    ],
)  # fmt: skip
def test_node_json(node: Node, policy: V2Policy, shown: bytes) -> None:
    # 4.99 s before the file's expiration, 0.82 s after the directory's.
    assert render_node(node, 1_795_330_024_000_000_000, policy) == shown


def test_listing_nests_and_keeps_order() -> None:
    nodes = [
        Node(b"/a/b", None, 2, 2, is_dir=True, nodes=[Node(b"/a/b/x", b"1", 3, 3)]),
        Node(b"/a/c", b"2", 4, 4),
        Node(b"/a/d", None, 5, 5, is_dir=True, nodes=[]),
    ]
    top = Node(b"/a", None, 1, 1, is_dir=True, nodes=nodes)
    shown = json.loads(render_node(top, 0, LEGACY))
    assert shown == {
        "key": "/a",
        "dir": True,
        "nodes": [
            {
                "key": "/a/b",
                "dir": True,
                "nodes": [{"key": "/a/b/x", "value": "1", "modifiedIndex": 3, "createdIndex": 3}],
                "modifiedIndex": 2,
                "createdIndex": 2,
            },
            {"key": "/a/c", "value": "2", "modifiedIndex": 4, "createdIndex": 4},
            {"key": "/a/d", "dir": True, "modifiedIndex": 5, "createdIndex": 5},
        ],
        "modifiedIndex": 1,
        "createdIndex": 1,
    }


def test_listing_is_not_limited_by_recursion() -> None:
    node = Node(b"/x", b"", 1, 1)
    for _ in range(5_000):
        node = Node(b"/x", None, 1, 1, is_dir=True, nodes=[node])
    shown = render_node(node, 0, LEGACY)
    assert shown.count(b'"nodes":[') == shown.count(b"]") == 5_000


def test_event_json_in_both_eras() -> None:
    event = Event(Action.SET, Node(b"/m", b"2", 4, 4), Node(b"/m", b"1", 3, 3))
    body = (
        b'{"action":"set","node":{"key":"/m","value":"2","modifiedIndex":4,"createdIndex":4},'
        b'"prevNode":{"key":"/m","value":"1","modifiedIndex":3,"createdIndex":3}}'
    )
    assert render_event(event, 0, LEGACY) == body
    assert render_event(event, 0, MODERN) == body + b"\n"


def test_expired_directory_has_dir_in_the_modern_era_only() -> None:
    event = Event(
        Action.EXPIRE,
        Node(b"/td", None, 46, 42, is_dir=True),
        Node(b"/td", None, 42, 42, is_dir=True),
    )
    legacy = (
        b'{"action":"expire","node":{"key":"/td","modifiedIndex":46,"createdIndex":42},'
        b'"prevNode":{"key":"/td","dir":true,"modifiedIndex":42,"createdIndex":42}}'
    )
    assert render_event(event, 0, LEGACY) == legacy
    modern = legacy.replace(b'/td","mod', b'/td","dir":true,"mod', 1) + b"\n"
    assert render_event(event, 0, MODERN) == modern


def test_created_means_201() -> None:
    assert Event(Action.CREATE, FILE).is_created
    assert Event(Action.SET, FILE).is_created
    assert not Event(Action.SET, FILE, FILE).is_created
    assert not Event(Action.UPDATE, FILE, FILE).is_created
    assert not Event(Action.GET, FILE).is_created


def test_every_action_has_its_name() -> None:
    assert len(ACTION_NAMES) == len(Action)
    assert [ACTION_NAMES[action].decode() for action in Action] == [
        "get", "set", "create", "update", "compareAndSwap", "delete", "compareAndDelete", "expire",
    ]  # fmt: skip


def test_error_json() -> None:
    assert render_error(KeyNotFound("/message", 5)) == (
        b'{"errorCode":100,"message":"Key not found","cause":"/message","index":5}\n'
    )
    assert render_error(RaftInternal(index=15)) == (
        b'{"errorCode":300,"message":"Raft Internal Error","index":15}\n'
    )
    assert render_error(CompareFailed("[< != \udcff]", 1)) == (
        rb'{"errorCode":101,"message":"Compare failed","cause":"[\u003c != \ufffd]","index":1}'
        b"\n"
    )
