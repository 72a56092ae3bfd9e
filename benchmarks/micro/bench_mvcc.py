"""The keyspace: 10,000 keys over a backend in memory."""

from itertools import cycle

from benchmarks.micro.fixture import Benchmark

from kvorum.apply.kv import KV
from kvorum.backend.memory import MemoryBackend
from kvorum.mvcc.lease import Lessor
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.mvcc.store import Store
from kvorum.v3.answers import TxnResponse
from kvorum.v3.commands import Compare, CompareResult, CompareTarget, Put, Range, Txn

KEYS = [b"/key%05d" % number for number in range(10_000)]
VALUE = b"v" * 64
KEYS_IN_TXN = 10
KEYS_IN_RANGE = 100


def _filled_store() -> Store:
    store = Store(MemoryBackend())
    store.restore()
    txn = store.write()
    for key in KEYS:
        txn.put(key, VALUE)
    txn.end()
    return store


def bench_put(benchmark: Benchmark) -> None:
    """A key that exists, as a revision of its own."""
    store, keys = _filled_store(), cycle(KEYS)

    def put() -> None:
        txn = store.write()
        txn.put(next(keys), VALUE)
        assert txn.end() is not None

    benchmark(put)


def bench_put_ten(benchmark: Benchmark) -> None:
    """Ten keys in one revision."""
    store, keys = _filled_store(), cycle(KEYS)

    def put() -> None:
        txn = store.write()
        for _ in range(KEYS_IN_TXN):
            txn.put(next(keys), VALUE)
        assert txn.end() is not None

    benchmark(put)


def bench_get(benchmark: Benchmark) -> None:
    """The newest record of a key, each in turn."""
    store, keys = _filled_store(), cycle(KEYS)

    def get() -> None:
        assert store.get(next(keys)) is not None

    benchmark(get)


def bench_range(benchmark: Benchmark) -> None:
    """A hundred records in the order of their keys."""
    store = _filled_store()

    def read() -> None:
        found = store.range(KEYS[500], KEYS[500 + KEYS_IN_RANGE])
        assert len(found.records) == KEYS_IN_RANGE

    benchmark(read)


def bench_count(benchmark: Benchmark) -> None:
    """How many keys there are, without reading them."""
    store = _filled_store()

    def count() -> None:
        assert store.range(b"\0", FROM_KEY, count_only=True).count == len(KEYS)

    benchmark(count)


def bench_compare_and_swap(benchmark: Benchmark) -> None:
    """A v3 transaction: one comparison, one put, one read."""
    store, keys = _filled_store(), cycle(KEYS)
    kv = KV(store, Lessor(store))

    def swap() -> None:
        key = next(keys)
        compare = Compare(key, CompareResult.EQUAL, CompareTarget.VALUE, value=VALUE)
        outcome = kv.txn(Txn([compare], [Put(key, VALUE), Range(key)], []))
        assert isinstance(outcome, TxnResponse)
        assert outcome.succeeded
        kv.take_changes()

    benchmark(swap)
