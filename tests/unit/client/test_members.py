"""`/v2/members` as a client reads it; the servers' side of it is tested with real processes."""

import pytest

from kvorum.client.connection import Request, Response
from kvorum.client.members import MembersRefused, Seat, find_leader, list_members, remove_member
from kvorum.client.v2 import Client


class Answering(Client):
    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(["http://127.0.0.1:1"])
        self.answer = Response(status, {}, body)
        self.asked: list[Request] = []

    def request(self, request: Request, *, is_repeatable: bool) -> Response:
        assert is_repeatable == (request.method == "GET")
        self.asked.append(request)
        return self.answer


MEMBER = b'{"id":"a1","name":"m1","peerURLs":["http://p"],"clientURLs":null}'


def test_a_member_has_urls_also_where_null_is_sent() -> None:
    seat = Seat("a1", "m1", ("http://p",), ())
    assert list_members(Answering(200, b'{"members":[%b]}' % MEMBER)) == [seat]
    assert find_leader(Answering(200, MEMBER)) == seat


def test_a_removal_is_sent_once() -> None:
    client = Answering(204, b"")
    remove_member(client, "a1")
    assert [request.target for request in client.asked] == ["/v2/members/a1"]


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (410, b'{"message":"Member permanently removed: a1"}', "Member permanently removed: a1"),
        (404, b"404 page not found", "unexpected status code 404"),
        (200, b"[]", "not a list of members"),
        (200, b"[" * 100_000, "not a list of members"),
        (200, b'{"members":[[]]}', "not a list of members"),
        (200, b'{"members":[{"id":"1","peerURLs":{"a":1}}]}', "not a list of members"),
        (500, b'{"message":"\xff"}', "unexpected status code 500"),
    ],
)
def test_a_refusal_keeps_the_servers_words(status: int, body: bytes, text: str) -> None:
    with pytest.raises(MembersRefused, match=text):
        list_members(Answering(status, body))
