"""Settings from a file: 0.4's TOML, with keys from the table of flags.

Rules:
    flag > variable > -config FILE > /etc/etcd/etcd.conf > default
    keys and tables that are unknown are ignored, as in 0.4
    a value of the wrong type is an error that names the file and the key
    3.x's YAML is refused: nothing that reads it is among what this package needs
The caller: `add_files` once a server is to be started; nothing is read for help or version.
Source: reference contract, v2-api section 10; v3-operations section 1.
"""

import tomllib
from pathlib import Path
from typing import TypeAlias

from kvorum.cli.flags import FLAGS, Flag, Given, Invocation, Kind, UsageError
from kvorum.errors import ConfigError

SYSTEM_PATH = Path("/etc/etcd/etcd.conf")

Table: TypeAlias = dict[str, object]

LIST_KINDS = {Kind.LIST, Kind.PEERS}
TYPES: dict[Kind, tuple[type, ...]] = {
    Kind.BOOLEAN: (bool,),
    Kind.VERBOSITY: (bool,),
    Kind.INTEGER: (int,),
    Kind.RETENTION: (int,),
    Kind.SECONDS: (int, float),
}
"""What a value must be; a string where nothing is said, or a list of strings for LIST_KINDS."""


def add_files(invocation: Invocation, system_path: Path = SYSTEM_PATH) -> Invocation:
    """The invocation with what the files say of settings that were not given otherwise.

    Raises:
        UsageError: a 0.4 file cannot be read.
        ConfigError: a 3.x file was given.
    """
    named = [one for one in invocation.given if one.flag.kind is Kind.CONFIG_FILE]
    if not invocation.is_legacy:
        if named:
            raise ConfigError(
                [
                    f"--config-file {named[0].text}: this release does not read YAML;"
                    " give the settings as flags or as ETCD_ variables"
                ]
            )
        return invocation
    paths = [Path(one.text) for one in named]
    if system_path.exists():
        paths.append(system_path)
    given = {one.flag: one for one in invocation.given}
    for path in paths:
        for one in _read(path):
            given.setdefault(one.flag, one)
    ordered = sorted(given.values(), key=lambda one: FLAGS.index(one.flag))
    return invocation._replace(given=ordered)


def _read(path: Path) -> list[Given]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"open {path}: {reason}", is_legacy=True) from error
    except ValueError as error:  # TOML's and UTF-8's errors both are
        raise UsageError(f"{path}: {error}", is_legacy=True) from error
    found = []
    for flag in FLAGS:
        value = _find(table, flag.file_key) if flag.file_key else None
        if value is not None:
            name = f"{path}: {flag.file_key}"
            text = _text(flag, name, value)
            found.append(Given(flag, name, text, is_from_environment=True))
    return [one for one in found if one.text]


def _find(table: Table, key: str) -> object:
    name, dot, rest = key.partition(".")
    value = table.get(name)
    if not dot:
        return value
    return value.get(rest) if isinstance(value, dict) else None


def _text(flag: Flag, name: str, value: object) -> str:
    """The value as it would stand on a command line.

    Raises:
        UsageError: it is of the wrong type.
    """
    if flag.kind in LIST_KINDS and isinstance(value, list):
        return ",".join(_text(flag, name, item) for item in value)
    expected = TYPES.get(flag.kind, (str,))
    if type(value) not in expected:
        wanted = " or ".join(one.__name__ for one in expected)
        text = f"Type mismatch for {name}: Expected {wanted} but found {type(value).__name__}"
        raise UsageError(text, is_legacy=True)
    return str(value).lower() if isinstance(value, bool) else str(value)
