"""Requests and replies captured from real servers, byte for byte."""

from typing import Any

import pytest

# Captures of 0.4.6: the index the write gets, requests before, the request, status, body.

CAPTURES = [
    (3, [], ("PUT", "/v2/keys/message", "value=Hello"), 201,
     '{"action":"set","node":{"key":"/message","value":"Hello","modifiedIndex":3,"createdIndex":3}}'),
    (3, [("PUT", "/v2/keys/message", "value=Hello")], ("GET", "/v2/keys/message", ""), 200,
     '{"action":"get","node":{"key":"/message","value":"Hello","modifiedIndex":3,"createdIndex":3}}'),
    (3, [("PUT", "/v2/keys/message", "value=Hello")],
     ("PUT", "/v2/keys/message", "value=hoge"), 200,
     '{"action":"set","node":{"key":"/message","value":"hoge","modifiedIndex":4,"createdIndex":4},'
     '"prevNode":{"key":"/message","value":"Hello","modifiedIndex":3,"createdIndex":3}}'),
    (4, [("PUT", "/v2/keys/message", "value=hoge")], ("DELETE", "/v2/keys/message", ""), 200,
     '{"action":"delete","node":{"key":"/message","modifiedIndex":5,"createdIndex":4},'
     '"prevNode":{"key":"/message","value":"hoge","modifiedIndex":4,"createdIndex":4}}'),
    (5, [("PUT", "/v2/keys/x", "")], ("GET", "/v2/keys/message", ""), 404,
     '{"errorCode":100,"message":"Key not found","cause":"/message","index":5}\n'),
    (8, [("PUT", "/v2/keys/t", "dir=true")], ("GET", "/v2/keys/t", ""), 200,
     '{"action":"get","node":{"key":"/t","dir":true,"modifiedIndex":8,"createdIndex":8}}'),
    (6, [("PUT", "/v2/keys/foo/bar", "value=1")], ("GET", "/v2/keys/", ""), 200,
     '{"action":"get","node":{"key":"/","dir":true,"nodes":[{"key":"/foo","dir":true,'
     '"modifiedIndex":6,"createdIndex":6}]}}'),
    (6, [("PUT", "/v2/keys/foo/bar", "value=1")], ("GET", "/v2/keys/foo/bar/baz", ""), 400,
     '{"errorCode":104,"message":"Not a directory","cause":"/foo/bar","index":6}\n'),
    (49, [("PUT", "/v2/keys/foo", "value=one")],
     ("PUT", "/v2/keys/foo?prevExist=false", "value=three"), 412,
     '{"errorCode":105,"message":"Key already exists","cause":"/foo","index":49}\n'),
    (49, [("PUT", "/v2/keys/foo", "value=one")],
     ("PUT", "/v2/keys/foo?prevIndex=1&prevValue=two", "value=three"), 412,
     '{"errorCode":101,"message":"Compare failed","cause":"[two != one] [1 != 49]","index":49}\n'),
    (49, [("PUT", "/v2/keys/foo", "value=one")],
     ("PUT", "/v2/keys/foo?prevIndex=0", "value=three"), 200,
     '{"action":"compareAndSwap","node":{"key":"/foo","value":"three","modifiedIndex":50,'
     '"createdIndex":49},"prevNode":{"key":"/foo","value":"one","modifiedIndex":49,"createdIndex":49}}'),
    (53, [("PUT", "/v2/keys/foo", "value=six")],
     ("PUT", "/v2/keys/foo?prevExist=TRUE", "value=seven"), 200,
     '{"action":"update","node":{"key":"/foo","value":"seven","modifiedIndex":54,"createdIndex":53},'
     '"prevNode":{"key":"/foo","value":"six","modifiedIndex":53,"createdIndex":53}}'),
    (11, [], ("PUT", "/v2/keys/d1", "dir=true"), 201,
     '{"action":"set","node":{"key":"/d1","dir":true,"modifiedIndex":11,"createdIndex":11}}'),
    (11, [("PUT", "/v2/keys/d1", "dir=true")], ("PUT", "/v2/keys/d1", "dir=true"), 403,
     '{"errorCode":102,"message":"Not a file","cause":"/d1","index":11}\n'),
    (21, [], ("POST", "/v2/keys/queue", "value=Job1"), 201,
     '{"action":"create","node":{"key":"/queue/21","value":"Job1","modifiedIndex":21,"createdIndex":21}}'),
    (18, [("PUT", "/v2/keys/foo_dir/x", "value=1")],
     ("DELETE", "/v2/keys/foo_dir?recursive=true", ""), 200,
     '{"action":"delete","node":{"key":"/foo_dir","dir":true,"modifiedIndex":19,"createdIndex":18},'
     '"prevNode":{"key":"/foo_dir","dir":true,"modifiedIndex":18,"createdIndex":18}}'),
    (60, [("PUT", "/v2/keys/foo", "value=one")], ("DELETE", "/v2/keys/foo?prevValue=one", ""), 200,
     '{"action":"compareAndDelete","node":{"key":"/foo","modifiedIndex":61,"createdIndex":60},'
     '"prevNode":{"key":"/foo","value":"one","modifiedIndex":60,"createdIndex":60}}'),
    (25, [], ("PUT", "/v2/keys/t1", "value=bar&ttl=5"), 201,
     '{"action":"set","node":{"key":"/t1","value":"bar","expiration":"2026-11-18T11:06:45Z","ttl":5,'
     '"modifiedIndex":25,"createdIndex":25}}'),
    (26, [("PUT", "/v2/keys/t1", "value=bar2&ttl=5")],
     ("PUT", "/v2/keys/t1", "ttl=50&prevExist=true"), 200,
     '{"action":"update","node":{"key":"/t1","value":"","expiration":"2026-11-18T11:07:30Z","ttl":50,'
     '"modifiedIndex":27,"createdIndex":26},"prevNode":{"key":"/t1","value":"bar2",'
     '"expiration":"2026-11-18T11:06:45Z","ttl":5,"modifiedIndex":26,"createdIndex":26}}'),
    (29, [("PUT", "/v2/keys/t1", "value=1")], ("PUT", "/v2/keys/t1", "prevExist=true"), 400,
     '{"errorCode":204,"message":"Value or TTL is required in POST form","cause":"Update",'
     '"index":29}\n'),
    (33, [("PUT", "/v2/keys/t1", "value=1")], ("PUT", "/v2/keys/t4", "value=1&ttl=abc"), 400,
     '{"errorCode":202,"message":"The given TTL in POST form is not a number","cause":"Update",'
     '"index":33}\n'),
]  # fmt: skip


@pytest.mark.parametrize(("index", "before", "request_", "status", "text"), CAPTURES)
def test_capture(
    legacy: Any, index: int, before: list[Any], request_: Any, status: int, text: str
) -> None:
    legacy.move_to(index)
    for one in before:
        legacy.send(*one)
    exchange = legacy.send(*request_)
    assert (exchange.status, exchange.text) == (status, text)


ONLY_LEGACY = ("/v2/keys/foo?prevIndex=0", "/v2/keys/queue", "/v2/keys/", "/v2/keys/t4")
"""Captures that section 15 has something to say about, by their target."""

CAPTURES_OF_BOTH = [
    one for one in CAPTURES if one[2][1] not in ONLY_LEGACY and one[2][2] != "prevExist=true"
]


@pytest.mark.parametrize(("index", "before", "request_", "status", "text"), CAPTURES_OF_BOTH)
def test_modern_era_answers_the_same_and_ends_with_a_newline(
    modern: Any, index: int, before: list[Any], request_: Any, status: int, text: str
) -> None:
    modern.move_to(index)
    for one in before:
        modern.send(*one)
    exchange = modern.send(*request_)
    assert (exchange.status, exchange.text) == (status, text.rstrip("\n") + "\n")
