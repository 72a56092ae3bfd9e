"""The benchmarks' loads run, on our server alone and as short as they can be."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import failover, fanout, scale, v2
from benchmarks.__main__ import QUICK
from benchmarks.harness import OURS, Run
from benchmarks.report import Report
from msgspec import structs

from kvorum.testing.process import OUR_PROGRAM

pytestmark = pytest.mark.process

SHORT = structs.replace(QUICK, rounds=1, seconds=1, scale_rounds=1, scale_keys=500, kills=1)

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="sends with wrk")


@pytest.mark.parametrize(
    ("load", "name", "figures"),
    [
        pytest.param(v2.run, "1 CAS 64", {"cpu", "rate", "p50", "p99", "memory"}, marks=needs_wrk),
        pytest.param(v2.run, "1 GET 64 TLS", {"cpu", "rate"}, marks=needs_wrk),
        (fanout.run, "fan-out 100", {"cpu", "events", "p50", "p99", "memory"}),
        (failover.run, "failover", {"ms"}),
        (scale.run, "scale 500", {"cpu", "load", "memory", "disk", "restart", "catch-up"}),
    ],
)
def test_each_load_is_measured(
    load: Callable[[Run], None],
    name: str,
    figures: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report({})
    load(Run(structs.replace(SHORT, only=name), {OURS: OUR_PROGRAM}, tmp_path, report))
    assert not report.failures
    head, ours, *_ = capsys.readouterr().out.splitlines()
    assert set(head.split()) >= figures
    assert ours.startswith(name)
