"""Bugs planted in what clients are told are in the table; `test_mutants` looks for them all."""

from kvorum.sim import clientmutants
from kvorum.sim.mutants import MUTANTS


def test_they_are_in_the_table() -> None:
    own = [name for name, one in MUTANTS.items() if one.plant.__module__ == clientmutants.__name__]
    assert "a comparison does not look at the index" in own
    assert len(own) == 12
