"""Where do the microseconds of a v2 request go, module by module?

Run: `python -m benchmarks.breakdown 3 PUT 64 follower`: members, kind of request, connections, and
whom to watch. Needs wrk, the dev extras, and py-spy on the PATH.

Unit: server microseconds of CPU per request in each module's own code, C code called from it
included: what the kernel takes for `send` counts for `net/connection.py`, the event loop with
`recv` and `epoll` for `asyncio/runners.py`. Threads that wait are not counted.
Load, warm-up, durability and sizes are those of v2.py; one round of 8 seconds, 500
samples a second.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.harness import RESULTS, cpu_seconds, make_cluster
from benchmarks.v2 import WARM_UP_SECONDS, Workload, fill, send

from kvorum.testing.process import OUR_PROGRAM, ClusterProcess

SECONDS = 8
SAMPLES_PER_SECOND = 500
SHOWN = 25


def watch(cluster: ClusterProcess, workload: Workload, role: str, path: Path) -> float:
    """Samples one member under load into `path`; returns its CPU per request, in microseconds."""
    leader = cluster.wait_leader()
    followers = [member for member in cluster.members if member is not leader]
    member = leader if role == "leader" else followers[0]
    send(cluster, workload, WARM_UP_SECONDS)
    command = ["py-spy", "record", "--pid", str(member.pid), "--duration", str(SECONDS)]
    command += ["--rate", str(SAMPLES_PER_SECOND), "--format", "raw", "--output", str(path)]
    before = sum(cpu_seconds([member]))
    spy = subprocess.Popen([*command, "--nonblocking"], stdout=subprocess.DEVNULL)
    counted = send(cluster, workload, SECONDS)
    spent = sum(cpu_seconds([member])) - before
    spy.wait()
    print(f"{counted['requests']} requests in {SECONDS} s, of which {counted['faults']} failed")
    return spent * 1e6 / counted["requests"]


def by_module(stacks: Iterable[str]) -> Counter[str]:
    """Samples by the module of the innermost Python frame."""
    samples: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        module = frames.rpartition(";")[2].rpartition("(")[2].rpartition(":")[0]
        samples[module] += int(count)
    return samples


def main() -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("members", type=int, choices=(1, 3))
    parser.add_argument("kind", choices=("PUT", "GET", "QGET", "CAS", "POST"))
    parser.add_argument("connections", type=int)
    parser.add_argument("role", choices=("leader", "follower"), nargs="?", default="leader")
    parser.add_argument("--tls", action="store_true", help="over https")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    workload = Workload(arguments.members, arguments.kind, arguments.connections)
    with (
        tempfile.TemporaryDirectory(dir=RESULTS, prefix="data-") as directory,
        make_cluster(
            Path(directory), arguments.members, OUR_PROGRAM, is_tls=arguments.tls
        ) as cluster,
    ):
        fill(cluster, workload.value_bytes)
        path = Path(directory) / "stacks"
        cpu = watch(cluster, workload, arguments.role, path)
        samples = by_module(path.read_text().splitlines())
    print(f"{arguments.role}: {cpu:.1f} us a request, of which")
    for module, count in samples.most_common(SHOWN):
        print(f"{cpu * count / samples.total():7.2f}  {module}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
