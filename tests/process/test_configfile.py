"""Servers started from 0.4's configuration file, and from 3.x's."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.process.conftest import TLS, make_tls

from kvorum.config import Era
from kvorum.testing import ServerProcess
from kvorum.testing.process import OUR_PROGRAM

pytestmark = pytest.mark.process


def test_a_server_takes_from_its_file_what_no_flag_says(tmp_path: Path) -> None:
    path = tmp_path / "etcd.conf"
    path.write_text('name = "from-file"\nsnapshot_count = 5\n[peer]\nheartbeat_interval = 20\n')
    with ServerProcess(tmp_path, arguments=["-config", str(path)]) as server:
        server.wait_ready()
        with server.client() as client:
            for number in range(9):
                client.put("/a", str(number))
        server.wait_log("snapshot of 6 events")
        assert "machine1 is starting a new cluster" in server.log()


MODERN = """
name: from-file
data-dir: {server.data_dir}
listen-client-urls: https://127.0.0.1:{server.client_port}
advertise-client-urls: {server.client_url}
listen-peer-urls: {server.peer_url}
initial-advertise-peer-urls: {server.peer_url}
initial-cluster: from-file={server.peer_url}
snapshot-count: 5
max-wals: 7
logger: zap
cors:
client-transport-security:
  cert-file: {tls}/server.pem
  key-file: {tls}/server.key
  trusted-ca-file: {tls}/ca.pem
"""


def test_a_modern_server_takes_all_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "etcd.yml"
    server = make_tls(ServerProcess(tmp_path, era=Era.MODERN), ["client"])
    path.write_text(MODERN.format(server=server, tls=TLS))
    server.add_arguments(["--config-file", str(path), "--snapshot-count", "9"])
    with server, server.client() as client:
        server.wait_ready()
        for number in range(9):
            client.put("/a", str(number))
        server.wait_log("snapshot of 6 events")
        answer = server.ask("/v2/stats/self")
        assert answer is not None
        assert json.loads(answer[1])["name"] == "from-file"
        assert f'"msg":"{path}: max-wals has no effect: ' in server.log()
        assert '"setting":"snapshot-count"' in server.log()


def test_a_modern_file_that_asks_for_what_is_refused_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "etcd.yml"
    path.write_text("data-dir: here\nclient-transport-security: {auto-tls: true}\n")
    command = [*OUR_PROGRAM, "--config-file", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=20, check=False)
    assert done.returncode == 1
    assert b"client-transport-security.auto-tls is refused: " in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["etcd.yml"]


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    command = [*OUR_PROGRAM, "-config", "nofile.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stdout.endswith(b"\nopen nofile.toml: no such file or directory\n\n")
    assert list(tmp_path.iterdir()) == []
