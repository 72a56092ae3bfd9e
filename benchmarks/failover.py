"""How long is a cluster of three without a leader that can commit, next to real etcd?

Unit: milliseconds from the `kill -9` of the leader to the first acknowledged write. A write is
asked for at once, at each of the other members in turn, and given half a second: so it counts what
a client with a short patience waits. Everybody runs with its default timings: 0.4's (heartbeat
50 ms, election timeout 200 ms) for ours in the 0.4 era; 3.x's (100 ms, 1000 ms) for ours and for
real etcd. Between kills the dead member is started again and takes a write.
A kill counts only if the index grew by the acknowledged writes, and at most by those that were
given up besides.
"""

import http.client
import itertools
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.harness import (
    OURS,
    START_WRITES,
    RoundFailed,
    Run,
    check_growth,
    make_cluster,
    store_index,
)
from benchmarks.report import Figures

from kvorum.config import Era
from kvorum.testing.process import ClusterProcess, ServerProcess

NAME = "failover"
PATIENCE_SECONDS = 0.5
GIVE_UP_SECONDS = 30.0
HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}


def run(bench: Run) -> None:
    """Measures the row, if it is wanted: one kill of each cluster after the other."""
    if not bench.wants(NAME):
        return
    with (
        tempfile.TemporaryDirectory(dir=bench.directory) as directory,
        bench.clusters(3) as clusters,
        make_cluster(Path(directory), 3, bench.programs[OURS], era=Era.LEGACY) as legacy,
    ):
        measures = {
            label: partial(measure, cluster)
            for label, cluster in {**clusters, f"{OURS}, 0.4": legacy}.items()
        }
        bench.take_turns(NAME, bench.plan.kills, measures)


def measure(cluster: ClusterProcess) -> Figures:
    """Kills the leader, measures until a write succeeds elsewhere, and starts it again.

    Raises:
        RoundFailed: no write succeeded, or one was lost or made twice.
    """
    leader = cluster.wait_leader()
    before = store_index(leader)
    others = [member for member in cluster.members if member is not leader]
    leader.kill()
    began = time.perf_counter()
    given_up = 0
    for member in itertools.cycle(others):
        if write(member, PATIENCE_SECONDS):
            break
        given_up += 1
        if time.perf_counter() - began > GIVE_UP_SECONDS:
            raise RoundFailed(f"no write within {GIVE_UP_SECONDS:g} s:\n{member.log_end()}")
    took = time.perf_counter() - began
    leader.restart()
    leader.wait_ready()
    if not write(leader, GIVE_UP_SECONDS):
        raise RoundFailed(f"the restarted member takes no write:\n{leader.log_end()}")
    unanswered = given_up + START_WRITES
    check_growth(before, store_index(leader), acknowledged=2, unanswered=unanswered)
    return {"ms": took * 1e3}


def write(member: ServerProcess, patience: float) -> bool:
    """Whether one write was acknowledged in time."""
    connection = http.client.HTTPConnection(member.host, member.client_port, timeout=patience)
    try:
        connection.request("PUT", "/v2/keys/failover", b"value=x", HEADERS)
        return connection.getresponse().status in {200, 201}
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
