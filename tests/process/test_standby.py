"""Machines of the 0.4 era beyond the active size: they stand by, and take a seat that is free."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import etcd
import pytest
from tests.process.test_kill import Traffic, assert_nothing_lost
from tests.process.test_members import FORM, Answer, curl

from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("curl") is None, reason="asks with curl"),
]

FAST = ["-cluster-active-size", "3", "-cluster-sync-interval", "1", "-cluster-remove-delay", "2"]


class Machines:
    """Three members and one machine more."""

    def __init__(self, directory: Path) -> None:
        self.cluster = ClusterProcess(directory, arguments=FAST)
        self.members = self.cluster.members
        self.fourth = ServerProcess(directory, name="machine4", arguments=self.peers_of("machine4"))

    def peers_of(self, name: str) -> list[str]:
        others = [one for one in self.members if one.name != name]
        return ["-peers", ",".join(f"{one.host}:{one.peer_port}" for one in others)]

    def start(self) -> None:
        self.cluster.start()
        self.fourth.start()
        self.fourth.wait_log("machine4 starting in standby mode")
        self.members.append(self.fourth)

    def names(self) -> list[str]:
        """Who has a seat, as any running member tells it."""
        return wait_until(self._find_names, 20, "a member that answers")

    def _find_names(self) -> list[str]:
        for member in self.cluster.running:
            answer = ask(f"{member.peer_url}/v2/admin/machines")
            if answer is not None and answer.status == 200:
                return [str(machine["name"]) for machine in json.loads(answer.body)]
        return []

    def wait_names(self, *numbers: int) -> None:
        wanted = [f"machine{number}" for number in numbers]
        wait_until(lambda: self.names() == wanted, 30, lambda: f"{wanted}, not {self.names()}")

    def serve(self, count: int) -> bool:
        """Whether so many have a seat and its vote: only then do they answer clients."""
        names = self.names()
        answers = [ask(f"{one.client_url}/v2/keys/") for one in self.members if one.name in names]
        return [one.status for one in answers if one is not None] == count * [200]

    def leader(self) -> ServerProcess:
        def find() -> ServerProcess | None:
            for member in self.cluster.running:
                told = ask(f"{member.peer_url}/v2/admin/machines")
                if told is None or told.status != 200:
                    continue
                leaders = [one["name"] for one in json.loads(told.body) if one["state"] == "leader"]
                return next((one for one in self.members if one.name in leaders), None)
            return None

        return wait_until(find, 20, "a leader")

    def configure(self, **numbers: float) -> None:
        url = f"{self.leader().peer_url}/v2/admin/config"
        assert curl("PUT", url, json.dumps(numbers)).status == 200


def ask(url: str) -> Answer | None:
    return attempt("GET", url)


def attempt(method: str, url: str, data: str = "") -> Answer | None:
    """What curl shows; None when there is no answer."""
    try:
        return curl(method, url, data, FORM)
    except subprocess.CalledProcessError:
        return None


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    machines = Machines(tmp_path)
    try:
        machines.start()
        yield machines
    finally:
        for one in [*machines.members, machines.fourth]:
            one.kill()


def write(server: ServerProcess, value: str) -> int:
    """The status of a PUT; 0 when there is no answer."""
    answer = attempt("PUT", f"{server.client_url}/v2/keys/a", f"value={value}")
    return answer.status if answer else 0


def test_one_machine_more_sends_its_clients_to_the_leader(machines: Machines) -> None:
    leader, fourth = machines.leader(), machines.fourth
    for path in ("/v2/keys/a?recursive=true", "/version", "/no/such/%2Fpage"):
        answer = ask(f"{fourth.client_url}{path}")
        assert answer == Answer(307, f"{leader.client_url}{path}", b"")
    assert write(fourth, "1") == 307
    for path in ("/v2/admin/machines", "/version", "/"):
        answer = ask(f"{fourth.peer_url}{path}")
        assert answer is not None
        assert answer.status == 404
    assert machines.names() == ["machine1", "machine2", "machine3"]
    with fourth.client() as client:  # ours follows redirects
        client.put("/a", "2")
        assert client.get("/a").node.value == "2"
        assert len(client.list_machines()) == 3
    python = etcd.Client(host=fourth.host, port=fourth.client_port)
    try:
        assert python.read("/a").value == "2"
        assert python.write("/a", "3").action == "set"
    finally:
        python.http.clear()
    info = json.loads((fourth.data_dir / "standby_info").read_bytes())
    assert info["Running"] is True
    assert [one["name"] for one in info["Cluster"]] == machines.names()
    assert info["SyncInterval"] == 1

    # It goes on standing by when it is started again, whatever it is told then.
    fourth.restart()
    fourth.wait_log("machine4 starting in standby mode")
    wait_until(lambda: write(fourth, "3") == 307, 20, "a redirect")


def test_a_dead_member_is_removed_and_its_seat_taken(machines: Machines) -> None:
    assert write(machines.leader(), "1") == 201
    dead = machines.members[2]
    dead.kill()
    machines.wait_names(1, 2, 4)
    machines.fourth.wait_log("machine4 starting in peer mode")
    wait_until(lambda: write(machines.fourth, "2") == 200, 20, "the fourth to answer")
    assert any("removing node: machine3; last activity" in one.log() for one in machines.members)

    # The dead one comes back to a full cluster, and has to wait in turn.
    dead.start()
    dead.wait_log("machine3 starting in standby mode")
    # It died while it removed what it held, once a seat was given.
    dead.kill()
    (dead.data_dir / "member" / "db").unlink()
    dead.start()
    wait_until(lambda: dead.log().count("in standby mode") == 2, 20, "it to stand by again")
    machines.wait_names(1, 2, 4)
    wait_until(lambda: write(dead, "3") == 307, 20, "a redirect")
    machines.configure(activeSize=4)
    machines.wait_names(1, 2, 3, 4)
    wait_until(lambda: write(dead, "4") == 200, 20, "the third to answer")
    read = ask(f"{dead.client_url}/v2/keys/a?quorum=true")
    assert read is not None
    assert json.loads(read.body)["node"]["value"] == "4"
    dead.restart()
    dead.wait_log("Peer URLs in log:")
    wait_until(lambda: write(dead, "5") == 200, 20, "the third to answer")


def test_a_member_that_is_removed_by_hand_makes_room_for_the_next(machines: Machines) -> None:
    leader = machines.leader()
    gone = next(one for one in machines.members[:3] if one is not leader)
    gone.kill()
    assert curl("DELETE", f"{leader.peer_url}/remove/{gone.name}").status == 200
    machines.fourth.wait_log("machine4 starting in peer mode")
    assert "machine4" in machines.names()
    assert gone.name not in machines.names()


def test_a_smaller_size_sends_members_to_stand_by(machines: Machines) -> None:
    machines.configure(activeSize=4)
    machines.wait_names(1, 2, 3, 4)
    leader = machines.leader()
    machines.configure(activeSize=3)
    wait_until(lambda: len(machines.names()) == 3, 20, "one member less")
    names = machines.names()
    (out,) = (one for one in machines.members if one.name not in names)
    assert out is not leader
    leader.wait_log(f"removing node: {out.name}; peer number 4 > expected size 3")
    out.wait_log(f"{out.name} starting in standby mode")
    wait_until(lambda: write(out, "1") == 307, 20, "a redirect")


def test_a_removed_member_comes_back_by_itself_while_there_is_room(
    cluster: ClusterProcess,
) -> None:
    leader = cluster.wait_leader()
    assert curl("PUT", f"{leader.peer_url}/v2/admin/config", '{"syncInterval":1}').status == 200
    assert write(leader, "1") == 201
    answer = curl("DELETE", f"{leader.peer_url}/remove/{leader.name}")
    assert (answer.status, len(answer.body)) == (200, 8)
    leader.wait_log(f"{leader.name} starting in standby mode")
    wait_until(lambda: leader.log().count("starting in peer mode") == 2, 20, "its return")
    wait_until(lambda: write(leader, "2") == 200, 20, "it to answer")
    assert cluster.wait_leader() is not None
    assert json.loads((leader.data_dir / "standby_info").read_bytes())["Running"] is False
    assert leader.terminate() == 0


def test_nothing_is_lost_while_seats_change_hands(machines: Machines) -> None:
    with Traffic(machines.members) as traffic:
        for victim in machines.members[:3]:
            traffic.wait_progress()
            victim.kill()
            wait_until(lambda victim=victim: victim.name not in machines.names(), 30, "its removal")  # type: ignore[misc]
            wait_until(lambda: machines.serve(3), 30, "a standby in its seat")
            traffic.wait_progress()
            victim.start()
        machines.configure(activeSize=4)
        machines.wait_names(1, 2, 3, 4)
        traffic.wait_progress()
    assert_nothing_lost(machines.cluster, traffic)


def test_who_was_away_while_the_others_got_new_seats_is_told(cluster: ClusterProcess) -> None:
    url = f"{cluster.wait_leader().peer_url}/v2/admin/config"
    assert curl("PUT", url, '{"syncInterval":1}').status == 200
    away = cluster.members[2]
    away.kill()
    assert remove_from(cluster, away) == 200
    for other in cluster.members[:2]:
        assert remove_from(cluster, other) == 200
        wait_until(
            lambda other=other: other.log().count("starting in peer mode") == 2,  # type: ignore[misc]
            20,
            "its return",
        )
        wait_until(lambda other=other: write(other, "1") in (200, 201), 20, "it")  # type: ignore[misc]
    away.start()
    away.wait_log("starting in standby mode")
    wait_until(lambda: write(away, "2") == 200, 20, "it to answer")


def remove_from(cluster: ClusterProcess, gone: ServerProcess) -> int:
    leader = cluster.wait_leader()
    return curl("DELETE", f"{leader.peer_url}/remove/{gone.name}").status
