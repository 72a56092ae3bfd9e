import time

from kvorum.clock import SystemClock


def test_monotonic_time_never_goes_back() -> None:
    clock = SystemClock()
    times = [clock.monotonic() for _ in range(100)]
    assert times == sorted(times)


def test_wall_time_is_nanoseconds_since_1970() -> None:
    before = time.time_ns()
    assert before <= SystemClock().wall_ns() <= time.time_ns()


def test_random_numbers_stay_below_their_bound_and_reach_it() -> None:
    clock = SystemClock()
    assert {clock.random_below(3) for _ in range(200)} == {0, 1, 2}
