"""A failing run is made smaller as long as it fails."""

import pytest

from kvorum.sim import shrink as module
from kvorum.sim.mutants import planted
from kvorum.sim.run import Options, Report, run
from kvorum.sim.shrink import shrink

MUTANT = "a leader commits what it has itself"


def test_what_a_failure_does_not_need_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A make-believe bug that needs two kinds of fault, one client and five seconds."""

    def fake(seed: int, options: Options) -> Report:
        is_failing = (
            {"kill", "pause"} <= set(options.faults)
            and options.clients >= 1
            and options.seconds >= 5
        )
        return Report(seed, "two leaders" if is_failing else None, seconds=options.seconds)

    monkeypatch.setattr(module, "run", fake)
    monkeypatch.setattr(module, "draw_kinds", lambda _, allowed: allowed)
    options = Options(faults=("kill", "power cut", "pause", "clog", "rot"))
    told: list[str] = []
    smallest, report = shrink(1, options, fake(1, options), told.append)
    assert smallest == Options(
        seconds=5.0, faults=("kill", "pause"), clients=1, callers=0, watchers=0
    )
    assert report.violation == "two leaders"
    assert "seed 1 still fails without watchers: two leaders" in told


@pytest.mark.slow
def test_a_planted_bug_is_shown_with_little() -> None:
    with planted(MUTANT):
        seed, options = 1, Options(seconds=20.0)
        report = run(seed, options)
        while report.violation is None:
            seed += 1
            report = run(seed, options)
        smallest, told = shrink(seed, options, report, lambda _: None)
        again = run(seed, smallest)
    assert len(smallest.faults) <= 2
    assert smallest.seconds <= options.seconds
    assert told.violation is not None
    assert (again.violation, again.digest) == (told.violation, told.digest)
    assert run(seed, smallest).violation is None, "without the bug all is well"
