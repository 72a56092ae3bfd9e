"""Events of the machines: found by comparing, told to whoever waits, also from the past."""

from collections.abc import Callable

import pytest
from msgspec import structs

from kvorum.backend.memory import MemoryBackend
from kvorum.membership import Attributes, Cluster, ClusterConfig, Member
from kvorum.mvcc.store import Store
from kvorum.mvcc.watch import WatchHub
from kvorum.v2.commands import Set
from kvorum.v2.events import Waits
from kvorum.v2.machinelog import EVENTS_MAX, MachineLog
from kvorum.v2.node import ACTION_NAMES, Event
from kvorum.v2.tree import Tree


def shown(event: Event) -> str:
    node, prev = event.node, event.prev_node
    before = "" if prev is None else f" after {prev.modified_index}"
    return (
        f"{ACTION_NAMES[event.action].decode()} {node.key.decode()} {node.modified_index}{before}"
    )


def member(number: int, index: int, modified: int = 0) -> Member:
    url = (f"http://h:{number}",)
    return Member(number, f"m{number}", url, url, index, modified or index)


class World:
    """A cluster of the 0.4 era whose changes take a revision each."""

    def __init__(self, *, is_legacy: bool = True) -> None:
        backend = MemoryBackend()
        self.store = Store(backend)
        self.store.restore()
        self.tree = Tree(self.store)
        self.hub = WatchHub(self.store)
        self.cluster = Cluster(backend)
        self.cluster.set_attributes(Attributes(cluster_id=1, is_legacy=is_legacy))
        self.log = MachineLog(self.cluster)
        self.waits = Waits(self.hub, self.log)
        self.cluster.put(member(1, 1))
        self.log.update(1)
        self.set_config()

    def set_config(self, active_size: int = 9) -> None:
        config = ClusterConfig(active_size=active_size)
        index = self.store.advance()
        attributes = structs.replace(self.cluster.attributes, config=config, config_index=index)
        self.cluster.set_attributes(attributes)
        self.log.update(index)

    def add(self, number: int) -> None:
        self.cluster.put(member(number, self.store.advance()))
        self.log.update(self.store.revision)

    def move(self, number: int) -> None:
        known = self.cluster.members[number]
        index = self.store.advance()
        moved = structs.replace(known, client_urls=("http://new:1",), modified_index=index)
        self.cluster.put(moved)
        self.log.update(index)

    def remove(self, number: int) -> None:
        self.cluster.remove(number)
        self.log.update(self.store.advance())

    def write(self, path: bytes) -> None:
        self.tree.apply(Set(path))
        self.hub.notify(self.tree.take_changes())

    def watch(self, path: bytes, index: int = 0, *, is_recursive: bool = True) -> list[str]:
        seen: list[str] = []

        def note(event: Event) -> None:
            seen.append(shown(event))

        wait = self.waits.open(path, index, note, lambda: None, is_recursive=is_recursive)
        if 0 < index <= self.store.revision:
            self.waits.recall(wait, 100)
        return seen


@pytest.fixture
def world() -> World:
    return World()


WHOLE = [
    "create /_etcd/machines/m2 3",
    "update /_etcd/machines/m2 4 after 3",
    "delete /_etcd/machines/m2 5 after 4",
    "set /_etcd/config 6 after 2",
]


def change_all(world: World) -> None:
    world.add(2)
    world.move(2)
    world.remove(2)
    world.set_config(3)


@pytest.mark.parametrize(
    ("path", "is_recursive", "seen"),
    [
        (b"/_etcd", True, WHOLE),
        (b"/_etcd", False, []),
        (b"/_etcd/machines", True, WHOLE[:3]),
        (b"/_etcd/machines", False, []),
        (b"/_etcd/machines/m2", False, WHOLE[:3]),
        (b"/_etcd/machines/m1", False, []),
        (b"/_etcd/config", False, WHOLE[3:]),
        (b"/", True, []),
        (b"/_etcd/other", True, []),
    ],
)
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "from the past"])
def test_seen(
    world: World, path: bytes, is_recursive: bool, seen: list[str], is_live: bool
) -> None:
    if is_live:
        found = world.watch(path, is_recursive=is_recursive)
        change_all(world)
    else:
        change_all(world)
        found = world.watch(path, 3, is_recursive=is_recursive)
    assert found == seen


def test_a_fresh_machine_remembers_its_own_birth(world: World) -> None:
    assert world.watch(b"/_etcd", 1) == ["create /_etcd/machines/m1 1", "set /_etcd/config 2"]


def test_a_wait_for_a_later_index_skips_what_comes_before(world: World) -> None:
    found = world.watch(b"/_etcd/machines", 4)
    world.add(2)
    world.move(2)
    assert found == ["update /_etcd/machines/m2 4 after 3"]


def test_ordinary_keys_beside_the_machines_come_in_order(world: World) -> None:
    def change() -> None:
        world.write(b"/_etcd/lock/a")
        world.add(2)
        world.write(b"/_etcd/lock/b")

    seen = ["set /_etcd/lock/a 3", "create /_etcd/machines/m2 4", "set /_etcd/lock/b 5"]
    live = world.watch(b"/_etcd")
    change()
    assert live == seen
    assert world.watch(b"/_etcd", 3) == seen
    assert world.watch(b"/_etcd", 4) == seen[1:]
    world.add(3)
    assert world.watch(b"/_etcd", 5) == [seen[2], "create /_etcd/machines/m3 6"]


def test_a_wait_that_is_behind_is_told_of_a_machine_in_its_turn(world: World) -> None:
    for number in range(4):
        world.write(b"/_etcd/lock/%d" % number)
    seen: list[str] = []
    world.waits.open(b"/_etcd", 3, lambda event: seen.append(shown(event)), lambda: None,
                     is_recursive=True)  # fmt: skip
    world.hub.catch_up(2)
    world.add(2)
    assert seen == ["set /_etcd/lock/0 3", "set /_etcd/lock/1 4"]
    world.write(b"/_etcd/lock/z")
    while world.hub.catch_up(2):
        pass
    assert seen[-2:] == ["create /_etcd/machines/m2 7", "set /_etcd/lock/z 8"]


def test_a_poll_is_told_once_and_forgotten(world: World) -> None:
    seen: list[str] = []

    def once(event: Event) -> None:
        seen.append(shown(event))
        wait.cancel()

    wait = world.waits.open(b"/_etcd/machines", 0, once, lambda: None, is_recursive=True)
    world.add(2)
    world.add(3)
    assert seen == ["create /_etcd/machines/m2 3"]
    assert len(world.waits) == 0


def test_what_was_missed_while_an_image_was_installed_is_told(world: World) -> None:
    world.add(2)
    found = world.watch(b"/_etcd/machines")
    world.cluster.members = {1: member(1, 1, 7), 3: member(3, 6)}
    world.store.revision = 9
    world.log.update(9)
    assert found == [
        "create /_etcd/machines/m3 6",
        "update /_etcd/machines/m1 7 after 1",
        "delete /_etcd/machines/m2 9 after 3",
    ]


def test_a_vote_is_no_event(world: World) -> None:
    found = world.watch(b"/_etcd/machines")
    world.cluster.put(structs.replace(world.cluster.members[1], is_joining=True))
    world.log.update(world.store.revision)
    assert found == []


def test_there_are_no_machines_in_a_cluster_of_the_3_x_era() -> None:
    world = World(is_legacy=False)
    found = world.watch(b"/_etcd/machines")
    world.add(2)
    assert found == []
    world.write(b"/_etcd/machines/mine")
    assert found == ["set /_etcd/machines/mine 4"]


def test_only_the_last_events_are_kept(world: World) -> None:
    for _ in range(EVENTS_MAX + 1):
        world.move(1)
    assert len(world.log.events) == EVENTS_MAX


@pytest.mark.parametrize("change", [World.add, World.remove, World.move])
def test_who_was_not_there_and_is_not_there_is_no_event(
    world: World, change: Callable[[World, int], None]
) -> None:
    """A seat without a name is no machine yet."""
    world.add(2)
    world.cluster.put(Member(5, "", ("http://h:5",)))
    world.log.update(world.store.revision)
    found = world.watch(b"/_etcd/machines")
    change(world, 2)
    assert all("machines/m2" in text for text in found)
