"""Whole runs: seeds that pass, seeds that once failed, and one run twice."""

import os
import subprocess
import sys

import pytest

from kvorum.apply import batches
from kvorum.errors import UnavailableError
from kvorum.server.driver import Driver
from kvorum.server.proposals import Completion, Proposals
from kvorum.sim.run import Options, run

FRESH = range(1, 9)

FOUND = {
    7: "a joiner that crashed before its first entry could answer nobody",
    105: "a member that was behind could not answer a leader it had not read of",
    86: "a failed backend took the rest of a turn with it when a snapshot was to be sent",
    463: "a leader whose disk hung went on to lead",
    58: "a reader waited without a deadline for entries that did not come",
    10: "a member went on with half an installed snapshot",
    400216: "an installation over a tail that was never committed could not be completed",
}
"""Seeds that showed a bug; docs/testing.md tells more."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", FRESH)
def test_nothing_is_violated(seed: int) -> None:
    report = run(seed, Options(seconds=30.0))
    assert report.violation is None
    assert report.operations > 50
    assert report.answered > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_stays_fixed(seed: int) -> None:
    assert run(seed).violation is None


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_in_any_process() -> None:
    own = run(11, Options(seconds=20.0)).digest
    script = "from kvorum.sim.run import *; print(run(11, Options(seconds=20.0)).digest)"
    for hash_seed in ("0", "1234"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", script]
        told = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
        assert told.stdout.strip() == own


def test_another_seed_is_another_run() -> None:
    assert run(1, Options(seconds=2.0)).digest != run(2, Options(seconds=2.0)).digest


def test_what_escapes_from_a_member_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def turn(driver: Driver) -> None:
        raise RuntimeError(f"a bug in {type(driver).__name__}")

    monkeypatch.setattr(Driver, "turn", turn)
    report = run(1, Options(seconds=2.0))
    assert report.violation is not None
    assert "a bug in Driver" in report.violation
    assert report.last_events


def test_no_more_clients_take_part_than_asked_for() -> None:
    report = run(1, Options(seconds=5.0, clients=0, callers=0))
    assert report.operations == 0
    assert run(1, Options(seconds=5.0, clients=1)).operations > 0


def test_a_refused_write_is_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    def propose(_: Proposals, __: object, completion: Completion) -> None:
        completion(UnavailableError("too many requests"))

    monkeypatch.setattr(Proposals, "propose", propose)
    report = run(1, Options(seconds=1.0, members=1))
    assert report.violation is not None
    assert "has done nothing" in report.violation


def test_limits_are_drawn_for_a_run_only() -> None:
    before = batches.WINDOW
    run(1, Options(seconds=1.0))
    assert before == batches.WINDOW
