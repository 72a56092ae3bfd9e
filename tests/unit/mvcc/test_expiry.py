"""The expiry queue against a dictionary."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.mvcc.expiry import ExpiryQueue

KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])


@given(steps=st.lists(st.tuples(KEYS, st.integers(0, 5)), max_size=30), now=st.integers(0, 6))
@settings(deadline=None)
def test_queue_matches_a_dictionary(steps: list[tuple[bytes, int]], now: int) -> None:
    queue = ExpiryQueue()
    model: dict[bytes, int] = {}
    for key, expiration in steps:
        queue.set(key, expiration)
        model[key] = expiration
        live = {key: at for key, at in model.items() if at}
        due = sorted((at, key) for key, at in live.items() if at <= now)
        assert queue.due(now, 1000) == [key for _, key in due]
        assert queue.next_due() == (min(live.values()) if live else None)
        assert len(queue) == len(live)


def test_due_is_by_time_then_key_and_changes_nothing() -> None:
    queue = ExpiryQueue({b"b": 5, b"a": 5, b"z": 3, b"later": 6})
    assert queue.due(5, 1000) == [b"z", b"a", b"b"]
    assert queue.due(5, 1000) == [b"z", b"a", b"b"]
    assert queue.due(5, 2) == [b"z", b"a"]
    assert queue.due(2, 1000) == []
