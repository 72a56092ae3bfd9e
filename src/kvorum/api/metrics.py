"""`/metrics`: what dashboards read, under etcd's names, in the text form of Prometheus.

`/debug/vars` tells a few of the same figures as JSON, under the names that etcd gives them.

Everything is asked for when the page is read. Figures of the process come from /proc and are left
out where there is none.
Source: https://prometheus.io/docs/instrumenting/exposition_formats; names as of etcd 3.5.
"""

import json
import os
import resource
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import TypeAlias

from kvorum import version
from kvorum.api.reply import Replies
from kvorum.protocol.exchange import Exchange
from kvorum.server.metrics import BUCKET_SECONDS, Histogram
from kvorum.server.server import Server

CONTENT_TYPE = b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"

JSON_TYPE = b"Content-Type: application/json; charset=utf-8\r\n"

PROCESS = Path("/proc/self")
KERNEL = Path("/proc/stat")
START_TIME_FIELD = 19
"""Of /proc/self/stat, counted from 0 behind the command's name."""

Sample: TypeAlias = tuple[str, str, str, float]
"""Name (with labels), kind, help, value."""


class MetricsPage:
    """The handler of one server."""

    def __init__(self, server: Server, replies: Replies) -> None:
        self._server = server
        self._replies = replies

    def get(self, exchange: Exchange) -> None:
        """All figures of this moment."""
        metrics = self._server.figures().metrics
        samples = [*_server_samples(self._server), *process_samples()]
        lines = [line for sample in samples for line in _render(sample)]
        lines += render_histogram(
            "etcd_disk_wal_fsync_duration_seconds",
            "How long the log takes to become durable.",
            metrics.log_syncs,
        )
        lines += render_histogram(
            "etcd_disk_backend_commit_duration_seconds",
            "How long the backend takes to commit.",
            metrics.backend_commits,
        )
        body = "\n".join([*lines, ""]).encode()
        self._replies.send(exchange, 200, CONTENT_TYPE, body)

    def variables(self, exchange: Exchange) -> None:
        """`/debug/vars`: how the process was called, and where its consensus stands."""
        server = self._server
        figures = server.figures()
        status = {
            "id": f"{server.member_id:x}",
            "term": server.term,
            "commit": figures.committed_index,
            "lead": f"{server.leader_id:x}",
            "raftState": "StateLeader" if figures.is_leader else "StateFollower",
            "applied": figures.applied_index,
        }
        files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        variables = {"cmdline": sys.argv, "file_descriptor_limit": files_max, "raft.status": status}
        self._replies.send(exchange, 200, JSON_TYPE, json.dumps(variables).encode() + b"\n")


def _server_samples(server: Server) -> Iterator[Sample]:
    figures, store = server.figures(), server.store
    changes = figures.metrics.leader_changes
    counter, gauge = "counter", "gauge"
    own_id, own_version = f'server_id="{server.member_id:x}"', f'server_version="{version.SERVER}"'
    yield f"etcd_server_id{{{own_id}}}", gauge, "This member's id.", 1
    yield f"etcd_server_version{{{own_version}}}", gauge, "What it is compatible with.", 1
    yield "etcd_server_has_leader", gauge, "Whether a leader is known.", figures.has_leader
    yield "etcd_server_is_leader", gauge, "Whether this member leads.", figures.is_leader
    yield "etcd_server_is_learner", gauge, "Whether this member has no vote.", figures.is_learner
    yield "etcd_server_leader_changes_seen_total", counter, "Leaders that were seen.", changes
    for name, kind, text, value in (
        ("committed_total", gauge, "The last committed entry of the log.", figures.committed_index),
        ("applied_total", gauge, "The last applied entry of the log.", figures.applied_index),
        ("pending", gauge, "Commands that wait for their result.", figures.pending_proposals),
        ("failed_total", counter, "Commands without a result.", figures.failed_proposals),
    ):
        yield f"etcd_server_proposals_{name}", kind, text, value
    for name, text, value in (
        ("keys_total", "Keys that are there.", store.key_count),
        ("current_revision", "The last revision.", store.revision),
        ("compact_revision", "History up to this revision is gone.", store.compacted_revision),
    ):
        yield f"etcd_debugging_mvcc_{name}", gauge, text, value


def process_samples() -> Iterator[Sample]:
    """Figures of this process; none where the system does not tell them."""
    counter, gauge = "counter", "gauge"
    times = os.times()
    cpu_seconds = times.user + times.system
    yield "process_cpu_seconds_total", counter, "User and system time.", cpu_seconds
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield "process_max_fds", gauge, "How many files it may open.", files_max
    try:
        virtual, resident = map(int, (PROCESS / "statm").read_text("ascii").split()[:2])
        fields = (PROCESS / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        booted = next(
            int(line.split()[1])
            for line in KERNEL.read_text("ascii").splitlines()
            if line.startswith("btime ")
        )
        open_files = len(os.listdir(PROCESS / "fd"))  # noqa: PTH208 -- names only, and no paths
    except (OSError, StopIteration):
        return
    page_bytes = resource.getpagesize()
    started = booted + int(fields[START_TIME_FIELD]) / os.sysconf("SC_CLK_TCK")
    yield "process_resident_memory_bytes", gauge, "Memory in use.", resident * page_bytes
    yield "process_virtual_memory_bytes", gauge, "Memory mapped.", virtual * page_bytes
    yield "process_start_time_seconds", gauge, "Start, since the epoch.", started
    yield "process_open_fds", gauge, "Open files.", open_files


def _render(sample: Sample) -> list[str]:
    name, kind, text, value = sample
    return [*_head(name.partition("{")[0], kind, text), f"{name} {_number(value)}"]


def render_histogram(name: str, text: str, histogram: Histogram) -> list[str]:
    """The lines of a histogram: each bucket holds all that took at most so long."""
    bounds = [f"{bound:g}" for bound in BUCKET_SECONDS] + ["+Inf"]
    sums = list(accumulate(histogram.counts))
    return [
        *_head(name, "histogram", text),
        *(
            f'{name}_bucket{{le="{bound}"}} {count}'
            for bound, count in zip(bounds, sums, strict=True)
        ),
        f"{name}_sum {_number(histogram.total_seconds)}",
        f"{name}_count {sums[-1]}",
    ]


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
