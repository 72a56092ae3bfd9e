"""How etcdctl says what it says: as 0.4.6 did, or as 3.x does when told to speak API 2.

What for: scripts read output and exit codes, and the two disagree on the same command lines. Who
sets `ETCDCTL_API=2` comes from 3.x, where that is the name of this grammar; 0.4.6 knew no such
variable. Options of either are taken in both.

Source: reference contract, v2-api section 13.2; etcdctl 3.4.23.
"""

from collections.abc import Mapping
from typing import NamedTuple

from kvorum.cli.etcdctl.printer import ModernPrinter, Printer
from kvorum.version import LEGACY, SERVER


class Dialect(NamedTuple):
    """What differs, as data.

    Attributes:
        version: what `--version` prints.
        exit_usage: exit code of an option that does not exist.
        exit_unknown: exit code of a command that does not exist.
        exit_missing: exit code when an argument is missing.
        says_more: hints may follow an error's own line, and help is offered on standard output.
        printer: what events look like.
    """

    version: str
    exit_usage: int
    exit_unknown: int
    exit_missing: int
    says_more: bool
    printer: type[Printer]

    def word(self, text: str) -> str:
        """An error of the command line; 3.x begins it with a small letter."""
        return text if self.says_more else text[:1].lower() + text[1:]


OF_LEGACY = Dialect(f"etcdctl version {LEGACY}", 0, 0, 4, says_more=True, printer=Printer)

OF_MODERN = Dialect(
    f"etcdctl version: {SERVER}\nAPI version: 2", 1, 3, 1, says_more=False, printer=ModernPrinter
)


def choose_dialect(environment: Mapping[str, str]) -> Dialect:
    """The dialect of this environment."""
    return OF_MODERN if environment.get("ETCDCTL_API") == "2" else OF_LEGACY
