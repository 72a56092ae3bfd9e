"""`python -m kvorum.sim`: runs seeds until one fails, or replays one.

Every failure is told with its seed, the commit, the property that does not hold, the last events
and the command that replays it. Same seed, options and commit: same run, event by event; of some
seeds this is checked.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count, islice

from kvorum.clock import SystemClock
from kvorum.sim.faults import KINDS
from kvorum.sim.marks import MARKS
from kvorum.sim.run import CLIENTS_MAX, Options, Report, run
from kvorum.sim.shrink import shrink

PROGRESS_SECONDS = 5.0

TWICE_EVERY = 100
"""One seed in so many is run twice, to see whether the runs are the same."""

NS_PER_SECOND = 1_000_000_000
SECONDS_PER_HOUR = 3600


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; 1 if any seed failed."""
    asked = _parser().parse_args(arguments)
    options = Options(
        seconds=asked.seconds,
        members=asked.members,
        faults=asked.faults,
        operations_a_second=asked.operations,
        clients=asked.clients,
        callers=asked.callers,
        watchers=asked.watchers,
        tell=_print if asked.trace else None,
    )
    runner = _Runner(options, asked.minutes, must_shrink=asked.shrink)
    seeds = _seeds(asked)
    for report in _run_all(seeds, options, asked.jobs, runner):
        if asked.digests:
            _print(f"seed {report.seed}: {report.digest}")
        runner.take(report)
    runner.tell()
    return 1 if runner.failed else 0


def run_one(seed: int, options: Options) -> Report:
    """Runs a seed; some twice, which must be the same."""
    report = run(seed, options)
    if report.violation is None and seed % TWICE_EVERY == 0:
        again = run(seed, options)
        if again.digest != report.digest:
            report.violation = "the same seed gave another run"
    return report


def _run_all(
    seeds: Iterator[int], options: Options, jobs: int, runner: "_Runner"
) -> Iterator[Report]:
    """Runs them in so many processes; reports come as they are done."""
    if jobs == 1:
        for seed in seeds:
            if runner.is_over():
                return
            yield run_one(seed, options)
        return
    with ProcessPoolExecutor(jobs) as pool:
        running: set[Future[Report]] = set()
        while True:
            if not runner.is_over():
                fresh = islice(seeds, 2 * jobs - len(running))
                running |= {pool.submit(run_one, seed, options) for seed in fresh}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (one.result() for one in done)


class _Runner:
    """Counts what runs did, and says so now and then."""

    def __init__(self, options: Options, minutes: float, *, must_shrink: bool) -> None:
        self.failed: list[int] = []
        self._options = options
        self._must_shrink = must_shrink
        self._commit = _commit()  # files may change while seeds run; what runs does not
        self._clock = SystemClock()
        self._started = self._told = self._clock.monotonic()
        self._deadline = self._started + minutes * 60 if minutes else 0.0
        self._seeds = 0
        self._seconds = 0.0
        self._operations = 0
        self._undecided = 0
        self._counts: dict[str, int] = {}
        self._marks: dict[str, int] = {}

    def is_over(self) -> bool:
        """Whether the time given has passed."""
        return bool(self._deadline) and self._clock.monotonic() >= self._deadline

    def take(self, report: Report) -> None:
        """One run has ended."""
        self._seeds += 1
        self._seconds += report.seconds
        self._operations += report.operations
        self._undecided += report.undecided
        for total, counts in ((self._counts, report.counts), (self._marks, report.marks)):
            for what, times in counts.items():
                total[what] = total.get(what, 0) + times
        if report.violation is not None:
            self._failed(report)
        if self._clock.monotonic() - self._told > PROGRESS_SECONDS:
            self.tell()

    def _failed(self, report: Report) -> None:
        self.failed.append(report.seed)
        _print("\n".join(_story(report, self._options, self._commit)))
        if self._must_shrink:
            options, smallest = shrink(report.seed, self._options, report, _print)
            _print("\n".join(_story(smallest, options, self._commit)))

    def tell(self) -> None:
        """A line of progress."""
        self._told = self._clock.monotonic()
        took = self._told - self._started
        counts = ", ".join(f"{what} {times}" for what, times in sorted(self._counts.items()))
        unmet = sorted(MARKS.keys() - self._marks.keys())
        _print(
            f"{self._seeds} seeds, {len(self.failed)} failed; "
            f"{self._seconds / SECONDS_PER_HOUR:.2f} h simulated, "
            f"{self._seconds / took:.0f} times real time; {self._operations} operations, "
            f"{self._undecided} undecided; {counts}; "
            f"{len(MARKS) - len(unmet)} of {len(MARKS)} rare branches met"
            + (f", but never {', '.join(unmet)}" if unmet else "")
        )


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 -- commands print


def _story(report: Report, options: Options, commit: str) -> Iterator[str]:
    """What is to be known of a run that failed."""
    yield f"seed {report.seed} at commit {commit} failed after {report.seconds:.3f} s:"
    yield f"  {report.violation}"
    yield "the last events:"
    yield from report.last_events
    yield f"replay: {_command(report.seed, options)}"


def _command(seed: int, options: Options) -> str:
    parts = [f"python -m kvorum.sim --seed {seed} --seconds {options.seconds:g}"]
    if options.members:
        parts.append(f"--members {options.members}")
    if options.faults != KINDS:
        parts.append(f"--faults '{','.join(options.faults)}'")
    for name in ("clients", "callers", "watchers"):
        number = getattr(options, name)
        if number != CLIENTS_MAX:
            parts.append(f"--{name} {number}")
    parts.append(f"--operations {options.operations_a_second:g} --trace")
    return " ".join(parts)


def _commit() -> str:
    """The commit that is checked out, with a + if files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _seeds(asked: argparse.Namespace) -> Iterator[int]:
    if asked.seed is not None:
        yield asked.seed
    elif asked.seeds is not None:
        yield from asked.seeds
    elif asked.fresh:
        first = SystemClock().wall_ns() // NS_PER_SECOND
        _print(f"new seeds: --seeds {first}..{first + asked.fresh - 1}")
        yield from range(first, first + asked.fresh)
    else:
        yield from count(SystemClock().random_below(1 << 32))


def _range(text: str) -> range:
    first, _, last = text.partition("..")
    return range(int(first), int(last) + 1)


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(filter(None, text.split(",")))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such fault: {unknown}; there are {', '.join(KINDS)}")
    return kinds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kvorum.sim", description="A whole cluster in one thread, under faults."
    )
    add = parser.add_argument
    add("--seed", type=int, help="run this one")
    add("--seeds", type=_range, metavar="A..B", help="run these, both ends included")
    add("--fresh", type=int, default=0, metavar="N", help="run so many that were never run")
    add("--minutes", type=float, default=0.0, help="begin no run after so long; default: no end")
    add("--members", type=int, default=0, help="at birth; default: drawn for each seed")
    add("--seconds", type=float, default=60.0, help="virtual time with faults")
    add("--operations", type=float, default=10.0, help="requests a virtual second, all together")
    add("--faults", type=_kinds, default=KINDS, help=f"kinds that may come: {', '.join(KINDS)}")
    add("--clients", type=int, default=CLIENTS_MAX, help="no more than these speak v2")
    add("--callers", type=int, default=CLIENTS_MAX, help="no more than these speak v3")
    add("--watchers", type=int, default=CLIENTS_MAX, help="no more than these watch")
    add("--jobs", type=int, default=1, help="processes that run seeds")
    add("--shrink", action="store_true", help="look for the smallest run that still fails")
    add("--digests", action="store_true", help="print a digest of each run, to compare two builds")
    add("--trace", action="store_true", help="print every event")
    return parser


if __name__ == "__main__":
    sys.exit(main())
