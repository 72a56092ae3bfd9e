"""Rates cover the last messages and go stale; latencies are plain statistics."""

import statistics

import pytest

from kvorum.server.stats import RATE_WINDOW, Latency, Rate


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
