import json
from typing import Any

import pytest

from kvorum import version
from kvorum.api.v2.stats import render_duration
from kvorum.errors import UnavailableError
from kvorum.server.stats import Latency

NS = 1_000_000_000


@pytest.mark.parametrize(
    ("duration_ns", "shown"),
    [
        (0, b"0s"),
        (3_369_382_331, b"3.369382331s"),
        (NS, b"1s"),
        (NS // 2, b"500ms"),
        (924_085_027, b"924.085027ms"),
        (1_500, "1.5µs".encode()),
        (7, b"7ns"),
        (60 * NS, b"1m0s"),
        (62 * NS + NS // 2, b"1m2.5s"),
        (3600 * NS, b"1h0m0s"),
        (90_061 * NS, b"25h1m1s"),
    ],
)
def test_duration(duration_ns: int, shown: bytes) -> None:
    assert render_duration(duration_ns) == shown


def test_version(legacy: Any, modern: Any) -> None:
    text = legacy.get("/version")
    assert (text.text, text.header_lines) == (
        "etcd 0.4.6",
        {"Content-Type": "text/plain; charset=utf-8"},
    )
    answer = modern.get("/version")
    assert answer.header_lines["Content-Type"] == "application/json"
    assert answer.text == (
        f'{{"etcdserver":"{version.SERVER}","etcdcluster":"{version.CLUSTER}",'
        f'"storage":"{version.CLUSTER}"}}'
    )


def test_health(modern: Any) -> None:
    answer = modern.get("/health")
    assert (answer.status, answer.text) == (200, '{"health":"true","reason":""}\n')
    assert modern.server.reads == 1
    modern.server.leader_id = 0
    answer = modern.get("/health")
    assert (answer.status, answer.text) == (
        503,
        '{"health":"false","reason":"RAFT NO LEADER"}\n',
    )
    assert modern.get("/health?serializable=true").status == 200
    modern.server.leader_id = 1
    modern.server.unavailable = UnavailableError("request timed out")
    assert json.loads(modern.get("/health").text)["health"] == "false"


def test_machines(legacy: Any, modern: Any) -> None:
    urls = [f"http://127.0.0.1:400{number}" for number in (1, 2, 3)]
    for client in (legacy, modern):
        client.server.add_member(3)
        client.server.add_member(2)
        client.server.leader_id = 3
    answer = legacy.get("/v2/machines")
    assert answer.text == ", ".join([urls[2], urls[0], urls[1]])
    assert answer.header_lines == {"Content-Type": "text/plain; charset=utf-8"}
    assert legacy.get("/v2/peers").text == answer.text
    assert modern.get("/v2/machines").text == ", ".join(urls)
    head = legacy.send("HEAD", "/v2/machines")
    assert (head.status, head.sent) == (200, b"")


def test_leader(legacy: Any) -> None:
    assert legacy.get("/v2/leader").text == "http://127.0.0.1:7001"
    legacy.server.leader_id = 0
    answer = legacy.get("/v2/leader")
    assert (answer.status, answer.text) == (
        500,
        '{"errorCode":301,"message":"During Leader Election","index":2}\n',
    )


def test_store_statistics(either: Any) -> None:
    either.put("/v2/keys/a", "value=1")
    either.get("/v2/keys/a")
    either.get("/v2/keys/nope")
    either.get("/v2/keys/a?wait=true")
    answer = either.get("/v2/stats/store")
    assert answer.header_lines["Content-Type"] == "application/json"
    counts = json.loads(answer.text)
    assert (counts["setsSuccess"], counts["getsSuccess"], counts["getsFail"]) == (1, 1, 1)
    assert counts["watchers"] == 1


def test_self_statistics_of_a_leader(legacy: Any) -> None:
    stats, clock = legacy.server.stats, legacy.server.clock
    stats.leader_since_ns = clock.now_ns
    clock.now_ns += 3_369_382_331
    stats.appends_sent = 105
    for second in (0.0, 0.5, 1.0):
        stats.sent.add(clock.monotonic() - 1.0 + second, 40)
    assert legacy.get("/v2/stats/self").text == (
        '{"name":"machine1","state":"leader","startTime":"2026-11-18T11:06:40Z",'
        '"leaderInfo":{"leader":"machine1","uptime":"3.369382331s",'
        '"startTime":"2026-11-18T11:06:40Z"},"recvAppendRequestCnt":0,'
        '"sendAppendRequestCnt":105,"sendPkgRate":3.0,"sendBandwidthRate":120.0}'
    )


def test_self_statistics_of_a_follower(legacy: Any, modern: Any) -> None:
    for client in (legacy, modern):
        client.server.add_member(2)
        client.server.leader_id = 2
        client.server.stats.appends_received = 69
    assert legacy.get("/v2/stats/self").text == (
        '{"name":"machine1","state":"follower","startTime":"2026-11-18T11:06:40Z",'
        '"leaderInfo":{"leader":"machine2","uptime":"0s","startTime":"0001-01-01T00:00:00Z"},'
        '"recvAppendRequestCnt":69,"sendAppendRequestCnt":0}'
    )
    assert modern.get("/v2/stats/self").text == (
        '{"name":"machine1","id":"1","state":"StateFollower","startTime":"2026-11-18T11:06:40Z",'
        '"leaderInfo":{"leader":"2","uptime":"0s","startTime":"0001-01-01T00:00:00Z"},'
        '"recvAppendRequestCnt":69,"sendAppendRequestCnt":0}'
    )


def test_leader_statistics(legacy: Any, modern: Any) -> None:
    assert legacy.get("/v2/stats/leader").text == '{"leader":"machine1","followers":{}}'
    for client in (legacy, modern):
        client.server.add_member(3)
        client.server.add_member(2)
        answered = Latency(fails=1)
        for milliseconds in (1.0, 3.0):
            answered.add(milliseconds)
        client.server.stats.followers = {3: Latency(), 2: answered}
    followers = (
        '{"latency":{"current":3.0,"average":2.0,"standardDeviation":1.0,"minimum":1.0,'
        '"maximum":3.0},"counts":{"fail":1,"success":2}}',
        '{"latency":{"current":0.0,"average":0.0,"standardDeviation":0.0,"minimum":0.0,'
        '"maximum":0.0},"counts":{"fail":0,"success":0}}',
    )
    assert legacy.get("/v2/stats/leader").text == (
        f'{{"leader":"machine1","followers":{{"machine2":{followers[0]},"machine3":{followers[1]}}}}}'
    )
    assert modern.get("/v2/stats/leader").text == (
        f'{{"leader":"1","followers":{{"2":{followers[0]},"3":{followers[1]}}}}}'
    )


def test_leader_statistics_of_a_follower(legacy: Any, modern: Any) -> None:
    for client in (legacy, modern):
        client.server.add_member(2)
        client.server.leader_id = 2
    answer = legacy.get("/v2/stats/leader?x=1")
    assert (answer.status, answer.sent) == (307, b"")
    assert answer.header_lines["Location"] == "http://127.0.0.1:4002/v2/stats/leader?x=1"
    refused = modern.get("/v2/stats/leader")
    assert (refused.status, refused.text) == (403, '{"message":"not current leader"}')


def test_leader_statistics_without_a_leader(legacy: Any) -> None:
    legacy.server.leader_id = 0
    answer = legacy.get("/v2/stats/leader")
    assert (answer.status, answer.text) == (
        500,
        '{"errorCode":300,"message":"Raft Internal Error","index":2}\n',
    )
