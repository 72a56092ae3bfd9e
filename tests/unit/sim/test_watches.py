"""The judge of watches, on what real hubs tell and on what they must never tell."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.apply.applier import Applier
from kvorum.apply.commands import Batch, Command, encode_batch
from kvorum.backend.memory import MemoryBackend
from kvorum.mvcc.intervals import prefix_end
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.raft.types import Entry
from kvorum.sim.history import Violation
from kvorum.sim.reference import Reference
from kvorum.sim.watches import Session, Watch, check
from kvorum.v2 import commands as v2
from kvorum.v3.commands import Compact

EVERYTHING = (b"/", FROM_KEY)


class World:
    """One member's state beside the reference."""

    def __init__(self) -> None:
        self.reference = Reference()
        self.applier = Applier(MemoryBackend())
        self.applier.restore()
        self.watch = Watch(*EVERYTHING)

    def commit(self, *commands: Command) -> None:
        index = self.reference.last_index + 1
        entry = Entry(1, index, data=encode_batch(Batch(index, index + 10, list(commands))))
        self.applier.apply(entry)
        self.reference.commit(entry)

    def begin(self, first_revision: int) -> Session:
        session = self.watch.begin("m1.0", first_revision)
        self.applier.hub.watch(self.watch.start, self.watch.end, first_revision, session)
        return session

    def check(self, *, is_current: bool = True) -> None:
        check(self.watch, self.reference, is_current=is_current)


@pytest.fixture
def world() -> World:
    """Revisions 2 to 6; the last takes three keys at once."""
    world = World()
    world.begin(2)
    world.commit(v2.Set(b"/d/a", b"1"))
    world.commit(v2.Set(b"/d/b", b"2"), v2.Set(b"/c", b"3"))
    world.commit(v2.Set(b"/d/a", b"4"))
    world.commit(v2.Delete(b"/d", is_recursive=True))
    return world


def test_accepts_what_a_hub_tells(world: World) -> None:
    world.check()
    assert [changes.revision for changes, _ in world.watch.sessions[0].told] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("start", "end", "revisions"),
    [
        (b"/d/a", None, [2, 5, 6]),
        (b"/d/", prefix_end(b"/d/"), [2, 3, 5, 6]),
        (b"/c", b"/c\0", [4]),
        (b"/x", FROM_KEY, []),
    ],
)
def test_a_range_has_its_changes_only(
    world: World, start: bytes, end: bytes | None, revisions: list[int]
) -> None:
    world.watch = Watch(start, end)
    session = world.begin(2)
    while world.applier.hub.catch_up(2):
        pass
    world.check()
    assert [changes.revision for changes, _ in session.told] == revisions


def swap(session: Session) -> None:
    session.told[1], session.told[2] = session.told[2], session.told[1]


def tell_twice(session: Session) -> None:
    session.told.insert(2, session.told[1])


def lose_one(session: Session) -> None:
    del session.told[2]


def lose_the_first(session: Session) -> None:
    del session.told[0]


def lose_the_last(session: Session) -> None:
    del session.told[-1]


def tell_before_its_time(session: Session) -> None:
    session.first_revision = 3


def tear(session: Session) -> None:
    changes, matched = session.told[-1]
    session.told[-1] = (changes, matched[:-1])


def tell_in_two_parts(session: Session) -> None:
    changes, matched = session.told.pop()
    session.told += [(changes, matched[:1]), (changes, matched[1:])]


def tell_another_value(session: Session) -> None:
    changes, matched = session.told[0]
    record = msgspec.structs.replace(matched[0].record, value=b"other")
    wrong = msgspec.structs.replace(matched[0], record=record)
    rest = changes.changes[1:]
    session.told[0] = (msgspec.structs.replace(changes, changes=[wrong, *rest]), (wrong, *rest))


def tell_another_prev(session: Session) -> None:
    changes, matched = session.told[3]
    wrong = msgspec.structs.replace(matched[0], prev=None)
    session.told[3] = (msgspec.structs.replace(changes, changes=[wrong]), (wrong,))


def tell_what_never_was(session: Session) -> None:
    changes, matched = session.told[-1]
    session.told.append((msgspec.structs.replace(changes, revision=7), matched))


@pytest.mark.parametrize(
    "damage",
    [
        swap,
        tell_twice,
        lose_one,
        lose_the_first,
        lose_the_last,
        tell_before_its_time,
        tear,
        tell_in_two_parts,
        tell_another_value,
        tell_another_prev,
        tell_what_never_was,
    ],
)
def test_refuses(world: World, damage: Callable[[Session], None]) -> None:
    damage(world.watch.sessions[0])
    with pytest.raises(Violation, match="told"):
        world.check()


def test_what_is_still_on_its_way_is_no_gap(world: World) -> None:
    lose_the_last(world.watch.sessions[0])
    world.check(is_current=False)


def test_who_has_left_is_told_nothing_more(world: World) -> None:
    lose_the_last(world.watch.sessions[0])
    world.watch.is_left = True
    world.check()


def test_what_is_told_to_a_closed_session_reaches_nobody(world: World) -> None:
    session = world.watch.sessions[0]
    session.close()
    world.commit(v2.Set(b"/c", b"5"))
    session.compacted(3)
    assert session.next_revision == 7
    world.check(is_current=False)


def test_another_session_goes_on_where_the_last_one_ended(world: World) -> None:
    world.commit(v2.Set(b"/c", b"5"))
    session = world.watch.sessions[0]
    del session.told[2:]
    second = world.begin(session.next_revision)
    world.applier.hub.catch_up(100)
    world.check()
    second.first_revision += 1
    with pytest.raises(Violation, match="did not go on at 4"):
        world.check()


def test_nothing_is_told_twice_across_sessions(world: World) -> None:
    world.begin(5)
    with pytest.raises(Violation, match="did not go on at 7"):
        world.check(is_current=False)


def test_a_watch_may_hear_that_its_history_is_gone(world: World) -> None:
    world.commit(Compact(5))
    world.watch = Watch(*EVERYTHING)
    refused = world.begin(3)
    world.applier.hub.catch_up(100)
    assert refused.next_revision == 5
    world.begin(5)
    world.applier.hub.catch_up(100)
    world.check()


@pytest.mark.parametrize(("first", "compacted"), [(5, 5), (9, 5), (3, 4)])
def test_it_must_be_true_that_history_is_gone(world: World, first: int, compacted: int) -> None:
    world.commit(Compact(5))
    world.watch = Watch(*EVERYTHING)
    world.watch.begin("m1.0", first).compacted(compacted)
    with pytest.raises(Violation, match=r"was refused at 5|never was"):
        world.check()


def test_nothing_follows_a_refusal(world: World) -> None:
    session = world.watch.sessions[0]
    changes, matched = session.told[-1]
    session.compacted(5)
    with pytest.raises(Violation, match="cancelled"):
        session.deliver(changes, matched)


@given(
    st.lists(st.integers(0, 5), max_size=25),
    st.lists(st.integers(0, 25), min_size=1, max_size=5),
)
@settings(deadline=None, max_examples=50)
def test_accepts_every_hub_that_catches_up(actions: list[int], starts: list[int]) -> None:
    world = World()
    watches = []
    for start in starts:
        world.watch = Watch(*EVERYTHING)
        world.begin(start or world.reference.revision + 1)
        watches.append(world.watch)
    for number, action in enumerate(actions):
        if action == 0:
            world.applier.hub.catch_up(1)
        elif action == 1:
            world.commit(Compact(world.reference.revision - 1))
        else:
            world.commit(
                v2.Set(b"/k%d" % action, b"%d" % number), v2.Delete(b"/k%d" % (action - 1))
            )
    while world.applier.hub.catch_up(3):
        pass
    for watch in watches:
        check(watch, world.reference, is_current=True)
