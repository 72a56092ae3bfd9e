"""Connections over real sockets: order, limits, silence, pressure and ends."""

import asyncio
import gc
import logging
import socket
from contextlib import suppress

import pytest
from tests.unit.net.conftest import Client, Run, connected, listening, wait_until

from kvorum.net import connection as connection_module
from kvorum.net.connection import Connection, Limits
from kvorum.protocol.exchange import Exchange
from kvorum.protocol.http1 import UNANSWERED_MAX, Http1Connection

pytestmark = pytest.mark.usefixtures("_both_wires")

OK = b"HTTP/1.1 200 OK\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


def echo(exchange: Exchange) -> None:
    exchange.respond(OK, exchange.target + b" " + exchange.body)


def test_requests_are_answered_on_one_connection(run: Run) -> None:
    async def main() -> None:
        async with listening(echo) as listener, connected(listener) as client:
            client.send(GET)
            assert await client.read_answer() == (200, b"/a ")
            client.send(b"PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")
            client.send(b"xyz" + GET)
            assert await client.read_answer() == (200, b"/b xyz")
            assert await client.read_answer() == (200, b"/a ")

    run(main())


def test_answers_given_later_in_any_order_leave_in_order(run: Run) -> None:
    async def main() -> None:
        waiting: list[Exchange] = []
        async with listening(waiting.append) as listener, connected(listener) as client:
            client.send(GET * 3)
            await wait_until(lambda: len(waiting) == 3)
            for number in (2, 0, 1):
                waiting[number].respond(OK, b"%d" % number)
            assert [await client.read_answer() for _ in range(3)] == [
                (200, b"0"),
                (200, b"1"),
                (200, b"2"),
            ]

    run(main())


def test_what_a_turn_answers_leaves_in_one_write(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []

    class CountingConnection(connection_module.Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self._transport = CountingTransport(transport)  # type: ignore[assignment]

    class CountingTransport:
        def __init__(self, transport: asyncio.BaseTransport) -> None:
            self._transport = transport

        def write(self, data: bytes) -> None:
            writes.append(data)
            self._transport.write(data)  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self._transport, name)

    async def main() -> None:
        waiting: list[Exchange] = []
        async with listening(waiting.append) as listener, connected(listener) as client:
            client.send(GET * 5)
            await wait_until(lambda: len(waiting) == 5)
            for exchange in waiting:
                exchange.begin(OK)
                exchange.end()
            assert not writes
            await client.reader.readuntil(b"0\r\n\r\n")
            assert len(writes) == 1

    monkeypatch.setattr("kvorum.net.listener.Connection", CountingConnection)
    run(main())


def test_connection_that_is_cut_off_in_its_turn_costs_no_other_its_answer(run: Run) -> None:
    async def main() -> None:
        waiting: list[Exchange] = []
        async with (
            listening(waiting.append) as listener,
            connected(listener) as cut_off,
            connected(listener) as other,
        ):
            cut_off.send(GET)
            await wait_until(lambda: len(waiting) == 1)
            other.send(GET)
            await wait_until(lambda: len(waiting) == 2)
            for exchange in waiting:
                exchange.respond(OK, b"x")
            for connection in list(listener._connections._open):
                if connection._core.remote == waiting[0].remote:
                    connection.abort()
            assert await other.read_answer() == (200, b"x")

    run(main())


def test_garbage_is_refused_and_hung_up_on(run: Run) -> None:
    async def main() -> None:
        async with listening(echo) as listener, connected(listener) as client:
            client.send(b"\x16\x03\x01 garbage")
            answer = await client.read_to_end()
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert answer.endswith(b"\r\n\r\n400 Bad Request")

    run(main())


def test_refusal_arrives_although_the_client_goes_on_sending(run: Run) -> None:
    async def main() -> None:
        limits = Limits(body_bytes_max=10)
        async with listening(echo, limits) as listener, connected(listener) as client:
            client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n")
            client.send(b"x" * 4_000_000)
            assert (await client.read_answer())[0] == 413
            with suppress(ConnectionResetError):  # asyncio's TLS ends when the other side has
                await client.writer.drain()
            client.close()
            await wait_until(lambda: listener.connection_count == 0)

    run(main())


def test_refused_client_that_stays_is_dropped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "LINGER_SECONDS", 0.0)

    async def main() -> None:
        limits = Limits(read_timeout_seconds=0.2)
        async with listening(echo, limits) as listener, connected(listener) as client:
            client.send(b"nonsense\r\n")
            assert (await client.read_answer())[0] == 400
            await wait_until(lambda: listener.connection_count == 0)

    run(main())


def test_connections_over_the_limit_are_told(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with (
            listening(echo, Limits(connections_max=1)) as listener,
            connected(listener) as first,
        ):
            await wait_until(lambda: listener.connection_count == 1)
            for _ in range(3):
                async with connected(listener) as second:
                    second.send(GET)
                    assert await second.read_answer() == (
                        503,
                        b"503 Service Unavailable: too many connections",
                    )
                    assert await second.read_to_end() == b""
            first.send(GET)
            assert (await first.read_answer())[0] == 200

    with caplog.at_level(logging.WARNING, "kvorum.net"):
        run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "more than 1 connections: refusing others"
    ]


def test_connections_far_over_the_limit_are_dropped(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "REFUSALS_MAX", 0)

    async def main() -> None:
        async with (
            listening(echo, Limits(connections_max=1)) as listener,
            connected(listener),
        ):
            await wait_until(lambda: listener.connection_count == 1)
            with suppress(ConnectionResetError):
                async with connected(listener) as second:
                    assert await second.read_to_end() == b""
            await wait_until(lambda: listener.connection_count == 1)

    run(main())


@pytest.mark.parametrize("sent", [b"", GET[:20], GET + GET[:-1], b"PUT / HTTP/1.1\r\nHo"])
def test_silent_client_is_closed(run: Run, sent: bytes) -> None:
    async def main() -> None:
        limits = Limits(read_timeout_seconds=0.1)
        async with listening(echo, limits) as listener, connected(listener) as client:
            client.send(sent)
            answers = await client.read_to_end()
            assert answers.count(b"200 OK") == sent.count(GET)
            await wait_until(lambda: listener.connection_count == 0)

    run(main())


def test_client_that_waits_for_us_is_not_silent(run: Run) -> None:
    async def main() -> None:
        waiting: list[Exchange] = []
        limits = Limits(read_timeout_seconds=0.04)
        async with (
            listening(waiting.append, limits) as listener,
            connected(listener) as patient,
        ):
            patient.send(GET)
            for _ in range(4):
                async with connected(listener) as silent:
                    await silent.read_to_end()
            await wait_until(lambda: listener.connection_count == 1)
            waiting[0].respond(OK, b"at last")
            assert await patient.read_answer() == (200, b"at last")

    run(main())


def test_half_closed_client_is_answered(run: Run) -> None:
    async def main() -> None:
        waiting: list[Exchange] = []
        async with listening(waiting.append) as listener, connected(listener) as client:
            if not client.writer.can_write_eof():
                pytest.skip("asyncio's TLS clients cannot")
            client.send(GET)
            client.writer.write_eof()
            await wait_until(lambda: waiting)
            await wait_until(lambda: not waiting[0].keep_alive)
            waiting[0].respond(OK, b"still")
            assert (await client.read_to_end()).endswith(b"still")
            await wait_until(lambda: listener.connection_count == 0)

    run(main())


@pytest.mark.parametrize("is_abrupt", [False, True])
def test_waiting_handler_learns_that_its_client_left(run: Run, is_abrupt: bool) -> None:
    async def main() -> None:
        left: list[str] = []

        def wait(exchange: Exchange) -> None:
            exchange.begin(OK)
            exchange.on_close = lambda: left.append("left")

        async with listening(wait) as listener, connected(listener) as client:
            client.send(GET)
            await client.reader.readuntil(b"\r\n\r\n")
            if is_abrupt:
                found = client.writer.get_extra_info("socket")
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            await wait_until(lambda: left)
            await wait_until(lambda: listener.connection_count == 0)

    run(main())


async def _fill(client: Client, exchange: Exchange, piece: bytes) -> int:
    """Writes as long as the connection takes it; the client does not read meanwhile."""
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    written = 0
    while exchange.is_writable:
        exchange.write(piece)
        written += len(piece)
        await asyncio.sleep(0)
    return written


def test_client_that_does_not_read_holds_up_its_stream_only(run: Run) -> None:
    async def main() -> None:
        waiting: list[Exchange] = []
        async with listening(waiting.append) as listener, connected(listener) as client:
            client.send(GET)
            await wait_until(lambda: waiting)
            exchange = waiting[0]
            exchange.begin(OK)
            drained: list[bool] = []
            exchange.on_writable = lambda: drained.append(True)
            written = await _fill(client, exchange, b"x" * 65536)
            client.reader._transport.resume_reading()  # type: ignore[attr-defined]
            received = b""
            while not drained:
                received += await client.reader.read(1 << 20)
            assert exchange.is_writable
            exchange.end()
            while not received.endswith(b"\r\n0\r\n\r\n"):
                received += await client.reader.read(1 << 20)
            assert received.count(b"x" * 65536) == written // 65536

    run(main())


def test_client_that_never_reads_is_cut_off(run: Run) -> None:
    async def main() -> None:
        waiting: list[Exchange] = []
        limits = Limits(write_timeout_seconds=0.1)
        async with listening(waiting.append, limits) as listener, connected(listener) as client:
            client.send(GET)
            await wait_until(lambda: waiting)
            left: list[str] = []
            waiting[0].begin(OK)
            waiting[0].on_close = lambda: left.append("left")
            await _fill(client, waiting[0], b"x" * 65536)
            await wait_until(lambda: left)
            assert listener.connection_count == 0

    run(main())


def test_too_many_requests_under_way_stop_the_reading(run: Run) -> None:
    async def main() -> None:
        waiting: list[Exchange] = []
        async with listening(waiting.append) as listener, connected(listener) as client:
            client.send(GET * UNANSWERED_MAX)
            await wait_until(lambda: len(waiting) == UNANSWERED_MAX)
            client.send(GET)
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(waiting) == UNANSWERED_MAX
            for exchange in waiting:
                exchange.respond(OK, b"x")
            await wait_until(lambda: len(waiting) == UNANSWERED_MAX + 1)

    run(main())


def test_handler_that_fails_costs_one_answer(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    def fail(exchange: Exchange) -> None:
        raise ValueError(exchange.target)

    async def main() -> None:
        async with listening(fail) as listener, connected(listener) as client:
            client.send(GET)
            assert (await client.read_answer())[0] == 500
            assert await client.read_to_end() == b""

    run(main())
    assert "a bug: no answer to GET b'/a'" in caplog.text


def test_closed_connection_leaves_nothing_to_the_garbage_collector(run: Run) -> None:
    def alive() -> int:
        return sum(type(one) in (Connection, Http1Connection) for one in gc.get_objects())

    async def main() -> None:
        async with listening(echo) as listener:
            before = alive()
            for _ in range(5):
                async with connected(listener) as client:
                    client.send(GET)
                    await client.read_answer()
                await wait_until(lambda: listener.connection_count == 0)
            assert alive() <= before + 1

    gc.collect()
    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


class Other(asyncio.Protocol):
    """Takes a connection over."""

    def __init__(self) -> None:
        self.received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.write(b"welcome ")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.transport.write(data.upper())


def test_upgraded_connection_is_the_other_protocols(run: Run) -> None:
    async def main() -> None:
        other = Other()

        def upgrade(exchange: Exchange) -> None:
            exchange.upgrade(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n", other)

        async with listening(upgrade) as listener, connected(listener) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nab")
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert await client.reader.readexactly(10) == b"welcome AB"
            client.send(b"cd")
            assert await client.reader.readexactly(2) == b"CD"
            assert other.received == b"abcd"
            assert listener.connection_count == 0
            other.transport.close()

    run(main())


def test_protocol_that_fails_to_take_over_costs_no_other_its_answer(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raise ValueError(transport)

    async def main() -> None:
        waiting: list[Exchange] = []

        def handle(exchange: Exchange) -> None:
            if not exchange.can_upgrade:
                waiting.append(exchange)
                return
            exchange.upgrade(b"HTTP/1.1 101 Switching Protocols\r\n", Failing())
            waiting[0].respond(OK, b"x")

        async with (
            listening(handle) as listener,
            connected(listener) as failing,
            connected(listener) as other,
        ):
            other.send(GET)
            await wait_until(lambda: waiting)
            failing.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
            assert await other.read_answer() == (200, b"x")
            await wait_until(lambda: listener.connection_count == 1)

    run(main())
    assert "a bug: a connection is dropped" in caplog.text
