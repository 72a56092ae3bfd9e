"""Rates cover the last messages and go stale; latencies are plain statistics."""

import statistics

import pytest

from kvorum.server.stats import RATE_WINDOW, Latency, Rate, ServerStats


def test_a_rate_needs_two_messages() -> None:
    rate = Rate()
    assert rate.at(0.0) == (0.0, 0.0)
    rate.add(1.0, 100)
    assert rate.at(1.0) == (0.0, 0.0)


def test_a_rate_covers_the_window() -> None:
    rate = Rate()
    for number in range(3 * RATE_WINDOW):
        rate.add(number * 0.01, 50)
    messages, size = rate.at(3 * RATE_WINDOW * 0.01)
    assert messages == pytest.approx(100, rel=0.02)
    assert size == pytest.approx(5000, rel=0.02)


def test_a_stale_rate_is_nothing() -> None:
    rate = Rate()
    rate.add(1.0, 1)
    rate.add(1.1, 1)
    assert rate.at(2.0) != (0.0, 0.0)
    assert rate.at(2.2) == (0.0, 0.0)


def test_latencies_are_summed_up() -> None:
    samples = [1.0, 2.5, 0.5, 8.0]
    latency = Latency()
    for sample in samples:
        latency.add(sample)
    assert (latency.current, latency.count) == (8.0, 4)
    assert (latency.minimum, latency.maximum) == (0.5, 8.0)
    assert latency.average == pytest.approx(statistics.fmean(samples))
    assert latency.deviation == pytest.approx(statistics.pstdev(samples))


def test_no_answer_yet_is_no_error() -> None:
    assert Latency().average == Latency().deviation == 0.0


def test_an_answer_is_timed_from_the_oldest_append_without_one() -> None:
    stats = ServerStats(started_ns=0)
    stats.append_sent(2, 10, 1.0)
    stats.append_sent(2, 10, 1.5)
    stats.append_answered(2, 1.75)
    stats.append_answered(2, 1.9)
    assert stats.appends_sent == 2
    assert (stats.followers[2].count, stats.followers[2].current) == (1, 750.0)


def test_a_lost_append_is_a_failure_and_no_answer() -> None:
    stats = ServerStats(started_ns=0)
    stats.append_lost(2)
    assert stats.followers == {}
    stats.append_sent(2, 10, 1.0)
    stats.append_lost(2)
    stats.append_answered(2, 2.0)
    assert (stats.followers[2].fails, stats.followers[2].count) == (1, 0)


def test_a_new_leader_begins_anew() -> None:
    stats = ServerStats(started_ns=0)
    stats.append_sent(2, 10, 1.0)
    stats.append_answered(2, 2.0)
    stats.leader_changed(5)
    assert stats.followers == {}
    assert stats.leader_since_ns == 5
    stats.append_answered(2, 3.0)
    assert stats.followers == {}
