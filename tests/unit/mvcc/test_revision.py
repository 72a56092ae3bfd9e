from hypothesis import given
from hypothesis import strategies as st

from kvorum.mvcc.revision import KEY_BYTES, from_key, main_of, pack, sub_of, to_key

MAINS = st.integers(0, 2**63)
SUBS = st.integers(0, 2**28 - 1)


@given(main=MAINS, sub=SUBS)
def test_revision_survives_its_forms(main: int, sub: int) -> None:
    revision = pack(main, sub)
    assert (main_of(revision), sub_of(revision)) == (main, sub)
    assert from_key(to_key(revision)) == revision
    assert len(to_key(revision)) == KEY_BYTES


@given(one=st.tuples(MAINS, SUBS), other=st.tuples(MAINS, SUBS))
def test_order_is_that_of_main_and_sub(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (one < other) == (pack(*one) < pack(*other))
    assert (one < other) == (to_key(pack(*one)) < to_key(pack(*other)))


def test_last_seven_hex_digits_are_the_sub() -> None:
    assert to_key(pack(0x1234, 0x5)).hex() == "0000000000000" + "1234" + "0000005"
