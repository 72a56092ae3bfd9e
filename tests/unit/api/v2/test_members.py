"""`/v2/members`; every text as etcd 3.5.1 gives it."""

from typing import Any

import pytest

from kvorum.api.v2.members import find_url_fault
from kvorum.errors import UnavailableError
from kvorum.membership import Member, MembershipFault
from kvorum.server.reconfiguration import Answer, AnswerCompletion, Reconfiguration

MEMBER_1 = (
    '{"id":"1","name":"machine1","peerURLs":["http://127.0.0.1:7001"],'
    '"clientURLs":["http://127.0.0.1:4001"]}'
)
JSON = {b"content-type": b"application/json"}
URLS = b'{"peerURLs":["http://127.0.0.1:7004"]}'
MEMBER_4 = Member(0xA4, "", ("http://127.0.0.1:7004",))


class Desk:
    """Stands in for what changes the members, and remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.answer: Answer = MEMBER_4

    def add(self, _: Reconfiguration, urls: tuple[str, ...], completion: AnswerCompletion) -> None:
        self.asked.append(("add", urls))
        completion(self.answer)

    def remove(self, _: Reconfiguration, member_id: int, completion: AnswerCompletion) -> None:
        self.asked.append(("remove", member_id))
        completion(self.answer)

    def move(
        self,
        _: Reconfiguration,
        member_id: int,
        urls: tuple[str, ...],
        completion: AnswerCompletion,
    ) -> None:
        self.asked.append(("move", member_id, urls))
        completion(self.answer)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    for name in ("add", "remove", "move"):
        method = getattr(made, name)
        monkeypatch.setattr(Reconfiguration, name, lambda *args, method=method: method(*args))
    return made


def test_members_are_listed_by_id(modern: Any) -> None:
    modern.server.add_member(0x40B8)
    modern.server.add_member(2)
    answer = modern.get("/v2/members")
    assert answer.text.startswith('{"members":[' + MEMBER_1 + ',{"id":"2",')
    assert '{"id":"40b8",' in answer.text
    assert answer.text.endswith("]}\n")
    assert answer.header_lines["X-Etcd-Cluster-Id"] == "cafe"
    assert answer.header_lines["Content-Type"] == "application/json"
    assert modern.get("/v2/members/").text == answer.text


def test_leader(modern: Any) -> None:
    assert modern.get("/v2/members/leader").text == MEMBER_1 + "\n"
    modern.server.leader_id = 0
    answer = modern.get("/v2/members/leader")
    assert (answer.status, answer.text) == (503, '{"message":"During election"}')


@pytest.mark.parametrize("target", ["/v2/members/1", "/v2/members/a/b"])
def test_one_member_cannot_be_read(modern: Any, target: str) -> None:
    answer = modern.get(target)
    assert (answer.status, answer.text) == (404, '{"message":"Not found"}')


@pytest.mark.parametrize(
    "kind", [b"application/json", b"application/json; charset=utf-8", b"Application/JSON ;"]
)
def test_a_member_is_added(modern: Any, desk: Desk, kind: bytes) -> None:
    answer = modern.send("POST", "/v2/members", URLS, {b"content-type": kind})
    assert answer.status == 201
    assert answer.text == (
        '{"id":"a4","name":"","peerURLs":["http://127.0.0.1:7004"],"clientURLs":[]}\n'
    )
    assert answer.header_lines["X-Etcd-Cluster-Id"] == "cafe"
    assert desk.asked == [("add", ("http://127.0.0.1:7004",))]


def test_a_member_is_moved(modern: Any, desk: Desk) -> None:
    answer = modern.send("PUT", "/v2/members/a4", URLS, JSON)
    assert (answer.status, answer.sent) == (204, b"")
    assert "Content-Type" not in answer.header_lines
    assert answer.header_lines["X-Etcd-Cluster-Id"] == "cafe"
    assert desk.asked == [("move", 0xA4, ("http://127.0.0.1:7004",))]


def test_a_member_is_removed(modern: Any, desk: Desk) -> None:
    answer = modern.delete("/v2/members/a4")
    assert (answer.status, answer.sent) == (204, b"")
    assert desk.asked == [("remove", 0xA4)]


def test_a_member_is_removed_once(modern: Any, desk: Desk) -> None:
    modern.server.add_member(0xA4)
    modern.server.cluster.remove(0xA4)
    answer = modern.delete("/v2/members/a4")
    assert answer.status == 410
    assert answer.text == '{"message":"Member permanently removed: a4"}'
    assert desk.asked == []


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"junk", "invalid character 'j' looking for beginning of value"),
        (b"", "unexpected end of JSON input"),
        (
            b'{"peerURLs":["\xff"]}',
            "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        (b'{"other":' + b"[" * 100_000, "nested too deep"),
        (b'{"peerURLs":[]}', "no valid URLs given"),
        (b"{}", "no valid URLs given"),
        (
            b'{"peerURLs":["127.0.0.1:5"]}',
            'parse \\"127.0.0.1:5\\": first path segment in URL cannot contain colon',
        ),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(
    modern: Any, desk: Desk, method: str, body: bytes, message: str
) -> None:
    target = "/v2/members" if method == "POST" else "/v2/members/a4"
    answer = modern.send(method, target, body, JSON)
    assert (answer.status, answer.text) == (400, f'{{"message":"{message}"}}')
    assert desk.asked == []


@pytest.mark.parametrize(("method", "target"), [("POST", ""), ("PUT", "/a4")])
def test_only_json_is_taken(modern: Any, desk: Desk, method: str, target: str) -> None:
    answer = modern.send(method, "/v2/members" + target, URLS)
    assert answer.status == 415
    assert answer.text == (
        '{"message":"Bad Content-Type application/x-www-form-urlencoded, accept application/json"}'
    )
    answer = modern.send(method, "/v2/members" + target, URLS, {})
    assert answer.text == '{"message":"Bad Content-Type , accept application/json"}'
    assert desk.asked == []


@pytest.mark.parametrize("name", ["xyz", "-1", "1" * 17, "leader"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_is_no_id_is_no_member(modern: Any, desk: Desk, method: str, name: str) -> None:
    answer = modern.send(method, f"/v2/members/{name}", URLS, JSON)
    assert (answer.status, answer.text) == (404, f'{{"message":"No such member: {name}"}}')
    assert desk.asked == []


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (MembershipFault.NOT_FOUND, 404, "No such member: a4"),
        (MembershipFault.PEER_URL_EXISTS, 409, "membership: peerURL exists"),
        (MembershipFault.REMOVED, 500, "Internal Server Error"),
        (MembershipFault.UNHEALTHY, 500, "Internal Server Error"),
        (UnavailableError("request timed out"), 500, "Internal Server Error"),
    ],
)
def test_refusals(
    modern: Any,
    desk: Desk,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
    status: int,
    message: str,
) -> None:
    desk.answer = answer
    found = modern.send("PUT", "/v2/members/a4", URLS, JSON)
    assert (found.status, found.text) == (status, f'{{"message":"{message}"}}')
    assert ("PUT /v2/members/a4 was refused" in caplog.text) == (status == 500)


@pytest.mark.parametrize(
    ("method", "target"),
    [("PUT", "/v2/members"), ("DELETE", "/v2/members"), ("PATCH", "/v2/members/a4")],
)
def test_other_methods(modern: Any, desk: Desk, method: str, target: str) -> None:
    answer = modern.send(method, target, URLS, JSON)
    assert (answer.status, answer.text) == (405, "Method Not Allowed\n")
    assert desk.asked == []


def test_there_is_none_of_it_in_the_old_era(legacy: Any) -> None:
    assert legacy.get("/v2/members").status == 404
    assert legacy.delete("/v2/members/1").status == 404


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://127.0.0.1:7004", ""),
        ("https://[::1]:7004", ""),
        ("ftp://h:1", "URL scheme must be http, https, unix, or unixs: ftp://h:1"),
        ("host", "URL scheme must be http, https, unix, or unixs: host"),
        ("http://h", 'URL address does not have the form "host:port": http://h'),
        ("http://h:99999", 'URL address does not have the form "host:port": http://h:99999'),
        ("http://h:1/a", "URL must not contain a path: http://h:1/a"),
        ("http://h:1\n", 'parse "http://h:1\\n": net/url: invalid control character in URL'),
        ("http://a..b:1", 'URL address does not have the form "host:port": http://a..b:1'),
        ("http://[::1:1", 'URL address does not have the form "host:port": http://[::1:1'),
    ],
)
def test_urls(url: str, fault: str) -> None:
    assert find_url_fault(url) == fault
