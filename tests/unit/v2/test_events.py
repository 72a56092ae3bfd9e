"""What a wait sees: live, from history, through both APIs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.backend.memory import MemoryBackend
from kvorum.membership import Cluster
from kvorum.mvcc.store import Store
from kvorum.mvcc.watch import WatchHub
from kvorum.v2 import events
from kvorum.v2.commands import Command, CompareAndSwap, Create, Delete, Expire, Set, Update
from kvorum.v2.events import Waits
from kvorum.v2.machinelog import MachineLog
from kvorum.v2.node import ACTION_NAMES, Event
from kvorum.v2.tree import Tree


class World:
    """A tree whose changes reach a hub, and waits that remember what they saw."""

    def __init__(self) -> None:
        self.store = Store(MemoryBackend())
        self.store.restore()
        self.store.revision = 2
        self.tree = Tree(self.store)
        self.hub = WatchHub(self.store)
        cluster = Cluster(MemoryBackend())
        self.waits = Waits(self.hub, MachineLog(cluster))

    def apply(self, *commands: Command) -> None:
        for command in commands:
            self.tree.apply(command)
        self.hub.notify(self.tree.take_changes())

    def watch(self, path: bytes, revision: int = 0, *, is_recursive: bool = False) -> list[str]:
        seen: list[str] = []

        def note(event: Event) -> None:
            action = ACTION_NAMES[event.action].decode()
            seen.append(f"{action} {event.node.key.decode()} {event.node.modified_index}")

        self.waits.open(
            path, revision, note, lambda: seen.append("compacted"), is_recursive=is_recursive
        )
        return seen

    def catch_up(self) -> None:
        while self.hub.catch_up(3):
            pass


@pytest.fixture
def world() -> World:
    return World()


# Setup, path, recursive, commands, what is seen. The setup's first write has index 3.
SEEN: list[tuple[str, list[Command], bytes, bool, list[Command], list[str]]] = [
    ("the key itself", [], b"/a", False, [Set(b"/a"), Update(b"/a", b"2")],
     ["set /a 3", "update /a 4"]),
    ("not its neighbours", [], b"/a", False,
     [Set(b"/a-b"), Set(b"/ab"), Set(b"/a0"), Set(b"/")], []),
    ("not its children", [], b"/a", False, [Set(b"/a/b")], []),
    ("not a child that dies", [Set(b"/a/b")], b"/a", False, [Delete(b"/a/b")], []),
    ("children, recursively", [], b"/a", True, [Set(b"/a/b/c"), Set(b"/a-b"), Create(b"/a/d")],
     ["set /a/b/c 3", "create /a/d 5"]),
    ("the directory itself", [Set(b"/d", is_dir=True)], b"/d", False,
     [Update(b"/d", expiration=9), Delete(b"/d", is_dir=True)], ["update /d 4", "delete /d 5"]),
    ("the directory set in a file's place, once", [Set(b"/d")], b"/d", False,
     [Set(b"/d", is_dir=True)], ["set /d 4"]),
    ("the same, recursively", [Set(b"/d")], b"/", True, [Set(b"/d", is_dir=True)], ["set /d 4"]),
    ("a dying directory tells existing keys below", [Set(b"/d/x/y")], b"/d/x/y", False,
     [Delete(b"/d", is_recursive=True)], ["delete /d 4"]),
    ("and directories below", [Set(b"/d/x/y")], b"/d/x", False,
     [Delete(b"/d", is_recursive=True)], ["delete /d 4"]),
    ("and recursive waits below, once", [Set(b"/d/x/y"), Set(b"/d/x/z")], b"/d/x", True,
     [Delete(b"/d", is_recursive=True)], ["delete /d 5"]),
    ("but not keys that do not exist", [Set(b"/d/x")], b"/d/y", True,
     [Delete(b"/d", is_recursive=True)], []),
    ("a recursive wait above sees it once", [Set(b"/d/x"), Set(b"/d/y")], b"/", True,
     [Delete(b"/d", is_recursive=True)], ["delete /d 5"]),
    ("a recursive wait on it sees it once", [Set(b"/d/x"), Set(b"/d/y")], b"/d", True,
     [Delete(b"/d", is_recursive=True)], ["delete /d 5"]),
    ("expiry", [Set(b"/d", is_dir=True, expiration=9), Set(b"/d/k")], b"/d/k", False, [Expire(9)],
     ["expire /d 5"]),
    ("hidden below", [], b"/", True, [Set(b"/_h"), Set(b"/a/_b/c"), Set(b"/a")], []),
    ("hidden above is not hidden", [], b"/_h", True, [Set(b"/_h/x"), Set(b"/_h/_y")],
     ["set /_h/x 3"]),
    ("a hidden key by its own path", [], b"/_h", False, [Set(b"/_h")], ["set /_h 3"]),
    ("a hidden directory's end stays hidden", [Set(b"/_h/x")], b"/", True,
     [Delete(b"/_h", is_recursive=True)], []),
    ("a visible directory's end shows though it had hidden children", [Set(b"/d/_x")], b"/", True,
     [Delete(b"/d", is_recursive=True)], ["delete /d 4"]),
    ("no refresh", [Set(b"/a", b"1")], b"/a", False,
     [Set(b"/a", expiration=9, refresh=True), Update(b"/a", expiration=9, refresh=True),
      CompareAndSwap(b"/a", b"2", b"1")], ["compareAndSwap /a 6"]),
    ("nothing that was refused", [Set(b"/a")], b"/a", True, [Create(b"/a"), Set(b"/a/b")], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("setup", "path", "is_recursive", "commands", "seen"),
    [one[1:] for one in SEEN],
    ids=[one[0] for one in SEEN],
)
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "from history"])
def test_seen(
    world: World,
    setup: list[Command],
    path: bytes,
    is_recursive: bool,
    commands: list[Command],
    seen: list[str],
    is_live: bool,
) -> None:
    world.apply(*setup)
    if is_live:
        found = world.watch(path, is_recursive=is_recursive)
        world.apply(*commands)
    else:
        start = world.store.revision + 1
        world.apply(*commands)
        found = world.watch(path, start, is_recursive=is_recursive)
        world.catch_up()
    assert found == seen


def test_wait_in_the_future_skips_what_comes_before(world: World) -> None:
    found = world.watch(b"/a", 5)
    for _ in range(3):
        world.apply(Set(b"/a"))
    assert found == ["set /a 5"]


def test_v3_writes_are_events_of_their_own(world: World) -> None:
    found = world.watch(b"/x", is_recursive=True)
    txn = world.store.write()
    for key in (
        b"/x/a",
        b"/x/a",
        b"/x//b",
        b"/x/e//",
        b"/x/../c",
        b"/x/_h",
        b"/x/d/",
        b"/x/",
        b"x",
    ):
        txn.put(key, b"1")
    txn.delete(b"/x/a")
    changes = txn.end()
    assert changes is not None
    world.hub.notify([changes])
    assert found == ["set /x/a 3", "set /x/a 3", "set /x/d 3", "set /x 3", "delete /x/a 3"]


def test_v3_events_show_what_was_there(world: World) -> None:
    shown: list[Event] = []
    world.apply(Set(b"/a", b"old"))
    world.waits.open(b"/a", 0, shown.append, lambda: None, is_recursive=False)
    txn = world.store.write()
    txn.put(b"/a", b"new")
    changes = txn.end()
    assert changes is not None
    world.hub.notify([changes])
    [event] = shown
    assert event.prev_node is not None
    assert (event.prev_node.value, event.node.value) == (b"old", b"new")
    assert (event.node.created_index, event.node.modified_index) == (3, 4)


def test_long_poll_sees_one_event_even_of_a_revision_with_many(world: World) -> None:
    seen: list[Event] = []

    def once(event: Event) -> None:
        seen.append(event)
        wait.cancel()

    wait = world.waits.open(b"/", 0, once, lambda: None, is_recursive=True)
    txn = world.store.write()
    txn.put(b"/a", b"1")
    txn.put(b"/b", b"1")
    changes = txn.end()
    assert changes is not None
    world.hub.notify([changes])
    world.apply(Set(b"/c"))
    assert [event.node.key for event in seen] == [b"/a"]
    assert len(world.waits) == world.hub.watcher_count == 0


def test_cancelling_twice_frees_once(world: World) -> None:
    wait = world.waits.open(b"/a", 0, lambda _: None, lambda: None, is_recursive=False)
    world.watch(b"/b")
    wait.cancel()
    wait.cancel()
    assert len(world.waits) == world.hub.watcher_count == 1
    wait.pause()
    wait.resume()
    assert world.hub.watcher_count == 1


def test_paused_wait_misses_nothing(world: World) -> None:
    seen: list[int] = []
    wait = world.waits.open(
        b"/a", 0, lambda event: seen.append(event.node.modified_index), lambda: None,
        is_recursive=False,
    )  # fmt: skip
    world.apply(Set(b"/a"))
    wait.pause()
    world.apply(Set(b"/a"), Set(b"/b"), Set(b"/a"))
    assert seen == [3]
    wait.resume()
    world.catch_up()
    world.apply(Set(b"/a"))
    assert seen == [3, 4, 6, 7]


def test_wait_overtaken_by_compaction_ends(world: World) -> None:
    world.apply(*[Set(b"/a") for _ in range(9)])
    found = world.watch(b"/a", 3)
    world.store.start_compaction(8)
    world.catch_up()
    assert found == ["compacted"]
    assert len(world.waits) == world.hub.watcher_count == 0


def test_one_event_is_made_once_for_all_waits(world: World) -> None:
    shown: list[Event] = []
    for path in (b"/", b"/a", b"/a/b"):
        world.waits.open(path, 0, shown.append, lambda: None, is_recursive=True)
    world.apply(Set(b"/a/b"))
    assert len(shown) == 3
    assert shown[0] is shown[1] is shown[2]


def test_waits_are_counted_and_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WAITS_MAX", 2)
    world.watch(b"/a")
    assert not world.waits.is_full
    world.watch(b"/a")
    assert world.waits.is_full
    assert len(world.waits) == 2


_paths = st.sampled_from([b"/a", b"/a/b", b"/a/b/c", b"/a/_h", b"/_x/y", b"/c"])
_commands = st.one_of(
    st.builds(Set, _paths, st.just(b"1"), st.booleans(), st.sampled_from([0, 10])),
    st.builds(Delete, _paths, st.booleans(), st.booleans()),
    st.builds(Expire, st.just(10)),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(_commands, max_size=15), _paths | st.just(b"/"), st.booleans())
def test_history_tells_what_was_seen_live(
    commands: list[Command], path: bytes, is_recursive: bool
) -> None:
    world = World()
    live = world.watch(path, is_recursive=is_recursive)
    world.apply(*commands)
    later = world.watch(path, 3, is_recursive=is_recursive)
    world.catch_up()
    assert later == live
    indexes = [int(line.rsplit(" ", 1)[1]) for line in live]
    assert indexes == sorted(set(indexes)), "each once, in order"
