"""The command line of the simulator."""

from collections.abc import Callable

import msgspec
import pytest

from kvorum.sim import __main__ as command
from kvorum.sim.marks import MARKS
from kvorum.sim.run import Options, Report


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Options]]:
    """Runs that would have been made; seed 3 fails."""
    runs: list[tuple[int, Options]] = []

    def run(seed: int, options: Options) -> Report:
        runs.append((seed, options))
        violation = "two leaders" if seed == 3 else None
        digest = str(len(runs)) if seed == 900 else "same"
        counts, marks = {"kill": 2}, {"torn tail": 1}
        return Report(
            seed, violation, seconds=60.0, operations=7, counts=counts, marks=marks, digest=digest
        )

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
    assert f"1 of {len(MARKS)} rare branches met, but never" in told


@pytest.mark.usefixtures("asked")
def test_digests_are_told_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seeds", "5..6", "--digests"]) == 0
    assert capsys.readouterr().out.startswith("seed 5: same\nseed 6: same\n2 seeds")
    assert command.main(["--seeds", "5..6"]) == 0
    assert "same" not in capsys.readouterr().out


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


def test_the_command_names_how_few_clients_there_are(
    asked: list[tuple[int, Options]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--seed", "3", "--clients", "2", "--watchers", "0"]) == 1
    assert asked == [(3, Options(clients=2, watchers=0))]
    assert "--seed 3 --seconds 60 --clients 2 --watchers 0 --operations" in capsys.readouterr().out


def test_new_seeds_are_new_each_time_and_told(
    asked: list[tuple[int, Options]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--fresh", "3"]) == 0
    seeds = [seed for seed, _ in asked]
    first = min(seeds)
    assert sorted(set(seeds)) == [first, first + 1, first + 2]
    assert first > 1_700_000_000, "the time of day, so that no other day has them"
    assert f"new seeds: --seeds {first}..{first + 2}\n" in capsys.readouterr().out


def test_some_seeds_are_run_twice_and_must_do_the_same(
    asked: list[tuple[int, Options]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--seeds", "899..901"]) == 1
    assert [seed for seed, _ in asked] == [899, 900, 900, 901]
    assert "the same seed gave another run" in capsys.readouterr().out


def test_the_commit_told_is_that_of_the_beginning(
    asked: list[tuple[int, Options]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commits = iter(("abc1234", "changed meanwhile"))
    monkeypatch.setattr(command, "_commit", lambda: next(commits))
    assert command.main(["--seeds", "2..3"]) == 1
    assert len(asked) == 2
    assert "seed 3 at commit abc1234 failed" in capsys.readouterr().out


def test_a_failure_is_made_smaller_when_asked(
    asked: list[tuple[int, Options]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def shrink(
        _: int, options: Options, report: Report, tell: Callable[[str], object]
    ) -> tuple[Options, Report]:
        tell("smaller")
        return msgspec.structs.replace(options, seconds=4.0), report

    monkeypatch.setattr(command, "shrink", shrink)
    assert command.main(["--seed", "3", "--shrink"]) == 1
    assert len(asked) == 1
    told = capsys.readouterr().out
    assert told.index("--seed 3 --seconds 60") < told.index("smaller\n")
    assert told.index("smaller\n") < told.index("--seed 3 --seconds 4 ")


def test_several_processes_run_every_seed_once(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--seeds", "1..5", "--jobs", "2", "--seconds", "1"]
    assert command.main(arguments) == 0
    assert "5 seeds, 0 failed" in capsys.readouterr().out


def test_processes_begin_nothing_after_their_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--minutes", "0.0001", "--jobs", "2", "--seconds", "1"]) == 0
    assert " 0 failed" in capsys.readouterr().out


def test_without_seeds_it_runs_until_its_time_is_over(asked: list[tuple[int, Options]]) -> None:
    assert command.main(["--minutes", "0.0001"]) == 0
    assert len(asked) >= 1


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--faults", "earthquake"])
    assert "no such fault: ['earthquake']" in capsys.readouterr().err
