"""Calls and links against a listener that plays the other side by hand."""

import asyncio
import logging
import socket
from typing import Self

import pytest
from tests.unit.peer.conftest import Run, wait_until

from kvorum.clock import SystemClock
from kvorum.errors import RemoteProtocolError, UnavailableError
from kvorum.peer import handshake, stream
from kvorum.peer.codec import FrameKind, encode_frame, encode_messages
from kvorum.peer.stream import Call, Link, dial

ACCEPTED = handshake.accept_head() + b"\r\n"
REQUEST = handshake.request("http://h:1", handshake.STREAM_PATH, 1, 2, 3)


class OtherSide:
    """Accepts connections and says the given bytes to each."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.heard = b""
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.heard += await reader.readuntil(b"\r\n\r\n")
        writer.write(self.said)
        while data := await reader.read(1 << 16):
            self.heard += data


def test_call_is_accepted_and_done(run: Run) -> None:
    async def main() -> None:
        async with OtherSide(ACCEPTED + encode_frame(FrameKind.DONE)) as other:
            call = Call(REQUEST)
            await dial(other.url, call, None)
            assert await call.wait_done()
            assert other.heard == REQUEST
            call.close()

    run(main())


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"HTTP/1.1 412 No\r\nContent-Length: 7\r\n\r\nbecause", "refused: because"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "refused: 404"),
        (b"\x00\x01\x02\x03", "malformed response"),
    ],
)
def test_call_that_is_not_accepted_says_why(run: Run, said: bytes, fault: str) -> None:
    async def main() -> None:
        async with OtherSide(said) as other:
            with pytest.raises(RemoteProtocolError, match=fault):
                await dial(other.url, Call(REQUEST), None)

    run(main())


def test_call_that_is_hung_up_on_has_failed(run: Run) -> None:
    async def main() -> None:
        async with OtherSide(b"") as other:
            dialing = asyncio.ensure_future(dial(other.url, Call(REQUEST), None))
            await wait_until(lambda: other.heard)
            other.writers[0].close()
            with pytest.raises(ConnectionResetError, match="hung up"):
                await dialing

    run(main())


def test_call_that_is_not_answered_in_time_has_failed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CONNECT_SECONDS", 0.05)

    async def main() -> None:
        async with OtherSide(b"") as other:
            call = Call(REQUEST)
            with pytest.raises(TimeoutError):
                await dial(other.url, call, None)
            call.close()

    run(main())


def test_url_without_an_address_has_failed(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(UnavailableError):
            await dial("http://", Call(REQUEST), None)

    run(main())


def test_damaged_frame_ends_the_call(run: Run) -> None:
    async def main() -> None:
        async with OtherSide(ACCEPTED + b"\xff" * 20) as other:
            call = Call(REQUEST)
            await dial(other.url, call, None)
            assert not await call.wait_done()
            assert not call.write(b"nobody hears this")
            with pytest.raises(ConnectionResetError):
                await call.write_in_turn(b"nor this")

    run(main())


def test_link_shows_that_it_is_alive(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "ALIVE_SECONDS", 0.01)
    alive = encode_messages([])

    async def main() -> None:
        async with OtherSide(ACCEPTED) as other:
            link = Link(other.url, REQUEST, SystemClock(), lambda: None, None)
            await wait_until(lambda: other.heard.count(alive) >= 3)
            link.close()

    run(main())


def test_dead_peer_is_given_up_by_tcp(run: Run) -> None:
    async def main() -> None:
        async with OtherSide(ACCEPTED) as other:
            call = Call(REQUEST, dead_seconds=7)
            await dial(other.url, call, None)
            assert call._transport is not None
            sock = call._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            call.close()

    run(main())


def test_link_logs_a_fault_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    refusal = b"HTTP/1.1 412 No\r\nContent-Length: 2\r\n\r\nno"

    async def main() -> None:
        async with OtherSide(refusal) as other:
            link = Link(other.url, REQUEST, SystemClock(), lambda: None, None)
            while len(other.writers) < 4:
                link.call_now()
                await asyncio.sleep(0)
            link.close()

    with caplog.at_level(logging.INFO, "kvorum.peer"):
        run(main())
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["no"]
