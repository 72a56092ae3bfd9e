"""How bugs are planted in the real code, to see whether the simulator finds them.

Each mutant is one small, plausible mistake, named in words and put in place by replacing one or two
functions for as long as `planted` lasts. A judge that never finds any of them proves nothing; one
that finds it by a crash, or by a rule that has nothing to do with it, proves as little. So each
says which words of which violations are a find.

The caller: `with planted(name): run(seed)`; nothing else may run meanwhile.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

Patch = tuple[object, str, object]
"""What has it, its name, what takes its place."""

Plant = Callable[[], list[Patch]]


class Mutant(NamedTuple):
    """One mistake.

    Attributes:
        plant: makes what puts it in place.
        found_by: words of the violations that are to find it; one of them is enough.
    """

    plant: Plant
    found_by: tuple[str, ...]


MUTANTS: dict[str, Mutant] = {}
"""The mistakes, by what they are in words."""


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Puts a mistake into the code for as long as it lasts."""
    patches = MUTANTS[name].plant()
    before = [(target, attribute, getattr(target, attribute)) for target, attribute, _ in patches]
    try:
        for target, attribute, replacement in patches:
            setattr(target, attribute, replacement)
        yield
    finally:
        for target, attribute, original in before:
            setattr(target, attribute, original)


def mutant(name: str, *found_by: str) -> Callable[[Plant], Plant]:
    """Puts what follows into the table, under this name."""

    def register(plant: Plant) -> Plant:
        MUTANTS[name] = Mutant(plant, found_by)
        return plant

    return register
