import re
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from kvorum.cli import etcd, helptext, launch
from kvorum.cli.commandline import Invocation, UsageError


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ETCD_NAME", "ETCD_ADDR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Invocation]:
    calls: list[Invocation] = []

    def start(invocation: Invocation) -> int:
        calls.append(invocation)
        return 7

    monkeypatch.setattr(launch, "start", start)
    return calls


def test_one_dash_gives_the_legacy_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert etcd.main(["-version"]) == 0
    assert capsys.readouterr() == ("etcd version 0.4.6\n", "")


def test_two_dashes_give_the_modern_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert etcd.main(["--version"]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(
        r"etcd Version: \d+\.\d+\.\d+\nkvorum Version: \d+\.\d+\.\d+\n"
        r"Python Version: 3\.\S+\nOS/Arch: \w+/\w+\n",
        out,
    )


def test_the_version_tells_of_a_compiled_build(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    core = ModuleSpec("kvorum.raft.core", None, origin="/x/core.cpython-311-x86_64-linux-gnu.so")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: core)
    assert etcd.main(["--version"]) == 0
    assert re.search(
        r"^kvorum Version: [\d.]+ \(compiled\)$", capsys.readouterr().out, re.MULTILINE
    )


def test_help_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert etcd.main(["-h"]) == 0
    assert capsys.readouterr() == (helptext.usage(), "")


def test_a_bad_legacy_option_gives_usage_and_reason_on_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert etcd.main(["-addr", "h:1", "-zzz"]) == 1
    reason = "flag provided but not defined: -zzz"
    assert capsys.readouterr() == (f"{helptext.usage()}\n{reason}\n\n", "")


def test_an_option_that_is_no_text_can_be_shown_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert etcd.main(["-addr", "h:1", "-\udcff"]) == 1
    assert "flag provided but not defined: -\\udcff\n" in capsys.readouterr().out


def test_a_bad_modern_flag_gives_reason_and_usage_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert etcd.main(["--bogus"]) == 2
    reason = "flag provided but not defined: -bogus"
    assert capsys.readouterr() == ("", f"{reason}\n{helptext.SHORT_USAGE}")


def test_a_value_refused_at_launch_is_a_usage_error_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(invocation: Invocation) -> int:
        raise UsageError("bad value", is_legacy=invocation.is_legacy)

    monkeypatch.setattr(launch, "start", start)
    assert etcd.main(["--name", "m"]) == 2
    assert capsys.readouterr().err.startswith("bad value\n")


def test_a_line_that_reads_well_is_launched(started: list[Invocation]) -> None:
    assert etcd.main(["-addr", "h:1"]) == 7
    assert [one.is_legacy for one in started] == [True]


def test_the_process_gives_its_own_arguments(
    started: list[Invocation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["etcd", "--name", "m"])
    monkeypatch.setenv("ETCD_ELECTION_TIMEOUT", "500")
    assert etcd.main() == 7
    assert [one.text for one in started[0].given] == ["m", "500"]


def test_an_interrupt_while_starting_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_invocation: Invocation) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "start", start)
    assert etcd.main([]) == 130


def run(*options: str, arguments: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-m", "kvorum.cli.etcd", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.process
def test_the_module_runs_as_a_command() -> None:
    made = run(arguments=("-version",))
    assert (made.returncode, made.stdout, made.stderr) == (0, "etcd version 0.4.6\n", "")


@pytest.mark.process
def test_assertions_cannot_be_switched_off() -> None:
    made = run("-O", arguments=("-version",))
    assert made.returncode == 1
    assert "python -O" in made.stderr


@pytest.mark.process
def test_the_version_is_answered_without_loading_the_server() -> None:
    made = run("-X", "importtime", arguments=("-version",))
    loaded = {line.rpartition("|")[2].strip() for line in made.stderr.splitlines()}
    assert "kvorum.cli.commandline" in loaded
    heavy = {"asyncio", "logging", "msgspec", "socket", "uvloop", "kvorum.config", "kvorum.embed"}
    assert not heavy & loaded


@pytest.mark.process
def test_a_refused_address_creates_nothing(tmp_path: Path) -> None:
    made = run(arguments=("-addr", "127.0.0.1", "-name", "m", "-data-dir", "a/b"))
    assert made.returncode == 1
    assert re.fullmatch(
        r"\[etcd\] .{19} CRITICAL  \| failed sanitizing configuration: Advertised URL:"
        r" address 127\.0\.0\.1: missing port in address\n",
        made.stdout,
    )
    assert made.stderr == ""
    assert list(tmp_path.iterdir()) == []
