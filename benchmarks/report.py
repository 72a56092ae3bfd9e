"""What a run found: the table people read, and the JSON file that programs read.

Rules:
    A row of the table is one load: for each server the median of its rounds, with the lowest and
    the highest in brackets, and below them `ratio`. A ratio holds ours against the best real etcd
    of the run, figure by figure, and is above 1 where ours is better.
    The file holds the same and every single round besides, with commit, machine, versions and load.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

Figures = Mapping[str, float]
"""What one round gave: name of the figure to its value."""

HIGHER_IS_BETTER = frozenset({"rate", "events"})
REFERENCE = "etcd"
"""What a server that ours is held against is called at the least; all others are ours."""

NAME_WIDTH, LABEL_WIDTH, CELL_WIDTH = 20, 15, 21


class Summary(Struct):
    """One figure of one server in all rounds."""

    median: float
    lowest: float
    highest: float
    rounds: list[float]


class Row(Struct):
    """One load: each server's figures, and those of ours against the best of theirs."""

    servers: dict[str, dict[str, Summary]]
    ratios: dict[str, dict[str, float]]


class Result(Struct):
    """What is read again of a file; it holds more."""

    rows: dict[str, Row]


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
        self._rows: dict[str, Row] = {}
        self._columns: list[str] = []

    def add(self, name: str, rounds: Mapping[str, Sequence[Figures]]) -> None:
        """One load: each server's rounds, by its label."""
        servers = {label: _summarise(of_one) for label, of_one in rounds.items()}
        theirs = [servers[label] for label in servers if _is_reference(label)]
        ours = [label for label in servers if not _is_reference(label)]
        ratios = {label: _ratios(servers[label], theirs) for label in ours if theirs}
        self._rows[name] = Row(servers, ratios)
        self._print_head(list(next(iter(servers.values()))))
        for label, table in servers.items():
            _print_line(name, label, [_cell(summary) for summary in table.values()])
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
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
        return path

    def _print_head(self, columns: list[str]) -> None:
        if columns != self._columns:
            self._columns = columns
            _print_line("", "", columns)


def to_markdown(result: Result) -> str:
    """A table of the medians: each of ours beside the best of theirs; the best one is bold."""
    lines: list[str] = []
    head: list[str] = []
    for name, row in result.rows.items():
        theirs = [table for label, table in row.servers.items() if _is_reference(label)]
        ours = {label: row.servers[label] for label in row.ratios}
        if not ours:
            continue
        columns = list(next(iter(ours.values())))
        titles = [f"{column} {label}" for column in columns for label in (*ours, "best etcd")]
        if titles != head:
            head = titles
            lines += ["", f"| load | {' | '.join(titles)} |", "|---|" + "---|" * len(titles)]
        cells = [name]
        for column in columns:
            values = [table[column].median for table in ours.values()]
            values.append(_best_of(column, theirs))
            best = max(values) if column in HIGHER_IS_BETTER else min(values)
            cells += [f"**{_number(one)}**" if one == best else _number(one) for one in values]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines[1:])


def _summarise(rounds: Sequence[Figures]) -> dict[str, Summary]:
    by_column = {column: [figures[column] for figures in rounds] for column in rounds[0]}
    return {
        column: Summary(statistics.median(values), min(values), max(values), values)
        for column, values in by_column.items()
    }


def _is_reference(label: str) -> bool:
    return label.startswith(REFERENCE)


def _ratios(
    ours: Mapping[str, Summary], theirs: Sequence[Mapping[str, Summary]]
) -> dict[str, float]:
    """Ours against the best of theirs, figure by figure."""
    ratios = {}
    for column, summary in ours.items():
        best = _best_of(column, theirs)
        is_rate = column in HIGHER_IS_BETTER
        ratios[column] = summary.median / best if is_rate else best / summary.median
    return ratios


def _best_of(column: str, servers: Sequence[Mapping[str, Summary]]) -> float:
    best = max if column in HIGHER_IS_BETTER else min
    return best(server[column].median for server in servers)


def _print_line(name: str, label: str, cells: Sequence[str]) -> None:
    text = "".join(f"{cell:>{CELL_WIDTH}}" for cell in cells)
    print(f"{name:<{NAME_WIDTH}}{label:<{LABEL_WIDTH}}{text}")


def _cell(summary: Summary) -> str:
    """Median and spread."""
    median, lowest, highest = map(_number, (summary.median, summary.lowest, summary.highest))
    return f"{median} [{lowest}..{highest}]"


def _number(value: float) -> str:
    """About three digits."""
    return f"{value:,.{max(0, 3 - len(str(int(value))))}f}"


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


if __name__ == "__main__":
    print(to_markdown(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Result)))
