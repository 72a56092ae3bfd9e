"""A whole v2 tree as a flat table, and what would make one tree like another.

What for: to copy a tree between servers and to tell afterwards whether it is the same. Pure: it
sees answers and a time, and asks nobody.

Rules:
    A TTL is kept as the time at which it ends, on the clock of whoever reads, so that reading two
    trees one after the other compares fairly. Two ends are equal within `TTL_SLACK_SECONDS`.
    A directory that has children and no TTL comes into being with them; only the others are made.
    Indexes are not compared: every server gives its own.
Source: reference contract, v2-api sections 3.2 and 3.9.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from kvorum.client.answers import Node

TTL_SLACK_SECONDS = 3.0
"""A TTL is told in whole seconds, rounded up by both servers, and written some time after it was
read."""


class Item(NamedTuple):
    """One node of a tree.

    Attributes:
        value: the content of a file; None for a directory.
        ends_at: when it expires, on the reader's clock; None for never.
        has_children: a directory with something in it.
    """

    value: str | None
    ends_at: float | None = None
    has_children: bool = False


class Plan(NamedTuple):
    """What makes the target like the source, to be done in this order.

    Attributes:
        removals: paths of the target that are in the way, or of which the source has nothing.
        directories: to be made, or given their TTL; parents first.
        files: to be written.
    """

    removals: list[str]
    directories: dict[str, Item]
    files: dict[str, Item]

    def __bool__(self) -> bool:
        return bool(self.removals or self.directories or self.files)

    def paths(self) -> list[str]:
        """All that differs, in order."""
        return sorted({*self.removals, *self.directories, *self.files})


def flatten(root: Node, now: float) -> dict[str, Item]:
    """Every node at and below `root` but the tree's own; parents before their children."""
    return {node.key: _item(node, now) for node in _walk(root) if node.key != "/"}


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _item(node: Node, now: float) -> Item:
    ends_at = None if node.ttl is None else now + node.ttl
    value = None if node.is_directory else node.value or ""
    return Item(value, ends_at, has_children=bool(node.children))


def compare(
    source: Mapping[str, Item], target: Mapping[str, Item], *, keeps_others: bool = False
) -> Plan:
    """What has to be done to the target.

    Args:
        source: the tree as it shall be.
        target: the tree as it is.
        keeps_others: leave alone what only the target has, unless it is in the way.
    """
    removals = {path for path in target if path not in source and not keeps_others}
    removals |= {path for path in target if path in source and _is_in_the_way(source, target, path)}
    plan = Plan(sorted(path for path in removals if not _is_below(path, removals)), {}, {})
    for path, item in source.items():
        found = None if path in removals or _is_below(path, removals) else target.get(path)
        if found is not None and _is_same(item, found):
            continue
        if item.value is not None:
            plan.files[path] = item
        elif item.ends_at is not None or (found is None and not item.has_children):
            plan.directories[path] = item
    return plan


def _is_in_the_way(source: Mapping[str, Item], target: Mapping[str, Item], path: str) -> bool:
    """A file for a directory or the reverse; or a directory that must lose its TTL."""
    wanted, found = source[path], target[path]
    if (wanted.value is None) != (found.value is None):
        return True
    return wanted.value is None and wanted.ends_at is None and found.ends_at is not None


def _is_same(wanted: Item, found: Item) -> bool:
    if wanted.value != found.value:
        return False
    if wanted.ends_at is None or found.ends_at is None:
        return wanted.ends_at is found.ends_at
    return abs(wanted.ends_at - found.ends_at) <= TTL_SLACK_SECONDS


def _is_below(path: str, others: set[str]) -> bool:
    """Whether a parent of `path` is among the others."""
    parent = path.rpartition("/")[0]
    while parent:
        if parent in others:
            return True
        parent = parent.rpartition("/")[0]
    return False
