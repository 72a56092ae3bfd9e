import msgspec
import pytest

from kvorum.api.jsonbody import describe_fault
from kvorum.decoding import FAULTS


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "EOF"),
        (b" \n", "EOF"),
        (b'{"activeSize":', "EOF"),
        (b"junk", "invalid character 'j' looking for beginning of value"),
        (b" 'x'", "invalid character ''' looking for beginning of value"),
        ("é".encode(), "invalid character 'é' looking for beginning of value"),
    ],
)
def test_faults_are_told_in_the_words_of_etcd(body: bytes, text: str) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(body, type=dict[str, int])
    assert describe_fault(body, caught.value, "EOF") == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a":"\xff"}', "invalid start byte"),
        (b'{"b":' + b"[" * 100_000, "nested too deep"),
    ],
)
def test_bodies_that_are_no_text_or_have_no_end_are_faults_too(body: bytes, text: str) -> None:
    class Known(msgspec.Struct):
        a: str = ""

    with pytest.raises(FAULTS) as caught:
        msgspec.json.decode(body, type=Known)
    assert text in describe_fault(body, caught.value, "EOF")


def test_other_faults_say_where_they_are() -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(b'{"a":{}}', type=dict[str, int])
    assert "Expected `int`" in describe_fault(b'{"a":{}}', caught.value, "EOF")
