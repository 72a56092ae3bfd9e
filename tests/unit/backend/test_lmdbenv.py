import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import lmdb
import pytest

from kvorum.backend import lmdbenv
from kvorum.backend.base import Table
from kvorum.backend.lmdbenv import LmdbBackend
from kvorum.errors import StorageError

RECORDS = Table.RECORDS


class Loop:
    """Stands for the owning thread's loop: runs what was posted when told to."""

    def __init__(self) -> None:
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def post(self, callback: Callable[[], None]) -> None:
        self._posted.put(callback)

    def run_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._posted.get(timeout=30)()

    def run_ready(self) -> None:
        while not self._posted.empty():
            self._posted.get()()


@pytest.fixture
def loop() -> Loop:
    return Loop()


def fill(backend: LmdbBackend, count: int, index: int) -> None:
    for number in range(count):
        backend.put(RECORDS, b"%d/%d" % (index, number), b"x" * 1000)
    backend.set_applied(index, 1)


def is_durable(backend: LmdbBackend, index: int) -> bool:
    return backend.durable_index == index


def test_full_map_grows_by_itself(tmp_path: Path, loop: Loop) -> None:
    backend = LmdbBackend.open(tmp_path / "db", loop.post, map_bytes=256 << 10)
    done: list[int] = []
    for index in range(1, 9):
        fill(backend, 100, index)
        assert backend.commit(lambda: done.append(backend.durable_index))
        loop.run_until(partial(is_durable, backend, index))
        loop.run_ready()
    assert done == list(range(1, 9))
    fill(backend, 3000, 9)
    backend.flush()
    assert backend.get(RECORDS, b"9/2999") == b"x" * 1000
    assert backend.failed is None
    backend.close()


def test_full_map_waits_for_an_open_view(tmp_path: Path, loop: Loop) -> None:
    backend = LmdbBackend.open(tmp_path / "db", loop.post, map_bytes=256 << 10)
    fill(backend, 10, 1)
    view = backend.view()
    fill(backend, 1000, 2)
    assert backend.commit()
    loop.run_until(lambda: backend._wants_room)
    assert backend.durable_index == 1
    assert backend.get(RECORDS, b"2/999") == b"x" * 1000
    assert len(list(view.chunks(100))) > 1
    view.close()
    loop.run_until(lambda: backend.durable_index == 2)
    backend.close()


def test_failed_commit_is_told_once_and_final(
    tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LmdbBackend.open(tmp_path / "db", loop.post)
    failures: list[StorageError] = []
    backend.on_failure = failures.append

    def fail(*_: object) -> None:
        raise lmdb.DiskError("no space left on device")

    monkeypatch.setattr(lmdbenv, "_store_layer", fail)
    fill(backend, 1, 1)
    done: list[bool] = []
    assert backend.commit(lambda: done.append(True))
    loop.run_until(lambda: bool(failures))
    assert "no space left" in str(failures[0])
    assert str(tmp_path / "db") in str(failures[0])
    assert backend.get(RECORDS, b"1/0") == b"x" * 1000
    fill(backend, 1, 2)
    assert backend.commit() is False
    with pytest.raises(StorageError):
        backend.flush()
    with pytest.raises(StorageError):
        backend.close()
    loop.run_ready()
    assert len(failures) == 1
    assert not done
    assert backend.durable_index == 0


def test_image_that_does_not_fit_leaves_the_store_alone(tmp_path: Path, loop: Loop) -> None:
    source = LmdbBackend.open(tmp_path / "source", loop.post)
    fill(source, 1000, 5)
    view = source.view()
    image = b"".join(view.chunks(1 << 20))
    view.close()
    source.close()
    backend = LmdbBackend.open(tmp_path / "db", loop.post, map_bytes=256 << 10)
    fill(backend, 1, 1)
    installer = backend.installer()
    with pytest.raises(StorageError, match="cannot be written"):
        installer.write(image)
    installer.abort()
    assert not (tmp_path / "db.new").exists()
    backend.close()
    backend = LmdbBackend.open(tmp_path / "db", loop.post)
    assert backend.applied == (1, 1)
    backend.close()


def test_other_file_is_refused(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StorageError, match="cannot be opened"):
        LmdbBackend.open(path, loop.post)


def test_missing_directory_is_refused(tmp_path: Path, loop: Loop) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        LmdbBackend.open(tmp_path / "none" / "db", loop.post)


def test_half_received_image_is_swept_away_at_open(tmp_path: Path, loop: Loop) -> None:
    backend = LmdbBackend.open(tmp_path / "db", loop.post)
    backend.installer()
    assert (tmp_path / "db.new").exists()
    backend.close()
    backend = LmdbBackend.open(tmp_path / "db", loop.post)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db", "db-lock"]
    backend.close()


def test_killed_process_leaves_the_last_commit(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from kvorum.backend.base import Table
        from kvorum.backend.lmdbenv import LmdbBackend

        backend = LmdbBackend.open(Path(sys.argv[1]), lambda callback: None)
        for index in range(1, 4):
            for number in range(500):
                backend.put(Table.RECORDS, b"%d/%03d" % (index, number), b"x" * 100)
            backend.set_applied(index, 1)
            if index < 3:
                backend.flush()
        os.kill(os.getpid(), 9)
        """
    )
    path = tmp_path / "db"
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    backend = LmdbBackend.open(path, lambda _: None)
    assert backend.applied == (2, 1)
    assert len(list(backend.scan(RECORDS, b""))) == 1000
    backend.close()
