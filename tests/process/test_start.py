"""How soon a server answers. Shown with `pytest -rP`, never asserted: machines differ."""

import socket
from pathlib import Path

import pytest
from tests.process.wire import Wire

from kvorum.clock import SystemClock
from kvorum.config import Era
from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.polling import wait_until
from kvorum.testing.process import find_free_ports

pytestmark = pytest.mark.process

clock = SystemClock()


def show(what: str, started: float) -> None:
    print(f"{what}: {(clock.monotonic() - started) * 1000:.0f} ms")  # noqa: T201 -- asked for


@pytest.mark.parametrize("era", Era)
def test_a_server_answers_after_its_first_start_and_the_next(tmp_path: Path, era: Era) -> None:
    server = ServerProcess(tmp_path, era=era)
    for start in ("first start", "start with data"):
        started = clock.monotonic()
        with server:
            server.wait_ready()
            show(f"{era.value}: {start} to first answer", started)
            with server.client() as client:
                client.put("/key", start)
                assert client.get("/key").node.value == start


def test_a_server_says_that_it_is_ready_when_it_is(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, era=Era.MODERN) as server:
        server.wait_log("ready to serve client requests")
        assert server.ask("/version") is not None


def test_three_members_that_start_at_once_find_each_other(tmp_path: Path) -> None:
    cluster = ClusterProcess(tmp_path, era=Era.MODERN)
    started = clock.monotonic()
    with cluster, cluster.client() as client:
        show("three members, start to a leader all agree on", started)
        client.put("/key", "value")
        urls = [member.client_url for member in cluster.members]
        wait_until(
            lambda: sorted(client.list_machines()) == sorted(urls), 5, "all machines to be listed"
        )


def test_three_members_that_restart_at_once_find_each_other(cluster: ClusterProcess) -> None:
    with cluster.client() as client:
        written = client.put("/key", "value").node
        cluster.kill()
        started = clock.monotonic()
        for member in cluster.members:
            member.start()
        cluster.wait_leader()
        show("three members, restart to a leader all agree on", started)
        assert client.get("/key", quorum=True).node == written


@pytest.mark.parametrize("era", Era)
def test_a_member_that_moved_is_listed_where_it_is(tmp_path: Path, era: Era) -> None:
    server = ServerProcess(tmp_path, era=era)
    with server:
        server.wait_ready()
    (server.client_port,) = find_free_ports(1)
    with server, server.client() as client:
        server.wait_ready()
        assert client.list_machines() == [server.client_url]


def test_a_forced_member_begins_anew_on_its_old_directory(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    with server, server.client() as client:
        server.wait_ready()
        client.put("/key", "old")
    server.add_arguments(["-f"])
    with server, server.client() as client:
        server.wait_ready()
        assert f"machine1: -force: what {server.data_dir} held is removed" in server.log()
        assert server.log().count("machine1 is starting a new cluster") == 2
        assert client.put("/other", "new").node.modified_index == 3
        assert [node.key for node in client.get("/").node.children] == ["/other"]


def test_a_flag_that_sets_nothing_is_told_and_one_that_must_not_be_missed_refuses(
    tmp_path: Path,
) -> None:
    with ServerProcess(tmp_path, era=Era.MODERN, arguments=["--max-wals=9"]) as server:
        server.wait_ready()
        assert '"msg":"--max-wals=9 has no effect: ' in server.log()
    with ServerProcess(tmp_path, name="refused", arguments=["-trace=*"]) as server:
        server.wait_ready()
        assert "WARNING   | -trace=* has no effect: " in server.log()
    refused = ServerProcess(tmp_path, name="m3", era=Era.MODERN, arguments=["--auth-token=jwt"])
    with refused:
        refused.wait_log("--auth-token=jwt is refused: there is no authentication of users yet")
        assert refused.wait_exit() == 1
    assert not refused.data_dir.exists()


def test_log_lines_may_go_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    with ServerProcess(tmp_path, era=Era.MODERN, arguments=["--log-outputs", str(path)]) as server:
        server.wait_ready()
        assert "ready to serve client requests" in path.read_text("utf-8")
        assert server.log() == ""


def test_history_goes_when_it_is_old_enough(tmp_path: Path) -> None:
    arguments = ["--auto-compaction-retention", "300ms"]
    with ServerProcess(tmp_path, era=Era.MODERN, arguments=arguments) as server:
        server.wait_ready()
        with server.client() as client:
            for number in range(5):
                client.put("/a", str(number))
            target = "/v2/keys/a?wait=true&waitIndex=2"
            wait_until(lambda: b"been cleared" in asked(server, target), 10, "history to go")
            assert client.get("/a").node.value == "4"


def asked(server: ServerProcess, target: str) -> bytes:
    answer = server.ask(target)
    return b"" if answer is None else answer[1]


def test_the_log_may_have_a_directory_of_its_own(tmp_path: Path) -> None:
    arguments = ["--wal-dir", str(tmp_path / "wal")]
    server = ServerProcess(tmp_path, era=Era.MODERN, arguments=arguments)
    for _ in range(2):
        with server, server.client() as client:
            server.wait_ready()
            client.put("/a", "1")
            assert list((tmp_path / "wal").glob("*"))
            assert not (server.data_dir / "member" / "wal").exists()
            assert server.terminate() == 0
    forgetful = ServerProcess(tmp_path, era=Era.MODERN)
    with forgetful:
        forgetful.wait_log("Name the directory of its log")
        assert forgetful.wait_exit() == 1


def test_whoever_watches_has_an_address_of_its_own(tmp_path: Path) -> None:
    (port,) = find_free_ports(1)
    url = f"http://127.0.0.1:{port}"
    arguments = ["--listen-metrics-urls", url, "--host-whitelist", "etcd.example"]
    with ServerProcess(tmp_path, era=Era.MODERN, arguments=arguments) as server:
        server.wait_log("ready to serve client requests")
        client = ServerProcess(tmp_path, era=Era.MODERN)
        client.client_port = port
        health, metrics, keys = map(client.ask, ("/health", "/metrics", "/v2/keys/"))
        assert health == (200, b'{"health":"true","reason":""}\n')
        assert metrics is not None
        assert b"etcd_server_has_leader 1" in metrics[1]
        assert keys == (404, b"404 page not found\n")
        wire = Wire(server.client_port)
        for host, status in (("etcd.example:1", 200), (f"127.0.0.1:{port}", 421)):
            request = f"GET /v2/keys/ HTTP/1.1\r\nHost: {host}\r\n\r\n"
            assert wire.ask(request.encode()).code == status
        wire.close()


@pytest.mark.parametrize("era", Era)
def test_a_service_manager_is_told_when_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, era: Era
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with ServerProcess(tmp_path, era=era) as server:
            assert manager.recv(100) == b"READY=1"
            assert server.ask("/version") is not None
