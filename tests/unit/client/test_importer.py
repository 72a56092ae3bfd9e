"""An import by its rules, between servers that live in this process."""

# ruff: noqa: ARG002 -- a stand-in takes what a client takes

from collections.abc import Callable, Iterator

import pytest

from kvorum.client.answers import Event, Node
from kvorum.client.importer import MARKER, Importer
from kvorum.client.v2 import ALWAYS, Client, Condition
from kvorum.errors import ConfigError, EventIndexCleared, KeyNotFound


class Store(Client):
    """Files and nothing else; whoever reads it may be made to change it first."""

    def __init__(self, url: str, **files: str) -> None:
        super().__init__([url])
        self.files = {f"/{name}": value for name, value in files.items()}
        self.before_read: Callable[[], object] = lambda: None
        self.events: list[Event | Exception] = []
        self.written: list[str] = []

    def get(self, key: str, **options: bool) -> Event:
        self.before_read()
        if key == "/":
            shown = [file(*one) for one in self.files.items() if not one[0].startswith("/_")]
            return event("get", Node("/", None, True, None, None, tuple(shown), 0, 0))
        if key not in self.files:
            raise KeyNotFound(key, 7)
        return event("get", file(key, self.files[key]))

    def put(
        self,
        key: str,
        value: str | bytes | None = None,
        *,
        ttl: int = 0,
        is_directory: bool = False,
        condition: Condition = ALWAYS,
    ) -> Event:
        self.files[key] = str(value)
        self.written.append(key)
        return event("set", file(key, str(value)))

    def delete(
        self,
        key: str,
        *,
        is_directory: bool = False,
        recursive: bool = False,
        condition: Condition = ALWAYS,
    ) -> Event:
        if key not in self.files:
            raise KeyNotFound(key, 7)
        return event("delete", file(key, self.files.pop(key)))

    def watch(self, key: str, **options: object) -> Iterator[Event]:
        while self.events:
            happened = self.events.pop(0)
            if isinstance(happened, Exception):
                raise happened
            yield happened
        raise KeyboardInterrupt


def file(key: str, value: str | None) -> Node:
    return Node(key, value, False, None, None, (), 9, 9)


def event(action: str, node: Node) -> Event:
    return Event(action, node, None, 7, 0, 0, b"")


@pytest.fixture
def source() -> Store:
    return Store("http://source:1", a="1", b="2", _hidden="3")


@pytest.fixture
def target() -> Store:
    return Store("http://target:1")


def test_the_target_becomes_what_the_source_is(source: Store, target: Store) -> None:
    importer = Importer(source, target)
    importer.check_target()
    assert target.files[MARKER] == "http://source:1"
    assert importer.run() == []
    importer.finish()
    assert target.files == {"/a": "1", "/b": "2"}
    assert (importer.written_count, importer.sizes, importer.source_index) == (2, (2, 0), 7)


def test_hidden_nodes_are_copied_when_they_are_named(source: Store, target: Store) -> None:
    Importer(source, target, hidden=["_hidden/"]).run()
    assert target.files["/_hidden"] == "3"


@pytest.mark.parametrize("path", ["/_etcd", "_etcd/machines"])
def test_what_is_computed_is_not_copied(source: Store, target: Store, path: str) -> None:
    with pytest.raises(ConfigError, match="computed"):
        Importer(source, target, hidden=[path])


def test_changes_of_the_source_are_caught_up_with(source: Store, target: Store) -> None:
    values = iter(["2", "3", "3", "3"])
    source.before_read = lambda: source.files.update({"/a": next(values)})
    assert Importer(source, target).run() == []
    assert target.files["/a"] == "3"
    assert target.written == ["/a", "/b", "/a"]


def test_a_source_that_does_not_hold_still_is_told(source: Store, target: Store) -> None:
    source.before_read = lambda: source.files.update({"/a": source.files["/a"] + "x"})
    assert Importer(source, target).run() == ["/a"]


def test_an_import_that_was_begun_goes_on(source: Store, target: Store) -> None:
    Importer(source, target).check_target()
    target.put("/a", "1")
    target.put("/gone", "of a source that has lost it")
    target.written.clear()
    importer = Importer(source, target)
    importer.check_target()
    assert importer.run() == []
    assert target.written == [MARKER, "/b"]
    assert "/gone" not in target.files


def test_what_the_source_has_lost_goes_even_if_nothing_else_differs(
    source: Store, target: Store
) -> None:
    target.files = {"/a": "1", "/b": "2", "/gone": "3"}
    assert Importer(source, target).run() == []
    assert target.files == {"/a": "1", "/b": "2"}


def test_nothing_is_lost_in_a_target_that_has_keys(source: Store, target: Store) -> None:
    target.files = {"/own": "1"}
    with pytest.raises(ConfigError, match="not empty"):
        Importer(source, target).check_target()
    importer = Importer(source, target, is_overwriting=True)
    importer.check_target()
    assert importer.run() == []
    importer.finish()
    assert target.files == {"/own": "1", "/a": "1", "/b": "2"}


def test_two_sources_are_not_mixed(source: Store, target: Store) -> None:
    target.files = {MARKER: "http://other:1"}
    with pytest.raises(ConfigError, match="from http://other:1"):
        Importer(source, target).check_target()


def test_what_happens_to_the_source_happens_to_the_target(source: Store, target: Store) -> None:
    importer = Importer(source, target)
    importer.run()
    source.events = [
        event("set", file("/c", "3")),
        event("compareAndSwap", file("/a", "9")),
        event("expire", file("/b", None)),
        event("delete", file("/never", None)),
    ]
    with pytest.raises(KeyboardInterrupt):
        importer.follow()
    assert target.files == {"/a": "9", "/c": "3"}
    assert importer.source_index == 9


def test_where_events_are_gone_both_trees_are_compared(source: Store, target: Store) -> None:
    importer = Importer(source, target)
    importer.run()
    source.files["/late"] = "1"
    source.events = [EventIndexCleared("the requested history has been cleared", 99)]
    with pytest.raises(KeyboardInterrupt):
        importer.follow()
    assert target.files["/late"] == "1"


def test_progress_is_told_with_its_end(source: Store, target: Store) -> None:
    told: list[tuple[int, int]] = []
    Importer(source, target, progress=lambda done, total: told.append((done, total))).run()
    assert told == [(1, 2), (2, 2)]
