from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.api.v2.form import (
    PARAMETERS_MAX,
    has_form,
    parse_bool,
    parse_into,
    parse_signed,
    parse_unsigned,
    read_form,
)


def parse(data: bytes) -> tuple[dict[bytes, bytes], str]:
    form: dict[bytes, bytes] = {}
    fault = parse_into(form, data)
    return form, fault


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b"", {}),
        (b"&&", {}),
        (b"a=1", {b"a": b"1"}),
        (b"a=1&a=2", {b"a": b"1"}),
        (b"a", {b"a": b""}),
        (b"=1", {b"": b"1"}),
        (b"a=b=c", {b"a": b"b=c"}),
        (b"a+b=%20c+", {b"a b": b" c "}),
        (b"%61=%2B", {b"a": b"+"}),
        (b"a=1;b=2", {b"a": b"1;b=2"}),
    ],
)
def test_pairs(data: bytes, form: dict[bytes, bytes]) -> None:
    assert parse(data) == (form, "")


@pytest.mark.parametrize(
    ("data", "form", "fault"),
    [
        (b"a=%zz&b=1", {b"b": b"1"}, 'invalid URL escape "%zz"'),
        (b"%=1&b=1", {b"b": b"1"}, 'invalid URL escape "%=1"'),
        (b"a=%4", {}, 'invalid URL escape "%4"'),
        (b"a=1&b=%&c=%%", {b"a": b"1"}, 'invalid URL escape "%"'),
    ],
)
def test_malformed_pairs_are_left_out_and_told(
    data: bytes, form: dict[bytes, bytes], fault: str
) -> None:
    assert parse(data) == (form, fault)


def test_number_of_parameters_is_bounded() -> None:
    data = b"&".join(b"a%d=1" % number for number in range(PARAMETERS_MAX + 1))
    form, fault = parse(data)
    assert len(form) == PARAMETERS_MAX
    assert fault == f"more than {PARAMETERS_MAX} parameters"
    _, fault = parse(data.rpartition(b"&")[0])
    assert fault == ""


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40))
def test_any_bytes_are_parsed(data: bytes) -> None:
    form, _ = parse(data)
    assert all(isinstance(value, bytes) for value in form.values())


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.binary(min_size=1, max_size=5), st.binary(max_size=10), max_size=5))
def test_what_the_library_encodes_reads_back(form: dict[bytes, bytes]) -> None:
    assert parse(urlencode(form, quote_via=quote_plus).encode()) == (form, "")


class Request:
    """What a form is read from."""

    def __init__(self, method: str, query: bytes, body: bytes, content_type: bytes) -> None:
        self.method = method
        self.query = query
        self.body = body
        self.headers = {b"content-type": content_type} if content_type else {}


FORM = b"application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("method", "content_type", "counts"),
    [
        ("PUT", FORM, True),
        ("POST", FORM, True),
        ("PUT", FORM + b" ; charset=x", True),
        ("PUT", FORM.upper(), True),
        ("GET", FORM, False),
        ("DELETE", FORM, False),
        ("PUT", b"", False),
        ("PUT", b"text/plain", False),
    ],
)
def test_which_bodies_count(method: str, content_type: bytes, counts: object) -> None:
    request: Any = Request(method, b"", b"a=1", content_type)
    assert has_form(request) is counts
    assert (read_form(request) == ({b"a": b"1"}, "")) is counts


def test_body_wins_over_query() -> None:
    request: Any = Request("PUT", b"a=query&b=query", b"a=body", FORM)
    assert read_form(request) == ({b"a": b"body", b"b": b"query"}, "")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"0", 0),
        (b"007", 7),
        (b"18446744073709551615", (1 << 64) - 1),
        (b"18446744073709551616", None),
        (b"0" * 64, 0),
        (b"0" * 65, None),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b" 1", None),
        (b"1_0", None),
        (b"0x1", None),
        ("\u0661".encode(), None),
    ],
)
def test_unsigned(text: bytes, number: int | None) -> None:
    assert parse_unsigned(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"5", 5),
        (b"+5", 5),
        (b"-5", -5),
        (b"9223372036854775807", (1 << 63) - 1),
        (b"9223372036854775808", None),
        (b"-9223372036854775808", -(1 << 63)),
        (b"-9223372036854775809", None),
        (b"--5", None),
        (b"-", None),
        (b"", None),
        (b"5.0", None),
    ],
)
def test_signed(text: bytes, number: int | None) -> None:
    assert parse_signed(text) == number


def test_booleans_are_those_of_go() -> None:
    assert all(parse_bool(text) is True for text in (b"1", b"t", b"T", b"true", b"TRUE", b"True"))
    assert all(
        parse_bool(text) is False for text in (b"0", b"f", b"F", b"false", b"FALSE", b"False")
    )
    assert all(parse_bool(text) is None for text in (b"", b"tRUE", b"yes", b"2", b" true"))
