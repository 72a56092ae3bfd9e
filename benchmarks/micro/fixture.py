"""What the micro-benchmarks in this directory are given, and what they must keep to.

Question: what does one operation of one core cost, without sockets, disk or other members, and did
a change of the code make it dearer? Unit: microseconds a call, as pytest-benchmark takes it.

Run: `make bench-micro`. Compare two commits with
`make bench-micro ARGS='--benchmark-compare'`: the table then has the last stored run as well.

Rules:
    A benchmark makes its state and calls `benchmark` once, with the operation.
    The operation may be called any number of times, and costs the same each time.
    It checks what it did, at the end or as cheaply as it can, so that it cannot measure nothing.
"""

from collections.abc import Callable
from typing import Protocol


class Benchmark(Protocol):
    """Calls an operation as often as it takes to know its cost; returns its last result."""

    def __call__(self, operation: Callable[[], object]) -> object:
        """Measures `operation`."""


COMMANDS = 32
"""Writes in a batch, as 64 connections bring them."""

BATCH = b"x" * (100 * COMMANDS)
"""An entry's data: so many commands, of 100 bytes each."""
