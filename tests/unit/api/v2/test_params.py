import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.api.v2.params import (
    LegacyParams,
    Params,
    Read,
    Request,
    StrictParams,
    Write,
    expiration_at,
    params_of,
)
from kvorum.errors import RequestError
from kvorum.v2.policy import LEGACY, MODERN

NS = 1_000_000_000
BOTH = [LegacyParams(), StrictParams(20)]


def request(fault: str = "", **form: str) -> Request:
    pairs = {name.encode(): value.encode() for name, value in form.items()}
    return Request(b"/k", pairs, fault, 1_000 * NS, 7)


def test_each_policy_has_its_reading() -> None:
    assert isinstance(params_of(LEGACY), LegacyParams)
    assert isinstance(params_of(MODERN), StrictParams)


@pytest.mark.parametrize(
    ("ttl", "expiration"),
    [
        (5, 1_005 * NS),
        (0, 1_000 * NS),
        (-5, 995 * NS),
        (-1_000, 1),
        (-(1 << 63), 1),
        ((1 << 63) - 1, (1 << 63) - 1),
    ],
)
def test_expiration_is_never_none_and_fits(ttl: int, expiration: int) -> None:
    assert expiration_at(1_000 * NS, ttl) == expiration


@pytest.mark.parametrize("params", BOTH)
def test_get(params: Params) -> None:
    assert params.get(request()) == Read()
    assert params.get(request(recursive="true", sorted="TRUE")) == Read(
        is_recursive=True, is_sorted=True
    )
    assert params.get(request(wait="true", waitIndex="9", stream="true")) == Read(
        is_wait=True, is_stream=True, wait_index=9
    )
    assert params.get(request(quorum="true", wait="true")) == Read(is_linearizable=True)


def test_wait_index_counts_with_wait_only_in_0_4() -> None:
    params = LegacyParams()
    assert params.get(request(waitIndex="x", stream="true")) == Read()
    assert params.get(request(wait="true", waitIndex="")) == Read(is_wait=True)
    bad = params.get(request(wait="true", waitIndex="x"))
    assert isinstance(bad, RequestError)
    assert (bad.v2_code, bad.cause, bad.index) == (203, "Watch From Index", 7)


def test_fault_of_the_form_comes_first_in_the_modern_era() -> None:
    refused = StrictParams(20).put(request(fault="bad", prevIndex="x"))
    assert isinstance(refused, RequestError)
    assert (refused.v2_code, refused.cause, refused.index) == (210, "bad", 0)
    assert isinstance(LegacyParams().put(request(fault="bad")), Write)


NAMES = (
    "value", "ttl", "dir", "prevValue", "prevIndex", "prevExist", "recursive", "sorted", "wait",
    "waitIndex", "stream", "quorum", "refresh", "noValueOnSuccess", "consistent",
)  # fmt: skip

_names = st.sampled_from(NAMES)
_texts = st.sampled_from(["", "true", "false", "1", "0", "x", "-1", "TRUE", "99999999999999999999"])


@pytest.mark.parametrize("params", BOTH)
@settings(deadline=None, max_examples=300)
@given(form=st.dictionaries(_names, _texts, max_size=6))
def test_any_form_gives_an_answer(params: Params, form: dict[str, str]) -> None:
    asked = request(**form)
    assert isinstance(params.get(asked), Read | RequestError)
    for outcome in (params.put(asked), params.post(asked), params.delete(asked)):
        assert isinstance(outcome, Write | RequestError)
        if isinstance(outcome, Write):
            assert outcome.command.key == b"/k"
