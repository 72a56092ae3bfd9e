"""One table of the server's settings on the command line: each flag and how each era spells it.

What for: the parser, the help, docs/flags.md and the tests are all made from `FLAGS`, so none of
them can disagree. `foreign.py` adds the flags of etcd that set nothing here, `commandline.py` reads
a command line by both; `settings.py` turns what was read into a `Config`.
Source: reference contract, v2-api section 10; v3-operations sections 1 to 3.
"""

import re
from enum import Enum
from typing import NamedTuple


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
    TLS_VERSION = "TLS version"
    VERBOSITY = "verbosity"


class Effect(Enum):
    """What a flag that is given does."""

    SETS = "sets its field"
    PASSED_OVER = "has no effect"
    REFUSED = "is refused"


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
    short: str = ""
    """A second name, as good as the first."""
    is_flag_only: bool = False
    """Whether neither variables nor files can set it."""
    effect: Effect = Effect.SETS
    harmless: tuple[str, ...] = ()
    """Values that ask for what is done anyway, where the flag sets nothing."""

    def name(self, *, is_legacy: bool) -> str:
        """The flag in an era, without dashes; empty when there is none."""
        return self.legacy if is_legacy else self.modern

    def environment(self, *, is_legacy: bool) -> str:
        """The variable that sets this in an era; empty when there is none."""
        name = self.name(is_legacy=is_legacy)
        if self.is_flag_only or (is_legacy and self.kind is Kind.CONFIG_FILE):
            return ""
        if is_legacy and self.legacy_environment:
            return self.legacy_environment
        return environment_name(name) if name else ""

    @property
    def file_key(self) -> str:
        """The key that sets this in 0.4's file, a dot between table and key; empty for none."""
        if not self.legacy or self.is_flag_only or self.kind is Kind.CONFIG_FILE:
            return ""
        if self.legacy_file_key:
            return self.legacy_file_key
        table, dash, rest = self.legacy.partition("-")
        is_in_table = dash and table in FILE_TABLES
        return f"{table}.{file_name(rest)}" if is_in_table else file_name(self.legacy)

    @property
    def modern_file_key(self) -> str:
        """The key that sets this in 3.x's file, a dot between table and key; empty for none."""
        if self.is_flag_only or self.kind is Kind.CONFIG_FILE:
            return ""
        if self.group != GROUP_TLS or not self.modern:
            return self.modern
        is_peer = self.modern.startswith("peer-")
        table = "peer-transport-security" if is_peer else "client-transport-security"
        return f"{table}.{_allowed.sub('allowed-', self.modern).removeprefix('peer-')}"


_allowed = re.compile(r"(client|peer)-cert-allowed-")
"""3.x's file calls these `allowed-cn` and `allowed-hostname`."""

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
GROUP_TLS_CHOICE = "TLS, what is spoken"
GROUP_LOGS = "Log lines"
GROUP_UNSAFE = "Unsafe"
GROUP_HELP = "Help"
GROUP_FOREIGN = "Flags of etcd that set nothing here"

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
        GROUP_MEMBER, "wal-dir", "", Kind.PATH, "wal_dir", "DIR", "", "",
        "Where the log is, if not in the data directory: on a faster disk, perhaps. A member"
        " needs both directories from its first start on.",
    ),
    Flag(
        GROUP_MEMBER, "config-file", "config", Kind.CONFIG_FILE, "", "FILE", "",
        "/etc/etcd/etcd.conf, if it exists", "A file with any of these settings. The 0.4 way:"
        " TOML, and flags and variables win. The 3.x way: YAML, and nothing else counts.",
    ),
    Flag(
        GROUP_MEMBER, "discovery", "discovery", Kind.TEXT, "discovery", "URL", "", "",
        "Find the other members at a discovery service: the URL of a token there, which all of"
        " them are given and which is used for one cluster only. Read only while the data"
        " directory is empty.",
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
        GROUP_LEGACY, "", "cluster-active-size", Kind.INTEGER, "active_size", "COUNT", "", "9",
        "Members the cluster is to have, at least 3; further machines stand by. This, and the two"
        " below, count where a cluster is started; /v2/admin/config changes them.",
        old_spellings=("maxsize", "max-cluster-size"),
    ),
    Flag(
        GROUP_LEGACY, "", "cluster-remove-delay", Kind.SECONDS, "remove_delay_seconds", "SECONDS",
        "", "1800", "A member silent for longer loses its seat; at least 2.",
    ),
    Flag(
        GROUP_LEGACY, "", "cluster-sync-interval", Kind.SECONDS, "sync_interval_seconds",
        "SECONDS", "", "5", "How often a machine that stands by looks for a seat; at least 1.",
    ),
    Flag(
        GROUP_MODERN, "listen-client-urls", "", Kind.LISTEN_URLS, "client_listen_addresses",
        "URL,...", "http://localhost:2379", "", "Where clients are served: an IP address or"
        " localhost. Needs --advertise-client-urls beside it.",
    ),
    Flag(
        GROUP_MODERN, "listen-client-http-urls", "", Kind.LISTEN_URLS, "client_listen_addresses",
        "URL,...", "", "", "More addresses where clients are served; all of them serve everything.",
    ),
    Flag(
        GROUP_MODERN, "listen-metrics-urls", "", Kind.LISTEN_URLS, "metrics_listen_addresses",
        "URL,...", "", "", "Where /metrics and /health are served besides, and nothing else. With"
        " https it shows the certificate that clients see.",
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
        GROUP_STORAGE, "auto-compaction-mode", "auto-compaction-mode", Kind.COMPACTION_MODE,
        "auto_compaction_seconds", "revision|periodic", "periodic", "revision",
        "What --auto-compaction-retention counts: revisions, or time.",
    ),
    Flag(
        GROUP_STORAGE, "auto-compaction-retention", "auto-compaction-retention", Kind.RETENTION,
        "auto_compaction_retention", "REVISIONS|HOURS|DURATION", "0", "100000",
        "How much history to keep: revisions; or, when it goes by time, hours, or a duration such"
        " as 30m or 1h30m. 0 keeps all.",
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
        GROUP_HTTP, "host-whitelist", "", Kind.LIST, "host_whitelist", "HOST,...", "*", "",
        "Host names that requests without TLS may be for, against pages that give their own name"
        " our address; * is any.",
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
        GROUP_TLS_CHOICE, "cipher-suites", "", Kind.LIST, "client_tls", "NAME,...", "", "",
        "Cipher suites of TLS 1.2 that clients and members speak, under Go's names. What is spoken"
        " in TLS 1.3 is OpenSSL's choice.",
    ),
    Flag(
        GROUP_TLS_CHOICE, "tls-min-version", "", Kind.TLS_VERSION, "client_tls", "TLS1.2|TLS1.3",
        "TLS1.2", "", "The oldest version of TLS that clients and members speak.",
    ),
    Flag(
        GROUP_TLS_CHOICE, "tls-max-version", "", Kind.TLS_VERSION, "client_tls", "TLS1.2|TLS1.3",
        "TLS1.3", "", "The newest one.",
    ),
    Flag(
        GROUP_LOGS, "log-level", "", Kind.LOG_LEVEL, "log_level",
        "debug|info|warn|error|panic|fatal", "info", "", "The lowest level that is written.",
    ),
    Flag(
        GROUP_LOGS, "log-outputs", "", Kind.LIST, "log_outputs", "OUTPUT,...", "default", "",
        "Where log lines go: stderr, which default and systemd/journal mean too, stdout, or files,"
        " which are appended to.",
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
        GROUP_LOGS, "", "vvv", Kind.VERBOSITY, "verbosity", "", "", "false", "The same as -vv.",
        legacy_environment="ETCD_VERY_VERY_VERBOSE", legacy_file_key="very_very_verbose",
    ),
    Flag(
        GROUP_LOGS, "debug", "", Kind.VERBOSITY, "log_level", "", "false", "",
        "Write debug lines too, as 2.x and 3.4 said it.",
    ),
    Flag(
        GROUP_UNSAFE, "", "force", Kind.BOOLEAN, "forgets_data", "", "", "false",
        "Remove what the member keeps in its data directory, and begin as a new one.",
        short="f", is_flag_only=True,
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
        "Print the version and exit.", is_flag_only=True,
    ),
    Flag(
        GROUP_HELP, "help", "help", Kind.BOOLEAN, "", "", "", "", "Print this text and exit.",
        short="h", is_flag_only=True,
    ),
)  # fmt: skip
"""Every flag of `etcd`, in the order the help shows them."""
