"""Settings from a file: 0.4's TOML and 3.x's YAML, with keys from the table of flags.

Rules of 0.4:
    flag > variable > -config FILE > /etc/etcd/etcd.conf > default
    keys and tables that are unknown are ignored
Rules of 3.x:
    with --config-file, no other flag and no variable counts; what was given there is warned of
    keys are the names of the flags; TLS stands in two tables, without `peer-` in front
    a key that is unknown is warned of
Of both: a value of the wrong type is an error that names the file and the key.
The caller: `add_files` once a server is to be started; nothing is read for help or version.
Source: reference contract, v2-api section 10; v3-operations section 1.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from kvorum.cli.commandline import KNOWN, Given, Invocation, LogWarning, UsageError
from kvorum.cli.flags import Effect, Flag, Kind
from kvorum.errors import ConfigError

SYSTEM_PATH = Path("/etc/etcd/etcd.conf")

Table: TypeAlias = dict[str, object]

LIST_KINDS = {Kind.LIST, Kind.PEERS}
TYPES: dict[Kind, tuple[type, ...]] = {
    Kind.BOOLEAN: (bool,),
    Kind.VERBOSITY: (bool,),
    Kind.INTEGER: (int,),
    Kind.RETENTION: (int, str),
    Kind.SECONDS: (int, float),
}
"""What a value must be; a string where nothing is said, or a list of strings for LIST_KINDS."""

SCALARS = (bool, int, float, str)
"""What a value must be, or a list of them, where it sets nothing."""

FILE_BYTES_MAX = 64 * 1024
"""Far above any list of settings: what is named by mistake does not fill the memory."""

DOTS_MAX = 200
"""In a line of TOML: a dotted key costs the square of its length."""

INTEGER_BITS_MAX = 63
"""Beside the sign, as in Go."""

YAML_FAULTS = (ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What the YAML reader raises: its own errors, and what it meets in making dates and numbers."""


def add_files(invocation: Invocation, system_path: Path = SYSTEM_PATH) -> Invocation:
    """The invocation with what the files say of settings that were not given otherwise.

    Raises:
        UsageError: a 0.4 file cannot be read.
        ConfigError: a 3.x file cannot be read.
    """
    named = [one for one in invocation.given if one.flag.kind is Kind.CONFIG_FILE]
    if not invocation.is_legacy:
        return _replace_by_file(invocation, Path(named[0].text)) if named else invocation
    paths = [Path(one.text) for one in named]
    if system_path.exists():
        paths.append(system_path)
    given = {one.flag: one for one in invocation.given}
    for path in paths:
        for one in _read_toml(path):
            given.setdefault(one.flag, one)
    ordered = sorted(given.values(), key=lambda one: KNOWN.index(one.flag))
    return invocation._replace(given=ordered)


def _replace_by_file(invocation: Invocation, path: Path) -> Invocation:
    try:
        table = _decode_yaml(path)
        given = list(_givens(path, table, is_legacy=False))
    except UsageError as error:
        raise ConfigError(error.faults) from error
    known = {key for flag in KNOWN for key in _parts(flag.modern_file_key)}
    ignored = [one.name for one in invocation.given if one.flag.kind is not Kind.CONFIG_FILE]
    unknown = [key for key in _keys(table) if key not in known]
    warnings = [
        *(LogWarning(f"{path} counts alone: this is ignored", {"setting": one}) for one in ignored),
        *(LogWarning(f"unrecognized key in {path}", {"key": one}) for one in unknown),
    ]
    return invocation._replace(given=given, warnings=[*invocation.warnings, *warnings])


def _decode_yaml(path: Path) -> Table:
    text = read_text(path, is_legacy=False)
    try:
        return msgspec.yaml.decode(text, type=Table | None) or {}
    except YAML_FAULTS as error:
        reason = " ".join(str(error).split())
        text = f"{path}: error converting YAML to JSON: yaml: {reason}"
        raise UsageError(text, is_legacy=False) from error


def _parts(key: str) -> tuple[str, ...]:
    """The key and the table it is in."""
    return (key, key.partition(".")[0])


def _keys(table: Table) -> Iterator[str]:
    for key, value in table.items():
        yield key
        if isinstance(value, dict):
            yield from (f"{key}.{inner}" for inner in value)


def _read_toml(path: Path) -> list[Given]:
    text = read_text(path, is_legacy=True)
    if any(line.count(".") > DOTS_MAX for line in text.split("\n")):
        raise UsageError(f"{path}: more than {DOTS_MAX} dots in a line", is_legacy=True)
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}", is_legacy=True) from error
    return list(_givens(path, table, is_legacy=True))


def read_text(path: Path, *, is_legacy: bool) -> str:
    """A small file's text.

    Raises:
        UsageError: it cannot be read, is no text or is not small.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise UsageError(f"{path}: larger than {FILE_BYTES_MAX} bytes", is_legacy=is_legacy)
        return data.decode()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"open {path}: {reason}", is_legacy=is_legacy) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: {error}", is_legacy=is_legacy) from error


def _givens(path: Path, table: Table, *, is_legacy: bool) -> Iterator[Given]:
    for flag in KNOWN:
        key = flag.file_key if is_legacy else flag.modern_file_key
        value = _find(table, key) if key else None
        if value is not None:
            name = f"{path}: {key}"
            text = _text(flag, name, value, is_legacy=is_legacy)
            if text:
                yield Given(flag, name, text, is_from_environment=True)


def _find(table: Table, key: str) -> object:
    name, dot, rest = key.partition(".")
    value = table.get(name)
    if not dot:
        return value
    return value.get(rest) if isinstance(value, dict) else None


def _text(flag: Flag, name: str, value: object, *, is_legacy: bool) -> str:
    """The value as it would stand on a command line.

    Raises:
        UsageError: it is of the wrong type, or cannot be written there.
    """
    is_list = flag.kind in LIST_KINDS or flag.effect is not Effect.SETS
    if is_list and isinstance(value, list):
        return ",".join(_word(flag, name, item, is_legacy=is_legacy) for item in value)
    return _word(flag, name, value, is_legacy=is_legacy)


def _word(flag: Flag, name: str, value: object, *, is_legacy: bool) -> str:
    expected = TYPES.get(flag.kind, (str,)) if flag.effect is Effect.SETS else SCALARS
    if type(value) not in expected:
        wanted = " or ".join(one.__name__ for one in expected)
        text = f"Type mismatch for {name}: Expected {wanted} but found {type(value).__name__}"
        raise UsageError(text, is_legacy=is_legacy)
    if isinstance(value, int) and value.bit_length() > INTEGER_BITS_MAX:
        raise UsageError(f"{name}: value out of range", is_legacy=is_legacy)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "\0" in text:  # of all places, a value can only have it from a file
        raise UsageError(f"{name}: invalid character NUL", is_legacy=is_legacy)
    return text
