"""Log lines as the two eras write them, on top of the standard `logging`.

What for: 0.4 writes `[etcd] Nov 22 18:05:35.464 INFO      | text` to stdout, 3.x writes one JSON
object a line to stderr. Operators and scripts read both, so the forms are part of the contract.

Owns: the two formatters, the handler, and the level below DEBUG that raft's own lines use.

Rules:
    one logger a package, `logging.getLogger("kvorum.server")`; the command calls `setup` once
    a line of a disabled level is never formatted; a line is written at once, with one write(2)
    a log that cannot be written never disturbs the server
    one event is one line: line ends inside a text are escaped, tracebacks only below INFO

Fields of a 3.x line are given as `extra={"fields": {"member": "m1"}}`; 0.4 lines do not show them.
Source: reference contract, v2-api section 12; v3-operations section 7.
"""

import logging
import os
import time
from collections.abc import Sequence
from enum import Enum

import msgspec

TRACE = 5
"""Raft's lines, shown at `-vv`."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""0.4 always writes English names, whatever the locale."""

LEGACY_LEVEL_COLUMNS = 9

ZAP_LEVELS = {
    TRACE: "debug",
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warn",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}

LEVELS_BY_NAME = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
"""Values of `--log-level`."""

LEVELS_BY_VERBOSITY = (logging.INFO, logging.DEBUG, TRACE)
"""No flag, `-v`, `-vv`."""

STDOUT, STDERR = 1, 2

STREAMS = {"default": STDERR, "stderr": STDERR, "stdout": STDOUT, "systemd/journal": STDERR}
"""Values of `--log-outputs` that are no files."""


class LineFormat(Enum):
    """Which era's lines are written."""

    LEGACY = "0.4"
    JSON = "json"


class _LineFormatter(logging.Formatter):
    """What both forms share: how a text, and an exception, become part of a line."""

    def __init__(self, *, has_tracebacks: bool) -> None:
        super().__init__()
        self.has_tracebacks = has_tracebacks

    def message(self, record: logging.LogRecord) -> str:
        """The text; a call whose arguments do not fit it still leaves a line."""
        try:
            return record.getMessage()
        except (TypeError, ValueError, KeyError):
            return f"{record.msg} {record.args!r}"

    def find_exception(self, record: logging.LogRecord) -> BaseException | None:
        """The exception that is to be shown, if any."""
        return record.exc_info[1] if record.exc_info else None


class LegacyFormatter(_LineFormatter):
    """`[etcd] Nov 22 18:05:35.464 INFO      | text`, in local time."""

    def __init__(self, *, has_tracebacks: bool) -> None:
        super().__init__(has_tracebacks=has_tracebacks)
        self._second = -1
        self._date = ""

    def format(self, record: logging.LogRecord) -> str:
        """Makes one line, without its end."""
        second = int(record.created)
        if second != self._second:
            now = time.localtime(second)
            self._second = second
            self._date = (
                f"{MONTHS[now.tm_mon - 1]} {now.tm_mday:2d} {time.strftime('%H:%M:%S', now)}"
            )
        milliseconds = int((record.created - second) * 1000)
        level = f"{record.levelname:<{LEGACY_LEVEL_COLUMNS}}"
        text = self.message(record)
        error = self.find_exception(record)
        if error is not None:
            text += f": {type(error).__name__}: {error}"
        text = text.replace("\n", "\\n")
        if error is not None and self.has_tracebacks and record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"[etcd] {self._date}.{milliseconds:03d} {level} | {text}"


class JsonFormatter(_LineFormatter):
    """One JSON object with zap's members: level, ts (UTC), caller, msg, then the fields."""

    def __init__(self, *, has_tracebacks: bool) -> None:
        super().__init__(has_tracebacks=has_tracebacks)
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

    def format(self, record: logging.LogRecord) -> str:
        """Makes one line, without its end."""
        second = int(record.created)
        date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        line: dict[str, object] = {
            "level": ZAP_LEVELS.get(record.levelno, "info"),
            "ts": f"{date}.{int((record.created - second) * 1000):03d}Z",
            "caller": "/".join(record.pathname.rsplit("/", 2)[-2:]) + f":{record.lineno}",
            "msg": self.message(record),
        }
        line |= getattr(record, "fields", {})
        error = self.find_exception(record)
        if error is not None:
            line.setdefault("error", f"{type(error).__name__}: {error}")
            if self.has_tracebacks and record.exc_info:
                line["stacktrace"] = self.formatException(record.exc_info)
        try:
            return self._encode(line).decode()
        except UnicodeEncodeError:
            clean = {name: str(value).encode("utf-8", "replace") for name, value in line.items()}
            return self._encode({name: data.decode() for name, data in clean.items()}).decode()


class DescriptorHandler(logging.Handler):
    """Writes each line to a file descriptor at once, and lets nothing out."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line; a reader that has gone away, or a full disk, is no reason to stop."""
        try:
            data = (self.format(record) + "\n").encode("utf-8", "replace")
            while data:
                data = data[os.write(self.descriptor, data) :]
        except (OSError, ValueError, TypeError):
            return


def open_outputs(names: Sequence[str]) -> tuple[int, ...]:
    """Where lines are to go, from the values of `--log-outputs`: descriptors, files appended to.

    A unit's journal reads what its processes write to stderr.

    Raises:
        OSError: a file cannot be opened.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    return tuple(
        STREAMS[name] if name in STREAMS else os.open(name, flags, 0o600) for name in names
    )


def setup(line_format: LineFormat, level: int, outputs: Sequence[int] = ()) -> None:
    """Sends the lines of this process, from `level` up, where the era's operators look for them.

    Also takes over what asyncio reports, so that nothing else writes to the terminal.

    Args:
        line_format: whose lines.
        level: the lowest level that is written.
        outputs: descriptors, in place of the era's stream.
    """
    is_legacy = line_format is LineFormat.LEGACY
    has_tracebacks = level <= (TRACE if is_legacy else logging.DEBUG)
    form = LegacyFormatter if is_legacy else JsonFormatter
    handlers = [
        DescriptorHandler(output) for output in outputs or (STDOUT if is_legacy else STDERR,)
    ]
    for handler in handlers:
        handler.setFormatter(form(has_tracebacks=has_tracebacks))
    logging.addLevelName(TRACE, "DEBUG")
    logging.raiseExceptions = False
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
    for name in ("kvorum", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = list(handlers)
        logger.propagate = False
        logger.setLevel(level)
