"""Who may be which member: names, addresses and data that are somebody else's are refused."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.process.test_members import curl, members_of

from kvorum.config import Era
from kvorum.testing import ClusterProcess, ServerProcess

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("curl") is None, reason="asks with curl"),
]


@pytest.fixture
def started() -> Iterator[list[ServerProcess]]:
    """Whatever a test puts in here ends with it."""
    servers: list[ServerProcess] = []
    yield servers
    for server in servers:
        server.kill()


def last_error(server: ServerProcess) -> str:
    """What the last line of a 3.x log gives as its reason."""
    return str(json.loads(server.log().splitlines()[-1])["error"])


def start_alone(
    directory: Path, name: str, era: Era, started: list[ServerProcess]
) -> ServerProcess:
    server = ServerProcess(directory, name=name, era=era)
    started.append(server)
    server.start()
    server.wait_ready()
    return server


def test_a_machine_with_data_of_another_cluster_is_refused(
    started: list[ServerProcess], tmp_path: Path
) -> None:
    first = start_alone(tmp_path, "machine1", Era.LEGACY, started)
    # Started without -peers by mistake, and with them later.
    second = start_alone(tmp_path, "machine2", Era.LEGACY, started)
    second.kill()
    second.add_arguments(["-peers", first.peer_url.partition("//")[2]])
    second.start()
    assert second.wait_exit() == 1
    assert "CRITICAL  | machine2 holds data of another cluster" in second.log()
    assert "cluster ID mismatch" in second.log()
    assert second.ask("/version") is None

    second.add_arguments(["-force"])
    second.start()
    second.wait_ready()
    with second.client() as client:
        assert len(client.list_machines()) == 2


def test_a_member_with_data_of_another_cluster_is_told_so(
    started: list[ServerProcess], tmp_path: Path
) -> None:
    with ClusterProcess(tmp_path, era=Era.MODERN) as cluster:
        cluster.members[2].kill()
        port = cluster.members[2].peer_port
        # Another cluster of the same addresses, of which one member is left.
        other = ServerProcess(tmp_path / "other", name="machine3", era=Era.MODERN)
        other.peer_port = port
        other.add_arguments(["--initial-cluster-token", "another", *cluster_flags(cluster)])
        started.append(other)
        other.start()
        other.wait_log("cluster ID mismatch")
        assert "refused: this member belongs to another cluster" in other.log()
        assert cluster.wait_leader() in cluster.members[:2]
        refusals = [one for one in cluster.members[:2] if "cluster ID mismatch" in one.log()]
        assert refusals


def cluster_flags(cluster: ClusterProcess) -> list[str]:
    everybody = ",".join(f"{one.name}={one.peer_url}" for one in cluster.members)
    return ["--initial-cluster", everybody]


def test_a_first_member_without_its_data_is_not_born_again(tmp_path: Path) -> None:
    with ClusterProcess(tmp_path, era=Era.MODERN) as cluster:
        lost = cluster.members[1]
        lost_id = members_of(lost)[lost.name]
        lost.kill()
        shutil.rmtree(lost.data_dir)
        lost.start()
        assert lost.wait_exit() == 1
        assert f"member {lost_id} has already been bootstrapped" in last_error(lost)
        assert not lost.data_dir.exists()


def test_a_name_of_a_member_is_not_given_twice(
    started: list[ServerProcess], tmp_path: Path
) -> None:
    first = start_alone(tmp_path, "machine1", Era.MODERN, started)
    twin = ServerProcess(tmp_path / "twin", name="machine1", era=Era.MODERN)
    started.append(twin)
    body = json.dumps({"peerURLs": [twin.peer_url]})
    assert curl("POST", f"{first.client_url}/v2/members", body).status == 201
    listed = f"one={first.peer_url},machine1={twin.peer_url}"
    twin.add_arguments(["--initial-cluster", listed, "--initial-cluster-state", "existing"])
    twin.start()
    assert twin.wait_exit() == 1
    assert 'is called "machine1" already: give this one another --name' in last_error(twin)


def test_a_machine_of_a_living_machines_name_gets_no_seat(
    started: list[ServerProcess], tmp_path: Path
) -> None:
    first = start_alone(tmp_path, "machine1", Era.LEGACY, started)
    twin = ServerProcess(tmp_path / "twin", name="machine1")
    twin.add_arguments(["-peers", first.peer_url.partition("//")[2], "-max-retry-attempts", "1"])
    started.append(twin)
    twin.start()
    assert twin.wait_exit() == 1
    assert "fail on join request: Key already exists (machine1)" in twin.log()
    with first.client() as client:
        assert client.list_machines() == [first.client_url]
