"""The base of records that come and go by the thousand.

What for: the garbage collector looks through every object that could be part of a cycle. Records
that hold values, never each other in a ring, spare it that.

Rules:
    It is a base class, not the keyword `gc=False` at each class: compiled code drops keywords of a
    class without a word (see docs/compiled.md), and keeps what is inherited.
"""

from msgspec import Struct


class Untracked(Struct, gc=False):
    """A struct that the garbage collector does not track."""
