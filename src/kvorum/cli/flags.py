"""One table of the server's flags, and the small parser that reads a command line by it.

What for: the parser, the help, docs/flags.md and the tests are all made from `FLAGS`, so none of
them can disagree. `settings.py` turns what is parsed here into a `Config`; this module loads
nothing heavy, so that `etcd -version` answers at once.

Rules (Go's flag grammar, which users' scripts rely on):
    one dash or two; `-x value` or `-x=value`; a boolean takes a value only after `=`
    the last of several equal flags counts
    everything after the first argument that is no flag, or after `--`, is not read
    flag > environment > file > default; an empty variable counts as unset
    the file's keys follow from the flags, too; `configfile.py` reads it

Which era: a flag that only 0.4 had means 0.4, one that only 3.x has means 3.x, both together are
an error. With neither among the flags the variables decide in the same way; otherwise 3.x.
Source: reference contract, v2-api section 10; v3-operations sections 1 to 3.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from kvorum.errors import ConfigError


class Kind(Enum):
    """How the text of a value is read; `settings.py` has one converter for each."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    SECONDS = "seconds"
    TEXT = "text"
    LIST = "list"
    PATH = "path"
    CONFIG_FILE = "config file"
    ADDRESS = "address"
    BIND_ADDRESS = "bind address"
    PEERS = "peers"
    PEERS_FILE = "peers file"
    URLS = "URLs"
    LISTEN_URLS = "listen URLs"
    CLUSTER = "cluster"
    CLUSTER_STATE = "cluster state"
    COMPACTION_MODE = "compaction mode"
    RETENTION = "retention"
    LOG_LEVEL = "log level"
    VERBOSITY = "verbosity"


BOOLEAN_KINDS = {Kind.BOOLEAN, Kind.VERBOSITY}
"""Kinds that stand without a value for true."""


class Flag(NamedTuple):
    """One row: a setting and how each era spells it."""

    group: str
    modern: str
    """The 3.x flag, without dashes; empty when 3.x has none."""
    legacy: str
    """The 0.4 flag, without dashes; empty when 0.4 has none."""
    kind: Kind
    field: str
    """The `Config` field it sets; empty for a flag that is taken and has no effect."""
    unit: str
    """What the value is, as the help shows it; empty for a boolean."""
    modern_default: str
    legacy_default: str
    help: str
    legacy_environment: str = ""
    """The 0.4 variable where its name does not follow from the flag's."""
    legacy_file_key: str = ""
    """The key in 0.4's file where it does not follow from the flag's name."""
    old_spellings: tuple[str, ...] = ()
    """0.4 spellings that still work, with a notice."""

    def name(self, *, is_legacy: bool) -> str:
        """The flag in an era, without dashes; empty when there is none."""
        return self.legacy if is_legacy else self.modern

    def environment(self, *, is_legacy: bool) -> str:
        """The variable that sets this in an era; empty when there is none."""
        name = self.name(is_legacy=is_legacy)
        if is_legacy and self.kind is Kind.CONFIG_FILE:
            return ""
        if is_legacy and self.legacy_environment:
            return self.legacy_environment
        return environment_name(name) if name and self.group != GROUP_HELP else ""

    @property
    def file_key(self) -> str:
        """The key that sets this in 0.4's file, a dot between table and key; empty for none."""
        if not self.legacy or self.group == GROUP_HELP or self.kind is Kind.CONFIG_FILE:
            return ""
        if self.legacy_file_key:
            return self.legacy_file_key
        table, dash, rest = self.legacy.partition("-")
        is_in_table = dash and table in FILE_TABLES
        return f"{table}.{file_name(rest)}" if is_in_table else file_name(self.legacy)

    @property
    def modern_file_key(self) -> str:
        """The key that sets this in 3.x's file, a dot between table and key; empty for none."""
        if self.group == GROUP_HELP or self.kind is Kind.CONFIG_FILE:
            return ""
        if self.group != GROUP_TLS or not self.modern:
            return self.modern
        is_peer = self.modern.startswith("peer-")
        table = "peer-transport-security" if is_peer else "client-transport-security"
        return f"{table}.{self.modern.removeprefix('peer-')}"


FILE_TABLES = {"peer", "cluster"}
"""Flags that begin with these words stand in a table of that name in 0.4's file."""


def file_name(flag_name: str) -> str:
    """A flag's name as a key of 0.4's file."""
    return flag_name.replace("-", "_")


def environment_name(flag_name: str) -> str:
    """The variable that belongs to a flag by the common rule."""
    return "ETCD_" + flag_name.upper().replace("-", "_")


GROUP_MEMBER = "The member"
GROUP_LEGACY = "Addresses and joining, the 0.4 way"
GROUP_MODERN = "Addresses and bootstrap, the 3.x way"
GROUP_TIMING = "Timing"
GROUP_STORAGE = "Log and history"
GROUP_HTTP = "Clients"
GROUP_TLS = "TLS"
GROUP_LOGS = "Log lines"
GROUP_UNSAFE = "Unsafe"
GROUP_HELP = "Help"

FLAGS = (
    Flag(
        GROUP_MEMBER, "name", "name", Kind.TEXT, "name", "NAME", "default", "the host's name",
        "The member's name, unique in its cluster. The 0.4 way, the host's name is taken only"
        " when -data-dir is not given either.",
        old_spellings=("n",),
    ),
    Flag(
        GROUP_MEMBER, "data-dir", "data-dir", Kind.PATH, "data_dir", "DIR", "NAME.etcd",
        "NAME.etcd", "Where everything the member keeps is stored; created with its parents.",
        old_spellings=("d",),
    ),
    Flag(
        GROUP_MEMBER, "config-file", "config", Kind.CONFIG_FILE, "", "FILE", "",
        "/etc/etcd/etcd.conf, if it exists", "A file with any of these settings. The 0.4 way:"
        " TOML, and flags and variables win. The 3.x way: YAML, and nothing else counts.",
    ),
    Flag(
        GROUP_LEGACY, "", "addr", Kind.ADDRESS, "advertised_client_urls", "HOST:PORT", "",
        "127.0.0.1:4001", "What clients are told. Its port is served on all interfaces, unless"
        " -bind-addr says otherwise.",
        old_spellings=("c",),
    ),
    Flag(
        GROUP_LEGACY, "", "bind-addr", Kind.BIND_ADDRESS, "client_listen_addresses",
        "HOST[:PORT]", "", "all interfaces, port of -addr", "Where clients are served.",
        old_spellings=("cl",),
    ),
    Flag(
        GROUP_LEGACY, "", "peer-addr", Kind.ADDRESS, "advertised_peer_urls", "HOST:PORT", "",
        "127.0.0.1:7001", "What the other members are told. Its port is served on all"
        " interfaces, unless -peer-bind-addr says otherwise.",
        old_spellings=("s",),
    ),
    Flag(
        GROUP_LEGACY, "", "peer-bind-addr", Kind.BIND_ADDRESS, "peer_listen_addresses",
        "HOST[:PORT]", "", "all interfaces, port of -peer-addr",
        "Where the other members are served.",
        old_spellings=("sl",),
    ),
    Flag(
        GROUP_LEGACY, "", "peers", Kind.PEERS, "peers", "HOST:PORT,...", "", "",
        "Peer addresses of members to join through, tried in order. Without any, a new cluster"
        " is started.",
        old_spellings=("C",),
    ),
    Flag(
        GROUP_LEGACY, "", "peers-file", Kind.PEERS_FILE, "peers", "FILE", "", "",
        "A file that holds what -peers would; it replaces -peers.",
        old_spellings=("CF",),
    ),
    Flag(
        GROUP_LEGACY, "", "max-retry-attempts", Kind.INTEGER, "max_retry_attempts", "COUNT", "",
        "3", "Rounds over all of -peers before a join is given up; 0 tries for ever.",
        old_spellings=("r",),
    ),
    Flag(
        GROUP_LEGACY, "", "retry-interval", Kind.SECONDS, "retry_interval_seconds", "SECONDS", "",
        "random, 2.5 to 4.95", "Pause between these rounds.",
    ),
    Flag(
        GROUP_MODERN, "listen-client-urls", "", Kind.LISTEN_URLS, "client_listen_addresses",
        "URL,...", "http://localhost:2379", "", "Where clients are served: an IP address or"
        " localhost. Needs --advertise-client-urls beside it.",
    ),
    Flag(
        GROUP_MODERN, "advertise-client-urls", "", Kind.URLS, "advertised_client_urls", "URL,...",
        "http://localhost:2379", "", "What clients are told.",
    ),
    Flag(
        GROUP_MODERN, "listen-peer-urls", "", Kind.LISTEN_URLS, "peer_listen_addresses",
        "URL,...", "http://localhost:2380", "",
        "Where the other members are served: an IP address or localhost.",
    ),
    Flag(
        GROUP_MODERN, "initial-advertise-peer-urls", "", Kind.URLS, "advertised_peer_urls",
        "URL,...", "http://localhost:2380", "",
        "What the other members are told; must be this member's URLs in --initial-cluster.",
    ),
    Flag(
        GROUP_MODERN, "initial-cluster", "", Kind.CLUSTER, "initial_cluster", "NAME=URL,...",
        "this member alone", "", "The first members of the cluster and their peer URLs. Read"
        " only while the data directory is empty.",
    ),
    Flag(
        GROUP_MODERN, "initial-cluster-state", "", Kind.CLUSTER_STATE, "initial_cluster_state",
        "new|existing", "new", "",
        "Start a cluster, or join the running one that --initial-cluster lists.",
    ),
    Flag(
        GROUP_MODERN, "initial-cluster-token", "", Kind.TEXT, "initial_cluster_token", "TOKEN",
        "etcd-cluster", "", "Goes into the cluster's id, so that two clusters never mix.",
    ),
    Flag(
        GROUP_MODERN, "strict-reconfig-check", "", Kind.BOOLEAN, "strict_reconfig_check", "",
        "true", "", "Refuse to add or remove a member when too few of those that stay are started"
        " and alive to go on.",
    ),
    Flag(
        GROUP_TIMING, "heartbeat-interval", "peer-heartbeat-interval", Kind.INTEGER,
        "heartbeat_ms", "MS", "100", "50", "How often a leader shows that it is alive.",
        old_spellings=("peer-heartbeat-timeout",),
    ),
    Flag(
        GROUP_TIMING, "election-timeout", "peer-election-timeout", Kind.INTEGER, "election_ms",
        "MS", "1000", "200", "Silence after which a member calls an election; each draws between"
        " one and two times this. 3.x: at least 5 heartbeats, at most 50000.",
    ),
    Flag(
        GROUP_STORAGE, "", "snapshot", Kind.BOOLEAN, "snapshot", "", "", "true",
        "Take snapshots, so that old log entries can go.",
    ),
    Flag(
        GROUP_STORAGE, "snapshot-count", "snapshot-count", Kind.INTEGER, "snapshot_count",
        "ENTRIES", "10000", "10000", "Log entries between two snapshots.",
        legacy_environment="ETCD_SNAPSHOTCOUNT", old_spellings=("snapshotCount",),
    ),
    Flag(
        GROUP_STORAGE, "auto-compaction-mode", "auto-compaction-mode", Kind.COMPACTION_MODE, "",
        "revision|periodic", "periodic", "revision", "What --auto-compaction-retention counts."
        " This release compacts by revision only, so that must be named when there is a"
        " retention.",
    ),
    Flag(
        GROUP_STORAGE, "auto-compaction-retention", "auto-compaction-retention", Kind.RETENTION,
        "auto_compaction_retention", "REVISIONS", "0", "100000",
        "Revisions of history to keep; 0 keeps all.",
    ),
    Flag(
        GROUP_HTTP, "max-request-bytes", "max-request-bytes", Kind.INTEGER, "request_bytes_max",
        "BYTES", "1572864", "1572864", "The largest request body.",
    ),
    Flag(
        GROUP_HTTP, "", "http-read-timeout", Kind.SECONDS, "http_read_timeout_seconds", "SECONDS",
        "", "300", "A request must have arrived within this.",
    ),
    Flag(
        GROUP_HTTP, "", "http-write-timeout", Kind.SECONDS, "http_write_timeout_seconds",
        "SECONDS", "", "300", "A client must have taken its answer within this.",
    ),
    Flag(
        GROUP_HTTP, "cors", "cors", Kind.LIST, "cors", "ORIGIN,...", "*", "",
        "Origins that browsers may call from; * is any.",
    ),
    Flag(
        GROUP_HTTP, "enable-v2", "", Kind.BOOLEAN, "", "", "true", "",
        "Taken for compatibility: the v2 API is always served.",
    ),
    Flag(
        GROUP_HTTP, "", "max-result-buffer", Kind.INTEGER, "", "COUNT", "", "1024",
        "Taken for compatibility: a wait reaches back to the last compaction.",
        old_spellings=("m",),
    ),
    Flag(
        GROUP_TLS, "cert-file", "cert-file", Kind.PATH, "client_tls", "FILE", "", "",
        "The certificate that clients see, in PEM form. Needs -key-file. The 0.4 way, clients are"
        " then served over https only; the 3.x way, where a listen URL says https.",
        old_spellings=("clientCert",),
    ),
    Flag(
        GROUP_TLS, "key-file", "key-file", Kind.PATH, "client_tls", "FILE", "", "",
        "The key of this certificate.",
        old_spellings=("clientKey",),
    ),
    Flag(
        GROUP_TLS, "trusted-ca-file", "ca-file", Kind.PATH, "client_tls", "FILE", "", "",
        "The CA that vouches for clients: those without a certificate of it are turned away.",
        old_spellings=("clientCAFile",),
    ),
    Flag(
        GROUP_TLS, "client-cert-auth", "", Kind.BOOLEAN, "client_tls", "", "false", "",
        "Ask clients for a certificate. Without --trusted-ca-file the CAs that this system trusts"
        " vouch for it.",
    ),
    Flag(
        GROUP_TLS, "peer-cert-file", "peer-cert-file", Kind.PATH, "peer_tls", "FILE", "", "",
        "The certificate that the other members see, both when they call and when they are"
        " called. Needs -peer-key-file.",
        old_spellings=("serverCert",),
    ),
    Flag(
        GROUP_TLS, "peer-key-file", "peer-key-file", Kind.PATH, "peer_tls", "FILE", "", "",
        "The key of this certificate.",
        old_spellings=("serverKey",),
    ),
    Flag(
        GROUP_TLS, "peer-trusted-ca-file", "peer-ca-file", Kind.PATH, "peer_tls", "FILE", "", "",
        "The CA that vouches for the other members; nobody else is believed, or let in.",
        old_spellings=("serverCAFile",),
    ),
    Flag(
        GROUP_TLS, "peer-client-cert-auth", "", Kind.BOOLEAN, "peer_tls", "", "false", "",
        "Ask members that call for a certificate, also without --peer-trusted-ca-file.",
    ),
    Flag(
        GROUP_LOGS, "log-level", "", Kind.LOG_LEVEL, "log_level",
        "debug|info|warn|error|panic|fatal", "info", "", "The lowest level that is written.",
    ),
    Flag(
        GROUP_LOGS, "", "v", Kind.VERBOSITY, "verbosity", "", "", "false", "Write debug lines too.",
        legacy_environment="ETCD_VERBOSE", legacy_file_key="verbose",
    ),
    Flag(
        GROUP_LOGS, "", "vv", Kind.VERBOSITY, "verbosity", "", "", "false",
        "Write debug lines and raft's too.",
        legacy_environment="ETCD_VERY_VERBOSE", legacy_file_key="very_verbose",
    ),
    Flag(
        GROUP_UNSAFE, "force-new-cluster", "", Kind.BOOLEAN, "force_new_cluster", "", "false", "",
        "Start on the data of a member whose cluster is lost, or on a backup, as the only member."
        " Never while others of that cluster still run; leave it out at the next start.",
    ),
    Flag(
        GROUP_UNSAFE, "unsafe-no-fsync", "unsafe-no-fsync", Kind.BOOLEAN, "unsafe_no_fsync", "",
        "false", "false", "Acknowledge writes that no disk holds yet. A power failure loses"
        " them: for tests only.",
    ),
    Flag(
        GROUP_HELP, "version", "version", Kind.BOOLEAN, "", "", "", "",
        "Print the version and exit.",
    ),
    Flag(
        GROUP_HELP, "help", "help", Kind.BOOLEAN, "", "", "", "",
        "Print this text and exit; -h does too.",
    ),
)  # fmt: skip
"""Every flag of `etcd`, in the order the help shows them."""

UNREPORTED_VARIABLES = {"ETCD_UNSUPPORTED_ARCH"}
"""Variables that 3.x knows without a flag; kvorum runs on any architecture."""


class UsageError(ConfigError):
    """A command line that cannot be read.

    Attributes:
        is_legacy: whether it is answered the way 0.4 answers.
    """

    def __init__(self, text: str, *, is_legacy: bool) -> None:
        super().__init__([text])
        self.is_legacy = is_legacy


class Given(NamedTuple):
    """A value that the user gave to a flag."""

    flag: Flag
    name: str
    """The flag, or the variable, as it is called in messages."""
    text: str
    is_from_environment: bool = False


class LogWarning(NamedTuple):
    """Something to log once logging is set up."""

    text: str
    fields: dict[str, str]


class Invocation(NamedTuple):
    """A command line that was read."""

    is_legacy: bool
    action: str
    """`run`, `version` or `help`."""
    given: list[Given]
    """At most one a flag, by where the flag stands in `FLAGS`."""
    notices: list[str]
    """Lines for stderr about deprecated spellings."""
    warnings: list[LogWarning]
    extra: list[str]
    """Arguments from the first one that is no flag on."""


class _Spelling(NamedTuple):
    flag: Flag
    name: str
    """The current name, where the spelling is an old one."""
    is_in_legacy: bool
    is_in_modern: bool


class _Scan(NamedTuple):
    spellings: list[_Spelling]
    given: list[Given]
    notices: list[str]
    fault: str
    """The first fault; the rest is read only to tell the era."""
    extra: list[str]
    is_single_dash_version: bool


def _spellings() -> Iterator[tuple[str, _Spelling]]:
    for flag in FLAGS:
        is_shared = flag.legacy == flag.modern
        if flag.modern:
            yield flag.modern, _Spelling(flag, flag.modern, is_shared, is_in_modern=True)
        if flag.legacy and not is_shared:
            yield flag.legacy, _Spelling(flag, flag.legacy, is_in_legacy=True, is_in_modern=False)
        for old in flag.old_spellings:
            yield old, _Spelling(flag, flag.legacy, is_in_legacy=True, is_in_modern=False)
        if flag.modern == "help":
            yield "h", _Spelling(flag, "help", is_in_legacy=True, is_in_modern=True)


SPELLINGS = dict(_spellings())
"""Every word that is accepted after the dashes."""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Invocation:
    """Reads a command line and the variables beside it.

    Args:
        arguments: the command line without the program's name.
        environment: all variables; those not named ETCD_... are ignored.

    Raises:
        UsageError: for the first thing that cannot be read, or when eras are mixed.
    """
    scan = _scan(arguments)
    is_legacy = _choose_era(scan.spellings, environment)
    action = _action(scan)
    if action == "run":
        if scan.fault:
            raise UsageError(scan.fault, is_legacy=is_legacy)
        given, warnings = _add_environment(scan.given, environment, is_legacy=is_legacy)
    else:
        given, warnings = [], []
        is_legacy = is_legacy or scan.is_single_dash_version
    return Invocation(is_legacy, action, given, scan.notices, warnings, scan.extra)


def _scan(arguments: Sequence[str]) -> _Scan:
    spellings: list[_Spelling] = []
    given: dict[str, Given] = {}
    notices: list[str] = []
    fault = ""
    is_single_dash_version = False
    rest = list(arguments)
    while rest and _is_flag(rest[0]):
        word = rest.pop(0)
        if word == "--":
            break
        dashes = 2 if word.startswith("--") else 1
        name, equals, text = word[dashes:].partition("=")
        spelling = SPELLINGS.get(name)
        if spelling is None:
            fault = fault or _unknown(word, name)
            if not equals and rest and not _is_flag(rest[0]):
                rest.pop(0)
            continue
        spellings.append(spelling)
        is_single_dash_version |= name == "version" and dashes == 1
        if name in spelling.flag.old_spellings:
            notices.append(f"[deprecated] use -{spelling.name}, not -{name}")
        if not equals and spelling.flag.kind in BOOLEAN_KINDS:
            text = "true"
        elif not equals and rest:
            text = rest.pop(0)
        elif not equals:
            fault = fault or f"flag needs an argument: -{name}"
        given[spelling.name] = Given(spelling.flag, spelling.name, text)
    return _Scan(spellings, list(given.values()), notices, fault, rest, is_single_dash_version)


def _is_flag(word: str) -> bool:
    return len(word) > 1 and word.startswith("-")


def _unknown(word: str, name: str) -> str:
    if not name or name.startswith("-"):
        return f"bad flag syntax: {word}"
    return f"flag provided but not defined: -{name}"


def _action(scan: _Scan) -> str:
    asked = {one.name for one in scan.given if one.flag.group == GROUP_HELP and one.text == "true"}
    if "version" in asked:
        return "version"
    return "help" if asked else "run"


def _choose_era(spellings: Iterable[_Spelling], environment: Mapping[str, str]) -> bool:
    """Whether the 0.4 era is meant.

    Raises:
        UsageError: when flags, or in their absence variables, of both eras are given.
    """
    legacy = [f"-{one.name}" for one in spellings if not one.is_in_modern]
    modern = [f"--{one.name}" for one in spellings if not one.is_in_legacy]
    if not legacy and not modern:
        legacy_names, modern_names = _variables(is_legacy=True), _variables(is_legacy=False)
        present = [name for name, text in environment.items() if text.strip()]
        legacy = [name for name in present if name in legacy_names and name not in modern_names]
        modern = [name for name in present if name in modern_names and name not in legacy_names]
    if legacy and modern:
        raise UsageError(
            f"{legacy[0]} starts a server the 0.4 way and {modern[0]} the 3.x way: use one",
            is_legacy=False,
        )
    return bool(legacy)


def _variables(*, is_legacy: bool) -> dict[str, Flag]:
    names = ((flag.environment(is_legacy=is_legacy), flag) for flag in FLAGS)
    return {name: flag for name, flag in names if name}


def _add_environment(
    given: list[Given], environment: Mapping[str, str], *, is_legacy: bool
) -> tuple[list[Given], list[LogWarning]]:
    variables = _variables(is_legacy=is_legacy)
    warnings: list[LogWarning] = []
    merged = {one.name: one for one in given}
    for name, raw in environment.items():
        text = raw.strip()
        flag = variables.get(name)
        if flag is None:
            if not is_legacy and name.startswith("ETCD_") and name not in UNREPORTED_VARIABLES:
                fields = {"environment-variable": f"{name}={raw}"}
                warnings.append(LogWarning("unrecognized environment variable", fields))
            continue
        flag_name = flag.name(is_legacy=is_legacy)
        if not text:
            continue
        if flag_name not in merged:
            if is_legacy and flag.kind in BOOLEAN_KINDS:
                text = "false" if text in {"0", "false"} else "true"
            merged[flag_name] = Given(flag, name, text, is_from_environment=True)
        elif not is_legacy:
            fields = {"environment-variable": f"{name}={raw}"}
            warnings.append(LogWarning("environment variable is shadowed by its flag", fields))
    return sorted(merged.values(), key=lambda one: FLAGS.index(one.flag)), warnings
