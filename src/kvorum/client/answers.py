"""What a v2 server answers: events, refusals, and what is neither.

Owns: the shape of an answer. A known refusal becomes the error class of `kvorum.errors`; one that
only other versions know keeps the server's words.
Source: reference contract, v2-api sections 3.2, 3.3, 4 and 15.
"""

import json
from typing import Any, NamedTuple

from kvorum.client.connection import Response
from kvorum.errors import RemoteProtocolError, RequestError

OK, REFUSED, NOT_FOUND = 200, 400, 404
"""A status from 400 on is a refusal."""

JSON_FAULTS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What may come of reading fields of JSON that need not be what it should."""


class Node(NamedTuple):
    """A file or directory as one answer shows it.

    Attributes:
        key: absolute path.
        value: the file's content; None for a directory and in the node of a delete.
        is_directory: whether it is one.
        ttl: seconds left, rounded up; None without a TTL.
        expiration: RFC 3339 text; None without a TTL.
        children: what a listing shows below it.
        created_index: index of the write that made it; 0 for the root.
        modified_index: index of its last write; 0 for the root.
    """

    key: str
    value: str | None
    is_directory: bool
    ttl: int | None
    expiration: str | None
    children: tuple["Node", ...]
    created_index: int
    modified_index: int


class Event(NamedTuple):
    """The answer to a request, or what a watch saw.

    Attributes:
        action: get, set, create, update, compareAndSwap, delete, compareAndDelete or expire.
        node: the node now.
        prev_node: the node before, where there was one.
        etcd_index: the server's index when it answered.
        raft_index: its Raft log's index; 0 when not told.
        raft_term: its Raft term; 0 when not told.
        raw: the JSON as it came, without a trailing newline.
    """

    action: str
    node: Node
    prev_node: Node | None
    etcd_index: int
    raft_index: int
    raft_term: int
    raw: bytes

    @property
    def is_directory(self) -> bool:
        """Whether it is about a directory; the node of a 0.4 expire event does not say."""
        return self.node.is_directory or (
            self.prev_node is not None and self.node.value is None and self.prev_node.is_directory
        )


class OtherRequestError(RequestError):
    """A refusal that this version has no class for; it carries what the server sent."""

    v2_code, text = 0, "Other"

    def __init__(self, code: int, message: str, cause: str, index: int) -> None:
        super().__init__(cause, index)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message} ({self.cause}) [{self.index}]"


def checked(answer: Response, target: str) -> Response:
    """Returns the answer unless it is a refusal.

    Raises:
        RequestError: the contract's refusal.
        RemoteProtocolError: a refusal that is not of the v2 API.
    """
    if answer.status < REFUSED:
        return answer
    try:
        fields = json.loads(answer.body)
        code, message = int(fields["errorCode"]), str(fields["message"])
        cause, index = str(fields.get("cause", "")), int(fields.get("index", 0))
    except JSON_FAULTS:
        raise RemoteProtocolError(not_v2(target, answer)) from None
    known = RequestError.by_v2_code.get(code)
    if known is not None and known.text == message:
        raise known(cause, index)
    raise OtherRequestError(code, message, cause, index)


def not_v2(what: str, answer: Response) -> str:
    """Says what was answered in place of an answer of the v2 API."""
    said = answer.body[:200].decode(errors="replace").strip()
    text = f"{what} was answered with {answer.status}: {said}"
    if answer.status == NOT_FOUND:
        text += " (no v2 API there; etcd 3.x serves it when started with --enable-v2)"
    return text


def decode_event(answer: Response) -> Event:
    """Reads an event.

    Raises:
        RemoteProtocolError: it is none.
    """
    try:
        fields = json.loads(answer.body)
        prev = fields.get("prevNode")
        return Event(
            action=str(fields["action"]),
            node=_decode_node(fields["node"]),
            prev_node=_decode_node(prev) if prev else None,
            etcd_index=int(answer.headers.get("x-etcd-index", 0)),
            raft_index=int(answer.headers.get("x-raft-index", 0)),
            raft_term=int(answer.headers.get("x-raft-term", 0)),
            raw=answer.body.strip(),
        )
    except JSON_FAULTS as error:
        said = answer.body[:200].decode(errors="replace")
        raise RemoteProtocolError(f"not an answer of the v2 API: {said!r}") from error


def _decode_node(fields: dict[str, object]) -> Node:
    return Node(
        key=str(fields.get("key", "/")),  # 3.x leaves the root's key out
        value=_text_or_none(fields.get("value")),
        is_directory=bool(fields.get("dir", False)),
        ttl=_integer(fields["ttl"]) if "ttl" in fields else None,
        expiration=_text_or_none(fields.get("expiration")),
        children=tuple(_decode_node(child) for child in as_list(fields.get("nodes") or [])),
        created_index=_integer(fields.get("createdIndex", 0)),
        modified_index=_integer(fields.get("modifiedIndex", 0)),
    )


def as_list(value: object) -> list[Any]:
    """The value, if it is a list. Raises TypeError."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a number")
    return value
