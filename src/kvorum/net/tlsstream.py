"""TLS between a plain transport and a protocol that knows nothing of it.

What for: both loops' own TLS drops the alert of a handshake that fails, so the other side would see
a broken connection instead of a reason; and it cannot look at bytes before TLS does. This is the
part of it that we need: both sides, over memory, on any transport.

Owns: the TLS object of one connection and the bytes on their way through it.

Rules:
    One write of the protocol is one write on the plain transport.
    Bytes that arrived are passed on whole: nothing is kept back while reading is paused.
    The protocol's connection is made when the handshake is done, and lost only if it was made.
    A fault sends its alert before the end. An end is told to the other side (close_notify), and
    not waited for.
    Half-closed connections work: after close_notify either side may still be written to.

The caller: subclasses say how the TLS object is made, and hear how the handshake went.
Source: RFC 8446, section 6.1.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import cast

RECORD_BYTES = 1 << 14
"""What a record holds at most (RFC 8446, section 5.1); one is read at a time."""


class TlsProtocol(asyncio.Protocol):
    """The protocol object of a plain transport that carries TLS.

    Attributes:
        inner: the protocol that sees what is inside; another may take over.
        transport: what it writes to.
        raw: the plain transport.
        tls: the state of TLS.
        is_deaf: what still comes is not listened to.
    """

    def __init__(self, inner: asyncio.Protocol) -> None:
        self.inner = inner
        self.transport = TlsTransport(self)
        self.raw: asyncio.Transport
        self.tls: ssl.SSLObject
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._error: Exception | None = None
        self._is_open = False
        self.is_deaf = False
        self._has_eof = False
        self._keeps_open = False
        self._timer: asyncio.TimerHandle | None = None

    # What a subclass says.

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """Makes the TLS object."""
        raise NotImplementedError

    def opened(self) -> None:
        """The handshake is done."""
        raise NotImplementedError

    def failed(self, error: Exception | None) -> None:
        """The handshake will not be done; None when the other side just went away."""
        raise NotImplementedError

    # What the plain transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open; the handshake may begin."""
        self.raw = cast("asyncio.Transport", transport)
        self.tls = self.wrap(self._incoming, self._outgoing)

    def data_received(self, data: bytes) -> None:
        """Goes on with the handshake, or passes on what is inside."""
        if self.is_deaf:
            return
        self._incoming.write(data)
        try:
            if self._is_open or self.shake_hands():
                self._deliver()
        except ssl.SSLError as error:
            self._fail(error)

    def eof_received(self) -> bool:
        """The other side sends no more."""
        if self._is_open and not self._has_eof:
            self._has_eof = True
            self._keeps_open = bool(self.inner.eof_received())
        return self._keeps_open

    def pause_writing(self) -> None:
        """The other side does not keep up."""
        if self._is_open:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        """The other side has caught up."""
        if self._is_open:
            self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.stop_timer()
        if self._is_open:
            self.inner.connection_lost(self._error or exc)
        elif self._error is None:
            self.failed(exc)
        # A closed connection is no work for the garbage collector.
        self.is_deaf = True
        self.inner = asyncio.Protocol()
        del self.transport

    # What subclasses and the inner transport call.

    def shake_hands(self) -> bool:
        """Goes as far as what has arrived allows; whether it is done.

        Raises:
            SSLError: it cannot be done.
        """
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        self._flush()
        self.stop_timer()
        self._is_open = True
        self.opened()
        self.inner.connection_made(self.transport)
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends what the protocol says."""
        if self.is_deaf:
            return
        try:
            sent = self.tls.write(data)
            while sent < len(data):  # a record holds 16 KiB
                sent += self.tls.write(memoryview(data)[sent:])
        except ssl.SSLError as error:
            self._fail(error)
        else:
            self._flush()

    def say_goodbye(self) -> None:
        """Nothing more is said, and what still comes is not listened to."""
        if not self.is_deaf:
            self.is_deaf = True
            with suppress(ssl.SSLError):  # the other side's goodbye is not there yet
                self.tls.unwrap()
            self._flush()

    def refuse(self, answer: bytes, linger_seconds: float) -> None:
        """Ends a connection before it is open, so that the other side can read why."""
        self.is_deaf = True
        self.raw.write(answer)
        if self.raw.can_write_eof():
            self.raw.write_eof()
        self._keeps_open = False
        self.start_timer(linger_seconds)

    def start_timer(self, seconds: float) -> None:
        """Drops the connection after a while."""
        self.stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.timed_out)

    def stop_timer(self) -> None:
        """There is time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def timed_out(self) -> None:
        """The time is over."""
        self.raw.abort()

    def _deliver(self) -> None:
        chunks = []
        tls, incoming = self.tls, self._incoming
        is_end = False
        while waiting := incoming.pending or tls.pending():
            try:
                # Python sets aside as much as is asked for: most requests are small.
                chunk = tls.read(min(waiting, RECORD_BYTES))
            except ssl.SSLWantReadError:
                break  # half a record
            if not chunk:
                is_end = True
                break
            chunks.append(chunk)
        self._flush()
        if chunks:
            self.inner.data_received(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if is_end and not self.eof_received():
            self.transport.close()

    def _fail(self, error: ssl.SSLError) -> None:
        self._error = error
        if self._is_open:
            self.is_deaf = True
            self._flush()
            self.raw.close()
        else:
            self.failed(error)

    def take_alert(self) -> bytes:
        """What TLS has to say about its own end."""
        return self._outgoing.read()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self.raw.write(data)


class TlsTransport(asyncio.Transport):
    """What a protocol over TLS writes to."""

    def __init__(self, stream: TlsProtocol) -> None:
        super().__init__()
        self._stream = stream

    def get_extra_info(self, name: str, default: object = None) -> object:
        """What the plain transport tells, and `ssl_object`."""
        if name == "ssl_object":
            return self._stream.tls
        return self._stream.raw.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends bytes, now or when the network takes them."""
        if data:
            self._stream.write(data)

    def can_write_eof(self) -> bool:
        """TLS can say that it says no more."""
        return self._stream.raw.can_write_eof()

    def write_eof(self) -> None:
        """Says that there is no more."""
        self._stream.say_goodbye()
        self._stream.raw.write_eof()

    def close(self) -> None:
        """Closes behind what was written."""
        self._stream.say_goodbye()
        self._stream.raw.close()

    def abort(self) -> None:
        """Closes at once."""
        self._stream.raw.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._stream.raw.is_closing()

    def is_reading(self) -> bool:
        """Whether what arrives is passed on."""
        return self._stream.raw.is_reading()

    def pause_reading(self) -> None:
        """Leaves what arrives in the network."""
        self._stream.raw.pause_reading()

    def resume_reading(self) -> None:
        """Passes on what arrives."""
        self._stream.raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Bytes that the network has not taken yet."""
        return self._stream.raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol is told to pause."""
        self._stream.raw.set_write_buffer_limits(high, low)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who gets what arrives."""
        return self._stream.inner

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hands the connection over."""
        self._stream.inner = cast("asyncio.Protocol", protocol)
