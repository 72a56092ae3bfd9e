import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.backend.base import Table
from kvorum.backend.image import (
    FRAME_BYTES_MAX,
    ImageReader,
    Trailer,
    Triple,
    _frame,
    encode_image,
)
from kvorum.errors import RemoteProtocolError


def read_all(reader: ImageReader, data: bytes) -> None:
    reader.feed(data)
    reader.check_complete()


TRIPLES = st.lists(
    st.builds(Triple, st.sampled_from(Table), st.binary(max_size=20), st.binary(max_size=50)),
    max_size=20,
)


def image(triples: list[Triple], chunk_bytes: int = 20) -> bytes:
    return b"".join(encode_image(triples, (7, 2), chunk_bytes))


@given(triples=TRIPLES, chunk_bytes=st.integers(1, 200), piece_bytes=st.integers(1, 50))
@settings(deadline=None, max_examples=50)
def test_any_split_of_the_bytes_gives_the_same_triples(
    triples: list[Triple], chunk_bytes: int, piece_bytes: int
) -> None:
    data = image(triples, chunk_bytes)
    reader = ImageReader()
    found = []
    for at in range(0, len(data), piece_bytes):
        found += reader.feed(data[at : at + piece_bytes])
    assert found == triples
    assert reader.check_complete() == Trailer(len(triples), 7, 2)


SAMPLE = [Triple(Table.RECORDS, b"key%d" % number, b"value") for number in range(5)]


def test_every_truncation_is_refused() -> None:
    data = image(SAMPLE)
    for length in range(len(data)):
        reader = ImageReader()
        reader.feed(data[:length])
        with pytest.raises(RemoteProtocolError):
            reader.check_complete()


def test_every_damaged_byte_is_refused() -> None:
    data = image(SAMPLE)
    for at in range(len(data)):
        reader = ImageReader()
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        with pytest.raises(RemoteProtocolError):
            read_all(reader, bytes(damaged))


def test_lost_frame_is_refused() -> None:
    first, *rest = encode_image(SAMPLE, (7, 2), 1)
    assert first
    reader = ImageReader()
    with pytest.raises(RemoteProtocolError, match="announced"):
        reader.feed(b"".join(rest))


def test_frame_after_the_end_is_refused() -> None:
    data = image(SAMPLE)
    with pytest.raises(RemoteProtocolError, match="after its end"):
        ImageReader().feed(data + data)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x01",
        b"\x94\xa1\xff\x00\x00\x00",
        b"\x94\xa3end\x00\x00",
        b"\x94\xa3end\x00\xff\x01",
        b"\x94\xa3end\x00\x01\xff",
        b"\x95\xa3end\x00\x00\x00" + b"\x91" * 100_000,
        b"\x91\x94\x01\xc4\x00\xc4\x00" + b"\x91" * 100_000,
    ],
)
def test_frame_that_cannot_be_decoded_is_refused(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="cannot be decoded"):
        ImageReader().feed(_frame(payload))


def test_huge_frame_is_refused_before_it_is_collected() -> None:
    with pytest.raises(RemoteProtocolError, match="frame of"):
        ImageReader().feed((FRAME_BYTES_MAX + 1).to_bytes(4, "big") + bytes(4))
