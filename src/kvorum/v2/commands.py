"""The writes of the v2 API as they stand in the log.

Each is an array with its integer tag in front; fields are only ever added at the end, with a
default, because old logs must stay readable. Whatever depends on time or on the era of the server
that took the request is put in here: applying a command needs nothing but the state.

    expiration   ns since the epoch; 0 none
    prev_value   empty: not compared
    prev_index   0: not compared
    refresh      keep the value, and tell no watcher
Source: v2-api sections 3.6 to 3.9.
"""

from typing import TypeAlias

from msgspec import Struct

EXPIRED_KEYS_MAX = 2_000
"""What one `Expire` removes, so that no entry holds up the loop for long; the leader proposes the
next while something is due. It travels in the command: members of two versions must agree on it."""


class Set(Struct, array_like=True, gc=False, tag=1):
    """Puts a file or an empty directory at `key`, in place of a file or of nothing."""

    key: bytes
    value: bytes = b""
    is_dir: bool = False
    expiration: int = 0
    refresh: bool = False


class Create(Struct, array_like=True, gc=False, tag=2):
    """Puts a file or an empty directory where nothing is.

    Attributes:
        in_order: the node is a child of `key`, named by the index of this write.
        digits: least width of that name, filled with zeros.
    """

    key: bytes
    value: bytes = b""
    is_dir: bool = False
    expiration: int = 0
    in_order: bool = False
    digits: int = 0


class Update(Struct, array_like=True, gc=False, tag=3):
    """Gives an existing node a new value and expiration."""

    key: bytes
    value: bytes = b""
    expiration: int = 0
    refresh: bool = False


class CompareAndSwap(Struct, array_like=True, gc=False, tag=4):
    """Gives an existing file a new value if its present one compares equal."""

    key: bytes
    value: bytes = b""
    prev_value: bytes = b""
    prev_index: int = 0
    expiration: int = 0
    refresh: bool = False


class Delete(Struct, array_like=True, gc=False, tag=5):
    """Removes a node; `is_recursive` implies `is_dir`."""

    key: bytes
    is_dir: bool = False
    is_recursive: bool = False


class CompareAndDelete(Struct, array_like=True, gc=False, tag=6):
    """Removes a file if it compares equal."""

    key: bytes
    prev_value: bytes = b""
    prev_index: int = 0


class Expire(Struct, array_like=True, gc=False, tag=7):
    """Removes what was due at the leader's time `now_ns`, the oldest `keys_max` of it."""

    now_ns: int
    keys_max: int = EXPIRED_KEYS_MAX


KeyCommand: TypeAlias = Set | Create | Update | CompareAndSwap | Delete | CompareAndDelete
"""What a client's request can become."""

Command: TypeAlias = KeyCommand | Expire

COMMANDS: tuple[type[Command], ...] = (
    Set,
    Create,
    Update,
    CompareAndSwap,
    Delete,
    CompareAndDelete,
    Expire,
)
"""Every command, for dispatch."""
