from typing import Any

MEMBER_1 = (
    '{"id":"1","name":"machine1","peerURLs":["http://127.0.0.1:7001"],'
    '"clientURLs":["http://127.0.0.1:4001"]}'
)


def test_members_are_listed_by_id(modern: Any) -> None:
    modern.server.add_member(0x40B8)
    modern.server.add_member(2)
    answer = modern.get("/v2/members")
    assert answer.text.startswith('{"members":[' + MEMBER_1 + ',{"id":"2",')
    assert '{"id":"40b8",' in answer.text
    assert answer.text.endswith("]}\n")
    assert answer.header_lines["X-Etcd-Cluster-Id"] == "cafe"
    assert answer.header_lines["Content-Type"] == "application/json"


def test_leader(modern: Any) -> None:
    assert modern.get("/v2/members/leader").text == MEMBER_1 + "\n"
    modern.server.leader_id = 0
    answer = modern.get("/v2/members/leader")
    assert (answer.status, answer.text) == (503, '{"message":"During election"}')
