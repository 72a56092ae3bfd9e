import errno
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from kvorum.cli import commandline, launch
from kvorum.cli.commandline import UsageError
from kvorum.config import Config
from kvorum.errors import ConfigError, StorageError

LEGACY = "-name m -data-dir d -addr 127.0.0.1:4001"
MODERN = "--name m --data-dir d"


@pytest.fixture(autouse=True)
def _unchanged_logging() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("kvorum", "asyncio")]
    state = [(one, one.handlers, one.level, one.propagate) for one in loggers]
    yield
    for logger, handlers, level, propagate in state:
        logger.handlers = handlers
        logger.propagate = propagate
        logger.setLevel(level)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def start_with(line: str, outcome: int | BaseException, **environment: str) -> int:
        def run(config: Config) -> int:
            assert isinstance(config, Config)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        module = ModuleType("kvorum.embed")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "kvorum.embed", module)
        return launch.start(commandline.parse(line.split(), environment))

    return start_with


Start = Callable[..., int]
Capture = pytest.CaptureFixture[str]


def json_lines(text: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_servers_exit_code_is_the_commands(start: Start) -> None:
    assert start(LEGACY, 0) == 0
    assert start(MODERN, 3) == 3


def test_deprecated_spellings_are_said_on_stderr(start: Start, capfd: Capture) -> None:
    start("-n m -d d -c 127.0.0.1:4001", 0)
    assert capfd.readouterr().err.splitlines() == [
        "[deprecated] use -name, not -n",
        "[deprecated] use -data-dir, not -d",
        "[deprecated] use -addr, not -c",
    ]


def test_warnings_are_logged_with_their_fields(start: Start, capfd: Capture) -> None:
    start(MODERN, 0, ETCD_BOGUS="1")
    (line,) = json_lines(capfd.readouterr().err)
    assert line["level"] == "warn"
    assert line["environment-variable"] == "ETCD_BOGUS=1"


def test_legacy_faults_are_one_critical_line_each(start: Start, capfd: Capture) -> None:
    assert start(LEGACY, ConfigError(["one", "two"])) == 1
    lines = capfd.readouterr().out.splitlines()
    assert [line[27:] for line in lines] == ["CRITICAL  | one", "CRITICAL  | two"]


def test_modern_faults_are_a_warning_and_a_fatal_line(start: Start, capfd: Capture) -> None:
    error = StorageError("in use by another process", Path("d"))
    assert start(MODERN, error) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert [(line["level"], line["msg"], line["error"]) for line in json_lines(err)] == [
        ("warn", "failed to start etcd", "d: in use by another process"),
        ("fatal", "discovery failed", "d: in use by another process"),
    ]


def test_a_log_that_cannot_be_written_is_told_where_it_would_be(
    start: Start, capfd: Capture
) -> None:
    assert start("--log-outputs /no/such/file", AssertionError("the server was started")) == 1
    first = json_lines(capfd.readouterr().err)[0]
    assert first["error"] == "--log-outputs: open /no/such/file: no such file or directory"


def test_lines_go_where_they_are_told_to(start: Start, capfd: Capture) -> None:
    start(f"{MODERN} --log-outputs stdout", 0, ETCD_BOGUS="1")
    out, err = capfd.readouterr()
    assert "ETCD_BOGUS" in out
    assert err == ""


def test_settings_that_cannot_be_used_never_reach_the_server(start: Start, capfd: Capture) -> None:
    assert start("--heartbeat-interval 900", AssertionError("the server was started")) == 1
    first = json_lines(capfd.readouterr().err)[0]
    assert first["msg"] == "failed to verify flags"
    assert "--heartbeat-interval[900ms]" in first["error"]


def test_a_value_that_cannot_be_read_is_left_to_the_command(start: Start) -> None:
    with pytest.raises(UsageError, match="parse error"):
        start("--heartbeat-interval x", AssertionError("the server was started"))


@pytest.mark.parametrize(
    ("line", "number", "text"),
    [
        (
            LEGACY,
            errno.EADDRINUSE,
            "Failed to create listener: listen tcp :4001: bind: address already in use",
        ),
        (MODERN, errno.EADDRINUSE, "listen tcp :4001: bind: address already in use"),
        (MODERN, errno.EACCES, "listen tcp :4001: bind: permission denied"),
    ],
)
def test_a_taken_port_is_told_in_gos_words(
    start: Start, capfd: Capture, line: str, number: int, text: str
) -> None:
    assert start(line, OSError(number, "Some Words", ":4001")) == 1
    out, err = capfd.readouterr()
    assert text in out + err
    assert ("Failed to create" in out + err) is (line == LEGACY)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_file_that_fails_is_told_as_the_system_tells_it(
    start: Start, capfd: Capture, number: int
) -> None:
    assert start(LEGACY, OSError(number, "Some Words", "d/wal")) == 1
    assert "Some Words: 'd/wal'" in capfd.readouterr().out


def test_a_bug_is_one_line_without_a_traceback(start: Start, capfd: Capture) -> None:
    assert start(LEGACY, ValueError("odd")) == 1
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 1
    assert "CRITICAL  | internal error: ValueError: odd; this is a bug in kvorum" in out
    assert err == ""


@pytest.mark.parametrize("line", [f"{LEGACY} -vv", f"{MODERN} --log-level debug"])
def test_a_traceback_comes_when_asked_for(start: Start, capfd: Capture, line: str) -> None:
    assert start(line, ValueError("odd")) == 1
    out, err = capfd.readouterr()
    assert "Traceback" in out + err
