"""The etcdctl command: which grammar, global options, dispatch, exit codes.

Rules:
    Without endpoints it looks at 127.0.0.1:2379, and at 127.0.0.1:4001 if nobody listens there.
    Exit 0: done; 1: not a file, or a setting that cannot be used; 2: no cluster found; 4: refused
    by the cluster; 130: Ctrl-C. What a wrong command line gives is a matter of the dialect.
    A command of two words (`member list`) is one row of the table, named by both.
Source: reference contract, v2-api section 13.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from kvorum.cli.etcdctl import cluster, v2
from kvorum.cli.etcdctl.backup import BACKUP
from kvorum.cli.etcdctl.command import EXIT_OK, Call, Command, MissingArgument
from kvorum.cli.etcdctl.completion import COMPLETION, render
from kvorum.cli.etcdctl.dialect import Dialect, choose_dialect
from kvorum.cli.etcdctl.options import (
    Option,
    UsageError,
    Values,
    describe,
    parse,
    read_environment,
)
from kvorum.cli.etcdctl.printer import FORMATS
from kvorum.client.connection import DEFAULT_SETTINGS, Request, Settings
from kvorum.client.members import MembersRefused
from kvorum.client.v2 import AllUnreachable, Client, SyncFailed, find_listening
from kvorum.errors import ConfigError, KvorumError, StorageError

EXIT_BAD_SETTING = 1
EXIT_UNREACHABLE = 2
EXIT_REFUSED = 4
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""What a shell reports of a command that was ended by SIGPIPE."""

DEFAULT_ENDPOINTS = ("127.0.0.1:2379", "127.0.0.1:4001")
"""Where a server of either era serves clients when it is told nothing."""

V3_VERBS = {
    "put": "set", "del": "rm", "txn": "set --swap-with-value", "lease": "set --ttl",
    "endpoint": "cluster-health", "snapshot": "backup",
    "compaction": "", "alarm": "", "defrag": "", "move-leader": "", "make-mirror": "", "lock": "",
    "elect": "", "check": "",
}  # fmt: skip
"""Verbs of the v3 grammar alone, and what does the like here."""

HTTPS_ONLY = "HTTP request to an HTTPS server"
"""What a TLS port says to plain HTTP, be it ours or Go's."""

SHARED_VERBS = frozenset({"get", "watch", "member", "user", "role", "auth"})
"""Verbs that mean something else in the v3 grammar."""

COMMANDS = (*v2.COMMANDS, *cluster.COMMANDS, BACKUP, COMPLETION)
"""Every command, in the order of the help."""

GLOBAL_OPTIONS = (
    Option(
        "endpoints",
        "machines to ask, by commas",
        "text",
        "HOST:PORT,...",
        aliases=("endpoint", "peers", "C"),
        variables=("ETCDCTL_ENDPOINTS", "ETCDCTL_ENDPOINT", "ETCDCTL_PEERS"),
    ),
    Option("no-sync", "ask only these machines, not those of their cluster"),
    Option("output", " | ".join(FORMATS), "text", "FORMAT", aliases=("o",), choices=FORMATS),
    Option("timeout", "limit on making a connection (2s)", "seconds", "DURATION"),
    Option("total-timeout", "limit on a whole command but a watch (10s)", "seconds", "DURATION"),
    Option(
        "username",
        "name and password of the user",
        "text",
        "NAME[:PASSWORD]",
        aliases=("u",),
        variables=("ETCDCTL_USERNAME",),
    ),
    Option(
        "ca-file",
        "certificates that vouch for an https server",
        "text",
        "FILE",
        variables=("ETCDCTL_CA_FILE",),
    ),
    Option(
        "cert-file", "the client's certificate", "text", "FILE", variables=("ETCDCTL_CERT_FILE",)
    ),
    Option("key-file", "its private key", "text", "FILE", variables=("ETCDCTL_KEY_FILE",)),
    Option("debug", "show each request as a curl command"),
    Option("version", "print the version", aliases=("v",)),
    Option("help", "print this text, or that of a command", aliases=("h",)),
)

OVERVIEW = """\
NAME:
   etcdctl - read, write and watch the keys of an etcd cluster

USAGE:
   etcdctl [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]

EXAMPLES:
   etcdctl set /message Hello                write a key
   etcdctl get /message                      read it
   etcdctl ls --recursive /                  see all there is
   etcdctl watch --forever /message          follow its changes
   echo Hello | etcdctl set /message         the value from standard input
   etcdctl -C 10.0.0.1:4001,10.0.0.2:4001 get /message
   etcdctl cluster-health                    is everybody well?
   eval "$(etcdctl completion bash)"         let the Tab key write the rest

COMMANDS:
{commands}
   help COMMAND                 explain a command, with an example

GLOBAL OPTIONS:
{options}"""

COMMAND_HELP = """\
NAME:
   etcdctl {name} - {summary}

USAGE:
   etcdctl {name} [OPTIONS] {usage}

{options}EXAMPLE:
   {example}

The global options are those of: etcdctl --help
"""


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code.

    Args:
        words: the command line without the program's name; by default this process's.
    """
    for stream in (sys.stdout, sys.stderr):
        # Keys and values are bytes to their users: what cannot be read as text passes unharmed.
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    try:
        code = _dispatch(sys.argv[1:] if words is None else words, os.environ)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader left, as `head` does. What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    return code


def _dispatch(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Finds the command, or the help that is meant."""
    values = Values()
    dialect = choose_dialect(environment)
    try:
        name, *rest = parse(words, GLOBAL_OPTIONS, values, is_leading=True) or ["help"]
    except UsageError as error:
        return _explain(error, _overview(COMMANDS), dialect)
    if values.has("version"):
        print(dialect.version)
        return EXIT_OK
    if name in {"help", "h"}:
        name, rest = (rest or [""])[0], [*rest[1:], "--help"]
    if not name:
        print(_overview(COMMANDS), end="")
        return EXIT_OK
    group = [command for command in COMMANDS if command.name.startswith(f"{name} ")]
    if group:
        if not rest or rest[0].startswith("-"):
            print(_overview(group), end="")
            return EXIT_OK
        name = f"{name} {rest.pop(0)}"
    commands = {command.name: command for command in group or COMMANDS}
    if name not in commands:
        return _unknown(name, list(commands), dialect)
    return _run(commands[name], rest, values, environment)


def _run(
    command: Command, words: Sequence[str], values: Values, environment: Mapping[str, str]
) -> int:
    """Runs one command; every failure becomes a line on standard error and an exit code."""
    table = (*GLOBAL_OPTIONS, *command.options)
    dialect = choose_dialect(environment)
    try:
        arguments = parse(words, table, values, is_leading=command.is_wrapper)
        if values.has("help"):
            print(_command_help(command), end="")
            return EXIT_OK
        if command is COMPLETION:
            print(render(arguments, COMMANDS, GLOBAL_OPTIONS), end="")
            return EXIT_OK
        read_environment(GLOBAL_OPTIONS, values, environment)
        _check_grammar(command, environment)
        with _make_client(values, asks=command.asks != "nothing") as client:
            if command.asks == "machines":
                _find_cluster(client, values)
            printer = dialect.printer(values.text("output") or "simple")
            return command.run(Call(client, arguments, values, printer))
    except KvorumError as error:
        return _report(error, command, dialect)


def _report(error: KvorumError, command: Command, dialect: Dialect) -> int:
    """Says what failed; returns the exit code."""
    match error:
        case UsageError():
            return _explain(error, _command_help(command), dialect)
        case MissingArgument():
            print(f"Error:  {dialect.word(str(error))}", file=sys.stderr)
            if dialect.says_more:
                print(f"Write: etcdctl {command.name} {command.usage}", file=sys.stderr)
                print(f"More: etcdctl help {command.name}", file=sys.stderr)
            return dialect.exit_missing
        case cluster.Refused() | MembersRefused():
            print(error, file=sys.stderr)
            return EXIT_BAD_SETTING
        case _:
            code, hints = _judge(error)
            print(f"Error:  {error}", *hints, sep="\n", file=sys.stderr)
            return code


def _judge(error: KvorumError) -> tuple[int, Sequence[str]]:
    """The exit code of a failure, and what helps against it."""
    match error:
        case SyncFailed():
            hint = "Is etcd running? --endpoints HOST:PORT asks elsewhere."
            if any(HTTPS_ONLY in reason for reason in error.reasons):
                hint = "It speaks https: --endpoints https://HOST:PORT, and --ca-file FILE."
            return EXIT_UNREACHABLE, (*error.reasons, hint)
        case AllUnreachable():
            return EXIT_REFUSED, tuple(dict.fromkeys(error.reasons))
        case ConfigError() | StorageError():
            return EXIT_BAD_SETTING, ()
        case _:
            return EXIT_REFUSED, ()


def _check_grammar(command: Command, environment: Mapping[str, str]) -> None:
    if environment.get("ETCDCTL_API") == "3" and command.name.split()[0] in SHARED_VERBS:
        raise ConfigError(
            [
                f"ETCDCTL_API=3 asks for the {command.name} of the v3 grammar, which this etcdctl"
                " does not have; unset it, or set it to 2"
            ]
        )


def _make_client(values: Values, *, asks: bool) -> Client:
    settings = Settings(
        connect_seconds=values.seconds("timeout") or DEFAULT_SETTINGS.connect_seconds,
        total_seconds=values.seconds("total-timeout") or DEFAULT_SETTINGS.total_seconds,
        ca_file=values.text("ca-file") or "",
        cert_file=values.text("cert-file") or "",
        key_file=values.text("key-file") or "",
        user=_user(values.text("username") or ""),
    )
    # Whoever names certificates means https, also where no scheme says so.
    scheme = "https://" if settings.ca_file or settings.cert_file or settings.key_file else ""
    given = [one.strip() for one in (values.text("endpoints") or "").split(",") if one.strip()]
    endpoints: Sequence[str] = [
        one if "://" in one else scheme + one for one in given or DEFAULT_ENDPOINTS
    ]
    if asks and not given:
        endpoints = find_listening(endpoints, settings)
    return Client(endpoints, settings, trace=_trace if values.has("debug") else None)


def _find_cluster(client: Client, values: Values) -> None:
    if not values.has("no-sync"):
        client.sync()
    if values.has("debug"):
        print(f"Cluster-Peers: {' '.join(client.machines)}", file=sys.stderr)


def _user(text: str) -> str:
    if not text or ":" in text:
        return text
    from getpass import getpass  # noqa: PLC0415 -- only for who types a password

    return f"{text}:{getpass()}"


def _trace(machine: str, request: Request) -> None:
    """Shows a request on the keys so that it can be pasted into a shell."""
    from shlex import quote  # noqa: PLC0415 -- only with --debug

    if not request.target.startswith("/v2/keys"):
        return
    words = ["curl", "-X", request.method, machine + request.target]
    if request.body:
        words += ["-d", request.body.decode()]
    print(f"Curl-Example: {' '.join(map(quote, words))}", file=sys.stderr)


def _overview(commands: Sequence[Command]) -> str:
    lines = "\n".join(f"   {one.name:28} {one.summary}" for one in commands)
    return OVERVIEW.format(commands=lines, options=describe(GLOBAL_OPTIONS))


def _command_help(command: Command) -> str:
    options = f"OPTIONS:\n{describe(command.options)}\n" if command.options else ""
    return COMMAND_HELP.format(
        name=command.name,
        summary=command.summary,
        usage=command.usage,
        options=options,
        example=command.example,
    )


def _explain(error: UsageError, help_text: str, dialect: Dialect) -> int:
    print(f"Incorrect Usage.\n\n{error}\n\n{help_text}", end="")
    if not dialect.says_more:
        print(error, file=sys.stderr)
    return dialect.exit_usage


def _unknown(name: str, known: Sequence[str], dialect: Dialect) -> int:
    from difflib import get_close_matches  # noqa: PLC0415 -- only for who mistypes

    if name in V3_VERBS:
        like = f": write etcdctl {V3_VERBS[name]}" if V3_VERBS[name] else ""
        print(f"Error:  {name} is of the v3 grammar, not here yet{like}", file=sys.stderr)
        return max(dialect.exit_unknown, EXIT_BAD_SETTING)
    if not dialect.says_more:
        print(f"No help topic for '{name.rsplit(maxsplit=1)[-1]}'", file=sys.stderr)
        return dialect.exit_unknown
    print(f"No help topic for '{name}'")
    if near := get_close_matches(name, known, n=2):
        print(f"Did you mean {' or '.join(near)}?")
    print("All commands: etcdctl --help")
    return dialect.exit_unknown


if __name__ == "__main__":
    sys.exit(main())
