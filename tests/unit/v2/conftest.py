"""A tree over a store in memory, and what tests ask of it."""

import pytest

from kvorum.backend.memory import MemoryBackend
from kvorum.mvcc.store import Store
from kvorum.v2.tree import Tree


@pytest.fixture
def store() -> Store:
    """A store of a fresh 0.4 machine: the first write has index 3."""
    store = Store(MemoryBackend())
    store.restore()
    store.revision = 2
    return store


@pytest.fixture
def tree(store: Store) -> Tree:
    """A tree over it."""
    return Tree(store)
