"""`/metrics` as dashboards read it."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from kvorum.api import metrics
from kvorum.server.metrics import Figures, Histogram, Metrics

LINE = re.compile(r"^[a-z_]+(\{[a-z_]+=\"[^\"]+\"\})? [0-9.e+-]+$")


def page_of(client: Any) -> str:
    sums = Metrics(leader_changes=4)
    sums.log_syncs.observe(0.003)
    client.server.figures = lambda: Figures(True, False, True, 9, 8, 7, 6, sums)
    answer = client.get("/metrics")
    assert answer.status == 200
    assert answer.header_lines["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.text
    assert isinstance(text, str)
    return text


def test_the_names_that_dashboards_use(either: Any) -> None:
    lines = page_of(either).splitlines()
    for line in (
        "etcd_server_has_leader 1",
        "etcd_server_is_leader 0",
        "etcd_server_is_learner 1",
        "etcd_server_leader_changes_seen_total 4",
        "etcd_server_proposals_committed_total 9",
        "etcd_server_proposals_applied_total 8",
        "etcd_server_proposals_pending 7",
        "etcd_server_proposals_failed_total 6",
        'etcd_server_id{server_id="1"} 1',
        "etcd_debugging_mvcc_keys_total 0",
        'etcd_disk_wal_fsync_duration_seconds_bucket{le="0.002"} 0',
        'etcd_disk_wal_fsync_duration_seconds_bucket{le="0.004"} 1',
        'etcd_disk_wal_fsync_duration_seconds_bucket{le="8.192"} 1',
        'etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 1',
        "etcd_disk_wal_fsync_duration_seconds_sum 0.003",
        "etcd_disk_wal_fsync_duration_seconds_count 1",
        "etcd_disk_backend_commit_duration_seconds_count 0",
    ):
        assert line in lines


def test_every_line_can_be_read_and_every_name_is_explained_once(modern: Any) -> None:
    text = page_of(modern)
    assert text.endswith("\n")
    lines = text.splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert [line for line in samples if not LINE.match(line)] == []
    typed = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    helped = [line.split()[2] for line in lines if line.startswith("# HELP ")]
    assert typed == helped
    assert len(set(typed)) == len(typed)
    for line in samples:
        name = re.split(r"[{ ]", line)[0]
        assert name in typed or re.sub("_(bucket|sum|count)$", "", name) in typed


def test_the_process() -> None:
    figures = {name: value for name, _, _, value in metrics.process_samples()}
    assert figures["process_cpu_seconds_total"] > 0
    assert figures["process_resident_memory_bytes"] > 1 << 20
    assert figures["process_virtual_memory_bytes"] > figures["process_resident_memory_bytes"]
    assert 3 <= figures["process_open_fds"] <= figures["process_max_fds"]
    assert figures["process_start_time_seconds"] > 1_500_000_000


def test_a_system_that_tells_nothing_of_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "PROCESS", tmp_path / "none")
    names = [name for name, *_ in metrics.process_samples()]
    assert names == ["process_cpu_seconds_total", "process_max_fds"]


def test_buckets_add_up() -> None:
    histogram = Histogram()
    for seconds in (0.0005, 0.0015, 100):
        histogram.observe(seconds)
    lines = metrics.render_histogram("x", "help", histogram)
    assert lines[:4] == [
        "# HELP x help",
        "# TYPE x histogram",
        'x_bucket{le="0.001"} 1',
        'x_bucket{le="0.002"} 2',
    ]
    assert lines[-3:] == ['x_bucket{le="+Inf"} 3', "x_sum 100.002", "x_count 3"]


def test_a_few_figures_as_json(modern: Any, legacy: Any) -> None:
    modern.server.figures = lambda: Figures(True, True, False, 9, 8, 7, 6, Metrics())
    answer = modern.get("/debug/vars")
    assert answer.header_lines["Content-Type"] == "application/json; charset=utf-8"
    told = json.loads(answer.text)
    assert told["cmdline"] == sys.argv
    assert told["raft.status"] == {
        "id": "1",
        "term": 2,
        "commit": 9,
        "lead": "1",
        "raftState": "StateLeader",
        "applied": 8,
    }
    assert modern.send("HEAD", "/debug/vars").status == 405
    assert legacy.get("/debug/vars").status == 404
