"""What etcdctl prints: simple, extended or json.

Rules:
    simple is for scripts: the value and nothing else.
    json is the server's answer with etcdIndex, raftIndex and raftTerm appended.
    Every event is flushed, so that a pipe sees it at once.
Source: reference contract, v2-api section 13.
"""

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
