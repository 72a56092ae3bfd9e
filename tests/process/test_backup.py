"""Backup, restore, and a cluster of one from what is left of another, with real processes."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from kvorum.client.answers import Node
from kvorum.client.members import list_members
from kvorum.config import Era
from kvorum.errors import UnavailableError
from kvorum.testing import ClusterProcess, ServerProcess

pytestmark = pytest.mark.process

ETCDCTL = [sys.executable, "-m", "kvorum.cli.etcdctl.main"]
SECONDS = 60.0
ERAS = pytest.mark.parametrize("era", [Era.LEGACY, Era.MODERN], ids=["0.4", "3.x"])


def back_up(data_dir: Path, backup_dir: Path) -> tuple[int, str]:
    words = ["backup", "--data-dir", str(data_dir), "--backup-dir", str(backup_dir)]
    done = subprocess.run(
        [*ETCDCTL, *words], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return done.returncode, done.stdout + done.stderr


def content(server: ServerProcess) -> dict[str, tuple[str | None, int, int]]:
    """Every key with its value and its indexes."""
    with server.client() as client:
        return {
            node.key: (node.value, node.created_index, node.modified_index)
            for node in walk(client.get("/", recursive=True).node)
        }


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def files(directory: Path) -> dict[str, bytes]:
    """What is in a directory; only the lock tells who used it last."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name not in {"lock", "db-lock"}
    }


def write_until_killed(server: ServerProcess) -> dict[str, str]:
    """Kills a server while it is written to; returns what it has acknowledged."""
    acknowledged: dict[str, str] = {}

    def write() -> None:
        with server.client() as client, suppress(UnavailableError):
            for number in range(1_000_000):
                client.put(f"/k/{number}", str(number))
                acknowledged[f"/k/{number}"] = str(number)
                if number == 300:
                    server.kill()

    writer = Thread(target=write)
    writer.start()
    writer.join(SECONDS)
    assert not writer.is_alive()
    assert len(acknowledged) >= 300
    return acknowledged


@ERAS
def test_a_backup_of_a_killed_member_has_everything_it_acknowledged(
    tmp_path: Path, era: Era
) -> None:
    with ServerProcess(tmp_path, era=era) as server:
        server.wait_ready()
        with server.client() as client:
            client.put("/ttl", "1", ttl=500)
            client.put("/empty", is_directory=True)
        acknowledged = write_until_killed(server)
        before = files(server.data_dir)
        code, said = back_up(server.data_dir, tmp_path / "backup")
        assert (code, said.startswith(f"backed up to {tmp_path / 'backup'} at index ")) == (0, True)
        assert files(server.data_dir) == before, "the source was changed"

        server.start()
        server.wait_ready()
        wanted = content(server)
        assert acknowledged.items() <= {key: value for key, (value, *_) in wanted.items()}.items()
        server.kill()

        shutil.rmtree(server.data_dir)
        (tmp_path / "backup").rename(server.data_dir)
        server.start()
        server.wait_ready()
        assert content(server) == wanted
        with server.client() as client:
            assert 400 < (client.get("/ttl").node.ttl or 0) <= 500
            client.put("/after", "1")
        server.restart()
        server.wait_ready()
        assert content(server)["/after"][0] == "1"


def test_a_backup_starts_a_cluster_of_its_own_elsewhere(tmp_path: Path) -> None:
    with ClusterProcess(tmp_path, era=Era.MODERN) as cluster:
        with cluster.client() as client:
            for number in range(50):
                client.put(f"/k/{number}", str(number))
            old_ids = {seat.id for seat in list_members(client)}
        wanted = content(cluster.wait_leader())
        survivor = cluster.members[1]
        code, said = back_up(survivor.data_dir, tmp_path / "backup")
        assert (code, "in use by another process" in said) == (1, True)
        cluster.kill()
        assert back_up(survivor.data_dir, tmp_path / "backup")[0] == 0

    flag = ["--force-new-cluster"]
    elsewhere = ServerProcess(tmp_path, name="elsewhere", era=Era.MODERN, arguments=flag)
    (tmp_path / "backup").rename(elsewhere.data_dir)
    with elsewhere as server:
        server.wait_ready()
        assert content(server) == wanted
        with server.client() as client:
            (seat,) = list_members(client)
            client.put("/after", "1")
        assert seat.id not in old_ids
        assert seat.peer_urls == (server.peer_url,)


def test_one_of_three_goes_on_alone_and_grows_again(tmp_path: Path) -> None:
    with ClusterProcess(tmp_path, era=Era.MODERN) as cluster:
        with cluster.client() as client:
            for number in range(50):
                client.put(f"/k/{number}", str(number))
        wanted = content(cluster.wait_leader())
        cluster.kill()
        survivor = cluster.members[2]
        survivor.add_arguments(["--force-new-cluster"])
        survivor.start()
        survivor.wait_ready()
        survivor.wait_log("forced to be the only member of its cluster")
        assert content(survivor) == wanted
        with survivor.client() as client:
            (seat,) = list_members(client)
            client.put("/after", "1")
        assert seat.peer_urls == (survivor.peer_url,)
        lost = cluster.members[0]
        lost.start()
        assert lost.wait_exit() == 0
        assert "permanently removed" in lost.log()


@pytest.mark.parametrize("place", ["none", "full"])
def test_what_cannot_be_backed_up_says_why(tmp_path: Path, place: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    code, said = back_up(tmp_path / place, tmp_path / "backup")
    assert (code, "no member of kvorum has its data here" in said) == (1, True)
    assert not (tmp_path / "backup").exists()


def test_a_backup_never_writes_over_anything(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.wait_ready()
        server.terminate()
        (tmp_path / "backup").mkdir()
        (tmp_path / "backup" / "file").touch()
        code, said = back_up(server.data_dir, tmp_path / "backup")
        assert (code, "empty directory" in said) == (1, True)
        (tmp_path / "backup" / "file").unlink()
        assert back_up(server.data_dir, tmp_path / "backup")[0] == 0
