"""Callers that are silent, talk nonsense, or speak out of turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.unit.peer.conftest import (
    CLUSTER,
    Member,
    Run,
    append,
    heartbeat,
    members,
    snapshot,
    storage_error,
    wait_until,
)

from kvorum.errors import RemoteProtocolError
from kvorum.peer import handshake
from kvorum.peer.codec import FrameKind, encode_frame, encode_messages
from kvorum.peer.incoming import Incoming

STREAM, SNAPSHOT = handshake.STREAM_PATH, handshake.SNAPSHOT_PATH


class Caller:
    """A connection to a member that has been let in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    def leave(self) -> None:
        self._writer.close()

    async def listen(self) -> bytes:
        try:
            return await self._reader.read()
        except ConnectionResetError:
            return b""


@asynccontextmanager
async def let_in(member: Member, path: str) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", member.port)
    writer.write(handshake.request(member.url, path, CLUSTER, 9, member.id))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (STREAM, b"\xff" * 40),
        (STREAM, encode_frame(FrameKind.MESSAGES, b"junk")),
        (STREAM, encode_frame(FrameKind.CHUNK, b"x")),
        (SNAPSHOT, encode_frame(FrameKind.CHUNK, b"x")),
        (SNAPSHOT, encode_frame(FrameKind.END)),
        (SNAPSHOT, encode_messages([])),
        (SNAPSHOT, encode_messages([heartbeat(1, 9)])),
        (SNAPSHOT, encode_messages([snapshot(1, 9)]) * 2),
        (SNAPSHOT, encode_messages([snapshot(1, 9)]) + encode_frame(FrameKind.DONE)),
    ],
)
def test_nonsense_is_hung_up_on(
    run: Run, path: str, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with members(1) as (one,), let_in(one, path) as caller:
            caller.say(said)
            assert await caller.listen() == b""
            assert not one.transport._incoming
            assert one.receiver.received == []
            assert all(installer.is_aborted for installer in one.receiver.installers)

    run(main())
    assert "m1: hung up on 9: " in caplog.text


@pytest.mark.parametrize("path", [STREAM, SNAPSHOT])
def test_silent_caller_is_hung_up_on(run: Run, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Incoming, *Incoming.__subclasses__()):
        monkeypatch.setattr(kind, "dead_seconds", 0.1)

    async def main() -> None:
        async with members(1) as (one,), let_in(one, path) as caller:
            assert await caller.listen() == b""
            assert not one.transport._incoming

    run(main())


def test_sign_of_life_is_not_a_message(run: Run) -> None:
    async def main() -> None:
        async with members(1) as (one,), let_in(one, STREAM) as caller:
            before = one.transport.last_contact(9)
            caller.say(encode_messages([]))
            await wait_until(lambda: one.transport.last_contact(9) > before)
            caller.say(encode_messages([append(1, 9, b"x")]))
            await wait_until(lambda: one.receiver.received)
            assert one.receiver.received == [append(1, 9, b"x")]

    run(main())


def test_caller_that_leaves_leaves_half_an_image_behind(run: Run) -> None:
    async def main() -> None:
        async with members(1) as (one,), let_in(one, SNAPSHOT) as caller:
            caller.say(encode_messages([snapshot(1, 9)]) + encode_frame(FrameKind.CHUNK, b"x"))
            await wait_until(lambda: one.receiver.installers)
            await wait_until(lambda: one.receiver.installers[0].chunks)
            caller.leave()
            await wait_until(lambda: one.receiver.installers[0].is_aborted)
            assert one.transport._transfer_in is None

    run(main())


@pytest.mark.parametrize("failure", [RemoteProtocolError("malformed piece"), storage_error()])
def test_image_that_cannot_be_taken_is_broken_off(
    run: Run, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with members(1) as (one,), let_in(one, SNAPSHOT) as caller:
            one.receiver.installer_failure = failure
            caller.say(encode_messages([snapshot(1, 9)]) + encode_frame(FrameKind.CHUNK, b"x"))
            assert await caller.listen() == b""
            assert one.receiver.installers[0].is_aborted
            assert one.receiver.images == []

    run(main())
    assert str(failure) in caplog.text
