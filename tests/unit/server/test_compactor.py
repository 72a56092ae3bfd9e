"""When history may go, by number and by age."""

import pytest
from msgspec import structs

from kvorum.backend.memory import MemoryBackend
from kvorum.config import Config
from kvorum.mvcc.store import Store
from kvorum.server.compactor import STEPS_MAX, Compactor

HOUR = 3600.0


class Member:
    """A store that gets a revision a second, looked at once a minute."""

    def __init__(self, seconds: float, revisions: int = 0) -> None:
        self.store = Store(MemoryBackend())
        self.store.restore()
        config = structs.replace(
            Config(), auto_compaction_seconds=seconds, auto_compaction_retention=revisions
        )
        self.compactor = Compactor(config, self.store)
        self.now = 5.0

    def live(self, seconds: float) -> list[int]:
        """What a leader would have compacted to, at each look."""
        targets = []
        for _ in range(int(seconds // 60)):
            self.now += 60
            self.store.revision = int(self.now)
            self.compactor.note(self.now)
            targets.append(self.compactor.target(self.now))
        return targets


def test_nothing_goes_before_it_is_old_enough() -> None:
    member = Member(HOUR)
    assert set(member.live(HOUR)) == {0}
    first = member.live(5 * 60)[-1]
    assert first == 65, "what was there at the first look"


def test_what_is_kept_is_between_the_time_and_a_tenth_more() -> None:
    member = Member(HOUR)
    member.live(3 * HOUR)
    for _ in range(100):
        [target] = member.live(60)
        assert HOUR <= member.now - target <= HOUR * 1.1
    assert len(member.compactor._notes) <= STEPS_MAX


def test_what_has_gone_is_not_asked_for_again() -> None:
    member = Member(HOUR)
    target = member.live(2 * HOUR)[-1]
    member.store.start_compaction(target)
    assert member.compactor.target(member.now) == 0
    assert max(member.live(6 * 60)) > target


def test_an_idle_store_is_left_alone() -> None:
    member = Member(HOUR)
    target = member.live(2 * HOUR)[-1]
    member.store.start_compaction(target)
    for _ in range(300):
        member.now += 60
        member.compactor.note(member.now)
    last = member.store.revision
    assert member.compactor.target(member.now) == last
    member.store.start_compaction(last)
    assert member.compactor.target(member.now) == 0


@pytest.mark.parametrize(("count", "target"), [(99, 0), (109, 0), (112, 12)])
def test_by_number_a_tenth_more_has_to_collect(count: int, target: int) -> None:
    member = Member(0.0, revisions=100)
    member.store.revision = count
    member.compactor.note(1.0)
    assert member.compactor.target(2.0) == target


def test_without_a_retention_nothing_goes() -> None:
    member = Member(0.0)
    assert set(member.live(HOUR)) == {0}
