"""The place of one change: a main revision, and the change's place in it.

A `Revision` is one integer, `main << 28 | sub`. Integers sort as (main, sub) do, a dictionary of a
million of them costs the garbage collector nothing, and making one costs no object beyond it.

    0 <= sub < 2**28, 0 <= main < 2**68

On disk it is the 12 bytes of that integer, big endian, so byte order is order of change. In hex
the last seven digits are `sub`.
Source: v3-grpc section 2.1.
"""

from typing import NewType

Revision = NewType("Revision", int)

SUB_BITS = 28
"""One revision never holds 2**28 changes: so many keys fit no machine this runs on."""

KEY_BYTES = 12


def pack(main: int, sub: int = 0) -> Revision:
    """The place of change number `sub` of revision `main`."""
    return Revision(main << SUB_BITS | sub)


def main_of(revision: Revision) -> int:
    """The revision as clients see it."""
    return revision >> SUB_BITS


def sub_of(revision: Revision) -> int:
    """The change's place in its revision, from 0."""
    return revision & ((1 << SUB_BITS) - 1)


def to_key(revision: Revision) -> bytes:
    """The key of the record in the backend."""
    return revision.to_bytes(KEY_BYTES, "big")


def from_key(key: bytes) -> Revision:
    """The revision a backend key stands for."""
    return Revision(int.from_bytes(key, "big"))
