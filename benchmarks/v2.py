"""How fast is the v2 keys API, next to real etcd?

Units: CPU is server microseconds per request, user and system, of all members together; rate is
requests per second; p50, p99 and worst are milliseconds as wrk sees them; memory is MiB resident
at the end of the round, all members. Read CPU per request first: on a machine with other work it
moves least.

Kinds: PUT and GET; QGET is a linearizable GET, CAS a PUT with the value there is as `prevValue`,
POST an in-order key in one directory, which grows. TLS is the same over https, one certificate for
all.
Sizes: 1000 keys in one directory, picked at random; values of 64 bytes, or as large as the name
says ("64K" behind the connections); wrk with one thread, and one for each member where the load is
spread.
Durability: all sync each write before the answer, as they come.
Warm-up: every key is written before the first load of a cluster, and a second of each load is not
counted; in it, every answer is read and must be a success that shows the value. What differs in
members, TLS or size of the values has clusters of its own.
"""

import json
import os
import subprocess
from functools import partial
from itertools import groupby
from pathlib import Path

from benchmarks.harness import (
    RoundFailed,
    Run,
    check_growth,
    cpu_seconds,
    resident_mib,
    store_index,
)
from benchmarks.report import Figures
from msgspec import Struct

from kvorum.testing.process import ClusterProcess

SCRIPT = Path(__file__).with_suffix(".lua")

KEYS = 1000
"""As in the script."""

KIB = 1024
WARM_UP_SECONDS = 1


class Workload(Struct, frozen=True):
    """What wrk does, and to whom: the leader, or all members (`is_spread`)."""

    members: int
    kind: str
    connections: int
    is_spread: bool = False
    is_tls: bool = False
    value_bytes: int = 64
    is_quick: bool = False

    @property
    def name(self) -> str:
        """As it stands in the table, and as `--only` looks at it."""
        where = "" if self.members == 1 else " spread" if self.is_spread else " leader"
        size = f" {self.value_bytes // KIB}K" if self.value_bytes >= KIB else ""
        return f"{self.members} {self.kind} {self.connections}{size}{' TLS' * self.is_tls}{where}"

    @property
    def is_write(self) -> bool:
        """Whether each request takes an index."""
        return self.kind in {"PUT", "CAS", "POST"}

    @property
    def home(self) -> tuple[int, bool, int]:
        """Workloads that follow each other and agree in this share their clusters."""
        return self.members, self.is_tls, self.value_bytes


ROWS = (
    Workload(1, "PUT", 64, is_quick=True),
    Workload(1, "GET", 64, is_quick=True),
    Workload(1, "PUT", 1, is_quick=True),
    Workload(1, "PUT", 256),
    Workload(1, "QGET", 64),
    Workload(1, "CAS", 64),
    Workload(1, "POST", 64),
    Workload(1, "PUT", 64, is_tls=True, is_quick=True),
    Workload(1, "GET", 64, is_tls=True, is_quick=True),
    Workload(1, "PUT", 64, value_bytes=KIB),
    Workload(1, "PUT", 64, value_bytes=64 * KIB),
    Workload(3, "PUT", 64, is_quick=True),
    Workload(3, "GET", 64),
    Workload(3, "PUT", 1),
    Workload(3, "PUT", 256),
    Workload(3, "PUT", 64, is_spread=True),
    Workload(3, "GET", 64, is_spread=True, is_quick=True),
    Workload(3, "QGET", 64),
    Workload(3, "CAS", 64),
)


def run(bench: Run) -> None:
    """Measures the rows that are wanted."""
    rows = [row for row in ROWS if bench.wants(row.name, is_quick=row.is_quick)]
    for (size, is_tls, value_bytes), of_one in groupby(rows, lambda row: row.home):
        with bench.clusters(size, is_tls=is_tls) as clusters:
            for cluster in clusters.values():
                fill(cluster, value_bytes)
            for workload in of_one:
                measures = {
                    label: partial(measure, cluster, workload, bench.plan.seconds)
                    for label, cluster in clusters.items()
                }
                warm_ups = {
                    label: partial(warm_up, cluster, workload)
                    for label, cluster in clusters.items()
                }
                bench.take_turns(workload.name, bench.plan.rounds, measures, warm_ups)


def fill(cluster: ClusterProcess, value_bytes: int) -> None:
    """Writes every key once."""
    with cluster.wait_leader().client() as client:
        for key in range(1, KEYS + 1):
            client.put(f"/bench/key{key}", "v" * value_bytes)


def warm_up(cluster: ClusterProcess, workload: Workload) -> None:
    """Sends for a second, and looks into every answer.

    Raises:
        RoundFailed: one was no success, or did not show the value.
    """
    counted = send(cluster, workload, WARM_UP_SECONDS, is_checked=True)
    if counted["faults"]:
        raise RoundFailed(f"{counted['faults']} of {counted['requests']} answers were wrong")


def measure(cluster: ClusterProcess, workload: Workload, seconds: int) -> Figures:
    """One round.

    Raises:
        RoundFailed: an answer was no success, or a write was lost or made twice.
    """
    index, before = store_index(cluster.members[0]), cpu_seconds(cluster.members)
    counted = send(cluster, workload, seconds)
    spent = sum(cpu_seconds(cluster.members)) - sum(before)
    requests = counted["requests"]
    if counted["faults"] or not requests:
        raise RoundFailed(f"{counted['faults']} of {requests} requests failed")
    check_growth(
        index,
        store_index(cluster.members[0]),
        acknowledged=requests if workload.is_write else 0,
        unanswered=workload.connections if workload.is_write else 0,
    )
    return {
        "cpu": spent * 1e6 / requests,
        "rate": requests / (counted["micros"] / 1e6),
        "p50": counted["p50"] / 1e3,
        "p99": counted["p99"] / 1e3,
        "worst": counted["worst"] / 1e3,
        "memory": resident_mib(cluster.members),
    }


def send(
    cluster: ClusterProcess, workload: Workload, seconds: int, *, is_checked: bool = False
) -> dict[str, int]:
    """Has wrk send for so long; returns what it counted."""
    targets = cluster.members if workload.is_spread else [cluster.wait_leader()]
    addresses = [f"{member.host}:{member.client_port}" for member in targets]
    command = ["wrk", f"-t{len(targets)}", f"-c{workload.connections}", f"-d{seconds}s"]
    command += ["--timeout", "10s", "-s", str(SCRIPT), targets[0].client_url]
    settings = {
        "BENCH_KIND": workload.kind,
        "BENCH_VALUE_BYTES": str(workload.value_bytes),
        "BENCH_ADDRS": ",".join(addresses),
        "BENCH_CHECKED": str(int(is_checked)),
    }
    done = subprocess.run(
        command, env={**os.environ, **settings}, check=True, capture_output=True, text=True
    )
    told: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return told
