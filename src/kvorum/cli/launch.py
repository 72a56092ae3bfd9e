"""From a command line that was read to a running server, and the words for a start that fails.

What for: everything a user sees of a failed start is decided here, in the form of the era that
was asked for: 0.4 gives one CRITICAL line a fault, 3.x a warning and a fatal JSON line.

Rules:
    a configuration that is refused creates nothing on disk
    the user never sees a traceback, unless `-vv` or `--log-level debug` asks for it
Source: reference contract, v2-api sections 10 and 12; v3-operations sections 3 and 7.
"""

import errno
import logging
import os

from kvorum import logs
from kvorum.cli import configfile, settings
from kvorum.cli.commandline import Invocation, UsageError
from kvorum.config import Config
from kvorum.errors import ConfigError, KvorumError

EXIT_FAILED = 1

BIND_ERRORS = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}

_log = logging.getLogger("kvorum.cli")


def start(invocation: Invocation) -> int:
    """Runs the server an invocation asks for, until it stops; returns the exit code.

    Raises:
        UsageError: for a value that cannot be read.
    """
    is_legacy = invocation.is_legacy
    for notice in invocation.notices:
        os.write(logs.STDERR, f"{notice}\n".encode())
    try:
        config, warnings = settings.build(configfile.add_files(invocation))
        _start_logs(config, is_legacy=is_legacy)
    except UsageError:
        raise
    except ConfigError as error:
        _start_logs(Config(), is_legacy=is_legacy)
        return _report("failed to verify flags", error.faults, is_legacy=is_legacy)
    for warning in warnings:
        _log.warning(warning.text, extra={"fields": warning.fields})
    return _run(config, is_legacy=is_legacy)


def _run(config: Config, *, is_legacy: bool) -> int:
    from kvorum.embed import run  # noqa: PLC0415 -- loads the server, once the settings are good

    try:
        return run(config)
    except ConfigError as error:
        faults = error.faults
    except KvorumError as error:
        faults = [str(error)]
    except OSError as error:
        faults = [_system_text(error, is_legacy=is_legacy)]
        _log.debug("failed to start", exc_info=error)
    except Exception as error:
        _log.debug("internal error", exc_info=error)
        faults = [
            f"internal error: {type(error).__name__}: {error}; this is a bug in kvorum,"
            " please report it with the lines above and the output of `etcd --version`"
        ]
    return _report("failed to start etcd", faults, is_legacy=is_legacy)


def _start_logs(config: Config, *, is_legacy: bool) -> None:
    """Raises ConfigError when a log cannot be written."""
    if is_legacy:
        logs.setup(logs.LineFormat.LEGACY, logs.LEVELS_BY_VERBOSITY[config.verbosity])
    else:
        level = logs.LEVELS_BY_NAME[config.log_level]
        try:
            outputs = logs.open_outputs(config.log_outputs)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise ConfigError([f"--log-outputs: open {error.filename}: {reason}"]) from error
        logs.setup(logs.LineFormat.JSON, level, outputs)


def _report(text: str, faults: list[str], *, is_legacy: bool) -> int:
    if is_legacy:
        for fault in faults:
            _log.critical("%s", fault)
        return EXIT_FAILED
    fields = {"error": "; ".join(faults)}
    _log.warning(text, extra={"fields": fields})
    _log.critical("discovery failed", extra={"fields": fields})
    return EXIT_FAILED


def _system_text(error: OSError, *, is_legacy: bool) -> str:
    """What the operating system refused, in Go's words where users search for them."""
    address = str(error.filename)
    if error.errno not in BIND_ERRORS or not address.rpartition(":")[2].isdigit():
        return str(error)
    text = f"listen tcp {address}: bind: {os.strerror(error.errno).lower()}"
    return f"Failed to create listener: {text}" if is_legacy else text
