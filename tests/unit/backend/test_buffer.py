"""What `Backend` promises, asked of every implementation."""

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvorum.backend import buffer
from kvorum.backend.base import Table
from kvorum.backend.buffer import decode_applied, encode_applied
from kvorum.backend.lmdbenv import LmdbBackend
from kvorum.backend.memory import MemoryBackend
from kvorum.errors import RemoteProtocolError

META, RECORDS, MEMBERS = Table.META, Table.RECORDS, Table.MEMBERS

AnyBackend: TypeAlias = MemoryBackend | LmdbBackend


class Loop:
    """Stands for the owning thread's loop: runs what was posted when told to."""

    def __init__(self) -> None:
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def post(self, callback: Callable[[], None]) -> None:
        self._posted.put(callback)

    def run_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._posted.get(timeout=30)()

    def run_ready(self) -> None:
        while not self._posted.empty():
            self._posted.get()()


class Rig:
    """One kind of backend: how to open, reopen and settle it."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind = kind
        self.loop = Loop()
        self._path = path
        self._count = 0
        self._opened: list[AnyBackend] = []

    def open(self, name: str = "db") -> AnyBackend:
        backend = (
            MemoryBackend()
            if self.kind == "memory"
            else LmdbBackend.open(self._path / name, self.loop.post)
        )
        self._opened.append(backend)
        return backend

    def reopen(self, backend: AnyBackend) -> AnyBackend:
        """Closed and opened again: only what is on disk is left."""
        backend.close()
        if isinstance(backend, MemoryBackend):
            backend.crash()
            return backend
        self._opened.remove(backend)
        return self.open()

    def settle(self, backend: AnyBackend) -> None:
        """Waits until no commit runs."""
        self.loop.run_until(lambda: backend.durable_index == backend.applied[0])
        self.loop.run_ready()

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()


@pytest.fixture(params=["memory", "lmdb"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(request.param, tmp_path)
    yield rig
    rig.close()


def test_fresh_backend_stands_for_nothing(rig: Rig) -> None:
    backend = rig.open()
    assert backend.applied == (0, 0)
    assert backend.durable_index == 0
    assert backend.get(RECORDS, b"a") is None
    assert list(backend.scan(RECORDS, b"")) == []
    assert backend.commit() is False


def test_read_sees_a_write_before_any_commit(rig: Rig) -> None:
    backend = rig.open()
    backend.put(RECORDS, b"a", b"1")
    backend.put(META, b"a", b"other table")
    assert backend.get(RECORDS, b"a") == b"1"
    backend.delete(RECORDS, b"a")
    assert backend.get(RECORDS, b"a") is None
    assert backend.get(META, b"a") == b"other table"


def test_delete_hides_what_is_stored(rig: Rig) -> None:
    backend = rig.open()
    backend.put(RECORDS, b"a", b"1")
    backend.put(RECORDS, b"b", b"2")
    backend.flush()
    backend.delete(RECORDS, b"a")
    assert backend.get(RECORDS, b"a") is None
    assert list(backend.scan(RECORDS, b"")) == [(b"b", b"2")]
    backend.flush()
    assert backend.get(RECORDS, b"a") is None


def test_scan_is_a_half_open_range(rig: Rig) -> None:
    backend = rig.open()
    for key in (b"a", b"b", b"c", b"d"):
        backend.put(RECORDS, key, key)
    backend.put(META, b"b2", b"")
    for _ in range(2):
        assert [key for key, _ in backend.scan(RECORDS, b"b", b"d")] == [b"b", b"c"]
        assert [key for key, _ in backend.scan(RECORDS, b"bb")] == [b"c", b"d"]
        assert list(backend.scan(RECORDS, b"x", b"z")) == []
        assert list(backend.scan(RECORDS, b"c", b"b")) == []
        backend.flush()


def test_scan_survives_a_commit_while_in_use(rig: Rig) -> None:
    backend = rig.open()
    for number in range(100):
        backend.put(RECORDS, b"%03d" % number, b"")
    backend.flush()
    scan = backend.scan(RECORDS, b"")
    seen = [next(scan)[0]]
    backend.delete(RECORDS, b"050")
    backend.put(RECORDS, b"new", b"")
    backend.flush()
    seen += [key for key, _ in scan]
    assert set(seen) >= {b"%03d" % number for number in range(100)} - {b"050"}
    assert seen == sorted(seen)


def test_commit_calls_back_once_durable(rig: Rig) -> None:
    backend = rig.open()
    backend.put(RECORDS, b"a", b"1")
    backend.set_applied(7, 3)
    assert backend.applied == (7, 3)
    seen: list[int] = []
    assert backend.commit(lambda: seen.append(backend.durable_index)) is True
    rig.settle(backend)
    assert seen == [7]
    assert backend.commit() is False
    assert backend.get(RECORDS, b"a") == b"1"


def test_applied_index_alone_is_news(rig: Rig) -> None:
    backend = rig.open()
    backend.set_applied(1, 1)
    assert backend.commit() is True
    rig.settle(backend)
    assert backend.durable_index == 1


def test_what_was_flushed_survives_a_restart(rig: Rig) -> None:
    backend = rig.open()
    for number in range(1000):
        backend.put(RECORDS, number.to_bytes(12, "big"), b"x" * number)
    backend.put(META, b"name", b"value")
    backend.set_applied(9, 2)
    backend.flush()
    assert backend.durable_index == 9
    for number in range(0, 1000, 2):
        backend.delete(RECORDS, number.to_bytes(12, "big"))
    backend.set_applied(10, 2)
    backend = rig.reopen(backend)
    assert backend.applied == (10, 2)
    assert backend.durable_index == 10
    assert [int.from_bytes(key, "big") for key, _ in backend.scan(RECORDS, b"")] == list(
        range(1, 1000, 2)
    )
    assert backend.get(RECORDS, (999).to_bytes(12, "big")) == b"x" * 999
    assert backend.get(META, b"name") == b"value"


def test_keys_out_of_order_are_stored_in_order(rig: Rig) -> None:
    backend = rig.open()
    backend.put(RECORDS, b"m", b"1")
    backend.flush()
    for key in (b"z", b"a", b"n"):
        backend.put(RECORDS, key, b"2")
    backend.flush()
    assert [key for key, _ in backend.scan(RECORDS, b"")] == [b"a", b"m", b"n", b"z"]


def test_image_copies_every_table_and_the_applied_index(rig: Rig) -> None:
    source = rig.open()
    for number in range(300):
        source.put(RECORDS, b"%04d" % number, b"v" * 50)
    source.put(MEMBERS, b"m", b"member")
    source.put(META, b"name", b"value")
    source.set_applied(41, 5)
    view = source.view()
    source.put(RECORDS, b"later", b"")
    source.set_applied(42, 5)
    source.flush()
    assert view.applied_index == 41
    chunks = list(view.chunks(1000))
    view.close()
    view.close()
    assert len(chunks) > 10

    target = rig.open("other")
    target.put(RECORDS, b"old", b"old")
    target.set_applied(3, 1)
    target.flush()
    target.put(RECORDS, b"older", b"pending")
    installer = target.installer()
    image = b"".join(chunks)
    for at in range(0, len(image), 333):
        installer.write(image[at : at + 333])
    assert installer.prepare() == (41, 5)
    assert target.get(RECORDS, b"old") == b"old"
    installer.finish()
    assert target.applied == (41, 5)
    assert target.durable_index == 41
    assert len(list(target.scan(RECORDS, b""))) == 300
    assert target.get(RECORDS, b"old") is None
    assert target.get(RECORDS, b"older") is None
    assert target.get(MEMBERS, b"m") == b"member"
    assert target.get(META, b"name") == b"value"
    target.put(RECORDS, b"new", b"1")
    target.set_applied(42, 5)
    target.flush()
    assert target.get(RECORDS, b"new") == b"1"


def test_incomplete_image_changes_nothing(rig: Rig) -> None:
    backend = rig.open()
    backend.put(RECORDS, b"a", b"1")
    backend.set_applied(1, 1)
    view = backend.view()
    *chunks, _ = view.chunks(1)
    view.close()
    installer = backend.installer()
    for chunk in chunks:
        installer.write(chunk)
    with pytest.raises(RemoteProtocolError):
        installer.prepare()
    installer.abort()
    assert backend.get(RECORDS, b"a") == b"1"
    assert backend.applied == (1, 1)


def test_an_image_that_nobody_wants_after_all_changes_nothing(rig: Rig) -> None:
    source = rig.open("source")
    source.put(RECORDS, b"a", b"other")
    source.set_applied(9, 2)
    view = source.view()
    backend = rig.open()
    backend.put(RECORDS, b"a", b"1")
    backend.set_applied(1, 1)
    installer = backend.installer()
    for chunk in view.chunks(1000):
        installer.write(chunk)
    view.close()
    assert installer.prepare() == (9, 2)
    installer.abort()
    assert backend.get(RECORDS, b"a") == b"1"
    assert backend.applied == (1, 1)


def test_size_grows_with_the_content(rig: Rig) -> None:
    backend = rig.open()
    before = backend.size_bytes()
    backend.put(RECORDS, b"a", b"x" * 100_000)
    backend.flush()
    assert backend.size_bytes() >= before + 100_000


def test_lagging_commit_is_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "PENDING_RECORDS_MAX", 10)
    backend = rig.open()
    for index in range(1, 200):
        backend.put(RECORDS, b"%d" % index, b"")
        backend.set_applied(index, 1)
        backend.commit()
        assert index - backend.durable_index <= 22
    rig.loop.run_ready()


def test_applied_survives_its_encoding() -> None:
    assert decode_applied(encode_applied(5, 9)) == (5, 9)
    assert decode_applied(None) == (0, 0)


KEYS = st.sampled_from([b"", b"a", b"aa", b"b", b"c\xff", b"\xff"]).filter(bool)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=3)),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("commit")),
        st.tuples(st.just("flush")),
        st.tuples(st.just("scan"), KEYS, st.none() | KEYS),
    ),
    max_size=30,
)


@given(steps=STEPS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_reads_match_a_dictionary(rig: Rig, steps: list[tuple[Any, ...]]) -> None:
    backend = rig.open()
    for key, _ in list(backend.scan(RECORDS, b"")):
        backend.delete(RECORDS, key)
    model: dict[bytes, bytes] = {}
    for name, *arguments in steps:
        if name == "put":
            backend.put(RECORDS, *arguments)
            model[arguments[0]] = arguments[1]
        elif name == "delete":
            backend.delete(RECORDS, *arguments)
            model.pop(arguments[0], None)
        elif name == "commit":
            backend.set_applied(backend.applied[0] + 1, 1)
            backend.commit()
        elif name == "flush":
            backend.flush()
        else:
            start, end = arguments
            assert list(backend.scan(RECORDS, start, end)) == sorted(
                (key, value)
                for key, value in model.items()
                if key >= start and (end is None or key < end)
            )
        assert all(backend.get(RECORDS, key) == model.get(key) for key in (b"a", b"b", b"\xff"))
    assert list(backend.scan(RECORDS, b"")) == sorted(model.items())
    rig.close()
