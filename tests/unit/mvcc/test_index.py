import gc
import random

from kvorum.mvcc.index import Index, build_index
from kvorum.mvcc.record import Record, encode
from kvorum.mvcc.revision import Revision, pack, to_key
from kvorum.mvcc.sortedkeys import FROM_KEY


def state_of(index: Index) -> tuple[object, ...]:
    return (
        index.live,
        index.history,
        list(index.keys.iterate(b"", FROM_KEY)),
        list(index.dead.iterate(b"", FROM_KEY)),
    )


def test_rebuilt_index_equals_the_one_that_grew() -> None:
    drawn = random.Random(7)  # noqa: TID251 - a fixed seed
    index = Index()
    records: list[tuple[bytes, bytes]] = []
    expected: dict[bytes, int] = {}
    owners: dict[bytes, int] = {}
    newest = Revision(0)
    for main in range(1, 500):
        key = b"%d" % drawn.randrange(40)
        newest = pack(main)
        previous = index.live.get(key)
        tombstone = previous is not None and drawn.random() < 0.4
        expiration = 0 if tombstone else drawn.randrange(2) * main
        if tombstone:
            index.remove(key, newest)
        else:
            index.put(key, newest, previous)
        expected[key] = expiration
        owners[key] = lease = 0 if tombstone else drawn.randrange(3) - 1
        record = Record(key, b"", 1, main, 1, lease, tombstone=tombstone, expiration=expiration)
        records.append((to_key(newest), encode(record)))
    rebuilt, expirations, leases, last = build_index(records)
    assert state_of(rebuilt) == state_of(index)
    assert expirations == {key: at for key, at in expected.items() if at}
    assert leases == {key: lease for key, lease in owners.items() if lease}
    assert last == newest


def test_nothing_per_key_is_seen_by_the_garbage_collector() -> None:
    gc.collect()
    before = len(gc.get_objects())
    index = Index()
    for number in range(3 * 20_000):
        key = b"%d" % (number % 20_000)
        index.put(key, pack(number), index.live.get(key))
    gc.collect()
    assert len(gc.get_objects()) - before < 1000
    assert not gc.is_tracked(index.live)
    assert not gc.is_tracked(index.history)


def test_range_at_finds_dead_keys_alive_then() -> None:
    index = Index()
    index.put(b"a", pack(2), None)
    index.put(b"b", pack(3), None)
    index.remove(b"a", pack(4))
    index.put(b"c", pack(5), None)
    assert index.range_at(b"", FROM_KEY, 1) == []
    assert index.range_at(b"", FROM_KEY, 3) == [pack(2), pack(3)]
    assert index.range_at(b"", FROM_KEY, 4) == [pack(3)]
    assert index.range_at(b"b", b"c", 9) == [pack(3)]
    index.compact(b"a", 4)
    assert not index.history
    assert len(index.dead) == 0
