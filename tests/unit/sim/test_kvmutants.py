"""Bugs planted in the v3 API are in the table, and found: `test_mutants` looks for them all."""

from kvorum.sim import kvmutants
from kvorum.sim.mutants import MUTANTS


def test_they_are_in_the_table() -> None:
    own = [name for name, one in MUTANTS.items() if one.plant.__module__ == kvmutants.__name__]
    assert "a deposed leader ends leases" in own
    assert len(own) == 15
