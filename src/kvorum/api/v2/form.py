"""Request parameters: from the query and, for PUT and POST, from a form in the body.

The body wins over the query, and of a name given twice the first counts. Other kinds of body are
not read. What goes wrong is returned, not raised: it is part of an answer.

A semicolon is an ordinary character. (Releases have disagreed on it: separator, or fault; both
lose a value that a shell script has not escaped.)
Source: v2-api section 2, "Request parameters".
"""

import re
from typing import TypeAlias

from kvorum.protocol.exchange import Exchange
from kvorum.v2.path import PERCENT, percent_decode

Form: TypeAlias = dict[bytes, bytes]

PARAMETERS_MAX = 1_000
"""Parameters read from one request; the keys API knows fifteen."""

AMPERSAND, PLUS = b"&+"

FORM_TYPE = b"application/x-www-form-urlencoded"
_BODY_METHODS = ("PUT", "POST")
_malformed_escape = re.compile(rb"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL).search

DIGITS_MAX = 64
"""Longer numbers, be it for leading zeros, are none."""

UINT64_MAX = (1 << 64) - 1
INT64_MAX = (1 << 63) - 1

TRUE_TEXTS = frozenset((b"1", b"t", b"T", b"true", b"TRUE", b"True"))
FALSE_TEXTS = frozenset((b"0", b"f", b"F", b"false", b"FALSE", b"False"))


def has_form(exchange: Exchange) -> bool:
    """Whether the request's body is a form that counts."""
    if exchange.method not in _BODY_METHODS:
        return False
    content_type = exchange.headers.get(b"content-type", b"")
    return content_type == FORM_TYPE or content_type.partition(b";")[0].strip().lower() == FORM_TYPE


def read_form(exchange: Exchange) -> tuple[Form, str]:
    """The request's parameters, and what was wrong with those left out (empty: nothing)."""
    form: Form = {}
    fault = parse_into(form, exchange.body) if has_form(exchange) and exchange.body else ""
    if exchange.query:
        fault = parse_into(form, exchange.query) or fault
    return form, fault


def parse_into(form: Form, data: bytes) -> str:
    """Adds the pairs of `data` whose names are not there yet. Returns the first fault.

    A pair with a malformed escape is left out; the others count.
    """
    pairs = data.split(b"&", PARAMETERS_MAX)
    fault = ""
    if len(pairs) > PARAMETERS_MAX:
        pairs.pop()
        fault = f"more than {PARAMETERS_MAX} parameters"
    for pair in pairs:
        if not pair:
            continue
        name, _, value = pair.partition(b"=")
        if PERCENT in pair or PLUS in pair:
            plain_name = percent_decode(name.replace(b"+", b" "))
            plain_value = percent_decode(value.replace(b"+", b" "))
            if plain_name is None or plain_value is None:
                fault = fault or _describe_escape(pair)
                continue
            name, value = plain_name, plain_value
        form.setdefault(name, value)
    return fault


def _describe_escape(pair: bytes) -> str:
    found = _malformed_escape(pair)
    assert found is not None, "only called for a malformed escape"
    return f'invalid URL escape "{found[0].decode("utf-8", "surrogateescape")}"'


def parse_unsigned(text: bytes) -> int | None:
    """A decimal integer without a sign that fits 64 bits; None for anything else."""
    if not text.isdigit() or len(text) > DIGITS_MAX:
        return None
    number = int(text)
    return number if number <= UINT64_MAX else None


def parse_signed(text: bytes) -> int | None:
    """A decimal integer with an optional sign that fits 64 bits; None for anything else."""
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    number = parse_unsigned(digits)
    if number is None or number > INT64_MAX + (text[:1] == b"-"):
        return None
    return -number if text[:1] == b"-" else number


def parse_bool(text: bytes) -> bool | None:
    """A boolean as Go reads it; None for anything else."""
    if text in TRUE_TEXTS:
        return True
    return False if text in FALSE_TEXTS else None
