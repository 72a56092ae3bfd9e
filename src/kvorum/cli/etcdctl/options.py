"""Options of etcdctl: one table gives the parser and the help.

What for: options stand before and after arguments, with one dash or two, as `--ttl 5` or `--ttl=5`.
argparse knows neither the single dash nor, in the time a command may take to start, how to hurry.

Rules:
    A word that begins with `-` is an option, except `-` itself and all words after `--`.
    A boolean takes its value only after `=`.
    An option that is given twice has its last value.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from kvorum.errors import KvorumError

Kind = Literal["flag", "text", "integer", "seconds"]

UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

HELP_COLUMN = 30
"""Where the explanation of an option begins in a help text."""


class UsageError(KvorumError):
    """The command line does not fit the table; the text says where."""


class Option(NamedTuple):
    """One row of a table of options.

    Attributes:
        name: long name, without dashes.
        help: what it does, after "--name VALUE".
        kind: what it takes.
        value_name: how the help calls its value.
        aliases: other names, long or of one letter.
        variables: environment variables that give it when the command line does not.
        choices: the only values it takes; empty for any.
    """

    name: str
    help: str
    kind: Kind = "flag"
    value_name: str = ""
    aliases: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """All its names as the help shows them."""
        names = ", ".join(_dashed(name) for name in (self.name, *self.aliases))
        return f"{names} {self.value_name}".rstrip()


Value = bool | str | int | float


class Values:
    """What was given for the options of a table."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}

    def set(self, option: Option, text: str) -> None:
        """Reads one value.

        Raises:
            UsageError: the text is no such value.
        """
        self._values[option.name] = _parse_value(option, text)

    def has(self, name: str) -> bool:
        """Whether the option was given, or is a flag that was."""
        return self._values.get(name, False) is not False

    def text(self, name: str) -> str | None:
        """A text, or None when it was not given."""
        value = self._values.get(name)
        assert value is None or isinstance(value, str)
        return value

    def integer(self, name: str) -> int | None:
        """A whole number, or None when it was not given."""
        value = self._values.get(name)
        assert value is None or isinstance(value, int)
        return value

    def seconds(self, name: str) -> float | None:
        """A duration in seconds, or None when it was not given."""
        value = self._values.get(name)
        assert value is None or isinstance(value, float)
        return value


def parse(
    words: Sequence[str], options: Sequence[Option], values: Values, *, is_leading: bool = False
) -> list[str]:
    """Sorts words into options and arguments.

    Args:
        words: the command line from here on.
        options: the table.
        values: where options go.
        is_leading: stop at the first argument and leave it and all after it alone.

    Returns:
        The arguments, in order.

    Raises:
        UsageError: an option is unknown, lacks its value or has one it cannot take.
    """
    table = {name: option for option in options for name in (option.name, *option.aliases)}
    arguments: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--" and not is_leading:
            return arguments + rest
        if not word.startswith("-") or word in {"-", "--"}:
            arguments.append(word)
            if is_leading:
                return arguments + rest
            continue
        name, has_value, text = word[2 if word.startswith("--") else 1 :].partition("=")
        option = table.get(name)
        if option is None:
            raise UsageError(f"There is no option {_dashed(name)}.")
        if not has_value:
            if option.kind != "flag" and not rest:
                raise UsageError(f"{_dashed(name)} needs a value: {option.label}")
            text = "true" if option.kind == "flag" else rest.pop(0)
        values.set(option, text)
    return arguments


def read_environment(
    options: Sequence[Option], values: Values, environment: Mapping[str, str]
) -> None:
    """Gives options that were not set the first non-empty of their variables.

    Raises:
        UsageError: a variable holds no such value.
    """
    for option in options:
        if values.has(option.name):
            continue
        for variable in option.variables:
            if text := environment.get(variable, "").strip():
                try:
                    values.set(option, text)
                except UsageError as error:
                    raise UsageError(f"{variable}: {error}") from error
                break


def describe(options: Sequence[Option]) -> str:
    """The help lines of a table, each ending with a newline."""
    lines = []
    for option in options:
        label = f"   {option.label}"
        if len(label) >= HELP_COLUMN:
            lines.append(label)
            label = ""
        notes = option.help
        if option.variables:
            notes += f" [${', $'.join(option.variables)}]"
        lines.append(f"{label:{HELP_COLUMN}}{notes}")
    return "".join(f"{line}\n" for line in lines)


def _dashed(name: str) -> str:
    return f"-{name}" if len(name) == 1 else f"--{name}"


def _parse_value(option: Option, text: str) -> Value:
    if option.choices and text not in option.choices:
        wanted = ", ".join(option.choices)
        raise UsageError(f"{_dashed(option.name)} is one of {wanted}, not {text!r}.")
    match option.kind:
        case "text":
            return text
        case "flag":
            if text.lower() not in {"true", "false", "1", "0"}:
                raise UsageError(f"{_dashed(option.name)} is true or false, not {text!r}.")
            return text.lower() in {"true", "1"}
        case "integer":
            if not (text.isascii() and text.isdecimal()):
                raise UsageError(f"{_dashed(option.name)} is a whole number, not {text!r}.")
            return int(text)
        case "seconds":
            return _parse_seconds(option, text)


def _parse_seconds(option: Option, text: str) -> float:
    """Reads `2s`, `1m30s`, `500ms` or a plain number of seconds."""
    import re  # noqa: PLC0415 -- durations are rare

    number = r"(\d+(?:\.\d+)?)"
    if re.fullmatch(number, text, re.ASCII):
        return float(text)
    part = number + r"(ns|us|µs|ms|s|m|h)"
    if not re.fullmatch(f"(?:{part})+", text, re.ASCII):
        raise UsageError(f"{_dashed(option.name)} is a duration like 2s or 500ms, not {text!r}.")
    return sum(float(count) * UNIT_SECONDS[unit] for count, unit in re.findall(part, text))
