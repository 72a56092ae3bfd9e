"""Reading what nobody vouches for: what decoding it can raise, and ids as members write them.

What for: bytes from a socket or a disk may be anything. Each reader answers for them with an error
class of its own; which exceptions of the decoder stand behind it is the same for all, and is here.

Rules:
    0 <= id < 2**64; written in hex, in digits of either case and nothing else.
The caller: catches FAULTS around every decoding of bytes that it did not make itself.
"""

import re
from typing import Annotated, TypeAlias

import msgspec

FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises: strings need not be UTF-8, and nesting has no end."""

_HEX_ID = r"0*[0-9A-Fa-f]{1,16}"

HexId: TypeAlias = Annotated[str, msgspec.Meta(pattern=rf"^{_HEX_ID}\Z")]
"""A string of a decoded body that `parse_id` takes."""

_is_id = re.compile(_HEX_ID.encode()).fullmatch


def parse_id(text: bytes) -> int | None:
    """The id of a cluster or member; None when the text is none."""
    return int(text, 16) if _is_id(text) else None
