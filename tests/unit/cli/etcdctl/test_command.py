"""The table of commands is sound."""

import pytest
from tests.unit.cli.etcdctl.conftest import Run, Script

from kvorum.cli.etcdctl.command import Command
from kvorum.cli.etcdctl.main import COMMANDS, GLOBAL_OPTIONS


def test_every_command_has_a_name_of_its_own() -> None:
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.name)
def test_no_option_hides_a_global_one(command: Command) -> None:
    taken = {name for option in GLOBAL_OPTIONS for name in (option.name, *option.aliases)}
    own = [name for option in command.options for name in (option.name, *option.aliases)]
    assert not taken & set(own)
    assert len(set(own)) == len(own)


@pytest.mark.parametrize("line", ["get", "set /a", "mk /a"])
def test_what_is_missing_is_told_with_the_usage(script: Script, run: Run, line: str) -> None:
    result = run(*line.split())
    assert result.code == 4
    assert "required\nWrite: etcdctl " in result.err
    assert script.requests == []
