"""A mistake stays in the code for as long as it is planted."""

import pytest

from kvorum.sim import planting
from kvorum.sim.planting import Patch, mutant, planted


class Clock:
    def tell(self) -> str:
        return "right"


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planting, "MUTANTS", {})


def test_it_is_taken_out_again_whatever_happens() -> None:
    @mutant("a clock is wrong", "what it told", "when")
    def _wrong() -> list[Patch]:
        return [(Clock, "tell", lambda _: "wrong")]

    assert planting.MUTANTS["a clock is wrong"].found_by == ("what it told", "when")
    assert Clock().tell() == "right"
    with pytest.raises(ZeroDivisionError), planted("a clock is wrong"):
        1 // (Clock().tell() != "wrong")
    assert Clock().tell() == "right"
