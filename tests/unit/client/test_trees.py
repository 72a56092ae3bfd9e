"""What makes one tree like another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.client.answers import Node
from kvorum.client.trees import TTL_SLACK_SECONDS, Item, compare, flatten


def node(key: str, value: str | None = None, *children: Node, ttl: int | None = None) -> Node:
    return Node(key, value, value is None, ttl, None, children, 1, 1)


DIRECTORY = Item(None)


def test_a_tree_is_flat_with_parents_first_and_without_its_root() -> None:
    tree = node("/", None, node("/d", None, node("/d/a", "1")), node("/e", None, ttl=5))
    assert flatten(tree, 100.0) == {
        "/d": Item(None, None, has_children=True),
        "/d/a": Item("1"),
        "/e": Item(None, 105.0),
    }


def test_what_is_missing_is_made_and_parents_come_with_their_children() -> None:
    source = {"/d": Item(None, None, has_children=True), "/d/a": Item("1"), "/e": DIRECTORY}
    plan = compare(source, {})
    assert (plan.removals, plan.directories, plan.files) == (
        [],
        {"/e": DIRECTORY},
        {"/d/a": Item("1")},
    )


def test_a_directory_with_a_ttl_is_made_before_its_children() -> None:
    source = {"/d": Item(None, 9.0, has_children=True), "/d/a": Item("1")}
    assert list(compare(source, {}).directories) == ["/d"]


def test_what_only_the_target_has_goes_once_unless_it_is_kept() -> None:
    target = {"/d": DIRECTORY, "/d/a": Item("1"), "/d/b": Item("2")}
    assert compare({}, target).removals == ["/d"]
    assert not compare({}, target, keeps_others=True)


def test_what_is_in_the_way_goes_even_if_others_are_kept() -> None:
    source = {"/a": Item("1"), "/b": DIRECTORY, "/c": DIRECTORY}
    target = {"/a": DIRECTORY, "/a/x": Item("1"), "/b": Item("1"), "/c": Item(None, 5.0)}
    plan = compare(source, target, keeps_others=True)
    assert plan.removals == ["/a", "/b", "/c"]
    assert list(plan.files) == ["/a"]
    assert list(plan.directories) == ["/b", "/c"]
    assert plan.paths() == ["/a", "/b", "/c"]


@pytest.mark.parametrize(
    ("wanted", "found", "is_same"),
    [
        (Item("1"), Item("1"), True),
        (Item("1"), Item("2"), False),
        (Item("1", 10.0), Item("1", 10.0 + TTL_SLACK_SECONDS), True),
        (Item("1", 10.0), Item("1", 10.1 + TTL_SLACK_SECONDS), False),
        (Item("1", 10.0), Item("1"), False),
        (Item("1"), Item("1", 10.0), False),
        (Item(None, 10.0), DIRECTORY, False),
    ],
)
def test_ttls_are_compared_within_what_reading_them_costs(
    wanted: Item, found: Item, is_same: bool
) -> None:
    assert bool(compare({"/a": wanted}, {"/a": found})) != is_same


NAMES = st.sampled_from("ab")
TREES = st.recursive(
    st.sampled_from(["", "1"]),
    lambda below: st.dictionaries(NAMES, below, max_size=2),
    max_leaves=6,
)


def flat(tree: object, path: str = "") -> dict[str, Item]:
    if not isinstance(tree, dict):
        return {path: Item(str(tree))}
    items = {path: Item(None, has_children=bool(tree))} if path else {}
    for name, below in tree.items():
        items |= flat(below, f"{path}/{name}")
    return items


@given(st.dictionaries(NAMES, TREES, max_size=2), st.dictionaries(NAMES, TREES, max_size=2))
def test_a_plan_that_is_carried_out_leaves_nothing_to_do(
    source: dict[str, object], target: dict[str, object]
) -> None:
    wanted, tree = flat(source), flat(target)
    plan = compare(wanted, tree)
    for path in plan.removals:
        tree = {at: item for at, item in tree.items() if not f"{at}/".startswith(f"{path}/")}
    for path, item in (*plan.directories.items(), *plan.files.items()):
        parent = path.rpartition("/")[0]
        while parent:
            assert parent not in tree or tree[parent].value is None
            tree[parent] = Item(None, has_children=True)
            parent = parent.rpartition("/")[0]
        tree[path] = item
    assert {path: item.value for path, item in tree.items()} == {
        path: item.value for path, item in wanted.items()
    }
    assert not compare(wanted, tree)
