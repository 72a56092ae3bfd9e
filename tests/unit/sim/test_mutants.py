"""Bugs planted in the real code are found: a few here, all of them on demand.

`KVORUM_MUTANTS=all pytest -s tests/unit/sim/test_mutants.py` looks for every one, which takes a
while, and tells how many seeds each took and which words of the violation were the find.
"""

import os
from pathlib import Path

import pytest

from kvorum.server.driver import Driver
from kvorum.sim.mutants import MUTANTS, planted
from kvorum.sim.run import Options, run

SEEDS_MAX = 500

QUICK = (
    "acknowledgements leave before the sync",
    "the vote is not written",
    "a leader commits what it has itself",
    "an entry of an earlier term is committed by counting",
    "a read does not wait until its index is applied",
    "batches are not told apart when they come again",
    "every member expires keys by its own clock",
    "a watch that has nearly caught up misses an event",
)
"""Found within a few seeds."""

WANTED = tuple(MUTANTS) if os.environ.get("KVORUM_MUTANTS") == "all" else QUICK


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", WANTED)
def test_a_planted_bug_is_found(name: str) -> None:
    found_by = MUTANTS[name].found_by
    others: dict[int, str] = {}
    with planted(name):
        for seed in range(SEEDS_MAX):
            violation = run(seed).violation or ""
            rule = next((words for words in found_by if words in violation), None)
            if rule is not None:
                print(f"| {name} | {seed + 1} | {rule} |")  # noqa: T201 -- it is asked for
                return
            if violation:
                others[seed] = violation.splitlines()[0]
    raise AssertionError(f"not found in {SEEDS_MAX} seeds: {name}; but other things: {others}")


@pytest.mark.parametrize("name", MUTANTS)
def test_a_bug_is_planted_for_a_while_only(name: str) -> None:
    patches = [(target, attribute) for target, attribute, _ in MUTANTS[name].plant()]
    before = [getattr(target, attribute) for target, attribute in patches]
    with planted(name):
        inside = [getattr(target, attribute) for target, attribute in patches]
    after = [getattr(target, attribute) for target, attribute in patches]
    assert all(one is not other for one, other in zip(before, inside, strict=True))
    assert after == before


def test_the_page_has_every_one_in_its_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "testing.md").read_text()
    assert [name for name in MUTANTS if f"\n| {name} | " not in page] == []


def test_without_any_the_same_seed_passes() -> None:
    original = Driver._persist
    with planted(QUICK[0]):
        pass
    assert Driver._persist is original
    assert run(0, Options(seconds=10.0)).violation is None
