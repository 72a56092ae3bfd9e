"""`member` and `cluster-health` against a scripted cluster."""

import json
import socket
from collections.abc import Mapping

import pytest
from tests.unit.cli.etcdctl.conftest import Run, Script

from kvorum.cli.etcdctl import cluster
from kvorum.client.connection import Connection, Response

M1 = {"id": "a1", "name": "m1", "peerURLs": ["http://p1", "http://q1"], "clientURLs": ["http://c"]}
M2 = {"id": "a2", "name": "", "peerURLs": ["http://p2"], "clientURLs": []}


def members(*several: Mapping[str, object]) -> str:
    return json.dumps({"members": several})


def test_the_list_shows_who_leads_and_who_was_not_started(script: Script, run: Run) -> None:
    script.answers(members(M1, M2), json.dumps(M1))
    assert run("member", "list").out.splitlines() == [
        "a1: name=m1 peerURLs=http://p1,http://q1 clientURLs=http://c isLeader=true",
        "a2[unstarted]: peerURLs=http://p2",
    ]


def test_an_added_member_is_told_how_to_start(script: Script, run: Run) -> None:
    script.answers(json.dumps(M2), status=201)
    script.answers(members(M1, M2))
    result = run("member", "add", "m2", "http://p2")
    assert result.out.splitlines() == [
        "Added member named m2 with ID a2 to cluster",
        "",
        'ETCD_NAME="m2"',
        'ETCD_INITIAL_CLUSTER="m1=http://p1,m1=http://q1,m2=http://p2"',
        'ETCD_INITIAL_CLUSTER_STATE="existing"',
    ]
    assert script.requests[0][:3] == ("POST", "/v2/members", b'{"peerURLs": ["http://p2"]}')
    assert script.requests[0].content_type == "application/json"


def test_a_member_is_removed_by_its_id_alone(script: Script, run: Run) -> None:
    script.answers(members(M1))
    result = run("member", "remove", "m1")
    assert result.code == 1
    assert "etcdctl member remove a1" in result.err
    script.answers(members(M1), "")
    assert run("member", "remove", "a1").out == "Removed member a1 from cluster\n"
    assert script.requests[-1][:2] == ("DELETE", "/v2/members/a1")


def test_a_member_moves(script: Script, run: Run) -> None:
    script.answers("")
    assert run("member", "update", "a1", "http://x,http://y").code == 0
    assert script.requests[-1].body == b'{"peerURLs": ["http://x", "http://y"]}'


def test_a_refusal_is_the_clusters_own_text(script: Script, run: Run) -> None:
    script.answers('{"message":"membership: peerURL exists"}', status=409)
    assert run("member", "add", "m2", "http://p1") == (1, "", "membership: peerURL exists\n")


def test_a_server_of_the_04_era_has_no_such_list(script: Script, run: Run) -> None:
    script.answers("404 page not found", status=404)
    assert run("member", "list") == (1, "", "unexpected status code 404\n")
    script.answers("404 page not found", status=404)
    result = run("cluster-health")
    assert result.code == cluster.EXIT_NOT_LISTED
    assert result.out == "cluster may be unhealthy: failed to list members\n"


def test_health_counts_who_cannot_be_asked(script: Script, run: Run) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        script.answers(members({**M1, "clientURLs": [url]}, M2))
        result = run("cluster-health")
    assert result.code == cluster.EXIT_UNHEALTHY
    assert result.out.splitlines() == [
        f"failed to check the health of member a1 on {url}: {url}: connection refused",
        f"member a1 is unreachable: [{url}] are all unreachable",
        "member a2 is unreachable: no available published client urls",
        "cluster is unavailable",
    ]
    assert not script.is_synced


@pytest.mark.parametrize("body", [b"[]", b'{"health":[]}', b"[" * 100_000, b"\xff"])
def test_what_is_no_answer_about_health_is_a_failed_check(
    script: Script, run: Run, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr(Connection, "request", lambda *_: Response(200, {}, body))
    script.answers(members({**M1, "clientURLs": ["http://c1:1"]}))
    result = run("cluster-health")
    assert result.code == cluster.EXIT_UNHEALTHY
    assert result.out.startswith("failed to check the health of member a1 on http://c1:1: ")


@pytest.mark.parametrize("line", ["user list", "role add x", "auth enable", "user"])
def test_what_is_not_there_says_so(script: Script, run: Run, line: str) -> None:
    result = run(*line.split())
    assert result.code == 1
    assert "are not part of this etcdctl" in result.err
    assert script.requests == []
