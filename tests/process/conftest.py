"""Tests of real server processes: every log must be free of what no user may ever see."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvorum.testing import ClusterProcess, ServerProcess

NEVER_LOGGED = ("Traceback", "internal error")


def assert_logs_are_sound(directory: Path) -> None:
    """No log in the directory shows a failure of our own code."""
    for path in directory.glob("*.log"):
        log = path.read_text(errors="replace")
        assert not any(text in log for text in NEVER_LOGGED), f"{path}\n{log}"


@pytest.fixture(autouse=True)
def _sound_logs(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    failed_before = request.session.testsfailed
    yield
    assert_logs_are_sound(tmp_path)
    if request.session.testsfailed == failed_before:
        # A log is made 64 MB long; all of them together would fill a small disk.
        shutil.rmtree(tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """One server that answers."""
    with ServerProcess(tmp_path) as process:
        process.wait_ready()
        yield process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterProcess]:
    """Three members with a leader."""
    with ClusterProcess(tmp_path) as members:
        yield members
