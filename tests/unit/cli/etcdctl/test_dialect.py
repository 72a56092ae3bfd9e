"""One grammar, two ways of saying things; `ETCDCTL_API=2` chooses the later one."""

import pytest
from tests.unit.cli.etcdctl.conftest import Run, Script

from kvorum.cli.etcdctl.dialect import OF_LEGACY, OF_MODERN, choose_dialect


def test_only_api_2_asks_for_the_later_one() -> None:
    assert choose_dialect({"ETCDCTL_API": "2"}) is OF_MODERN
    assert choose_dialect({"ETCDCTL_API": "3"}) is choose_dialect({}) is OF_LEGACY


@pytest.mark.parametrize(
    ("line", "legacy", "modern"),
    [
        ("get", 4, 1),
        ("get --nope /a", 0, 1),
        ("nope", 0, 3),
        ("--nope", 0, 1),
    ],
)
def test_a_wrong_command_line_has_its_own_exit_code_in_each(
    script: Script,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    legacy: int,
    modern: int,
) -> None:
    assert run(*line.split()).code == legacy
    monkeypatch.setenv("ETCDCTL_API", "2")
    result = run(*line.split())
    assert result.code == modern
    assert result.err
    assert script.requests == []


def test_an_error_begins_with_a_small_letter_and_ends_without_hints(
    script: Script, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCDCTL_API", "2")
    assert run("get") == (1, "", "Error:  key required\n")
    assert script.requests == []
