"""Two ends of TLS against each other in memory, the bytes between them cut in any way."""

import asyncio
import ssl
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.net.conftest import tls_files, wait_until

from kvorum.net.tls import make_caller_context, server_credentials
from kvorum.net.tlsstream import TlsProtocol

SERVER = server_credentials(tls_files("server", "ca")).current()
CALLER = make_caller_context(tls_files("client", "ca"))
DISTRUSTING = make_caller_context(tls_files("client", "other-ca"))


class Inner(asyncio.Protocol):
    """Remembers what it is told."""

    def __init__(self, *, keeps_open: bool = False) -> None:
        self.transport: asyncio.Transport
        self.told: list[str] = []
        self.received = b""
        self.error: Exception | None = None
        self._keeps_open = keeps_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self._keeps_open

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self.told.append("lost")


class Raw(asyncio.Transport):
    """Keeps what is written until the test carries it over."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.writes: list[bytes] = []
        self.calls: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.calls.append("eof")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.calls

    def is_reading(self) -> bool:
        return "pause" not in self.calls

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.writes))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.calls.append(f"limits {high} {low}")


class End(TlsProtocol):
    """One end, of either side."""

    def __init__(self, context: ssl.SSLContext, inner: Inner) -> None:
        super().__init__(inner)
        self.context = context
        self.outcome: list[object] = []
        self.connection_made(Raw())

    @property
    def wire(self) -> Raw:
        assert isinstance(self.raw, Raw)
        return self.raw

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        is_server = self.context is SERVER
        name = None if is_server else "localhost"
        return self.context.wrap_bio(
            incoming, outgoing, server_side=is_server, server_hostname=name
        )

    def opened(self) -> None:
        self.outcome.append("opened")

    def failed(self, error: Exception | None) -> None:
        self.outcome.append(error)
        self.raw.write(self.take_alert())


class Pair:
    """A caller and a server with a wire between them."""

    def __init__(self, context: ssl.SSLContext = CALLER, *, keeps_open: bool = False) -> None:
        self.caller_inner, self.server_inner = Inner(), Inner(keeps_open=keeps_open)
        self.caller = End(context, self.caller_inner)
        self.server = End(SERVER, self.server_inner)
        self.caller.shake_hands()

    def carry(self, piece_bytes: int = 1 << 20) -> None:
        """Carries bytes over until there are none."""
        while self.caller.wire.writes or self.server.wire.writes:
            for source, target in ((self.caller, self.server), (self.server, self.caller)):
                data = b"".join(source.wire.writes)
                source.wire.writes.clear()
                for start in range(0, len(data), piece_bytes):
                    target.data_received(data[start : start + piece_bytes])


def opened_pair(*, keeps_open: bool = False) -> Pair:
    pair = Pair(keeps_open=keeps_open)
    pair.carry()
    assert pair.caller.outcome == pair.server.outcome == ["opened"]
    return pair


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3000), st.lists(st.binary(min_size=1, max_size=40_000), max_size=5))
def test_bytes_arrive_however_they_are_cut(piece_bytes: int, texts: list[bytes]) -> None:
    pair = Pair()
    pair.carry(piece_bytes)
    for text in texts:
        pair.caller_inner.transport.write(text)
        pair.server_inner.transport.write(text[::-1])
    pair.carry(piece_bytes)
    assert pair.server_inner.received == b"".join(texts)
    assert pair.caller_inner.received == b"".join(text[::-1] for text in texts)


def test_one_write_is_one_write_below() -> None:
    pair = opened_pair()
    pair.caller_inner.transport.write(b"a" * 100_000)
    assert len(pair.caller.wire.writes) == 1
    pair.caller_inner.transport.write(b"")
    assert len(pair.caller.wire.writes) == 1


def test_what_follows_the_handshake_at_once_is_passed_on() -> None:
    pair = Pair()
    while not pair.caller.outcome:
        for source, target in ((pair.caller, pair.server), (pair.server, pair.caller)):
            data = b"".join(source.wire.writes)
            source.wire.writes.clear()
            target.data_received(data)
    pair.caller_inner.transport.write(b"early")
    pair.carry()
    assert (pair.server_inner.told, pair.server_inner.received) == (["made"], b"early")


def test_a_fault_in_the_handshake_is_told_to_both_sides() -> None:
    pair = Pair(DISTRUSTING)
    pair.carry()
    (error,) = pair.caller.outcome
    assert isinstance(error, ssl.SSLCertVerificationError)
    (told,) = pair.server.outcome
    assert isinstance(told, ssl.SSLError)
    assert told.reason == "TLSV1_ALERT_UNKNOWN_CA"
    pair.caller.connection_lost(None)
    assert pair.caller_inner.told == pair.server_inner.told == []
    assert len(pair.caller.outcome) == 1


def test_a_caller_that_goes_away_in_the_handshake_is_told_of() -> None:
    pair = Pair()
    assert not pair.server.eof_received()
    pair.server.connection_lost(None)
    assert pair.server.outcome == [None]
    assert pair.server_inner.told == []


def test_bytes_that_are_no_tls_end_an_open_connection() -> None:
    pair = opened_pair()
    pair.server.data_received(b"GET / HTTP/1.1\r\n\r\n")
    assert pair.server.wire.calls == ["close"]
    pair.carry()  # the alert
    assert pair.caller.wire.calls == ["close"]
    pair.server.connection_lost(None)
    assert isinstance(pair.server_inner.error, ssl.SSLError)
    assert pair.server_inner.told == ["made", "lost"]


def test_close_is_told_to_the_other_side() -> None:
    pair = opened_pair()
    pair.caller_inner.transport.write(b"last")
    pair.caller_inner.transport.close()
    pair.caller_inner.transport.write(b"too late")
    assert pair.caller.wire.calls == ["close"]
    pair.carry()
    assert pair.server_inner.received == b"last"
    assert pair.server_inner.told == ["made", "eof"]
    assert pair.server.wire.calls == ["close"]


def test_a_half_closed_connection_can_be_answered() -> None:
    pair = opened_pair(keeps_open=True)
    pair.caller_inner.transport.write_eof()
    assert pair.caller.wire.calls == ["eof"]
    pair.carry()
    assert pair.server.eof_received()
    assert (pair.server_inner.told, pair.server.wire.calls) == (["made", "eof"], [])
    pair.server_inner.transport.write(b"answer")
    assert pair.server.wire.writes


def test_an_end_without_a_goodbye_is_an_end() -> None:
    pair = opened_pair()
    assert not pair.server.eof_received()
    assert pair.server_inner.told == ["made", "eof"]


def test_another_protocol_takes_over() -> None:
    pair = opened_pair()
    other = Inner()
    pair.server_inner.transport.set_protocol(other)
    assert pair.server_inner.transport.get_protocol() is other
    pair.caller_inner.transport.write(b"frames")
    pair.carry()
    assert (other.received, pair.server_inner.received) == (b"frames", b"")
    pair.server.connection_lost(None)
    assert other.told == ["lost"]


def test_flow_control_is_the_networks() -> None:
    pair = opened_pair()
    transport = pair.server_inner.transport
    transport.pause_reading()
    assert not transport.is_reading()
    transport.resume_reading()
    transport.set_write_buffer_limits(2, 1)
    pair.server.pause_writing()
    pair.server.resume_writing()
    assert pair.server.wire.calls == ["pause", "resume", "limits 2 1"]
    assert pair.server_inner.told == ["made", "pause", "resume"]
    transport.write(b"a" * 1000)
    assert transport.get_write_buffer_size() > 1000
    assert transport.get_extra_info("peername") == ("192.0.2.1", 1)
    assert transport.get_extra_info("ssl_object") is pair.server.tls
    assert not transport.is_closing()
    transport.abort()
    assert pair.server.wire.calls[-1] == "abort"


def test_a_handshake_has_its_time() -> None:
    async def main() -> None:
        pair = Pair()
        pair.server.start_timer(0)
        pair.caller.start_timer(0)
        pair.caller.stop_timer()
        await wait_until(lambda: pair.server.wire.calls == ["abort"])
        assert pair.caller.wire.calls == []

    asyncio.run(main())


@pytest.mark.parametrize("is_open", [False, True])
def test_a_lost_connection_refers_to_nobody(is_open: bool) -> None:
    pair = opened_pair() if is_open else Pair()
    inner = pair.server_inner
    pair.server.connection_lost(None)
    pair.server.data_received(b"late")
    assert pair.server.inner is not inner
