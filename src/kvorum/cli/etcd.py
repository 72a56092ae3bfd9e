"""The `etcd` command: answers at once what needs no server, and launches the rest.

What for: `etcd -version`, the help and a mistyped flag must not wait for the server's modules, so
this module loads only the table of flags and its texts; `launch.py` comes in when there is
something to start.

Exit codes: 0.4: 1 for every refusal, usage and reason on stdout. 3.x: 2 for a command line that
cannot be read, reason and short usage on stderr; 1 for everything else.
Source: reference contract, v2-api section 10; v3-operations sections 1 and 3.
"""

import os
import sys
from collections.abc import Sequence

from kvorum import version
from kvorum.cli import commandline, helptext

EXIT_REFUSED = 1
EXIT_MODERN_USAGE = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `etcd` and returns its exit code.

    Args:
        argv: the command line without the program's name; None takes the process's own.
    """
    if not __debug__:
        print("etcd does not run under python -O: its assertions guard your data", file=sys.stderr)
        return EXIT_REFUSED
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return _dispatch(arguments)
    except commandline.UsageError as error:
        return _refuse(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _dispatch(arguments: Sequence[str]) -> int:
    invocation = commandline.parse(arguments, os.environ)
    if invocation.action == "version":
        print(_version_text(is_legacy=invocation.is_legacy))
        return 0
    if invocation.action == "help":
        print(helptext.usage(), end="")
        return 0
    from kvorum.cli import launch  # noqa: PLC0415 -- loads the server

    return launch.start(invocation)


def _refuse(error: commandline.UsageError) -> int:
    if error.is_legacy:
        encoding = sys.stdout.encoding
        shown = str(error).encode(encoding, "backslashreplace").decode(encoding)
        print(helptext.usage(), shown, "", sep="\n")
        return EXIT_REFUSED
    print(error, helptext.SHORT_USAGE, sep="\n", end="", file=sys.stderr)
    return EXIT_MODERN_USAGE


def _version_text(*, is_legacy: bool) -> str:
    if is_legacy:
        return f"etcd version {version.LEGACY}"
    from importlib import metadata, util  # noqa: PLC0415 -- slow to load, and only needed here

    core = util.find_spec("kvorum.raft.core")
    is_plain = core is None or str(core.origin).endswith(".py")
    return "\n".join(
        [
            f"etcd Version: {version.SERVER}",
            f"kvorum Version: {metadata.version('kvorum')}{'' if is_plain else ' (compiled)'}",
            f"Python Version: {sys.version.split()[0]}",
            f"OS/Arch: {sys.platform}/{os.uname().machine}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
