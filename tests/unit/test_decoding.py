"""One list of faults for every decoder of bytes that others made; ids in hex."""

from collections.abc import Callable

import msgspec
import pytest
from msgspec import Struct

from kvorum.decoding import FAULTS, HexId, parse_id

JSON, MSGPACK = msgspec.json.decode, msgspec.msgpack.decode


class Named(Struct):
    name: str = ""


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (JSON, b"{"),
        (JSON, b'{"name":1}'),
        (JSON, b'{"name":"\xff"}'),
        (JSON, b'{"other":' + b"[" * 100_000),
        (MSGPACK, b"\x81"),
        (MSGPACK, b"\x81\xa4name\x01"),
        (MSGPACK, b"\x81\xa4name\xa1\xff"),
        (MSGPACK, b"\x81\xa5other" + b"\x91" * 100_000),
    ],
)
def test_every_kind_of_garbage_is_among_the_faults(
    decode: Callable[..., Named], data: bytes
) -> None:
    with pytest.raises(FAULTS):
        decode(data, type=Named)


GOOD_IDS = [("0", 0), ("a", 10), ("Ff", 255), ("f" * 16, (1 << 64) - 1), ("0" * 70 + "7", 7)]
BAD_IDS = ["", "-1", "+1", "1_0", " 7 ", "7\n", "0x7", "g", "1" + "0" * 16, "\u0667", "\ufffd"]


@pytest.mark.parametrize(("text", "number"), GOOD_IDS)
def test_an_id_is_read(text: str, number: int) -> None:
    assert parse_id(text.encode()) == number
    assert msgspec.json.decode(msgspec.json.encode(text), type=HexId) == text


@pytest.mark.parametrize("text", BAD_IDS)
def test_what_only_python_takes_for_a_number_is_no_id(text: str) -> None:
    assert parse_id(text.encode()) is None
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(text), type=HexId)
