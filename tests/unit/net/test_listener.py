"""Binding, the date, and ends that let answers out."""

import asyncio
import errno
import locale
import resource
import socket

import pytest
from tests.unit.net.conftest import Run, connected, listening, wait_until

from kvorum.net.connection import Limits
from kvorum.net.listener import FILES_RESERVED, Listener, bind, format_date_line, serve
from kvorum.protocol.exchange import Exchange

OK = b"HTTP/1.1 200 OK\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


def answer(exchange: Exchange) -> None:
    exchange.respond(OK, exchange.remote.encode())


class FixedClock:
    def monotonic(self) -> float:
        return 0.0

    def wall_ns(self) -> int:
        return 784111777 * 10**9

    def random_below(self, bound: int) -> int:
        return bound - 1


@pytest.mark.parametrize(
    ("host", "target", "remote"),
    [
        ("127.0.0.1", "127.0.0.1", b"127.0.0.1:"),
        ("localhost", "127.0.0.1", b"127.0.0.1:"),
        ("0.0.0.0", "127.0.0.1", b"127.0.0.1:"),
        ("", "127.0.0.1", b"127.0.0.1:"),
        ("", "::1", b"[::1]:"),
        ("::1", "::1", b"[::1]:"),
    ],
)
def test_bound_address_answers(run: Run, host: str, target: str, remote: bytes) -> None:
    if ":" in target and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")

    async def main() -> None:
        async with (
            listening(answer, host=host) as listener,
            connected(listener, target) as client,
        ):
            client.send(GET)
            status, body = await client.read_answer()
            assert status == 200
            assert body.startswith(remote)

    run(main())


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1:"), ("", ":")])
def test_busy_port_is_named(run: Run, host: str, shown: str) -> None:
    async def main() -> None:
        async with listening(answer) as listener:
            with pytest.raises(OSError, match="in use") as caught:
                await serve(answer, host, listener.port)
            assert caught.value.errno == errno.EADDRINUSE
            assert caught.value.filename == f"{shown}{listener.port}"

    run(main())


def test_port_that_is_taken_after_binding_is_named(run: Run) -> None:
    async def main() -> None:
        first = bind("127.0.0.1", 0)
        port = first.getsockname()[1]
        second = bind("127.0.0.1", port)
        async with await _started(first):
            with pytest.raises(OSError, match="in use") as caught:
                await _started(second)
            assert caught.value.filename == f"127.0.0.1:{port}"

    run(main())


class _Closing:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    async def __aenter__(self) -> Listener:
        return self._listener

    async def __aexit__(self, *_: object) -> None:
        await self._listener.close()


async def _started(sock: socket.socket) -> _Closing:
    listener = Listener(sock, answer, Limits(), FixedClock())
    await listener.start()
    return _Closing(listener)


def test_address_that_is_not_here_is_named() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1:4001") as caught:
        bind("192.0.2.1", 4001)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_nobody_connects_before_the_start(run: Run) -> None:
    async def main() -> None:
        sock = bind("127.0.0.1", 0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*sock.getsockname())
        sock.close()

    run(main())


def test_clients_leave_file_descriptors_to_others(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (FILES_RESERVED + 1, -1))

    async def main() -> None:
        async with listening(answer) as listener, connected(listener):
            await wait_until(lambda: listener.connection_count == 1)
            async with connected(listener) as second:
                assert (await second.read_answer())[0] == 503

    run(main())


def test_answers_carry_the_date(run: Run) -> None:
    async def main() -> None:
        listener = await serve(answer, "127.0.0.1", 0, clock=FixedClock())
        async with connected(listener) as client:
            client.send(GET)
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" in head
        await listener.close()

    run(main())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
        (951782399, b"Mon, 28 Feb 2000 23:59:59 GMT"),
        (4102444799, b"Thu, 31 Dec 2099 23:59:59 GMT"),
    ],
)
def test_date_line(seconds: int, text: bytes) -> None:
    assert locale.setlocale(locale.LC_TIME)
    assert format_date_line(seconds) == b"Date: " + text + b"\r\n"


def test_close_lets_answers_out_and_ends_waits(run: Run) -> None:
    async def main() -> None:
        waiting: list[Exchange] = []
        left: list[str] = []
        listener = await serve(waiting.append, "127.0.0.1", 0)
        async with (
            connected(listener) as idle,
            connected(listener) as due,
            connected(listener) as watching,
        ):
            due.send(GET)
            await wait_until(lambda: len(waiting) == 1)
            watching.send(GET)
            await wait_until(lambda: len(waiting) == 2)
            waiting[1].on_close = lambda: left.append("left")
            closing = asyncio.ensure_future(listener.close(grace_seconds=5))
            assert await idle.read_to_end() == b""
            assert await watching.read_to_end() == b""
            assert left == ["left"]
            assert not closing.done()
            waiting[0].respond(OK, b"late")
            assert (await due.read_to_end()).endswith(b"late")
            await closing
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", listener.port)

    run(main())


def test_close_drops_what_the_grace_does_not_cover(run: Run) -> None:
    async def main() -> None:
        waiting: list[Exchange] = []
        listener = await serve(waiting.append, "127.0.0.1", 0)
        async with connected(listener) as client:
            client.send(GET)
            await wait_until(lambda: waiting)
            await listener.close(grace_seconds=0.01)
            assert not waiting[0].is_open
            assert await client.read_to_end() == b""

    run(main())


@pytest.mark.usefixtures("_both_wires")
def test_another_handler_takes_over(run: Run) -> None:
    asked: list[Exchange] = []

    def answer_other(exchange: Exchange) -> None:
        exchange.respond(OK, b"other")

    async def main() -> None:
        async with listening(asked.append) as listener, connected(listener) as due:
            due.send(GET)
            await wait_until(lambda: asked)
            async with connected(listener) as idle:
                replacing = asyncio.ensure_future(listener.replace(answer_other, 5))
                assert await idle.read_to_end() == b""
                async with connected(listener) as new:
                    new.send(GET)
                    assert (await new.read_answer())[1] == b"other"
                asked[0].respond(OK, b"late")
                assert (await due.read_answer())[1] == b"late"
                await replacing
                assert listener.connection_count <= 1

    run(main())


def test_who_is_answered_too_late_for_another_handler_is_dropped(run: Run) -> None:
    asked: list[Exchange] = []

    async def main() -> None:
        async with listening(asked.append) as listener, connected(listener) as due:
            due.send(GET)
            await wait_until(lambda: asked)
            await listener.replace(answer, 0.01)
            assert await due.read_to_end() == b""

    run(main())
