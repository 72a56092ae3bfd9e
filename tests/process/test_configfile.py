"""A server started from 0.4's configuration file."""

import subprocess
from pathlib import Path

import pytest

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


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    command = [*OUR_PROGRAM, "-config", "nofile.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stdout.endswith(b"\nopen nofile.toml: no such file or directory\n\n")
    assert list(tmp_path.iterdir()) == []
