"""Answers of the v2 API as values: captures of both eras."""

import json

import pytest

from kvorum.client.answers import OtherRequestError, checked, decode_event
from kvorum.client.connection import Response
from kvorum.errors import CompareFailed, KeyNotFound, RaftInternal, RemoteProtocolError

HEADERS = {"x-etcd-index": "5", "x-raft-index": "8", "x-raft-term": "1"}

DELETED = (
    b'{"action":"delete","node":{"key":"/message","modifiedIndex":5,"createdIndex":4},'
    b'"prevNode":{"key":"/message","value":"hoge","modifiedIndex":4,"createdIndex":4}}'
)
WITH_TTL = (
    b'{"action":"set","node":{"key":"/t1","value":"bar",'
    b'"expiration":"2026-11-22T06:47:03.998329252Z","ttl":5,"modifiedIndex":25,"createdIndex":25}}'
)
LISTING = (
    b'{"action":"get","node":{"key":"/","dir":true,"nodes":[{"key":"/foo","dir":true,"nodes":'
    b'[{"key":"/foo/bar","value":"","modifiedIndex":7,"createdIndex":7}],'
    b'"modifiedIndex":6,"createdIndex":6}]}}'
)
EXPIRED_DIRECTORY = (
    b'{"action":"expire","node":{"key":"/td","modifiedIndex":46,"createdIndex":42},"prevNode":'
    b'{"key":"/td","dir":true,"expiration":"2026-11-22T06:47:03.17Z",'
    b'"modifiedIndex":42,"createdIndex":42}}'
)


def ok(body: bytes) -> Response:
    return Response(200, HEADERS, body)


def test_an_event_carries_nodes_and_the_servers_indexes() -> None:
    event = decode_event(ok(DELETED + b"\n"))
    assert event.action == "delete"
    assert (event.node.key, event.node.value, event.node.modified_index) == ("/message", None, 5)
    assert event.prev_node is not None
    assert (event.prev_node.value, event.prev_node.created_index) == ("hoge", 4)
    assert (event.etcd_index, event.raft_index, event.raft_term) == (5, 8, 1)
    assert event.raw == DELETED
    assert not event.is_directory


def test_a_ttl_comes_with_its_expiration() -> None:
    node = decode_event(ok(WITH_TTL)).node
    assert (node.ttl, node.expiration) == (5, "2026-11-22T06:47:03.998329252Z")


def test_a_listing_is_a_tree() -> None:
    event = decode_event(ok(LISTING))
    child = event.node.children[0]
    assert event.is_directory
    assert (event.node.key, event.node.created_index, child.key) == ("/", 0, "/foo")
    assert child.children[0].value == ""


def test_the_root_of_3x_has_no_key_and_is_the_root_all_the_same() -> None:
    assert decode_event(ok(b'{"action":"get","node":{"dir":true}}')).node.key == "/"


def test_an_expired_directory_is_known_by_what_it_was() -> None:
    event = decode_event(ok(EXPIRED_DIRECTORY))
    assert not event.node.is_directory
    assert event.is_directory


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"etcd 0.4.6",
        b"[]",
        b"{}",
        b'{"action":"get","node":{"key":"/a","ttl":"soon"}}',
        b'{"action":"get","node":{"key":"/a","nodes":{"key":"/a/b"}}}',
        b'{"action":"get","node":[]}',
        b'{"action":"get","node":{"value":"\xff"}}',
        b'{"action":"get","node":{"value":' + b"9" * 5000 + b"}}",
        b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_a_protocol_error_that_quotes_it(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not an answer of the v2 API"):
        decode_event(ok(body))


@pytest.mark.parametrize(
    ("status", "code", "text", "cause", "error"),
    [
        (404, 100, "Key not found", "/nope", KeyNotFound),
        (412, 101, "Compare failed", "[two != one]", CompareFailed),
        (500, 300, "Raft Internal Error", None, RaftInternal),
    ],
)
def test_a_refusal_is_the_contracts_error(
    status: int, code: int, text: str, cause: str | None, error: type[Exception]
) -> None:
    fields = {"errorCode": code, "message": text, "index": 3}
    body = json.dumps(fields | ({} if cause is None else {"cause": cause})).encode() + b"\n"
    with pytest.raises(error) as caught:
        checked(Response(status, {}, body), "/v2/keys/nope")
    assert str(caught.value) == f"{code}: {text} ({cause or ''}) [3]"


@pytest.mark.parametrize(
    ("code", "text"),
    [(110, "The request requires user authentication"), (100, "Key not found, sorry")],
)
def test_a_refusal_of_another_version_keeps_its_words(code: int, text: str) -> None:
    fields = {"errorCode": code, "message": text, "cause": "c", "index": 0}
    with pytest.raises(OtherRequestError) as caught:
        checked(Response(401, {}, json.dumps(fields).encode()), "/v2/keys/a")
    assert str(caught.value) == f"{code}: {text} (c) [0]"


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"errorCode":1e999,"message":""}', b'{"errorCode":"9_9"}', b"[1]"]
)
def test_a_refusal_that_is_none_of_the_contract_says_so(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="was answered with 400"):
        checked(Response(400, {}, body), "/v2/keys/a")


def test_a_404_of_a_server_without_v2_says_how_to_get_it() -> None:
    with pytest.raises(RemoteProtocolError, match=r"404: 404 page not found .*--enable-v2"):
        checked(Response(404, {}, b"404 page not found\n"), "/v2/keys/a")


def test_an_answer_that_is_no_refusal_passes() -> None:
    answer = ok(DELETED)
    assert checked(answer, "/v2/keys/message") is answer
