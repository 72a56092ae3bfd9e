from kvorum.backend.base import Table
from kvorum.backend.memory import MemoryBackend

RECORDS = Table.RECORDS


def test_crash_leaves_exactly_what_was_durable() -> None:
    backend = MemoryBackend(hold_commits=True)
    backend.put(RECORDS, b"a", b"durable")
    backend.set_applied(1, 1)
    backend.commit()
    backend.finish_commit()
    backend.put(RECORDS, b"a", b"in flight")
    backend.set_applied(2, 1)
    backend.commit()
    backend.put(RECORDS, b"b", b"pending")
    backend.set_applied(3, 2)
    backend.crash()
    assert backend.applied == (1, 1)
    assert list(backend.scan(RECORDS, b"")) == [(b"a", b"durable")]
    backend.finish_commit()
    assert backend.get(RECORDS, b"a") == b"durable"


def test_held_commit_is_readable_but_not_durable() -> None:
    backend = MemoryBackend(hold_commits=True)
    done: list[bool] = []
    backend.put(RECORDS, b"a", b"1")
    backend.set_applied(5, 1)
    assert backend.commit(lambda: done.append(True))
    backend.put(RECORDS, b"b", b"2")
    assert backend.commit() is False
    assert backend.durable_index == 0
    assert backend.get(RECORDS, b"a") == b"1"
    assert not done
    backend.finish_commit()
    assert done == [True]
    assert backend.durable_index == 5
    assert backend.commit() is True
