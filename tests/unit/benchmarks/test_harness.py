from pathlib import Path

import pytest
from benchmarks.__main__ import QUICK
from benchmarks.harness import Plan, RoundFailed, Run, check_growth, percentile
from benchmarks.report import Figures, Report
from msgspec import structs


def run_of(plan: Plan = QUICK) -> Run:
    return Run(plan, {}, Path(), Report({}))


@pytest.mark.parametrize("written", [10, 11, 12])
def test_what_was_acknowledged_or_under_way_may_be_written(written: int) -> None:
    check_growth(100, 100 + written, acknowledged=10, unanswered=2)


@pytest.mark.parametrize("written", [9, 13])
def test_a_lost_or_repeated_write_fails_the_round(written: int) -> None:
    with pytest.raises(RoundFailed, match=f"10 writes acknowledged, the index grew by {written}"):
        check_growth(100, 100 + written, acknowledged=10, unanswered=2)


def test_rounds_are_taken_in_turns() -> None:
    turns: list[str] = []

    def measure(label: str) -> Figures:
        turns.append(label)
        return {"cpu": 1.0}

    measures = {"ours": lambda: measure("ours"), "etcd": lambda: measure("etcd")}
    run_of().take_turns("1 PUT", 2, measures)
    assert turns == ["ours", "etcd", "ours", "etcd"]


def test_a_failed_round_fails_the_row_and_not_the_run() -> None:
    def measure() -> Figures:
        raise RoundFailed("3 of 4 requests failed")

    run = run_of()
    run.take_turns("1 PUT", 2, {"ours": measure})
    assert run.report.failures == {"1 PUT": "ours: 3 of 4 requests failed"}


def test_a_failed_warm_up_fails_the_row_too() -> None:
    def warm_up() -> None:
        raise RoundFailed("1 of 4 answers were wrong")

    run = run_of()
    run.take_turns("1 PUT", 2, {"ours": lambda: {"cpu": 1.0}}, {"ours": warm_up})
    assert run.report.failures == {"1 PUT": "ours: 1 of 4 answers were wrong"}


def test_a_row_asked_for_by_name_is_measured_in_any_plan() -> None:
    assert run_of().wants("1 PUT", is_quick=True)
    assert not run_of().wants("1 CAS")
    named = run_of(structs.replace(QUICK, only="CAS"))
    assert named.wants("1 CAS")
    assert not named.wants("1 PUT", is_quick=True)
    assert run_of(structs.replace(QUICK, is_quick=False)).wants("1 CAS")


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([float(number) for number in range(200)], 99) == 198.0
