"""No batch is applied twice, and the memory of it is bounded and durable."""

from kvorum.apply.batches import WINDOW, AppliedBatches
from kvorum.backend.memory import MemoryBackend


def test_an_applied_batch_is_remembered_for_a_window_of_entries() -> None:
    batches = AppliedBatches(MemoryBackend())
    batches.add(77, 5)
    for index in range(6, 5 + WINDOW):
        batches.add(1000 + index, index)
        assert 77 in batches
    batches.add(9, 5 + WINDOW)
    assert 77 not in batches


def test_the_memory_is_bounded() -> None:
    batches = AppliedBatches(MemoryBackend())
    for index in range(1, 3 * WINDOW):
        batches.add(1_000_000 + index, index)
    assert len(batches._ids) == WINDOW == len(batches._by_place)


def test_it_survives_a_restart() -> None:
    backend = MemoryBackend()
    AppliedBatches(backend).add(77, WINDOW + 3)
    again = AppliedBatches(backend)
    assert 77 not in again
    again.restore()
    assert 77 in again
    again.add(78, 3)
    assert 77 not in again
