"""Nodes and events of the v2 API, and their JSON to the byte.

A node is what a request shows of one place in the tree, an event is one answer or one thing that
happened. Both are made for one reply and then forgotten; nothing keeps them.

Fields come in the contract's order, without blanks. Strings escape `<`, `>`, `&`, quotes,
backslashes, controls and U+2028/9; all other characters are raw UTF-8, and each byte that is not
UTF-8 becomes the escape of U+FFFD.

`ttl` is what is left at `now_ns`, rounded up, and left out when that is 0. Times are shown in UTC.
Source: v2-api sections 2, 3.2 and 4.
"""

from collections.abc import Iterator
from enum import IntEnum

from kvorum.errors import RequestError
from kvorum.mvcc.record import Changes, Record
from kvorum.structs import Untracked
from kvorum.v2 import path as paths
from kvorum.v2.policy import V2Policy

NS_PER_SECOND = 1_000_000_000
_SECONDS_PER_DAY = 86_400


class Action(IntEnum):
    """What happened; numbers are stored in records, so they never change."""

    GET = 0
    """Nothing: a read. In a record, 0 means that it was written through v3."""
    SET = 1
    CREATE = 2
    UPDATE = 3
    COMPARE_AND_SWAP = 4
    DELETE = 5
    COMPARE_AND_DELETE = 6
    EXPIRE = 7


ACTION_NAMES = (
    b"get",
    b"set",
    b"create",
    b"update",
    b"compareAndSwap",
    b"delete",
    b"compareAndDelete",
    b"expire",
)
"""How JSON spells each action."""

ACTIONS = tuple(Action)
"""By number: a look-up costs a fifth of calling the enumeration."""

# The enumeration's attributes are descriptors; on the data plane their plain names are cheaper.
_SET, _CREATE, _EXPIRE = Action.SET, Action.CREATE, Action.EXPIRE


class Node(Untracked):
    """One place in the tree as a request shows it.

    Attributes:
        value: None for directories and in the node of a delete or expire event.
        expiration: ns since the epoch; 0 never.
        nodes: the children of a listed directory.
    """

    key: bytes
    value: bytes | None
    modified_index: int
    created_index: int
    expiration: int = 0
    is_dir: bool = False
    nodes: list["Node"] | None = None


class Event(Untracked):
    """The answer to a request, or one thing that happened."""

    action: Action
    node: Node
    prev_node: Node | None = None

    @property
    def is_created(self) -> bool:
        """Whether the request made a node where none was: the reply is 201."""
        if self.action is _SET:
            return self.prev_node is None
        return self.action is _CREATE


def node_of(record: Record) -> Node:
    """The node that a live record stands for.

    A directory's indexes never move after its birth: an update changes only when it expires.
    """
    key = record.key
    if key.endswith(b"/"):
        created = record.create_revision
        path = key[:-1] or paths.ROOT
        return Node(path, None, created, created, record.expiration, is_dir=True)
    return Node(key, record.value, record.mod_revision, record.create_revision, record.expiration)


def node_after(record: Record) -> Node:
    """The node as the event that the record tells shows it: what it became, or that it went."""
    key = record.key
    is_dir = key.endswith(b"/")
    return Node(
        key[:-1] or paths.ROOT if is_dir else key,
        None if is_dir or record.tombstone else record.value,
        record.mod_revision,
        record.create_revision,
        record.expiration,
        is_dir,
    )


def event_of(changes: Changes) -> Event:
    """The event that a v2 write's revision tells: that of its one record that is not silent.

    A refresh has only silent records; its first is what the request is answered with.
    """
    change = changes.changes[0]
    if change.record.silent and len(changes.changes) > 1:
        change = next((one for one in changes.changes if not one.record.silent), change)
    record, prev = change.record, change.prev
    if prev is None and record.action == _SET and record.key.endswith(b"/"):
        prev = _replaced_file(record.key[:-1], changes)
    prev_node = None if prev is None else node_of(prev)
    return Event(ACTIONS[record.action], node_after(record), prev_node)


def _replaced_file(path: bytes, changes: Changes) -> Record | None:
    """What was in the place of a directory that was set."""
    for change in changes.changes:
        if change.record.key == path:
            return change.prev
    return None


_SPECIAL = {*range(0x20), *b'"\\<>&', *range(0x80, 0x100)}
_IS_SPECIAL = bytes(byte in _SPECIAL for byte in range(0x100))
"""1 in the place of each byte that is not ASCII or that JSON escapes."""

_ESCAPES: dict[int, str] = {byte: f"\\u{byte:04x}" for byte in [*range(0x20), *b"<>&"]}
_ESCAPES |= {ord('"'): '\\"', ord("\\"): "\\\\", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_ESCAPES |= {ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}
_ESCAPES |= dict.fromkeys(range(0xDC80, 0xDD00), "\\ufffd")  # surrogateescape's stray bytes


def escape(raw: bytes) -> bytes:
    """The inside of the JSON string that shows these bytes."""
    if 1 not in raw.translate(_IS_SPECIAL):
        return raw
    return raw.decode("utf-8", "surrogateescape").translate(_ESCAPES).encode()


def replace_invalid(raw: bytes) -> bytes:
    """The bytes with every one that is not UTF-8 replaced by U+FFFD."""
    if raw.isascii():
        return raw
    text = raw.decode("utf-8", "surrogateescape")
    return text.translate(_REPLACEMENTS).encode()


_REPLACEMENTS = dict.fromkeys(range(0xDC80, 0xDD00), "\ufffd")


def ttl_left(expiration: int, now_ns: int) -> int:
    """Seconds left, rounded up; so what is overdue is rounded towards 0."""
    return -((now_ns - expiration) // NS_PER_SECOND)


def render_time(time_ns: int) -> bytes:
    """RFC 3339 in UTC with nanoseconds, trailing zeros cut."""
    seconds, fraction = divmod(time_ns, NS_PER_SECOND)
    days, second = divmod(seconds, _SECONDS_PER_DAY)
    year, month, day = _civil_date(days)
    text = (
        f"{year:04}-{month:02}-{day:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    )
    if fraction:
        text += "." + f"{fraction:09}".rstrip("0")
    return text.encode() + b"Z"


def _civil_date(days: int) -> tuple[int, int, int]:
    """Year, month and day of the Gregorian calendar, `days` after 1970-01-01.

    Years are counted from March, so that the leap day is the last of its year; an era is 400 years.
    """
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (
        day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted_month + 2) // 5 + 1
    return year_of_era + era * 400 + shifted_month // 10, (shifted_month + 2) % 12 + 1, day


_FILE = b'{"key":"%b","value":"%b","modifiedIndex":%d,"createdIndex":%d}'
_FILE_EVENT = b'{"action":"%b","node":' + _FILE + b"}%b"
_FILE_CHANGE_EVENT = b'{"action":"%b","node":' + _FILE + b',"prevNode":' + _FILE + b"}%b"


def render_event(event: Event, now_ns: int, policy: V2Policy) -> bytes:
    """The event's JSON, with what the era puts behind it."""
    action, node, prev = event.action, event.node, event.prev_node
    value = node.value
    if value is None or node.expiration:
        return _render_any_event(event, now_ns, policy)
    key = escape(node.key)
    if prev is None:
        return _FILE_EVENT % (
            ACTION_NAMES[action],
            key,
            escape(value),
            node.modified_index,
            node.created_index,
            policy.body_end,
        )
    prev_value = prev.value
    if prev_value is None or prev.expiration:
        return _render_any_event(event, now_ns, policy)
    return _FILE_CHANGE_EVENT % (
        ACTION_NAMES[action],
        key,
        escape(value),
        node.modified_index,
        node.created_index,
        key,
        escape(prev_value),
        prev.modified_index,
        prev.created_index,
        policy.body_end,
    )


def _render_any_event(event: Event, now_ns: int, policy: V2Policy) -> bytes:
    node, prev = event.node, event.prev_node
    if event.action is _EXPIRE and node.is_dir and not policy.expired_directory_has_dir:
        node = Node(node.key, None, node.modified_index, node.created_index)
    parts = [b'{"action":"%b","node":' % ACTION_NAMES[event.action]]
    parts.append(render_node(node, now_ns, policy))
    if prev is not None:
        parts += (b',"prevNode":', render_node(prev, now_ns, policy))
    parts += (b"}", policy.body_end)
    return b"".join(parts)


def render_node(node: Node, now_ns: int, policy: V2Policy) -> bytes:
    """The node's JSON, children included."""
    value = node.value
    if value is not None and not node.expiration:
        return _FILE % (escape(node.key), escape(value), node.modified_index, node.created_index)
    if not node.nodes:
        return _head(node, now_ns, policy) + _tail(node)
    return _render_listing(node, now_ns, policy)


def _head(node: Node, now_ns: int, policy: V2Policy) -> bytes:
    """All fields before `nodes`, without a comma behind them."""
    fields = []
    if policy.root_has_key or node.key != paths.ROOT:
        fields.append(b'"key":"%b"' % escape(node.key))
    if node.value is not None:
        fields.append(b'"value":"%b"' % escape(node.value))
    if node.is_dir:
        fields.append(b'"dir":true')
    if node.expiration:
        fields.append(b'"expiration":"%b"' % render_time(node.expiration))
        ttl = ttl_left(node.expiration, now_ns)
        if ttl:
            fields.append(b'"ttl":%d' % ttl)
    return b"{" + b",".join(fields)


def _tail(node: Node) -> bytes:
    """The fields after `nodes`; only the root has no indexes."""
    if not node.modified_index:
        return b"}"
    return b',"modifiedIndex":%d,"createdIndex":%d}' % (node.modified_index, node.created_index)


def _render_listing(top: Node, now_ns: int, policy: V2Policy) -> bytes:
    """Renders with a stack of its own: listings nest deeper than the interpreter's may."""
    parts = [_head(top, now_ns, policy), b',"nodes":[']
    open_directories: list[tuple[Iterator[Node], Node]] = [(iter(top.nodes or ()), top)]
    while open_directories:
        children, directory = open_directories[-1]
        child = next(children, None)
        if child is None:
            open_directories.pop()
            parts[-1] = b"]" + _tail(directory)  # in the place of the comma behind the last child
            parts.append(b",")
        elif child.nodes:
            parts.append(_head(child, now_ns, policy))
            parts.append(b',"nodes":[')
            open_directories.append((iter(child.nodes), child))
        else:
            parts.append(render_node(child, now_ns, policy))
            parts.append(b",")
    parts.pop()
    return b"".join(parts)


def render_error(error: RequestError) -> bytes:
    """The error's JSON, which ends with a newline in both eras."""
    if error.cause:
        return b'{"errorCode":%d,"message":"%b","cause":"%b","index":%d}\n' % (
            error.v2_code,
            escape(error.text.encode()),
            escape(error.cause.encode("utf-8", "surrogateescape")),
            error.index,
        )
    return b'{"errorCode":%d,"message":"%b","index":%d}\n' % (
        error.v2_code,
        escape(error.text.encode()),
        error.index,
    )
