"""What etcdctl prints: simple, extended or json.

Rules:
    simple is for scripts: the value and nothing else.
    json is the server's answer with etcdIndex, raftIndex and raftTerm appended; of `ModernPrinter`
    it is the answer's fields in the order and with the nulls of 3.x.
    Every event is flushed, so that a pipe sees it at once.
Source: reference contract, v2-api section 13.
"""

import json
import sys
from collections.abc import Iterator, Sequence

from kvorum.client.answers import Event, Node

FORMATS = ("simple", "extended", "json")


class Printer:
    """Prints events in one of `FORMATS` on standard output."""

    def __init__(self, output_format: str) -> None:
        assert output_format in FORMATS
        self._format = output_format

    def value(self, event: Event) -> None:
        """The node's value; an empty line when it has none."""
        self._print(event, [event.node.value or ""])

    def file(self, event: Event) -> None:
        """The value of a file; nothing for a directory."""
        self._print(event, [] if event.is_directory else [event.node.value or ""])

    def done(self, event: Event) -> None:
        """Nothing: that it worked is the message."""
        self._print(event, [])

    def removed(self, event: Event) -> None:
        """What `rm` says: an empty line for a file."""
        self.file(event)

    def removed_directory(self, event: Event) -> None:
        """What `rmdir` says."""
        self.done(event)

    def change(self, event: Event, *, is_recursive: bool) -> bool:
        """What a watch saw. Returns whether that counts as an event."""
        del is_recursive
        self.file(event)
        return True

    def listing(self, event: Event, *, with_slashes: bool) -> None:
        """One key per line, children under their parent; a file shows itself."""
        node = event.node
        shown = _below(node) if node.is_directory else iter((node,))
        marks = {True: "/" if with_slashes else "", False: ""}
        self._print(event, [one.key + marks[one.is_directory] for one in shown])

    def _print(self, event: Event, lines: Sequence[str]) -> None:
        if self._format == "json":
            lines = [_json(event)]
        elif self._format == "extended":
            lines = [*_extended(event), "", *lines]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()


class ModernPrinter(Printer):
    """The same as etcdctl 3.x prints it with API 2."""

    def value(self, event: Event) -> None:
        """The node's value, or of what is gone the value it had."""
        self._print(event, [_value_line(event)])

    def removed(self, event: Event) -> None:
        """The value that is gone; nothing for a directory."""
        self._print(event, [] if event.is_directory else [_value_line(event)])

    def removed_directory(self, event: Event) -> None:
        """The same: `rmdir` takes files, too."""
        self.removed(event)

    def change(self, event: Event, *, is_recursive: bool) -> bool:
        """Action and key before the value where many keys are watched; directories do not count."""
        if event.is_directory:
            return False
        if is_recursive:
            print(f"[{event.action}] {event.node.key}")
        self.value(event)
        return True

    def _print(self, event: Event, lines: Sequence[str]) -> None:
        if self._format == "json":
            lines = [_modern_json(event)]
        elif self._format == "extended":
            lines = [*_modern_extended(event)]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()


def _value_line(event: Event) -> str:
    if event.action == "delete":
        return f"PrevNode.Value: {_prev_value(event)}"
    return event.node.value or ""


def _prev_value(event: Event) -> str:
    return (event.prev_node.value if event.prev_node else None) or ""


def _below(node: Node) -> Iterator[Node]:
    for child in node.children:
        yield child
        yield from _below(child)


def _json(event: Event) -> str:
    appended = (
        f',"etcdIndex":{event.etcd_index},"raftIndex":{event.raft_index}'
        f',"raftTerm":{event.raft_term}}}'
    )
    return event.raw.removesuffix(b"}").decode() + appended


def _extended(event: Event) -> Iterator[str]:
    node = event.node
    yield f"Key: {node.key}"
    yield f"Created-Index: {node.created_index}"
    yield f"Modified-Index: {node.modified_index}"
    if event.prev_node is not None:
        yield f"PrevNode.Value: {event.prev_node.value or ''}"
    yield f"TTL: {node.ttl or 0}"
    yield f"Etcd-Index: {event.etcd_index}"
    yield f"Raft-Index: {event.raft_index}"
    yield f"Raft-Term: {event.raft_term}"


def _modern_extended(event: Event) -> Iterator[str]:
    node = event.node
    yield f"Key: {_modern_key(node)}"
    yield f"Created-Index: {node.created_index}"
    yield f"Modified-Index: {node.modified_index}"
    if event.prev_node is not None:
        yield f"PrevNode.Value: {_prev_value(event)}"
    yield f"TTL: {node.ttl or 0}"
    yield f"Index: {event.etcd_index}"
    if event.action != "delete":
        yield ""
        yield node.value or ""


def _modern_json(event: Event) -> str:
    prev = None if event.prev_node is None else _fields(event.prev_node)
    fields = {"action": event.action, "node": _fields(event.node), "prevNode": prev}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    # Go escapes what HTML would take for its own.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _fields(node: Node) -> dict[str, object]:
    fields: dict[str, object] = {"key": _modern_key(node)}
    if node.is_directory:
        fields["dir"] = True
    fields["value"] = node.value or ""
    fields["nodes"] = [_fields(child) for child in node.children] or None
    fields["createdIndex"] = node.created_index
    fields["modifiedIndex"] = node.modified_index
    if node.expiration is not None:
        fields["expiration"] = node.expiration
    if node.ttl:
        fields["ttl"] = node.ttl
    return fields


def _modern_key(node: Node) -> str:
    """3.x gives its root no name."""
    return "" if node.key == "/" else node.key
