"""Reads the server's command line and the variables beside it.

What for: words to values of flags, nothing more; `settings.py` knows what the values mean. Nothing
heavy is loaded here, so that `etcd -version` answers at once.

Rules (Go's flag grammar, which users' scripts rely on):
    one dash or two; `-x value` or `-x=value`; a boolean takes a value only after `=`
    the last of several equal flags counts
    everything after the first argument that is no flag, or after `--`, is not read
    flag > environment > file > default; an empty variable counts as unset
    the file's keys follow from the flags, too; `configfile.py` reads it

Which era: a flag that only 0.4 had means 0.4, one that only 3.x has means 3.x, both together are
an error. With neither among the flags the variables decide in the same way; otherwise 3.x.
Source: reference contract, v2-api section 10; v3-operations sections 1 to 3.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kvorum.cli.flags import BOOLEAN_KINDS, FLAGS, GROUP_HELP, Flag
from kvorum.cli.foreign import FOREIGN
from kvorum.errors import ConfigError

KNOWN = (*FLAGS, *FOREIGN)
"""Every flag that is read, whether or not it sets anything."""

UNREPORTED_VARIABLES = {"ETCD_UNSUPPORTED_ARCH"}
"""Variables that 3.x knows without a flag; kvorum runs on any architecture."""


class UsageError(ConfigError):
    """A command line that cannot be read.

    Attributes:
        is_legacy: whether it is answered the way 0.4 answers.
    """

    def __init__(self, text: str, *, is_legacy: bool) -> None:
        super().__init__([text])
        self.is_legacy = is_legacy


class Given(NamedTuple):
    """A value that the user gave to a flag."""

    flag: Flag
    name: str
    """The flag, or the variable, as it is called in messages."""
    text: str
    is_from_environment: bool = False


class LogWarning(NamedTuple):
    """Something to log once logging is set up."""

    text: str
    fields: dict[str, str]


class Invocation(NamedTuple):
    """A command line that was read."""

    is_legacy: bool
    action: str
    """`run`, `version` or `help`."""
    given: list[Given]
    """At most one a flag, by where the flag stands in `KNOWN`."""
    notices: list[str]
    """Lines for stderr about deprecated spellings."""
    warnings: list[LogWarning]
    extra: list[str]
    """Arguments from the first one that is no flag on."""


class _Spelling(NamedTuple):
    flag: Flag
    name: str
    """The current name, where the spelling is an old one."""
    is_in_legacy: bool
    is_in_modern: bool


class _Scan(NamedTuple):
    spellings: list[_Spelling]
    given: list[Given]
    notices: list[str]
    fault: str
    """The first fault; the rest is read only to tell the era."""
    extra: list[str]
    is_single_dash_version: bool


def _spellings() -> Iterator[tuple[str, _Spelling]]:
    for flag in KNOWN:
        is_shared = flag.legacy == flag.modern
        if flag.modern:
            yield flag.modern, _Spelling(flag, flag.modern, is_shared, is_in_modern=True)
        if flag.legacy and not is_shared:
            yield flag.legacy, _Spelling(flag, flag.legacy, is_in_legacy=True, is_in_modern=False)
        for old in flag.old_spellings:
            yield old, _Spelling(flag, flag.legacy, is_in_legacy=True, is_in_modern=False)
        if flag.short:
            name = flag.modern or flag.legacy
            yield flag.short, _Spelling(flag, name, bool(flag.legacy), bool(flag.modern))


SPELLINGS = dict(_spellings())
"""Every word that is accepted after the dashes."""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Invocation:
    """Reads a command line and the variables beside it.

    Args:
        arguments: the command line without the program's name.
        environment: all variables; those not named ETCD_... are ignored.

    Raises:
        UsageError: for the first thing that cannot be read, or when eras are mixed.
    """
    scan = _scan(arguments)
    is_legacy = _choose_era(scan.spellings, environment)
    action = _action(scan)
    if action == "run":
        if scan.fault:
            raise UsageError(scan.fault, is_legacy=is_legacy)
        given, warnings = _add_environment(scan.given, environment, is_legacy=is_legacy)
    else:
        given, warnings = [], []
        is_legacy = is_legacy or scan.is_single_dash_version
    return Invocation(is_legacy, action, given, scan.notices, warnings, scan.extra)


def _scan(arguments: Sequence[str]) -> _Scan:
    spellings: list[_Spelling] = []
    given: dict[str, Given] = {}
    notices: list[str] = []
    fault = ""
    is_single_dash_version = False
    rest = list(arguments)
    while rest and _is_flag(rest[0]):
        word = rest.pop(0)
        if word == "--":
            break
        dashes = 2 if word.startswith("--") else 1
        name, equals, text = word[dashes:].partition("=")
        spelling = SPELLINGS.get(name)
        if spelling is None:
            fault = fault or _unknown(word, name)
            if not equals and rest and not _is_flag(rest[0]):
                rest.pop(0)
            continue
        spellings.append(spelling)
        is_single_dash_version |= name == "version" and dashes == 1
        if name in spelling.flag.old_spellings:
            notices.append(f"[deprecated] use -{spelling.name}, not -{name}")
        if not equals and spelling.flag.kind in BOOLEAN_KINDS:
            text = "true"
        elif not equals and rest:
            text = rest.pop(0)
        elif not equals:
            fault = fault or f"flag needs an argument: -{name}"
        given[spelling.name] = Given(spelling.flag, spelling.name, text)
    return _Scan(spellings, list(given.values()), notices, fault, rest, is_single_dash_version)


def _is_flag(word: str) -> bool:
    return len(word) > 1 and word.startswith("-")


def _unknown(word: str, name: str) -> str:
    if not name or name.startswith("-"):
        return f"bad flag syntax: {word}"
    return f"flag provided but not defined: -{name}"


def _action(scan: _Scan) -> str:
    asked = {one.name for one in scan.given if one.flag.group == GROUP_HELP and one.text == "true"}
    if "version" in asked:
        return "version"
    return "help" if asked else "run"


def _choose_era(spellings: Iterable[_Spelling], environment: Mapping[str, str]) -> bool:
    """Whether the 0.4 era is meant.

    Raises:
        UsageError: when flags, or in their absence variables, of both eras are given.
    """
    legacy = [f"-{one.name}" for one in spellings if not one.is_in_modern]
    modern = [f"--{one.name}" for one in spellings if not one.is_in_legacy]
    if not legacy and not modern:
        legacy_names, modern_names = _variables(is_legacy=True), _variables(is_legacy=False)
        present = [name for name, text in environment.items() if text.strip()]
        legacy = [name for name in present if name in legacy_names and name not in modern_names]
        modern = [name for name in present if name in modern_names and name not in legacy_names]
    if legacy and modern:
        raise UsageError(
            f"{legacy[0]} starts a server the 0.4 way and {modern[0]} the 3.x way: use one",
            is_legacy=False,
        )
    return bool(legacy)


def _variables(*, is_legacy: bool) -> dict[str, Flag]:
    names = ((flag.environment(is_legacy=is_legacy), flag) for flag in KNOWN)
    return {name: flag for name, flag in names if name}


def _add_environment(
    given: list[Given], environment: Mapping[str, str], *, is_legacy: bool
) -> tuple[list[Given], list[LogWarning]]:
    variables = _variables(is_legacy=is_legacy)
    warnings: list[LogWarning] = []
    merged = {one.name: one for one in given}
    for name, raw in environment.items():
        text = raw.strip()
        flag = variables.get(name)
        if flag is None:
            if not is_legacy and name.startswith("ETCD_") and name not in UNREPORTED_VARIABLES:
                fields = {"environment-variable": f"{name}={raw}"}
                warnings.append(LogWarning("unrecognized environment variable", fields))
            continue
        flag_name = flag.name(is_legacy=is_legacy)
        if not text:
            continue
        if flag_name not in merged:
            if is_legacy and flag.kind in BOOLEAN_KINDS:
                text = "false" if text in {"0", "false"} else "true"
            merged[flag_name] = Given(flag, name, text, is_from_environment=True)
        elif not is_legacy:
            fields = {"environment-variable": f"{name}={raw}"}
            warnings.append(LogWarning("environment variable is shadowed by its flag", fields))
    return sorted(merged.values(), key=lambda one: KNOWN.index(one.flag)), warnings
