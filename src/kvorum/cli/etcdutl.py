"""The `etcdutl` command: what an operator does beside a running cluster.

    etcdutl import --from URL --to URL      copies the tree of another etcd

Exit codes: 0 done, and proved where there is a proof; 1 it is not; 2 a wrong command line.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from kvorum.cli.etcdctl.options import Option, UsageError, Values, describe, parse
from kvorum.client.connection import Settings
from kvorum.client.importer import Importer
from kvorum.client.v2 import Client
from kvorum.errors import KvorumError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

ANSWER_SECONDS = 60.0
"""Limit on one request: a large tree is read in one."""

SHOWN_MAX = 20
"""Differences that are listed; the rest is counted."""

PROGRESS_EVERY = 50
"""Nodes from one progress line to the next."""

HELP = """\
NAME:
   etcdutl - copies the keys of another etcd into this one

USAGE:
   etcdutl import --from URL[,URL] --to URL[,URL] [OPTIONS]

EXAMPLES:
   etcdutl import --from http://10.0.0.1:4001 --to http://127.0.0.1:2379
   etcdutl import --from http://10.0.0.1:2379 --to http://127.0.0.1:2379 --follow
   etcdutl import --from ... --to ... --hidden /_locks,/app/_secrets

Values, directories and remaining TTLs of a v2 tree are copied while both clusters run, from etcd
0.4, from 2.x, and from 3.x with --enable-v2. It ends when both trees are the same. Interrupted or
repeated, it goes on where it was.

OPTIONS:
{options}"""


def _side_options(side: str, server: str) -> tuple[Option, ...]:
    return (
        Option(side, f"{server}: its client URLs, by commas", "text", "URL,..."),
        Option(f"{side}-ca-file", "certificates that vouch for it", "text", "FILE"),
        Option(f"{side}-cert-file", "our certificate for it", "text", "FILE"),
        Option(f"{side}-key-file", "the certificate's key", "text", "FILE"),
        Option(f"{side}-username", "who we are to it", "text", "NAME:PASSWORD"),
    )


OPTIONS = (
    *_side_options("from", "the source"),
    *_side_options("to", "the target"),
    Option("hidden", "also these nodes that no listing shows, by commas", "text", "PATH,..."),
    Option("overwrite", "the target may hold other keys: they stay, unless in the way"),
    Option("follow", "go on copying each change, until Ctrl-C"),
    Option("help", "print this text", aliases=("h",)),
)


class Summary(NamedTuple):
    """What an import came to."""

    importer: Importer
    left: list[str]


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    values = Values()
    try:
        arguments = parse(sys.argv[1:] if words is None else words, OPTIONS, values)
        if values.has("help") or not arguments or arguments == ["help"]:
            print(HELP.format(options=describe(OPTIONS)), end="")
            return EXIT_OK
        return _run(arguments, values)
    except UsageError as error:
        print(f"{error}\n\nMore: etcdutl --help", file=sys.stderr)
        return EXIT_USAGE
    except KvorumError as error:
        print(f"Error: {error}", *getattr(error, "reasons", ()), sep="\n", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return EXIT_FAILED


def _run(arguments: Sequence[str], values: Values) -> int:
    if arguments != ["import"]:
        raise UsageError(f"There is no command {' '.join(arguments)!r}; write: import")
    return _import(values)


def _import(values: Values) -> int:
    with _client(values, "from") as source, _client(values, "to") as target:
        importer = Importer(
            source,
            target,
            hidden=_listed(values, "hidden"),
            is_overwriting=values.has("overwrite"),
            progress=_show_progress,
        )
        importer.check_target()
        left = importer.run()
        if values.has("follow") and not left:
            print(
                f"both trees are the same at index {importer.source_index}; following", flush=True
            )
            with suppress(KeyboardInterrupt):
                importer.follow()
            left = importer.run()
        if not left:
            importer.finish()
        return _conclude(Summary(importer, left))


def _client(values: Values, side: str) -> Client:
    endpoints = _listed(values, side)
    if not endpoints:
        raise UsageError(f"--{side} says which server: --{side} http://HOST:PORT")
    settings = Settings(
        total_seconds=ANSWER_SECONDS,
        ca_file=values.text(f"{side}-ca-file") or "",
        cert_file=values.text(f"{side}-cert-file") or "",
        key_file=values.text(f"{side}-key-file") or "",
        user=values.text(f"{side}-username") or "",
    )
    return Client(endpoints, settings)


def _listed(values: Values, name: str) -> list[str]:
    return [one.strip() for one in (values.text(name) or "").split(",") if one.strip()]


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty() and (done % PROGRESS_EVERY == 0 or done == total):
        end = "\n" if done == total else ""
        print(
            f"\r{done} of {total} ({100 * done // total} %)", end=end, file=sys.stderr, flush=True
        )


def _conclude(summary: Summary) -> int:
    importer, left = summary
    files, directories = importer.sizes
    if not left:
        print(
            f"both trees are the same: {files} keys and {directories} directories,"
            f" {importer.written_count} written; source at index {importer.source_index}"
        )
        return EXIT_OK
    print(f"{len(left)} nodes still differ; the source changes, or somebody writes to the target:")
    print(*left[:SHOWN_MAX], sep="\n")
    if len(left) > SHOWN_MAX:
        print(f"... and {len(left) - SHOWN_MAX} more")
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
