"""What `etcd --help` prints and docs/flags.md says, both made from the table of flags.

`python -m kvorum.cli.helptext > docs/flags.md` writes the page; a test checks that it is current.
"""

import textwrap
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

from kvorum.cli.flags import FLAGS, Effect, Flag
from kvorum.cli.foreign import FOREIGN

COLUMNS = 79

SHORT_USAGE = """\
Usage:

  etcd [flags]
    Start an etcd server.

  etcd --version
    Show the version of etcd.

  etcd -h | --help
    Show every flag and examples.
"""

EXAMPLES = """\
One machine, nothing to decide (clients on 2379):

  etcd

One machine, the 0.4 way (clients on 4001, peers on 7001):

  etcd -name m1 -data-dir m1 -addr 127.0.0.1:4001 -peer-addr 127.0.0.1:7001

Three machines, the 0.4 way: the first starts the cluster, the others join through it.

  etcd -name m1 -data-dir m1 -addr 127.0.0.1:4001 -peer-addr 127.0.0.1:7001
  etcd -name m2 -data-dir m2 -addr 127.0.0.1:4002 -peer-addr 127.0.0.1:7002 \\
       -peers 127.0.0.1:7001,127.0.0.1:7003
  etcd -name m3 -data-dir m3 -addr 127.0.0.1:4003 -peer-addr 127.0.0.1:7003 \\
       -peers 127.0.0.1:7001,127.0.0.1:7002

Three machines, the 3.x way: each is told of all three. This is m1; m2 and m3 differ in the
name and in their own four URLs.

  etcd --name m1 --data-dir m1 \\
       --listen-client-urls http://10.0.0.1:2379 \\
       --advertise-client-urls http://10.0.0.1:2379 \\
       --listen-peer-urls http://10.0.0.1:2380 \\
       --initial-advertise-peer-urls http://10.0.0.1:2380 \\
       --initial-cluster m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://10.0.0.3:2380

One machine that clients reach over https, and only with a certificate of ca.pem:

  etcd -name m1 -data-dir m1 -cert-file m1.pem -key-file m1.key -ca-file ca.pem

Try it:

  etcdctl set /message Hello
  curl http://127.0.0.1:4001/v2/keys/message      (2379 when started the 3.x way)
"""

RULES = """\
One dash or two, "-flag value" or "-flag=value"; a flag without a value is set by naming it and
cleared by "-flag=false". A flag that only 0.4 had starts the server the 0.4 way, any other start
is the 3.x way; the two kinds do not mix. Every setting has a variable too: ETCD_ and the
flag's name in capitals, "-" as "_"; the flag wins. The 0.4 way, a TOML file may hold settings,
too: the flag's name with "-" as "_"; what begins with peer- or cluster- stands in a table [peer] or
[cluster]. A variable wins over -config FILE, and that over /etc/etcd/etcd.conf. The 3.x way, the
file of --config-file is YAML with the flags' names, TLS in the tables client-transport-security and
peer-transport-security, and no other flag or variable counts beside it.
"""

FOREIGN_NOTE = """\
Flags of etcd 0.4 to 3.6 that are not listed are known: those that protect or decide something
are refused, others are passed over with a warning, unless the value asks for what is done anyway.
"""


def usage() -> str:
    """The whole help text, ending in a line end."""
    parts = [SHORT_USAGE, "\n", EXAMPLES, "\n", RULES, "\n", FOREIGN_NOTE]
    for group, flags in _groups():
        parts.append(f"\n{group}:\n\n")
        parts += [_entry(flag) for flag in flags]
    return "".join(parts)


def reference_page() -> str:
    """The text of docs/flags.md."""
    parts = [
        "# Flags of `etcd`\n\n",
        "Made from the table in `src/kvorum/cli/flags.py` by `python -m kvorum.cli.helptext`;"
        " change the table, not this page.\n\n",
        RULES,
        "\n## Examples\n\n",
        textwrap.indent(EXAMPLES, "    "),
    ]
    for group, flags in _groups():
        parts.append(f"\n## {group}\n\n")
        parts.append(
            "| 3.x | 0.4 | variable | 0.4 file | 3.x file | setting | value | default | meaning |\n"
        )
        parts.append("|---|---|---|---|---|---|---|---|---|\n")
        parts += [_row(flag) for flag in flags]
    parts.append("\n## Old 0.4 spellings\n\nThey work, and say on stderr what to use instead.\n\n")
    parts.append("| old | use |\n|---|---|\n")
    parts += [
        f"| `-{old}` | `-{flag.legacy}` |\n"
        for flag in (*FLAGS, *FOREIGN)
        for old in flag.old_spellings
    ]
    parts += ["\n## Flags of etcd that set nothing here\n\n", FOREIGN_NOTE]
    for effect, title in ((Effect.PASSED_OVER, "Passed over"), (Effect.REFUSED, "Refused")):
        parts.append(f"\n### {title}\n\n| flag | without a word | why |\n|---|---|---|\n")
        parts += _foreign_rows(effect)
    return "".join(parts)


def _foreign_rows(effect: Effect) -> Iterator[str]:
    chosen = [flag for flag in FOREIGN if flag.effect is effect]
    for (why, harmless), flags in groupby(chosen, key=attrgetter("help", "harmless")):
        names = ", ".join(f"`{_dashed(flag)}`" for flag in flags)
        values = ", ".join(f"`{value}`" for value in harmless if value)
        yield f"| {names} | {values} | {why} |\n"


def _dashed(flag: Flag) -> str:
    return f"--{flag.modern}" if flag.modern else f"-{flag.legacy}"


def _groups() -> Iterator[tuple[str, list[Flag]]]:
    for group, flags in groupby(FLAGS, key=lambda flag: flag.group):
        yield group, list(flags)


def _entry(flag: Flag) -> str:
    unit = f" {flag.unit}" if flag.unit else ""
    spellings = [f"--{flag.modern}{unit}"] if flag.modern else []
    if flag.legacy and flag.legacy != flag.modern:
        spellings.append(f"-{flag.legacy}{unit}")
    if flag.short:
        spellings.append(f"-{flag.short}{unit}")
    default = _default(flag)
    text = flag.help + (f" [{default}]" if default else "")
    indent = " " * 8
    body = textwrap.fill(
        text, COLUMNS, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return f"  {', '.join(spellings)}\n{body}\n"


def _default(flag: Flag) -> str:
    modern, legacy = flag.modern_default, flag.legacy_default
    is_shared = bool(flag.modern and flag.legacy)
    if not is_shared or modern == legacy:
        return modern or legacy
    return f"{modern or 'none'}; the 0.4 way {legacy or 'none'}"


def _row(flag: Flag) -> str:
    variables = dict.fromkeys(
        name
        for name in (flag.environment(is_legacy=False), flag.environment(is_legacy=True))
        if name
    )
    cells = [
        f"`--{flag.modern}`" if flag.modern else "",
        ", ".join(f"`-{name}`" for name in (flag.legacy, flag.short) if name),
        ", ".join(f"`{name}`" for name in variables),
        f"`{flag.file_key}`" if flag.file_key else "",
        f"`{flag.modern_file_key}`" if flag.modern_file_key else "",
        f"`{flag.field}`" if flag.field else "",
        flag.unit.replace("|", "\\|"),
        _default(flag),
        flag.help,
    ]
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    print(reference_page(), end="")
