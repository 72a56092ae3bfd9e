"""What a run found: the table people read, and the JSON file that programs read.

Rules:
    A row of the table is one load: for each server the median of its rounds, with the lowest and
    the highest in brackets, and below them `ratio`. A ratio holds ours against the best real etcd
    of the run, figure by figure, and is above 1 where ours is better.
    The file holds the same and every single round besides, with commit, machine, versions and load.
"""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

Figures = Mapping[str, float]
"""What one round gave: name of the figure to its value."""

HIGHER_IS_BETTER = frozenset({"rate", "events"})
REFERENCE = "etcd"
"""What a server that ours is held against is called at the least; all others are ours."""

NAME_WIDTH, LABEL_WIDTH, CELL_WIDTH = 20, 13, 21


class Report:
    """Prints each row when it is known, and keeps all of them.

    Attributes:
        failures: the rows whose figures mean nothing, each with the reason.
    """

    def __init__(self, head: Mapping[str, object]) -> None:
        """Args: `head` is what the file begins with."""
        self.failures: dict[str, str] = {}
        self._head = {"began": _now(), "commit": _commit(), "machine": _machine(), **head}
        self._load_before = os.getloadavg()
        self._rows: dict[str, object] = {}
        self._columns: list[str] = []

    def add(self, name: str, rounds: Mapping[str, Sequence[Figures]]) -> None:
        """One load: each server's rounds, by its label."""
        tables = {label: _by_column(of_one) for label, of_one in rounds.items()}
        medians = {
            label: {column: statistics.median(values) for column, values in table.items()}
            for label, table in tables.items()
        }
        theirs = [medians[label] for label in tables if _is_reference(label)]
        ours = [label for label in tables if theirs and not _is_reference(label)]
        ratios = {label: _ratios(medians[label], theirs) for label in ours}
        self._rows[name] = {
            label: {
                column: {
                    "median": medians[label][column],
                    "lowest": min(values),
                    "highest": max(values),
                    "rounds": values,
                }
                for column, values in table.items()
            }
            for label, table in tables.items()
        } | {f"ratio of {label}": of_one for label, of_one in ratios.items()}
        self._print_head(list(next(iter(tables.values()))))
        for label, table in tables.items():
            _print_line(name, label, [_cell(values) for values in table.values()])
        for label, of_one in ratios.items():
            title = "ratio" if len(ratios) == 1 else f"ratio {label}"
            _print_line(name, title, [f"{ratio:.2f}" for ratio in of_one.values()])
        print(flush=True)

    def fail(self, name: str, reason: str) -> None:
        """A load whose answers or writes were not what they must be."""
        self.failures[name] = reason
        print(f"{name:<{NAME_WIDTH}}FAILED: {reason}\n", flush=True)

    @property
    def is_empty(self) -> bool:
        """Whether there is no row, not even a failed one."""
        return not (self._rows or self.failures)

    def write(self, directory: Path, tail: Mapping[str, object]) -> Path:
        """Writes the file, `tail` at its end; returns its path."""
        load = {"before": self._load_before, "after": os.getloadavg()}
        result = {**self._head, "ended": _now(), "load_average": load, **tail}
        result |= {"rows": self._rows, "failures": self.failures}
        path = directory / f"{self._head['began']}.json".replace(":", "")
        path.write_text(json.dumps(result, indent=1))
        return path

    def _print_head(self, columns: list[str]) -> None:
        if columns != self._columns:
            self._columns = columns
            _print_line("", "", columns)


def _by_column(rounds: Sequence[Figures]) -> dict[str, list[float]]:
    return {column: [figures[column] for figures in rounds] for column in rounds[0]}


def _is_reference(label: str) -> bool:
    return label.startswith(REFERENCE)


def _ratios(ours: Figures, theirs: Sequence[Figures]) -> dict[str, float]:
    """Ours against the best of theirs, figure by figure."""
    return {
        column: value / max(figures[column] for figures in theirs)
        if column in HIGHER_IS_BETTER
        else min(figures[column] for figures in theirs) / value
        for column, value in ours.items()
    }


def _print_line(name: str, label: str, cells: Sequence[str]) -> None:
    text = "".join(f"{cell:>{CELL_WIDTH}}" for cell in cells)
    print(f"{name:<{NAME_WIDTH}}{label:<{LABEL_WIDTH}}{text}")


def _cell(values: Sequence[float]) -> str:
    """Median and spread, with about three digits."""
    figures = (statistics.median(values), min(values), max(values))
    digits = max(0, 3 - len(str(int(min(values)))))
    return "{:.{d}f} [{:.{d}f}..{:.{d}f}]".format(*figures, d=digits)


def _machine() -> dict[str, object]:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
