"""The wire form of a backend's whole content, for a member that has fallen too far behind.

An image is a sequence of frames, `length (4 bytes) | CRC-32C (4 bytes) | payload`, big endian. A
payload is a MessagePack list: of (table, key, value) triples, or, in the last frame, the number of
triples and the log position (index, term) the image stands for. The reader takes the bytes in any
pieces; it refuses damage, a missing end and anything after the end.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, TypeAlias

import msgspec
from google_crc32c import value as crc32c
from msgspec import Struct

from kvorum.backend.base import Table
from kvorum.decoding import FAULTS
from kvorum.errors import RemoteProtocolError

FRAME_BYTES_MAX = 64 << 20
"""Far above the largest value a request may carry; a larger length is damage."""

_HEAD_BYTES = 8


_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class Triple(Struct, array_like=True, gc=False):
    """One pair of one table."""

    table: Table
    key: bytes
    value: bytes


class Trailer(Struct, array_like=True, gc=False, tag="end"):
    """The last frame.

    Attributes:
        count: how many triples went before.
        index: the applied index the image stands for, with its term.
    """

    count: _Count
    index: _Count
    term: _Count


_decode_triples = msgspec.msgpack.Decoder(list[Triple]).decode
_decode_trailer = msgspec.msgpack.Decoder(Trailer).decode
_encode = msgspec.msgpack.Encoder().encode


def _frame(payload: bytes) -> bytes:
    checksum: int = crc32c(payload)
    return len(payload).to_bytes(4, "big") + checksum.to_bytes(4, "big") + payload


def encode_image(
    triples: Iterable[Triple], applied: tuple[int, int], chunk_bytes: int
) -> Iterator[bytes]:
    """The frames of an image, of about `chunk_bytes` each."""
    pending: list[Triple] = []
    pending_bytes = count = 0
    for triple in triples:
        pending.append(triple)
        count += 1
        pending_bytes += len(triple.key) + len(triple.value)
        if pending_bytes >= chunk_bytes:
            yield _frame(_encode(pending))
            pending, pending_bytes = [], 0
    if pending:
        yield _frame(_encode(pending))
    yield _frame(_encode(Trailer(count, *applied)))


class ImageReader:
    """Reads an image that arrives in pieces.

    Attributes:
        trailer: the last frame, once it came.
    """

    def __init__(self) -> None:
        self.trailer: Trailer | None = None
        self._buffer = bytearray()
        self._count = 0

    def feed(self, piece: bytes) -> list[Triple]:
        """The triples of the frames that `piece` completes.

        Raises:
            RemoteProtocolError: the bytes are no image.
        """
        self._buffer += piece
        triples: list[Triple] = []
        while (payload := self._take_frame()) is not None:
            if self.trailer is not None:
                raise RemoteProtocolError("image goes on after its end")
            triples += self._read(payload)
        return triples

    def _take_frame(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < _HEAD_BYTES:
            return None
        length = int.from_bytes(buffer[:4], "big")
        if length > FRAME_BYTES_MAX:
            raise RemoteProtocolError(f"image frame of {length} bytes")
        if len(buffer) < _HEAD_BYTES + length:
            return None
        payload = bytes(buffer[_HEAD_BYTES : _HEAD_BYTES + length])
        if crc32c(payload) != int.from_bytes(buffer[4:_HEAD_BYTES], "big"):
            raise RemoteProtocolError("image frame with a wrong checksum")
        del buffer[: _HEAD_BYTES + length]
        return payload

    def _read(self, payload: bytes) -> list[Triple]:
        try:
            triples = _decode_triples(payload)
        except msgspec.ValidationError:
            self._read_trailer(payload)
            return []
        except FAULTS as error:
            raise RemoteProtocolError("image frame that cannot be decoded") from error
        self._count += len(triples)
        return triples

    def _read_trailer(self, payload: bytes) -> None:
        try:
            trailer = _decode_trailer(payload)
        except FAULTS as error:
            raise RemoteProtocolError("image frame that cannot be decoded") from error
        if trailer.count != self._count:
            raise RemoteProtocolError(f"image of {self._count} pairs, {trailer.count} announced")
        self.trailer = trailer

    def check_complete(self) -> Trailer:
        """The last frame.

        Raises:
            RemoteProtocolError: the image has not ended, or goes on.
        """
        if self.trailer is None or self._buffer:
            raise RemoteProtocolError("image without its end")
        return self.trailer
