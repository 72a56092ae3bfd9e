"""The v2 grammar of etcdctl: `set`, `get`, `mk`, `ls`, `rm`, `watch` and the rest.

What for: one function per command, of what the command line says (`Call`) and nothing else, and the
rows of these commands in the table from which dispatch and help are made.

Rules:
    Words, exit codes and output are those of etcdctl 0.4.6; options that came later
    (`mk --in-order`, `ls --sort -p`, `get --quorum`) are taken besides.
    A value that is not on the command line is read from standard input, whole.
Source: reference contract, v2-api section 13.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kvorum.cli.etcdctl.command import EXIT_FAILED, EXIT_OK, Call, Command, MissingArgument
from kvorum.cli.etcdctl.options import Option, UsageError, parse
from kvorum.client.answers import Event
from kvorum.client.v2 import Condition

if TYPE_CHECKING:
    import subprocess


def _set(call: Call) -> int:
    condition = Condition(
        prev_value=call.values.text("swap-with-value"),
        prev_index=call.values.integer("swap-with-index"),
    )
    key, value = call.key(), call.value()
    call.printer.value(call.client.put(key, value, ttl=call.ttl(), condition=condition))
    return EXIT_OK


def _make(call: Call) -> int:
    key, value = call.key(), call.value()
    if call.values.has("in-order"):
        event = call.client.post(key, value, ttl=call.ttl())
    else:
        condition = Condition(prev_exist=False)
        event = call.client.put(key, value, ttl=call.ttl(), condition=condition)
    call.printer.value(event)
    return EXIT_OK


def _update(call: Call) -> int:
    key, value, condition = call.key(), call.value(), Condition(prev_exist=True)
    call.printer.value(call.client.put(key, value, ttl=call.ttl(), condition=condition))
    return EXIT_OK


def _get(call: Call) -> int:
    event = call.client.get(
        call.key(),
        is_sorted=call.values.has("sort"),
        quorum=call.values.has("quorum"),
        consistent=call.values.has("consistent"),
    )
    if event.is_directory:
        print(f"{event.node.key}: is a directory", file=sys.stderr)
        return EXIT_FAILED
    call.printer.value(event)
    return EXIT_OK


def _list(call: Call) -> int:
    event = call.client.get(
        call.arguments[0] if call.arguments else "/",
        recursive=call.values.has("recursive"),
        is_sorted=call.values.has("sort"),
        quorum=call.values.has("quorum"),
    )
    call.printer.listing(event, with_slashes=call.values.has("p"))
    return EXIT_OK


def _make_directory(call: Call) -> int:
    return _put_directory(call, Condition(prev_exist=False))


def _set_directory(call: Call) -> int:
    return _put_directory(call, Condition())


def _update_directory(call: Call) -> int:
    return _put_directory(call, Condition(prev_exist=True))


def _put_directory(call: Call, condition: Condition) -> int:
    call.printer.done(
        call.client.put(call.key(), ttl=call.ttl(), is_directory=True, condition=condition)
    )
    return EXIT_OK


def _remove(call: Call) -> int:
    condition = Condition(
        prev_value=call.values.text("with-value"), prev_index=call.values.integer("with-index")
    )
    event = call.client.delete(
        call.key(),
        is_directory=call.values.has("dir"),
        recursive=call.values.has("recursive"),
        condition=condition,
    )
    call.printer.removed(event)
    return EXIT_OK


def _remove_directory(call: Call) -> int:
    call.printer.removed_directory(call.client.delete(call.key(), is_directory=True))
    return EXIT_OK


def _watch(call: Call) -> int:
    is_recursive = call.values.has("recursive")
    for event in _events(call, call.key()):
        is_shown = call.printer.change(event, is_recursive=is_recursive)
        if is_shown and not call.values.has("forever"):
            break
    return EXIT_OK


def _events(call: Call, key: str) -> Iterator[Event]:
    return call.client.watch(
        key,
        after_index=call.values.integer("after-index"),
        recursive=call.values.has("recursive"),
        on_gap=_warn_of_gap,
    )


def _warn_of_gap(first: int, last: int) -> None:
    print(
        f"Warning: events from index {first} to {last} may have been missed:"
        " the server dropped them from its history before they could be asked for",
        file=sys.stderr,
    )


def _exec_watch(call: Call) -> int:
    key, words = _split_wrapped(call)
    for event in _events(call, key):
        try:
            _run_child(words, event)
        except (OSError, ValueError) as error:
            print(f"Error:  cannot run {words[0]}: {error}", file=sys.stderr)
            return EXIT_FAILED
    raise AssertionError("a watch has no end")


def _split_wrapped(call: Call) -> tuple[str, Sequence[str]]:
    """Tells key and command apart: `KEY -- COMMAND...`, or `COMMAND... KEY` as 3.4 has it."""
    words = list(call.arguments)
    if words[:1] == ["--"]:
        words = words[1:]
    elif "--" in words:
        at = words.index("--")
        keys = parse(words[:at], EXEC_OPTIONS, call.values)
        if len(keys) != 1 or not words[at + 1 :]:
            raise UsageError("Put one key before the -- and a command after it.")
        return keys[0], words[at + 1 :]
    if not words[1:]:
        raise MissingArgument("Key and command to exec required")
    return words[-1], words[:-1]


def _run_child(words: Sequence[str], event: Event) -> None:
    """Runs the command with our terminal and pipes, so that none of its output can be lost."""
    import subprocess  # noqa: PLC0415 -- the other commands do without

    node = event.node
    environment: dict[str, str | bytes] = {
        **os.environ,
        "ETCD_WATCH_ACTION": event.action,
        "ETCD_WATCH_KEY": node.key.encode(),
        "ETCD_WATCH_VALUE": (node.value or "").encode(),
        "ETCD_WATCH_MODIFIED_INDEX": str(node.modified_index),
    }
    with _kept_terminal(), subprocess.Popen(words, env=environment) as child:  # noqa: S603 -- the point
        _wait(child)


def _wait(child: "subprocess.Popen[bytes]") -> None:
    """Waits for the child; Ctrl-C reaches both, so it gets the time to end by itself."""
    try:
        child.wait()
    except KeyboardInterrupt:
        try:
            child.wait()
        except KeyboardInterrupt:
            child.kill()
            child.wait()
        raise


@contextmanager
def _kept_terminal() -> Iterator[None]:
    """Gives the terminal back as it was, whatever the child made of it."""
    if not sys.__stdin__ or not sys.__stdin__.isatty():
        yield
        return
    import termios  # noqa: PLC0415 -- only with a terminal

    terminal = sys.__stdin__.fileno()
    saved = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        # A process in the background would be stopped for touching it.
        if os.tcgetpgrp(terminal) == os.getpgrp():
            termios.tcsetattr(terminal, termios.TCSADRAIN, saved)


TTL = Option("ttl", "seconds until it expires; 0 for never", "integer", "SECONDS")
RECURSIVE = Option("recursive", "with everything below", aliases=("r",))
SORT = Option("sort", "in the order of the keys")
QUORUM = Option("quorum", "linearizable: ask a majority", aliases=("q",))
AFTER_INDEX = Option("after-index", "begin with the first event after N", "integer", "N")
EXEC_OPTIONS = (RECURSIVE, AFTER_INDEX)

COMMANDS = (
    Command(
        "get",
        "KEY",
        "print the value of a key",
        "etcdctl get /message",
        (SORT, QUORUM, Option("consistent", "0.4: have the leader answer")),
        _get,
    ),
    Command(
        "set",
        "KEY [VALUE]",
        "set the value of a key, whether it exists or not",
        "etcdctl set /message Hello --ttl 60",
        (
            TTL,
            Option("swap-with-value", "only if this is the value now", "text", "VALUE"),
            Option("swap-with-index", "only if this is its modified index now", "integer", "INDEX"),
        ),
        _set,
    ),
    Command(
        "mk",
        "KEY [VALUE]",
        "make a key that must not exist yet",
        "etcdctl mk --in-order /queue job1",
        (TTL, Option("in-order", "below KEY, named by a growing number")),
        _make,
    ),
    Command(
        "update",
        "KEY [VALUE]",
        "change a key that must exist",
        "etcdctl update /message Bye",
        (TTL,),
        _update,
    ),
    Command(
        "rm",
        "KEY",
        "remove a key or a directory",
        "etcdctl rm /services --recursive",
        (
            Option("dir", "also an empty directory"),
            RECURSIVE,
            Option("with-value", "only if this is the value now", "text", "VALUE"),
            Option("with-index", "only if this is its modified index now", "integer", "INDEX"),
        ),
        _remove,
    ),
    Command(
        "ls",
        "[DIRECTORY]",
        "list the keys of a directory",
        "etcdctl ls --recursive --sort -p /services",
        (RECURSIVE, SORT, Option("p", "put a slash after directories"), QUORUM),
        _list,
    ),
    Command(
        "mkdir",
        "DIRECTORY",
        "make a directory that must not exist yet",
        "etcdctl mkdir /services",
        (TTL,),
        _make_directory,
    ),
    Command(
        "setdir",
        "DIRECTORY",
        "make a directory, in the place of a file if there is one",
        "etcdctl setdir /services --ttl 30",
        (TTL,),
        _set_directory,
    ),
    Command(
        "updatedir",
        "DIRECTORY",
        "change the TTL of a directory",
        "etcdctl updatedir /services --ttl 30",
        (TTL,),
        _update_directory,
    ),
    Command(
        "rmdir",
        "DIRECTORY",
        "remove a key or an empty directory",
        "etcdctl rmdir /services",
        (),
        _remove_directory,
    ),
    Command(
        "watch",
        "KEY",
        "print the value of a key when it changes",
        "etcdctl watch --recursive --forever /services",
        (Option("forever", "go on after the first event", aliases=("f",)), *EXEC_OPTIONS),
        _watch,
    ),
    Command(
        "exec-watch",
        "KEY -- COMMAND [ARGUMENT...]",
        "run a command each time a key changes",
        "etcdctl exec-watch --recursive /services -- sh -c 'echo $ETCD_WATCH_KEY'",
        EXEC_OPTIONS,
        _exec_watch,
        is_wrapper=True,
    ),
)
"""The commands on keys, in the order of the help."""
