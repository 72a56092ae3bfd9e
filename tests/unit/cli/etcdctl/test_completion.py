"""Tab completion, tried in the shells themselves."""

import shutil
import subprocess

import pytest
from tests.unit.cli.etcdctl.conftest import Run

from kvorum.cli.etcdctl.main import COMMANDS

SECONDS = 20.0


def complete(script: str, line: str) -> list[str]:
    """What bash offers behind `line`; a blank at its end begins a new word."""
    words = " ".join(f"'{word}'" for word in line.split(" "))
    at = len(line.split(" ")) - 1
    code = f'{script}\nCOMP_WORDS=({words}); COMP_CWORD={at}; _etcdctl; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", code], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def bash(run: Run) -> str:
    if shutil.which("bash") is None:
        pytest.skip("bash is not here")
    return run("completion", "bash").out


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("etcdctl exec", ["exec-watch"]),
        ("etcdctl member ", ["list", "add", "remove", "update"]),
        ("etcdctl member li", ["list"]),
        ("etcdctl set --sw", ["--swap-with-value", "--swap-with-index"]),
        ("etcdctl set /a b --tt", ["--ttl"]),
        ("etcdctl --outp", ["--output"]),
        ("etcdctl -o ", ["simple", "extended", "json"]),
        ("etcdctl get /a -o js", ["json"]),
        ("etcdctl --endpoints http://a:1 clu", ["cluster-health"]),
        ("etcdctl --endpoints ", []),
        ("etcdctl help up", ["update", "updatedir"]),
        ("etcdctl completion ", ["bash", "zsh"]),
        ("etcdctl get /mess", []),
    ],
)
def test_bash_offers_what_fits(bash: str, line: str, offered: list[str]) -> None:
    assert complete(bash, line) == offered


def test_every_command_is_offered_after_the_program(bash: str) -> None:
    assert set(complete(bash, "etcdctl ")) == {c.name.split()[0] for c in COMMANDS} | {"help"}


def test_files_are_offered_for_options_that_take_files(bash: str) -> None:
    assert "/etc/passwd" in complete(bash, "etcdctl --ca-file /etc/passw")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not here")
def test_zsh_takes_its_script(run: Run) -> None:
    script = run("completion", "zsh").out
    code = f"{script}\nprint $_comps[etcdctl]"
    done = subprocess.run(
        ["zsh", "-f", "-c", code], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert "_etcdctl" in done.stdout


def test_zsh_is_told_to_run_it_as_bash_does(run: Run) -> None:
    assert "bashcompinit" in run("completion", "zsh").out


@pytest.mark.parametrize("words", [[], ["fish"], ["bash", "zsh"]])
def test_a_shell_must_be_named(run: Run, words: list[str]) -> None:
    assert "Name a shell: bash or zsh." in run("completion", *words).out
