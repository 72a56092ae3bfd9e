import msgspec

from kvorum.config import Era
from kvorum.v2.policy import LEGACY, MODERN, policy_of


def test_each_era_has_its_policy() -> None:
    assert policy_of(Era.LEGACY) is LEGACY
    assert policy_of(Era.MODERN) is MODERN


def test_policy_holds_only_what_differs() -> None:
    legacy, modern = msgspec.structs.asdict(LEGACY), msgspec.structs.asdict(MODERN)
    assert not [name for name, value in legacy.items() if modern[name] == value]
