"""All that is left to chance in a simulation, from one seed.

Rules: the same seed gives the same draws, in any process. A child's draws depend on the seed and
its name only, so what one part of the world draws never shifts what another one gets.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeVar

_T = TypeVar("_T")


class Chance:
    """One stream of draws."""

    def __init__(self, seed: int | str) -> None:
        self._seed = seed
        generator = Random(str(seed))  # a string's digest, not its hash: equal in every process
        self.random = generator.random
        """Uniform in [0, 1)."""
        self._exponential = generator.expovariate

    def child(self, name: str) -> "Chance":
        """A stream of its own."""
        return Chance(f"{self._seed}/{name}")

    def below(self, bound: int) -> int:
        """A uniform integer in `[0, bound)`."""
        return int(self.random() * bound)

    def between(self, low: float, high: float) -> float:
        """Uniform in `[low, high)`."""
        return low + (high - low) * self.random()

    def happens(self, probability: float) -> bool:
        """True with this probability; nothing is drawn for 0."""
        return probability > 0 and self.random() < probability

    def choice(self, items: Sequence[_T]) -> _T:
        """One of them."""
        return items[self.below(len(items))]

    def weighted(self, weights: Mapping[_T, float]) -> _T:
        """One of the keys, each as often as its weight says next to the others."""
        point = self.random() * sum(weights.values())
        for item, weight in weights.items():
            point -= weight
            if point < 0:
                return item
        return next(iter(weights))  # rounding has left a little over

    def exponential(self, mean: float) -> float:
        """A time until something that happens once in `mean` on average."""
        return self._exponential(1 / mean)
