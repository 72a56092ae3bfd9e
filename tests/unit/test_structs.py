"""The base of records."""

import gc

from kvorum.structs import Untracked


class Point(Untracked):
    x: int
    y: list[int]


def test_what_is_inherited_counts() -> None:
    point = Point(1, [2])
    assert Point.__struct_config__.gc is False
    assert not gc.is_tracked(point)
    assert point == Point(1, [2])
