"""The command line of the simulator."""

import pytest

from kvorum.sim import __main__ as command
from kvorum.sim.run import Options, Report


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Options]]:
    """Runs that would have been made; seed 3 fails."""
    runs: list[tuple[int, Options]] = []

    def run(seed: int, options: Options) -> Report:
        runs.append((seed, options))
        violation = "two leaders" if seed == 3 else None
        return Report(seed, violation, seconds=60.0, operations=7, counts={"kill": 2})

    monkeypatch.setattr(command, "run", run)
    return runs


def test_a_range_of_seeds_is_run(
    asked: list[tuple[int, Options]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--seeds", "5..8"]) == 0
    assert [seed for seed, _ in asked] == [5, 6, 7, 8]
    told = capsys.readouterr().out
    assert "4 seeds, 0 failed" in told
    assert "28 operations" in told
    assert "kill 8" in told


def test_a_failure_is_told_with_the_command_that_replays_it(
    asked: list[tuple[int, Options]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--seed", "3", "--members", "5", "--faults", "kill,power cut", "--seconds", "9"]
    assert command.main(arguments) == 1
    assert asked == [(3, Options(seconds=9.0, members=5, faults=("kill", "power cut")))]
    told = capsys.readouterr().out
    assert "two leaders" in told
    assert (
        "replay: python -m kvorum.sim --seed 3 --seconds 9 --members 5"
        " --faults 'kill,power cut' --operations 10 --trace\n"
    ) in told


def test_without_seeds_it_runs_until_its_time_is_over(asked: list[tuple[int, Options]]) -> None:
    assert command.main(["--minutes", "0.0001"]) == 0
    assert len(asked) >= 1


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--faults", "earthquake"])
    assert "no such fault: ['earthquake']" in capsys.readouterr().err
