"""What a command of etcdctl is: a row in a table, and a function of what the command line says.

Owns: the shape of the table. `main` makes dispatch, help and completion from it.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from kvorum.cli.etcdctl.options import Option, Values
from kvorum.cli.etcdctl.printer import Printer
from kvorum.client.v2 import Client
from kvorum.errors import KvorumError

EXIT_OK = 0
EXIT_FAILED = 1


class MissingArgument(KvorumError):
    """A word that the command cannot do without; the text is 0.4.6's."""


class Call(NamedTuple):
    """What a command works with.

    Attributes:
        client: the cluster.
        arguments: the words that are no options.
        values: the options.
        printer: where the answer goes.
    """

    client: Client
    arguments: Sequence[str]
    values: Values
    printer: Printer

    def key(self) -> str:
        """The first argument.

        Raises:
            MissingArgument: there is none.
        """
        if not self.arguments:
            raise MissingArgument("Key required")
        return self.arguments[0]

    def value(self) -> str | bytes:
        """The second argument, or all of standard input.

        Raises:
            MissingArgument: neither holds anything.
        """
        if len(self.arguments) > 1:
            return self.arguments[1]
        value = sys.stdin.buffer.read()
        if not value:
            raise MissingArgument("Value required")
        return value

    def ttl(self) -> int:
        """Seconds to live; 0 for ever."""
        return self.values.integer("ttl") or 0


class Command(NamedTuple):
    """One row of the table of commands.

    Attributes:
        name: the verb; of a group, group and verb with a blank between.
        usage: its arguments, as the help shows them.
        summary: what it does, in a line.
        example: one command line that works.
        options: its own options.
        run: does it; returns the exit code.
        is_wrapper: what follows the first argument belongs to another command.
        asks: what it needs of the cluster before it runs: its machines, only a client, or nothing
            (then `Call.client` must not be used).
    """

    name: str
    usage: str
    summary: str
    example: str
    options: tuple[Option, ...]
    run: Callable[[Call], int]
    is_wrapper: bool = False
    asks: Literal["machines", "client", "nothing"] = "machines"
