"""The tree's rules one by one. `test_tree_model.py` holds it against a dictionary."""

import msgspec
import pytest

from kvorum.errors import RequestError
from kvorum.mvcc.store import Store
from kvorum.v2.commands import (
    EXPIRED_KEYS_MAX,
    Command,
    CompareAndDelete,
    CompareAndSwap,
    Create,
    Delete,
    Expire,
    Set,
    Update,
)
from kvorum.v2.node import ACTION_NAMES, Event, Node
from kvorum.v2.tree import Tree

Outcome = Event | RequestError | None


def shape(node: Node | None) -> object:
    """A node as a comparable value: path, value or "dir", modified and created index."""
    if node is None:
        return None
    value = "dir" if node.is_dir else node.value
    plain = (node.key, value, node.modified_index, node.created_index)
    return plain if not node.expiration else (*plain, node.expiration)


def seen(outcome: Outcome) -> object:
    """An outcome as a comparable value."""
    if isinstance(outcome, RequestError):
        return (outcome.v2_code, outcome.cause, outcome.index)
    assert outcome is not None
    action = ACTION_NAMES[outcome.action].decode()
    return (action, shape(outcome.node), shape(outcome.prev_node))


def listed(tree: Tree, path: bytes, *, is_recursive: bool = False) -> list[bytes]:
    """Paths of a sorted listing, depth first."""
    outcome = tree.get(path, is_recursive=is_recursive, is_sorted=True)
    assert isinstance(outcome, Event)
    found = []
    pending = list(reversed(outcome.node.nodes or []))
    while pending:
        node = pending.pop()
        found.append(node.key)
        pending += reversed(node.nodes or [])
    return found


def put_v3(store: Store, *keys: bytes) -> None:
    txn = store.write()
    for key in keys:
        txn.put(key, b"v3")
    txn.end()


# A write sees what came before it: setup, command, outcome. The setup's first write has index 3.
RULES: list[tuple[str, list[Command], Command, object]] = [
    ("set makes", [], Set(b"/a", b"1"), ("set", (b"/a", b"1", 3, 3), None)),
    (
        "set replaces, created index too",
        [Set(b"/a", b"1")],
        Set(b"/a", b"2"),
        ("set", (b"/a", b"2", 4, 4), (b"/a", b"1", 3, 3)),
    ),
    (
        "set of a directory",
        [],
        Set(b"/d", is_dir=True),
        ("set", (b"/d", "dir", 3, 3), None),
    ),
    (
        "a directory is not set twice",
        [Set(b"/d", is_dir=True)],
        Set(b"/d", is_dir=True),
        (102, "/d", 3),
    ),
    ("a file does not replace a directory", [Set(b"/d/x")], Set(b"/d", b"1"), (102, "/d", 3)),
    (
        "a directory replaces a file, and its value is dropped",
        [Set(b"/a", b"1")],
        Set(b"/a", b"2", is_dir=True),
        ("set", (b"/a", "dir", 4, 4), (b"/a", b"1", 3, 3)),
    ),
    ("nothing below a file: set", [Set(b"/a")], Set(b"/a/b/c", b"1"), (104, "/a", 3)),
    ("nothing below a file: create", [Set(b"/a")], Create(b"/a/b", b"1"), (104, "/a", 3)),
    ("nothing below a file: in order", [Set(b"/a")], Create(b"/a", in_order=True), (104, "/a", 3)),
    ("root: set", [], Set(b"/", b"1"), (107, "/", 2)),
    ("root: set of a directory", [], Set(b"/", is_dir=True), (107, "/", 2)),
    ("root: create", [], Create(b"/", b"1"), (107, "/", 2)),
    ("root: update", [], Update(b"/", b"1"), (107, "/", 2)),
    ("root: compare and swap", [], CompareAndSwap(b"/", b"1", b"0"), (107, "/", 2)),
    ("root: delete", [], Delete(b"/", is_recursive=True), (107, "/", 2)),
    ("root: compare and delete", [], CompareAndDelete(b"/", b"0"), (102, "/", 2)),
    ("create makes", [], Create(b"/a/b", b"1"), ("create", (b"/a/b", b"1", 3, 3), None)),
    ("create of a directory", [], Create(b"/d", b"1", True),
     ("create", (b"/d", "dir", 3, 3), None)),
    ("create refuses a file", [Set(b"/foo")], Create(b"/foo", b"3"), (105, "/foo", 3)),
    ("create refuses a directory", [Set(b"/d/x")], Create(b"/d", b"3"), (105, "/d", 3)),
    (
        "in order: named by the index",
        [Set(b"/a")],
        Create(b"/q", b"J", in_order=True),
        ("create", (b"/q/4", b"J", 4, 4), None),
    ),
    (
        "in order: padded",
        [],
        Create(b"/q", b"J", in_order=True, digits=20),
        ("create", (b"/q/00000000000000000003", b"J", 3, 3), None),
    ),
    (
        "in order: at the root",
        [],
        Create(b"/", b"J", True, in_order=True),
        ("create", (b"/3", "dir", 3, 3), None),
    ),
    (
        "update keeps the created index",
        [Set(b"/a", b"1")],
        Update(b"/a", b"2"),
        ("update", (b"/a", b"2", 4, 3), (b"/a", b"1", 3, 3)),
    ),
    (
        "update with a TTL only empties the value",
        [Set(b"/a", b"1")],
        Update(b"/a", expiration=9),
        ("update", (b"/a", b"", 4, 3, 9), (b"/a", b"1", 3, 3)),
    ),
    (
        "update without a TTL makes permanent; prevNode has the old expiration",
        [Set(b"/a", b"1", expiration=9)],
        Update(b"/a", b"2"),
        ("update", (b"/a", b"2", 4, 3), (b"/a", b"1", 3, 3, 9)),
    ),
    ("update: missing", [], Update(b"/a/b", b"2"), (100, "/a", 2)),
    ("update: below a file", [Set(b"/a")], Update(b"/a/b", b"2"), (104, "/a", 3)),
    ("update: a value for a directory", [Set(b"/d/x")], Update(b"/d", b"2"), (102, "/d", 3)),
    (
        "update of a directory's TTL tells a new index",
        [Set(b"/d", is_dir=True)],
        Update(b"/d", expiration=9),
        ("update", (b"/d", "dir", 4, 3, 9), (b"/d", "dir", 3, 3)),
    ),
    (
        "swap by value",
        [Set(b"/a", b"1")],
        CompareAndSwap(b"/a", b"2", b"1"),
        ("compareAndSwap", (b"/a", b"2", 4, 3), (b"/a", b"1", 3, 3)),
    ),
    (
        "swap by both",
        [Set(b"/a", b"1")],
        CompareAndSwap(b"/a", b"2", b"1", 3),
        ("compareAndSwap", (b"/a", b"2", 4, 3), (b"/a", b"1", 3, 3)),
    ),
    (
        "swap on nothing passes",
        [Set(b"/a", b"1")],
        CompareAndSwap(b"/a", b"2"),
        ("compareAndSwap", (b"/a", b"2", 4, 3), (b"/a", b"1", 3, 3)),
    ),
    (
        "swap: value differs",
        [Set(b"/a", b"one")],
        CompareAndSwap(b"/a", b"x", b"two"),
        (101, "[two != one]", 3),
    ),
    (
        "swap: index differs",
        [Set(b"/a", b"one")],
        CompareAndSwap(b"/a", b"x", b"", 1),
        (101, "[1 != 3]", 3),
    ),
    (
        "swap: both differ",
        [Set(b"/a", b"one")],
        CompareAndSwap(b"/a", b"x", b"two", 1),
        (101, "[two != one] [1 != 3]", 3),
    ),
    (
        "swap: only the one that differs is told",
        [Set(b"/a", b"one")],
        CompareAndSwap(b"/a", b"x", b"one", 1),
        (101, "[1 != 3]", 3),
    ),
    ("swap: missing", [], CompareAndSwap(b"/a", b"x", b"two"), (100, "/a", 2)),
    ("swap: directory", [Set(b"/d/x")], CompareAndSwap(b"/d", b"x", b"two"), (102, "/d", 3)),
    (
        "delete a file",
        [Set(b"/a", b"1")],
        Delete(b"/a"),
        ("delete", (b"/a", None, 4, 3), (b"/a", b"1", 3, 3)),
    ),
    (
        "delete a file with the flags of a directory",
        [Set(b"/a", b"1")],
        Delete(b"/a", True, True),
        ("delete", (b"/a", None, 4, 3), (b"/a", b"1", 3, 3)),
    ),
    ("delete: missing", [Set(b"/a/b")], Delete(b"/a/c/d"), (100, "/a/c", 3)),
    ("delete: directory without flags", [Set(b"/d/x")], Delete(b"/d"), (102, "/d", 3)),
    ("delete: not empty", [Set(b"/d/x")], Delete(b"/d", is_dir=True), (108, "/d", 3)),
    (
        "delete an empty directory",
        [Set(b"/d", is_dir=True)],
        Delete(b"/d", is_dir=True),
        ("delete", (b"/d", "dir", 4, 3), (b"/d", "dir", 3, 3)),
    ),
    (
        "delete recursively",
        [Set(b"/d/x"), Set(b"/d/y/z")],
        Delete(b"/d", is_recursive=True),
        ("delete", (b"/d", "dir", 5, 3), (b"/d", "dir", 3, 3)),
    ),
    (
        "compare and delete",
        [Set(b"/a", b"1"), Update(b"/a", b"2")],
        CompareAndDelete(b"/a", b"2", 4),
        ("compareAndDelete", (b"/a", None, 5, 3), (b"/a", b"2", 4, 3)),
    ),
    (
        "compare and delete: differs",
        [Set(b"/a", b"1")],
        CompareAndDelete(b"/a", b"2", 9),
        (101, "[2 != 1] [9 != 3]", 3),
    ),
    ("compare and delete: directory", [Set(b"/d/x")], CompareAndDelete(b"/d", b"2"),
     (102, "/d", 3)),
    (
        "refresh of set keeps the value",
        [Set(b"/a", b"1")],
        Set(b"/a", expiration=9, refresh=True),
        ("set", (b"/a", b"1", 4, 4, 9), (b"/a", b"1", 3, 3)),
    ),
    ("refresh of set: missing", [], Set(b"/a", expiration=9, refresh=True), (100, "/a", 2)),
    ("refresh of set: directory", [Set(b"/d/x")], Set(b"/d", refresh=True), (102, "/d", 3)),
    (
        "refresh of update keeps the value",
        [Set(b"/a", b"1")],
        Update(b"/a", expiration=9, refresh=True),
        ("update", (b"/a", b"1", 4, 3, 9), (b"/a", b"1", 3, 3)),
    ),
    (
        "refresh of swap keeps the value",
        [Set(b"/a", b"1")],
        CompareAndSwap(b"/a", b"", b"1", expiration=9, refresh=True),
        ("compareAndSwap", (b"/a", b"1", 4, 3, 9), (b"/a", b"1", 3, 3)),
    ),
]  # fmt: skip


REFUSALS = [
    (setup, command)
    for _, setup, command, outcome in RULES
    if isinstance(outcome, tuple) and isinstance(outcome[0], int)
]


@pytest.mark.parametrize(
    ("setup", "command", "outcome"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES]
)
def test_rule(tree: Tree, setup: list[Command], command: Command, outcome: object) -> None:
    for earlier in setup:
        assert isinstance(tree.apply(earlier), Event)
    assert seen(tree.apply(command)) == outcome


@pytest.mark.parametrize(("setup", "command"), REFUSALS)
def test_refused_write_changes_nothing(
    tree: Tree, store: Store, setup: list[Command], command: Command
) -> None:
    for earlier in setup:
        tree.apply(earlier)
    tree.take_changes()
    before = store.revision, sorted(store.index.live)
    assert isinstance(tree.apply(command), RequestError)
    assert (store.revision, sorted(store.index.live)) == before
    assert tree.take_changes() == []


def test_one_write_is_one_revision_parents_included(tree: Tree, store: Store) -> None:
    tree.apply(Set(b"/a/b/c", b"1"))
    assert store.revision == 3
    assert listed(tree, b"/", is_recursive=True) == [b"/a", b"/a/b", b"/a/b/c"]
    parent = tree.find(b"/a/b")
    assert shape(parent) == (b"/a/b", "dir", 3, 3)
    [changes] = tree.take_changes()
    loud = [change.record.key for change in changes.changes if not change.record.silent]
    assert loud == [b"/a/b/c"]


def test_existing_parents_stay_as_they_are(tree: Tree) -> None:
    tree.apply(Set(b"/a/b", b"1"))
    tree.apply(Set(b"/a/c/d", b"1"))
    assert shape(tree.find(b"/a")) == (b"/a", "dir", 3, 3)
    assert shape(tree.find(b"/a/c")) == (b"/a/c", "dir", 4, 4)


def test_directory_outlives_its_last_file(tree: Tree) -> None:
    tree.apply(Set(b"/a/b", b"1"))
    tree.apply(Delete(b"/a/b"))
    assert listed(tree, b"/") == [b"/a"]


def test_updating_a_directory_leaves_its_own_index(tree: Tree) -> None:
    tree.apply(Set(b"/d", is_dir=True))
    tree.apply(Update(b"/d", expiration=9))
    assert shape(tree.find(b"/d")) == (b"/d", "dir", 3, 3, 9)


def test_recursive_delete_tells_the_top_first_and_silences_what_is_below(tree: Tree) -> None:
    for key in (b"/d/x", b"/d/y/z", b"/d-x", b"/d0"):
        tree.apply(Set(key))
    tree.take_changes()
    tree.apply(Delete(b"/d", is_recursive=True))
    [changes] = tree.take_changes()
    assert [(one.record.key, one.record.silent) for one in changes.changes] == [
        (b"/d/", False),
        (b"/d/x", True),
        (b"/d/y/", True),
        (b"/d/y/z", True),
    ]
    assert listed(tree, b"/") == [b"/d-x", b"/d0"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"/nope", (100, "/nope", 4)),
        (b"/nope/a/b", (100, "/nope", 4)),
        (b"/d/nope/a/b", (100, "/d/nope", 4)),
        (b"/foo/bar/baz/x", (104, "/foo/bar", 4)),
    ],
)
def test_get_tells_the_first_missing_ancestor(tree: Tree, path: bytes, error: object) -> None:
    tree.apply(Set(b"/foo/bar", b"1"))
    tree.apply(Set(b"/d", is_dir=True))
    assert seen(tree.get(path)) == error


def test_listing_shows_one_level_or_all(tree: Tree) -> None:
    for key in (b"/a/1", b"/a/b/2", b"/a/b/c/3", b"/a/_h", b"/a/_d/4", b"/a/b/_h"):
        tree.apply(Set(key))
    assert listed(tree, b"/a") == [b"/a/1", b"/a/b"]
    assert listed(tree, b"/a", is_recursive=True) == [
        b"/a/1", b"/a/b", b"/a/b/2", b"/a/b/c", b"/a/b/c/3",
    ]  # fmt: skip


def test_hidden_directory_lists_its_own_children(tree: Tree) -> None:
    tree.apply(Set(b"/_d/x"))
    tree.apply(Set(b"/_d/_y"))
    assert listed(tree, b"/_d") == [b"/_d/x"]
    assert seen(tree.get(b"/_d/_y")) == ("get", (b"/_d/_y", b"", 4, 4), None)
    assert listed(tree, b"/") == []


def test_sorted_means_by_full_path(tree: Tree) -> None:
    for key in (b"/so/9", b"/so/a", b"/so/10", b"/so/A", b"/so/100"):
        tree.apply(Set(key))
    tree.apply(Set(b"/so/1/x"))
    tree.apply(Set(b"/so/1-x"))
    assert listed(tree, b"/so") == [
        b"/so/1", b"/so/1-x", b"/so/10", b"/so/100", b"/so/9", b"/so/A", b"/so/a",
    ]  # fmt: skip


def test_empty_and_root_directories(tree: Tree) -> None:
    root = tree.get(b"/")
    assert isinstance(root, Event)
    assert root.node == Node(b"/", None, 0, 0, is_dir=True, nodes=[])
    tree.apply(Set(b"/t", is_dir=True))
    empty = tree.get(b"/t")
    assert isinstance(empty, Event)
    assert empty.node == Node(b"/t", None, 3, 3, is_dir=True, nodes=[])


# Expiry.


def test_expiry_goes_by_expiration_then_key_each_in_its_own_revision(
    tree: Tree, store: Store
) -> None:
    tree.apply(Set(b"/late", b"1", expiration=20))
    tree.apply(Set(b"/b", b"1", expiration=10))
    tree.apply(Set(b"/a", b"1", expiration=10))
    tree.apply(Set(b"/never", b"1"))
    tree.apply(Set(b"/later", b"1", expiration=21))
    tree.take_changes()
    assert tree.apply(Expire(20)) is None
    told = [(one.revision, one.changes[0].record.key) for one in tree.take_changes()]
    assert told == [(8, b"/a"), (9, b"/b"), (10, b"/late")]
    assert listed(tree, b"/") == [b"/later", b"/never"]
    assert tree.stats().expire_count == 3
    assert store.expiring.next_due() == 21


def test_expiring_directory_takes_everything_below(tree: Tree) -> None:
    tree.apply(Set(b"/d", is_dir=True, expiration=10))
    tree.apply(Set(b"/d/soon", b"1", expiration=11))
    tree.apply(Set(b"/d/x/y", b"1"))
    tree.take_changes()
    tree.apply(Expire(30))
    [changes] = tree.take_changes()
    assert [(one.record.key, one.record.silent) for one in changes.changes] == [
        (b"/d/", False), (b"/d/soon", True), (b"/d/x/", True), (b"/d/x/y", True),
    ]  # fmt: skip
    assert listed(tree, b"/") == []


def test_nothing_is_gone_before_the_command_that_expires_it(tree: Tree) -> None:
    tree.apply(Set(b"/a", b"1", expiration=10))
    tree.apply(Expire(9))
    assert listed(tree, b"/") == [b"/a"]


def test_new_life_outlives_the_old_expiration(tree: Tree) -> None:
    tree.apply(Set(b"/a", b"1", expiration=10))
    tree.apply(Set(b"/a", b"2"))
    tree.apply(Set(b"/b", b"1", expiration=10))
    tree.apply(Update(b"/b", b"2", expiration=20))
    tree.apply(Expire(15))
    assert listed(tree, b"/") == [b"/a", b"/b"]


def test_one_expire_is_bounded(tree: Tree, store: Store) -> None:
    for number in range(EXPIRED_KEYS_MAX + 1):
        tree.apply(Set(b"/%06d" % number, expiration=10))
    tree.apply(Expire(10))
    assert listed(tree, b"/") == [b"/%06d" % EXPIRED_KEYS_MAX]
    assert store.expiring.next_due() == 10
    tree.apply(Expire(10))
    assert listed(tree, b"/") == []


# Keys written through v3.


def test_v3_keys_imply_their_directories(tree: Tree, store: Store) -> None:
    put_v3(store, b"/x/y/z", b"other", b"/x/y//odd", b"/x/y/../w")
    assert listed(tree, b"/", is_recursive=True) == [b"/x", b"/x/y", b"/x/y/z"]
    assert shape(tree.find(b"/x")) == (b"/x", "dir", 3, 3)
    txn = store.write()
    for key in (b"/x/y/z", b"/x/y//odd", b"/x/y/../w"):
        txn.delete(key)
    txn.end()
    assert seen(tree.get(b"/x")) == (100, "/x", 4)


def test_file_wins_where_v3_put_one_in_a_directorys_place(tree: Tree, store: Store) -> None:
    put_v3(store, b"/x", b"/x/y", b"/x-z")
    assert listed(tree, b"/", is_recursive=True) == [b"/x", b"/x-z"]
    assert seen(tree.get(b"/x")) == ("get", (b"/x", b"v3", 3, 3), None)
    assert seen(tree.get(b"/x/y")) == ("get", (b"/x/y", b"v3", 3, 3), None)
    assert seen(tree.get(b"/x/z")) == (104, "/x", 3)


def test_implied_directory_can_be_deleted(tree: Tree, store: Store) -> None:
    put_v3(store, b"/x/y")
    assert seen(tree.apply(Delete(b"/x", is_dir=True))) == (108, "/x", 3)
    assert seen(tree.apply(Delete(b"/x", is_recursive=True))) == (
        "delete",
        (b"/x", "dir", 4, 4),
        (b"/x", "dir", 3, 3),
    )
    assert listed(tree, b"/") == []
    [changes] = tree.take_changes()
    loud = [change.record for change in changes.changes if not change.record.silent]
    assert [(record.key, record.tombstone) for record in loud] == [(b"/x/", True)]


def test_implied_directory_can_get_a_ttl(tree: Tree, store: Store) -> None:
    put_v3(store, b"/x/y")
    tree.apply(Update(b"/x", expiration=10))
    tree.apply(Expire(10))
    assert listed(tree, b"/") == []


def test_v2_below_an_implied_directory_makes_no_marker_for_it(tree: Tree, store: Store) -> None:
    put_v3(store, b"/x/y")
    tree.apply(Set(b"/x/z/w"))
    assert sorted(store.index.live) == [b"/x/y", b"/x/z/", b"/x/z/w"]


def test_a_key_named_like_the_root_does_not_disturb(tree: Tree, store: Store) -> None:
    put_v3(store, b"/", b"/a")
    assert listed(tree, b"/") == [b"/a"]
    assert seen(tree.apply(Set(b"/", b"1"))) == (107, "/", 3)


# Counting.


def test_every_operation_is_counted(tree: Tree) -> None:
    commands: list[Command] = [
        Set(b"/a", b"1"), Set(b"/", b"1"), Create(b"/b"), Create(b"/b"), Update(b"/a", b"2"),
        Update(b"/c", b"2"), CompareAndSwap(b"/a", b"3", b"2"), CompareAndSwap(b"/a", b"3", b"2"),
        CompareAndDelete(b"/a", b"x"), CompareAndDelete(b"/a", b"3"), Delete(b"/b"), Delete(b"/b"),
        Set(b"/t", expiration=1), Expire(1),
    ]  # fmt: skip
    for command in commands:
        tree.apply(command)
    tree.get(b"/")
    tree.get(b"/nope")
    counts = msgspec.to_builtins(tree.stats())
    assert counts == {
        "getsSuccess": 1, "getsFail": 1, "setsSuccess": 2, "setsFail": 1, "deleteSuccess": 1,
        "deleteFail": 1, "updateSuccess": 1, "updateFail": 1, "createSuccess": 1, "createFail": 1,
        "compareAndSwapSuccess": 1, "compareAndSwapFail": 1, "compareAndDeleteSuccess": 1,
        "compareAndDeleteFail": 1, "expireCount": 1, "watchers": 0,
    }  # fmt: skip
