"""The command: measures ours and every real etcd that is here, in turns, and prints a table.

Run: `make bench`, `make bench-quick`, or `python -m benchmarks --only fan-out` from the root of the
repository. Needs wrk and the dev extras. What each load does, and its units, stand on the first
page of v2.py, fanout.py, scale.py and failover.py; what holds for all, on that of harness.py.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import failover, fanout, scale, v2
from benchmarks.harness import RESULTS, Plan, Run, find_programs, probe_sync
from benchmarks.report import Report
from msgspec import structs

LOADS = (v2.run, fanout.run, failover.run, scale.run)

FULL = Plan(
    only="", is_quick=False, rounds=5, seconds=4, scale_rounds=3, scale_keys=100_000, kills=10
)
QUICK = structs.replace(FULL, is_quick=True, rounds=2, seconds=2, scale_rounds=1, kills=3)


def make_plan(arguments: argparse.Namespace) -> Plan:
    """What the command line asks for."""
    plan = structs.replace(QUICK if arguments.quick else FULL, only=arguments.only)
    if arguments.rounds:
        of_all = dict.fromkeys(("rounds", "scale_rounds", "kills"), arguments.rounds)
        plan = structs.replace(plan, **of_all)
    if arguments.keys:
        plan = structs.replace(plan, scale_keys=arguments.keys)
    return plan


def main() -> int:
    """Runs what is asked for and writes what it found; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows, fewer and shorter rounds")
    parser.add_argument("--only", default="", metavar="TEXT", help='such as "3 PUT" or "TLS"')
    parser.add_argument("--rounds", type=int, help="of every load")
    parser.add_argument("--keys", type=int, help="how many the scale load writes")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is missing; on Debian: apt install wrk", file=sys.stderr)
        return 1
    plan = make_plan(arguments)
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS, prefix="data-") as directory:
        programs = find_programs()
        before = probe_sync(Path(directory))
        report = Report({"servers": list(programs), "plan": structs.asdict(plan)})
        bench = Run(plan, programs, Path(directory), report)
        try:
            for load in LOADS:
                load(bench)
        finally:
            sync = {"before": before, "after": probe_sync(Path(directory))}
            print(f"written to {report.write(RESULTS, {'sync_ms': sync})}")
    if report.is_empty:
        print(f"no row has {plan.only!r} in its name", file=sys.stderr)
    return 1 if report.failures or report.is_empty else 0


if __name__ == "__main__":
    sys.exit(main())
