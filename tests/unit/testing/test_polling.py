"""Waiting for a condition, with a deadline."""

from collections.abc import Iterator

import pytest

from kvorum.testing import polling
from kvorum.testing.polling import wait_until


class FakeClock:
    """Moves a second each time it is looked at."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 1.0
        return self._now

    def wall_ns(self) -> int:
        return 0

    def random_below(self, bound: int) -> int:
        return bound - 1


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    naps: list[float] = []
    monkeypatch.setattr(polling, "sleep", naps.append)
    return naps


def test_what_holds_already_is_not_waited_for(naps: list[float]) -> None:
    assert wait_until(lambda: "found", 5.0, "it", FakeClock()) == "found"
    assert naps == []


def test_it_looks_until_there_is_something(naps: list[float]) -> None:
    looks: Iterator[str | None] = iter([None, "", "found"])
    assert wait_until(lambda: next(looks), 5.0, "it", FakeClock()) == "found"
    assert naps == [polling.POLL_SECONDS] * 2


@pytest.mark.parametrize("what", ["the moon", lambda: "the moon"])
def test_the_deadline_says_what_was_waited_for(naps: list[float], what: str) -> None:
    with pytest.raises(TimeoutError, match=r"waited 3s for the moon"):
        wait_until(lambda: None, 3.0, what, FakeClock())
    assert len(naps) == 2


def test_an_error_while_looking_ends_the_wait() -> None:
    def look() -> bool:
        raise ChildProcessError("gone")

    with pytest.raises(ChildProcessError):
        wait_until(look, 3.0, "it", FakeClock())
