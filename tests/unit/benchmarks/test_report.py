import json
from pathlib import Path

import msgspec
import pytest
from benchmarks.report import Report, Result, to_markdown

OURS = [{"cpu": 20.0, "rate": 300.0}, {"cpu": 30.0, "rate": 100.0}, {"cpu": 10.0, "rate": 200.0}]
ROUNDS = {
    "ours": OURS,
    "etcd 3.5.1": [{"cpu": 40.0, "rate": 100.0}],
    "etcd 3.4.23": [{"cpu": 60.0, "rate": 400.0}],
}


@pytest.fixture
def report() -> Report:
    return Report({"plan": "short"})


def test_a_ratio_is_against_the_best_of_theirs_figure_by_figure(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    report.add("1 PUT", ROUNDS)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "ratio" in line)
    assert line.split() == ["1", "PUT", "ratio", "2.00", "0.50"]


def test_the_table_shows_median_and_spread(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    report.add("1 PUT", ROUNDS)
    head, ours, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["cpu", "rate"]
    assert ours.split() == ["1", "PUT", "ours", "20.0", "[10.0..30.0]", "200", "[100..300]"]


def test_each_of_ours_has_its_ratio(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    report.add("failover", {"ours": OURS, "ours, 0.4": OURS, "etcd 3.5.1": ROUNDS["etcd 3.5.1"]})
    text = capsys.readouterr().out
    assert "ratio ours " in text
    assert "ratio ours, 0.4" in text


def test_without_any_of_theirs_there_is_no_ratio(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    report.add("1 PUT", {"ours": OURS})
    assert "ratio" not in capsys.readouterr().out


def test_the_file_holds_every_round_and_where_it_was_measured(
    report: Report, tmp_path: Path
) -> None:
    report.add("1 PUT", ROUNDS)
    report.fail("1 GET", "3 of 4 requests failed")
    told = json.loads(report.write(tmp_path, {"sync_ms": 1}).read_text())
    assert told["rows"]["1 PUT"]["servers"]["ours"]["cpu"] == {
        "median": 20.0,
        "lowest": 10.0,
        "highest": 30.0,
        "rounds": [20.0, 30.0, 10.0],
    }
    assert told["rows"]["1 PUT"]["ratios"] == {"ours": {"cpu": 2.0, "rate": 0.5}}
    assert told["failures"] == {"1 GET": "3 of 4 requests failed"}
    assert told.keys() >= {"began", "ended", "commit", "machine", "load_average", "plan", "sync_ms"}
    assert told["machine"].keys() >= {"cpu", "cores", "kernel", "python"}


def test_a_file_becomes_a_page_s_table(report: Report, tmp_path: Path) -> None:
    report.add("1 PUT", ROUNDS)
    report.add("1 CAS", ROUNDS)
    path = report.write(tmp_path, {})
    assert to_markdown(msgspec.json.decode(path.read_bytes(), type=Result)).splitlines() == [
        "| load | cpu ours | cpu best etcd | rate ours | rate best etcd |",
        "|---|---|---|---|---|",
        "| 1 PUT | **20.0** | 40.0 | 200 | **400** |",
        "| 1 CAS | **20.0** | 40.0 | 200 | **400** |",
    ]


def test_a_page_s_table_has_each_of_ours(report: Report, tmp_path: Path) -> None:
    report.add("1 PUT", {**ROUNDS, "compiled": [{"cpu": 5.0, "rate": 500.0}]})
    path = report.write(tmp_path, {})
    assert to_markdown(msgspec.json.decode(path.read_bytes(), type=Result)).splitlines() == [
        "| load | cpu ours | cpu compiled | cpu best etcd | rate ours | rate compiled |"
        " rate best etcd |",
        "|---|---|---|---|---|---|---|",
        "| 1 PUT | 20.0 | **5.00** | 40.0 | 200 | **500** | 400 |",
    ]
