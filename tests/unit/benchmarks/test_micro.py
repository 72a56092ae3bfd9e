"""Every micro-benchmark runs: once each, without the package that measures them."""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.micro import bench_http1

DIRECTORY = Path(bench_http1.__file__).parent
PREFIX = "bench_"


def benchmarks() -> dict[str, Callable[..., None]]:
    """All of them, by module and name."""
    modules = sorted(path.stem for path in DIRECTORY.glob(f"{PREFIX}*.py"))
    return {
        f"{module.removeprefix(PREFIX)}.{name.removeprefix(PREFIX)}": function
        for module in modules
        for name, function in vars(importlib.import_module(f"benchmarks.micro.{module}")).items()
        if name.startswith(PREFIX)
    }


CALLS = 3
"""An operation must be repeatable."""


@pytest.mark.parametrize("name", benchmarks())
def test_each_micro_benchmark_runs(name: str, tmp_path: Path) -> None:
    measured = []

    def benchmark(operation: Callable[[], object]) -> None:
        measured.append(operation)
        for _ in range(CALLS):
            operation()

    given = {"benchmark": benchmark, "tmp_path": tmp_path}
    function = benchmarks()[name]
    function(
        **{parameter: given[parameter] for parameter in inspect.signature(function).parameters}
    )
    assert len(measured) == 1


def test_every_core_with_a_budget_has_one() -> None:
    assert {name.partition(".")[0] for name in benchmarks()} >= {
        "http1", "mvcc", "raft", "v2", "wal", "watch",
    }  # fmt: skip
