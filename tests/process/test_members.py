"""Members come and go under load: nothing is lost, and who was removed says so."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.process.test_kill import OUTAGE_SECONDS, Traffic, assert_nothing_lost

from kvorum.config import Era
from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = pytest.mark.process

CREATED = 201
FORM = "application/x-www-form-urlencoded"
REMOVED = "the member has been permanently removed from the cluster"


class Answer(NamedTuple):
    status: int
    location: str
    body: bytes


def curl(method: str, url: str, data: str = "", kind: str = "application/json") -> Answer:
    """What an operator types."""
    command = ["curl", "-s", "-X", method, "-w", "\n%{http_code} %{redirect_url}", url]
    if data:
        command += ["-H", f"Content-Type: {kind}", "-d", data]
    output = subprocess.run(command, check=True, capture_output=True, timeout=20).stdout
    body, _, tail = output.rpartition(b"\n")
    status, _, location = tail.decode().partition(" ")
    return Answer(int(status), location, body)


def members_of(server: ServerProcess) -> dict[str, str]:
    """Name to id."""
    listing = json.loads(curl("GET", f"{server.client_url}/v2/members").body)
    return {member["name"]: member["id"] for member in listing["members"]}


def remove(asked: ServerProcess, gone: ServerProcess) -> None:
    gone_id = members_of(asked)[gone.name]
    answer = curl("DELETE", f"{asked.client_url}/v2/members/{gone_id}")
    assert answer.status == 204, answer
    answer = curl("DELETE", f"{asked.client_url}/v2/members/{gone_id}")
    assert answer.status == 410, answer


def add(cluster: ClusterProcess, directory: Path, name: str) -> ServerProcess:
    """Adds a member through one of the others, and starts it."""
    added = ServerProcess(directory, name=name, era=Era.MODERN)
    body = json.dumps({"peerURLs": [added.peer_url]})
    answer = curl("POST", f"{cluster.members[0].client_url}/v2/members", body)
    assert answer.status == CREATED, answer
    everybody = [*cluster.members, added]
    listed = ",".join(f"{member.name}={member.peer_url}" for member in everybody)
    added.add_arguments(["--initial-cluster", listed, "--initial-cluster-state", "existing"])
    cluster.members.append(added)
    added.start()
    added.wait_ready()
    return added


@pytest.fixture
def modern(tmp_path: Path) -> Iterator[ClusterProcess]:
    with ClusterProcess(tmp_path, era=Era.MODERN) as members:
        yield members


def test_every_member_is_replaced_under_load(modern: ClusterProcess, tmp_path: Path) -> None:
    with Traffic(modern.members) as traffic:
        for number in (4, 5, 6):
            traffic.wait_progress()
            add(modern, tmp_path, f"machine{number}")
            traffic.add_member(modern.members[-1])
            traffic.wait_progress()
            gone = modern.members[0]
            remove(modern.members[1], gone)
            assert gone.wait_exit() == 0
            assert REMOVED in gone.log()
            modern.members.remove(gone)
            modern.wait_leader()
            traffic.wait_progress()
    assert sorted(members_of(modern.members[0])) == ["machine4", "machine5", "machine6"]
    assert_nothing_lost(modern, traffic)


@pytest.mark.parametrize("era", Era)
def test_a_leader_may_be_removed(tmp_path: Path, era: Era) -> None:
    with ClusterProcess(tmp_path, era=era) as cluster:
        leader = cluster.wait_leader()
        others = [member for member in cluster.members if member is not leader]
        with Traffic(others) as traffic:
            traffic.wait_progress()
            if era is Era.MODERN:
                remove(others[0], leader)
            else:
                answer = curl("DELETE", f"{leader.peer_url}/remove/{leader.name}")
                assert (answer.status, len(answer.body)) == (200, 8)
            leader.wait_log(REMOVED)
            if era is Era.MODERN:
                assert leader.wait_exit() == 0
            else:
                leader.wait_log(f"{leader.name} starting in standby mode")
                leader.kill()  # it would be back before long
            cluster.members.remove(leader)
            traffic.wait_progress()
            assert cluster.wait_leader() in others
        assert_nothing_lost(cluster, traffic)


def test_a_removed_member_that_starts_again_says_so_and_ends(modern: ClusterProcess) -> None:
    knows, does_not = modern.members[1:]
    does_not.kill()
    remove(modern.members[0], does_not)
    does_not.start()
    assert does_not.wait_exit() == 0
    assert REMOVED in does_not.log()
    remove(modern.members[0], knows)
    assert knows.wait_exit() == 0
    count = knows.log().count(REMOVED)
    knows.start()
    assert knows.wait_exit() == 0
    assert knows.log().count(REMOVED) > count
    answer = curl("PUT", f"{modern.members[0].client_url}/v2/keys/a", "value=1", FORM)
    assert answer.status == CREATED


def test_a_removed_member_may_come_back_without_its_data(cluster: ClusterProcess) -> None:
    first, second, third = cluster.members
    third.kill()
    answer = curl("DELETE", f"{second.peer_url}/v2/admin/machines/{third.name}")
    leader = first if answer.status == 307 else second
    if answer.status == 307:
        assert answer.location == f"{leader.peer_url}/v2/admin/machines/{third.name}"
        answer = curl("DELETE", answer.location)
    assert answer.status == 200
    machines = json.loads(curl("GET", f"{first.client_url}/v2/keys/_etcd/machines").body)
    assert {node["key"] for node in machines["node"]["nodes"]} == {
        "/_etcd/machines/machine1",
        "/_etcd/machines/machine2",
    }
    shutil.rmtree(third.data_dir)
    third.start()
    third.wait_ready()
    assert cluster.wait_leader() in cluster.members
    one = curl("GET", f"{first.peer_url}/v2/admin/machines/{third.name}")
    assert json.loads(one.body)["clientURL"] == third.client_url


def test_who_says_that_it_is_ready_has_its_vote(cluster: ClusterProcess) -> None:
    for member in cluster.members:
        assert b"\netcd_server_is_learner 0\n" in curl("GET", f"{member.client_url}/metrics").body
    leader = cluster.wait_leader()
    leader.kill()
    others = [member for member in cluster.members if member is not leader]
    answer = curl("PUT", f"{others[0].client_url}/v2/keys/a", "value=1", FORM)
    assert answer.status == CREATED


def test_a_seat_that_is_never_taken_stops_nobody(tmp_path: Path) -> None:
    cluster = ClusterProcess(tmp_path, 2)
    first, second = cluster.members
    body = {"name": second.name, "raftURL": second.peer_url, "etcdURL": second.client_url}
    with cluster.members[0], first.client() as client:
        first.wait_ready()
        assert curl("PUT", f"{first.peer_url}/join", json.dumps(body)).status == 200
        assert client.put("/a", "1").node.value == "1"
        assert client.list_machines() == [first.client_url, second.client_url]
        with second:
            second.wait_ready()
            assert client.list_machines() == [first.client_url, second.client_url]
            assert curl("GET", f"{second.client_url}/v2/keys/a?quorum=true").status == 200


def test_the_config_is_for_all_members(cluster: ClusterProcess) -> None:
    leader = cluster.wait_leader()
    follower = next(member for member in cluster.members if member is not leader)
    given = '{"activeSize":1, "removeDelay":0.5,"syncInterval":0.1}'
    answer = curl("PUT", f"{follower.peer_url}/v2/admin/config", given, FORM)
    assert (answer.status, answer.location) == (307, f"{leader.peer_url}/v2/admin/config")
    answer = curl("PUT", f"{leader.peer_url}/v2/admin/config", given, FORM)
    assert answer.body == b'{"activeSize":3,"removeDelay":2,"syncInterval":1}\n'
    for member in cluster.members:
        url = f"{member.peer_url}/v2/admin/config"
        wait_until(
            lambda url=url: curl("GET", url).body == answer.body,  # type: ignore[misc]
            OUTAGE_SECONDS,
            "the config on every member",
        )


def begin_wait(server: ServerProcess, key: str) -> subprocess.Popen[bytes]:
    """A wait that the server has heard of."""
    url = f"{server.client_url}/v2/keys{key}?wait=true&recursive=true"
    waiting = subprocess.Popen(["curl", "-s", "--max-time", "30", url], stdout=subprocess.PIPE)
    stats = f"{server.client_url}/v2/stats/store"
    wait_until(lambda: b'"watchers":1' in curl("GET", stats).body, 10, "the wait to be heard")
    return waiting


def told(waiting: subprocess.Popen[bytes]) -> Any:
    return json.loads(waiting.communicate(timeout=30)[0])


def test_who_waits_for_the_machines_is_told_on_every_member(tmp_path: Path) -> None:
    cluster = ClusterProcess(tmp_path, 2)
    first, second = cluster.members
    with first, second:
        first.wait_ready()
        second.wait_ready()
        admin = f"{cluster.wait_leader().peer_url}/v2/admin"
        waits = [begin_wait(member, "/_etcd/config") for member in cluster.members]
        assert curl("PUT", f"{admin}/config", '{"activeSize":5}').status == 200
        for event in map(told, waits):
            assert (event["action"], event["node"]["key"]) == ("set", "/_etcd/config")
            assert json.loads(event["node"]["value"])["activeSize"] == 5
            assert json.loads(event["prevNode"]["value"])["activeSize"] == 9
        waits = [begin_wait(member, "/_etcd/machines") for member in cluster.members]
        body = {"name": "m3", "raftURL": "http://127.0.0.1:1", "etcdURL": "http://127.0.0.1:2"}
        assert curl("PUT", f"{cluster.wait_leader().peer_url}/join", json.dumps(body)).status == 200
        events = [told(waiting) for waiting in waits]
        assert events[0] == events[1]
        assert events[0]["action"] == "create"
        node = json.loads(curl("GET", f"{first.client_url}/v2/keys/_etcd/machines/m3").body)
        assert events[0]["node"] == node["node"]
        waits = [begin_wait(member, "/_etcd/machines/m3") for member in cluster.members]
        assert curl("DELETE", f"{admin}/machines/m3").status == 200
        for event in map(told, waits):
            assert event["action"] == "delete"
            assert event["prevNode"] == node["node"]


def test_a_removal_without_a_living_quorum_is_refused(modern: ClusterProcess) -> None:
    leader = modern.wait_leader()
    dead, living = (member for member in modern.members if member is not leader)
    dead.kill()
    living_id = members_of(leader)[living.name]

    def refused() -> bool:
        url = f"{leader.client_url}/v2/members/ffff"
        return curl("DELETE", url).status == 404 and not is_heard(leader, dead)

    wait_until(refused, OUTAGE_SECONDS, "the leader to miss a member")
    answer = curl("DELETE", f"{leader.client_url}/v2/members/{living_id}")
    assert answer == Answer(500, "", b'{"message":"Internal Server Error"}')
    assert "unhealthy cluster" in leader.log()
    remove(leader, dead)
    remove(leader, living)
    assert list(members_of(leader)) == [leader.name]


def is_heard(leader: ServerProcess, member: ServerProcess) -> bool:
    return f'heartbeat time out peer=\\"{member.name}\\"' not in leader.log()
