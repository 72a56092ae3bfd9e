"""Each flag of etcd that sets nothing here: passed over or refused, unless harmless."""

import pytest

from kvorum.cli import commandline, settings
from kvorum.cli.flags import BOOLEAN_KINDS, FLAGS, Effect, Flag
from kvorum.cli.foreign import FOREIGN
from kvorum.config import Config
from kvorum.errors import ConfigError

BASE = {True: ["-name", "m", "-data-dir", "d", "-addr", "h:1"], False: []}


def built(flag: Flag, value: str) -> settings.Settings:
    is_legacy = bool(flag.legacy)
    name = flag.name(is_legacy=is_legacy)
    line = [*BASE[is_legacy], f"-{name}={value}"]
    return settings.build(commandline.parse(line, {}))


def values_of(flag: Flag) -> list[str]:
    """Values that are not harmless."""
    candidates = ["true", "false"] if flag.kind in BOOLEAN_KINDS else ["7"]
    return [value for value in candidates if value not in flag.harmless]


def id_of(flag: Flag) -> str:
    return flag.modern or flag.legacy


@pytest.mark.parametrize("flag", FOREIGN, ids=id_of)
def test_what_is_harmless_is_passed_over_without_a_word(flag: Flag) -> None:
    for value in flag.harmless:
        made = built(flag, value)
        assert made.warnings == []
        assert flag.legacy or made.config == Config()


@pytest.mark.parametrize(
    "flag", [one for one in FOREIGN if one.effect is Effect.PASSED_OVER], ids=id_of
)
def test_what_is_passed_over_is_warned_of(flag: Flag) -> None:
    for value in values_of(flag):
        (warning,) = built(flag, value).warnings
        dashes = "-" if flag.legacy else "--"
        assert warning.text == f"{dashes}{id_of(flag)}={value} has no effect: {flag.help}"


@pytest.mark.parametrize(
    "flag", [one for one in FOREIGN if one.effect is Effect.REFUSED], ids=id_of
)
def test_what_is_refused_starts_nothing(flag: Flag) -> None:
    for value in values_of(flag):
        with pytest.raises(ConfigError) as caught:
            built(flag, value)
        assert caught.value.faults == [f"--{id_of(flag)}={value} is refused: {flag.help}"]


def test_every_row_says_why_and_sets_nothing() -> None:
    for flag in FOREIGN:
        assert flag.help
        assert not flag.field
        assert flag.effect is not Effect.SETS
    assert all(flag.effect is Effect.SETS for flag in FLAGS)


def test_a_variable_is_treated_as_its_flag_is() -> None:
    made = settings.build(commandline.parse([], {"ETCD_MAX_WALS": "9", "ETCD_LOGGER": "zap"}))
    assert [one.text for one in made.warnings] == [
        "ETCD_MAX_WALS has no effect: files are removed once they are not needed"
    ]
    with pytest.raises(ConfigError, match="ETCD_AUTH_TOKEN is refused: there is no authentication"):
        settings.build(commandline.parse([], {"ETCD_AUTH_TOKEN": "jwt,pub-key=a"}))


def test_the_usual_unit_file_of_3_4_starts_with_one_warning_a_flag() -> None:
    line = (
        "--name m1 --logger zap --quota-backend-bytes=8589934592 --max-txn-ops=128"
        " --max-request-bytes 1572864 --enable-pprof=false --metrics basic --pre-vote"
        " --cors=* --host-whitelist=* --snapshot-count=100000 --max-wals 9 --max-snapshots 5"
        " --auth-token simple --auto-tls=false --proxy off --experimental-corrupt-check-time 0s"
    )
    made = settings.build(commandline.parse(line.split(), {}))
    warned = [one.text.partition("=")[0] for one in made.warnings]
    assert len(warned) == 3
    assert set(warned) == {
        "--quota-backend-bytes", "--max-wals", "--max-txn-ops",
    }  # fmt: skip
