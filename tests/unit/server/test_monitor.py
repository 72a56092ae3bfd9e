"""Missed heartbeats: told at once, then ever more rarely, with the count so far."""

import pytest

from kvorum.server.monitor import HeartbeatMonitor

HEARTBEAT_SECONDS = 0.05


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition("peer=")[2] for record in caplog.records]


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kvorum.server")


def test_the_pauses_double_up_to_fifteen_seconds(caplog: pytest.LogCaptureFixture) -> None:
    monitor = HeartbeatMonitor("machine2")
    for beat in range(900):
        monitor.missed(1, "machine1", beat * HEARTBEAT_SECONDS)
    told = lines(caplog)
    assert [line.partition("backoff=")[2] for line in told] == [
        '"2s"', '"4s"', '"8s"', '"15s"', '"15s"', '"15s"',
    ]  # fmt: skip
    counts = [int(line.split("missed=")[1].split(" ")[0]) for line in told]
    assert counts == [1, 41, 121, 281, 581, 881]
    assert caplog.records[0].getMessage() == (
        'machine2: warning: heartbeat time out peer="machine1" missed=1 backoff="2s"'
    )


def test_a_peer_heard_after_its_pause_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    monitor = HeartbeatMonitor("machine2")
    monitor.missed(1, "machine1", 0.0)
    monitor.answered(1, 3.0)
    monitor.missed(1, "machine1", 4.0)
    assert [line.split(" ")[1] for line in lines(caplog)] == ["missed=1", "missed=1"]


def test_a_peer_heard_within_its_pause_is_counted_on(caplog: pytest.LogCaptureFixture) -> None:
    monitor = HeartbeatMonitor("machine2")
    monitor.missed(1, "machine1", 0.0)
    monitor.answered(1, 1.0)
    monitor.missed(1, "machine1", 2.5)
    assert lines(caplog)[-1] == '"machine1" missed=2 backoff="4s"'


def test_each_peer_has_its_own_count(caplog: pytest.LogCaptureFixture) -> None:
    monitor = HeartbeatMonitor("machine2")
    monitor.missed(1, "machine1", 0.0)
    monitor.missed(3, "machine3", 0.0)
    monitor.reset()
    monitor.missed(1, "machine1", 0.1)
    assert lines(caplog) == [
        '"machine1" missed=1 backoff="2s"',
        '"machine3" missed=1 backoff="2s"',
        '"machine1" missed=1 backoff="2s"',
    ]
