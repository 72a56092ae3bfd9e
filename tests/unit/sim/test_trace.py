"""The story of a run."""

import logging

from kvorum.sim.loop import SimLoop
from kvorum.sim.trace import LAST_EVENTS, LogLines, Trace


def test_equal_stories_have_equal_digests() -> None:
    def story(*texts: str) -> str:
        trace = Trace(SimLoop())
        for text in texts:
            trace.note(text)
        return trace.digest()

    assert story("a", "b") == story("a", "b")
    assert len({story("a", "b"), story("b", "a"), story("ab")}) == 3


def test_time_goes_into_the_digest() -> None:
    early, late = Trace(SimLoop()), Trace(loop := SimLoop())
    loop.run_until(1.0)
    early.take(b"x")
    late.take(b"x")
    assert early.digest() != late.digest()


def test_only_the_last_events_are_kept_in_words() -> None:
    trace = Trace(SimLoop())
    for number in range(LAST_EVENTS + 5):
        trace.note(f"event {number}")
    lines = trace.last_events()
    assert len(lines) == LAST_EVENTS
    assert lines[0].endswith("event 5")


def test_each_line_is_told_as_it_happens() -> None:
    told: list[str] = []
    trace = Trace(SimLoop(), told.append)
    trace.note("something")
    assert told == ["    0.0000  something"]


def test_log_lines_become_part_of_the_story() -> None:
    trace = Trace(SimLoop())
    LogLines(trace).handle(logging.makeLogRecord({"msg": "%s leads", "args": ("machine1",)}))
    assert trace.last_events() == ["    0.0000  machine1 leads"]
