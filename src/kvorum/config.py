"""Every setting of a server, typed, with its unit in its name.

What for: one immutable value says how a server behaves. The command line, the environment and a
program that embeds a server all make a `Config`; nothing below reads flags or variables.

Owns: the settings, their defaults in both eras, and what makes a combination unusable.

Rules:
    0 < heartbeat_ms < election_ms; in the 3.x era 5 * heartbeat_ms <= election_ms <= 50,000.
    A listen address says where to bind; an advertised URL says what others are told. Neither is
    derived from the other here.

The caller: `validate()` before anything is opened or created; `validate_bootstrap()` in addition
when the data directory is empty (a restart takes the cluster from its data, not from settings).
Source: reference contract, v2-api section 10; v3-operations sections 2 to 4.
"""

from enum import Enum
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from kvorum.errors import ConfigError

ELECTION_MS_MAX = 50_000
"""A follower that waits longer cannot be told from a dead one."""

PORT_MAX = 65535

REQUEST_BYTES_MAX = 1536 * 1024
"""1.5 MiB, etcd's default since 3.2: one request must pass in a fraction of an election timeout."""

LEGACY_RETENTION_REVISIONS = 100_000
"""0.4 users never compact, so a 0.4 server keeps this many revisions and drops the rest."""

LOG_LEVELS = ("debug", "info", "warn", "error", "panic", "fatal")


TLS_VERSIONS = ("TLS1.2", "TLS1.3")
"""Those that are spoken, oldest first."""


class Era(Enum):
    """Which etcd the server behaves as where the two disagree."""

    LEGACY = "0.4"
    MODERN = "3.x"


class Address(NamedTuple):
    """Where a listener binds."""

    host: str
    """An IP address; empty for all interfaces."""
    port: int
    """0 lets the system choose."""
    is_tls: bool = False
    """Whether it is served over TLS."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What one side of a server shows, and whom it trusts; all of it PEM files."""

    cert_file: Path | None = None
    """The certificate, and behind it what leads to its CA; None shows none: callers only."""
    key_file: Path | None = None
    """The certificate's key, without password; None when it is in `cert_file`."""
    ca_file: Path | None = None
    """The only certificates that vouch for the other side; None for the system's."""
    client_cert_auth: bool = False
    """Whether callers must show a certificate even without `ca_file`."""
    ciphers: tuple[str, ...] = ()
    """Cipher suites of TLS 1.2 that are spoken, under Go's names; empty for OpenSSL's choice."""
    min_version: str = TLS_VERSIONS[0]
    max_version: str = TLS_VERSIONS[-1]

    @property
    def requires_client_cert(self) -> bool:
        """Whether callers without a certificate that is vouched for are refused."""
        return self.client_cert_auth or self.ca_file is not None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one server; the defaults are those of the 3.x era.

    `LEGACY_CONFIG` holds the defaults of the 0.4 era; `msgspec.structs.replace` makes a variant.
    """

    era: Era = Era.MODERN
    """0.4 or 3.x: chosen by how the server is started."""
    name: str = "default"
    """The member's name, unique in its cluster."""
    data_dir: Path = Path("default.etcd")
    """Holds all that the member keeps; created, with its parents, when the server starts."""
    wal_dir: Path | None = None
    """3.x: where the log is, on a disk of its own perhaps; None for within `data_dir`."""

    client_listen_addresses: tuple[Address, ...] = (Address("127.0.0.1", 2379),)
    """Where clients are served."""
    advertised_client_urls: tuple[str, ...] = ("http://localhost:2379",)
    """What clients are told."""
    peer_listen_addresses: tuple[Address, ...] = (Address("127.0.0.1", 2380),)
    """Where peers are served."""
    advertised_peer_urls: tuple[str, ...] = ("http://localhost:2380",)
    """What peers are told."""
    metrics_listen_addresses: tuple[Address, ...] = ()
    """3.x: where /metrics and /health are served, and nothing else."""
    client_tls: TlsFiles | None = None
    """What clients see on addresses that are served over TLS."""
    peer_tls: TlsFiles | None = None
    """The same for peers; this member shows and trusts the same when it calls them."""

    peers: tuple[str, ...] = ()
    """0.4: `host:port` of members to join through, tried in order; empty for a new cluster."""
    initial_cluster: dict[str, tuple[str, ...]] = {}
    """3.x: name to peer URLs of every first member; empty for this member alone."""
    initial_cluster_state: Literal["new", "existing"] = "new"
    """3.x: start a cluster, or join the one whose members `initial_cluster` lists."""
    initial_cluster_token: str = "etcd-cluster"  # noqa: S105 -- a name, not a secret
    """3.x: goes into the cluster id, so that clusters with equal URLs do not mix."""
    forgets_data: bool = False
    """0.4: what the data directory holds of a member is removed, and a new one begins."""
    discovery: str = ""
    """URL of a token at a discovery service that tells the members; empty for none."""
    force_new_cluster: bool = False
    """Restart as the only member of the cluster, whoever else was in it."""
    strict_reconfig_check: bool = True
    """3.x: whether a change of members that would leave no living quorum is refused."""
    max_retry_attempts: int = 3
    """0.4: rounds over `peers` before the join is given up; 0 tries for ever."""
    retry_interval_seconds: float | None = None
    """0.4: pause between rounds; None draws one between 2.5 and 4.95."""

    active_size: int = 9
    """0.4: members the cluster is to have; further machines are standbys. It, and the two below,
    count for a new cluster only; after that the cluster has them."""
    remove_delay_seconds: float = 1800.0
    """0.4: a member silent for longer loses its seat."""
    sync_interval_seconds: float = 5.0
    """0.4: how often a standby looks whether a seat is free."""

    heartbeat_ms: int = 100
    """How often a leader shows that it is alive."""
    election_ms: int = 1000
    """Silence after which a follower calls an election; drawn from one to two times this."""

    snapshot: bool = True
    """0.4: whether snapshots are taken at all."""
    snapshot_count: int = 10_000
    """Log entries between two snapshots."""
    auto_compaction_retention: int = 0
    """Revisions of history to keep; 0 keeps them whatever their number."""
    auto_compaction_seconds: float = 0.0
    """How long history is kept; 0 for ever."""

    request_bytes_max: int = REQUEST_BYTES_MAX
    """Largest request body, in bytes."""
    http_read_timeout_seconds: float = 300.0
    """A request must have arrived within this."""
    http_write_timeout_seconds: float = 300.0
    """A client must take its answer within this; a wait that has no answer yet is not counted."""
    cors: tuple[str, ...] = ("*",)
    """Origins that browsers may call from."""
    host_whitelist: tuple[str, ...] = ("*",)
    """3.x: host names that requests in the clear may be for; * is any."""

    verbosity: int = 0
    """0.4: 0 none, 1 debug lines, 2 raft's lines and tracebacks besides."""
    log_level: str = "info"
    """3.x: the lowest level that is written; one of LOG_LEVELS."""

    log_outputs: tuple[str, ...] = ("default",)
    """3.x: stderr, stdout, systemd/journal, or files that lines are appended to."""

    unsafe_no_fsync: bool = False
    """Acknowledges writes that no disk holds yet: a power failure loses them. Tests only."""

    @property
    def bootstrap_cluster(self) -> dict[str, tuple[str, ...]]:
        """Name to peer URLs of every first member, this one included by default."""
        return self.initial_cluster or {self.name: self.advertised_peer_urls}

    def validate(self) -> None:
        """Checks what can be checked without touching anything.

        Raises:
            ConfigError: with every fault found.
        """
        _raise(
            [
                *_identity_faults(self),
                *_address_faults(self),
                *_timing_faults(self),
                *_limit_faults(self),
            ]
        )

    def validate_bootstrap(self) -> None:
        """Checks the first members a 3.x server is given; call it only without data on disk.

        Raises:
            ConfigError: with every fault found.
        """
        if self.era is Era.MODERN:
            _raise(_bootstrap_faults(self))


LEGACY_CONFIG = Config(
    era=Era.LEGACY,
    client_listen_addresses=(Address("", 4001),),
    advertised_client_urls=("http://127.0.0.1:4001",),
    peer_listen_addresses=(Address("", 7001),),
    advertised_peer_urls=("http://127.0.0.1:7001",),
    heartbeat_ms=50,
    election_ms=200,
    auto_compaction_retention=LEGACY_RETENTION_REVISIONS,
    cors=(),
)
"""The defaults of the 0.4 era; `name` and `data_dir` come from the command line."""


def _raise(faults: list[str]) -> None:
    if faults:
        raise ConfigError(faults)


def _identity_faults(config: Config) -> list[str]:
    faults = []
    if not config.name:
        faults.append("Name cannot be blank")
    if config.log_level not in LOG_LEVELS:
        faults.append(f'unrecognized level: "{config.log_level}"')
    scheme, _, rest = config.discovery.partition("://")
    if config.discovery and not (scheme in {"http", "https"} and rest.partition("/")[2]):
        faults.append(f"--discovery: {config.discovery} is no URL of a token, http://HOST/TOKEN")
    return faults


def _address_faults(config: Config) -> list[str]:
    faults = _tls_faults("client", "", config.client_listen_addresses, config.client_tls)
    faults += _tls_faults("peer", "peer-", config.peer_listen_addresses, config.peer_tls)
    faults += _tls_faults("metrics", "", config.metrics_listen_addresses, config.client_tls)
    for flag, addresses in (
        ("--listen-client-urls", config.client_listen_addresses),
        ("--listen-peer-urls", config.peer_listen_addresses),
    ):
        if not addresses:
            faults.append(f"{flag} must name at least one address")
        faults += [
            f"{flag}: port {address.port} is not between 0 and {PORT_MAX}"
            for address in addresses
            if not 0 <= address.port <= PORT_MAX
        ]
    for flag, urls in (
        ("--advertise-client-urls", config.advertised_client_urls),
        ("--initial-advertise-peer-urls", config.advertised_peer_urls),
    ):
        if not urls:
            faults.append(f"{flag} must name at least one URL")
        faults += [
            f"{flag}: {url} is not an http or https URL"
            for url in urls
            if not url.startswith(("http://", "https://"))
        ]
    clients, peers = map(_places, (config.client_listen_addresses, config.peer_listen_addresses))
    faults += [f"clients and peers cannot share {place}" for place in sorted(clients & peers)]
    return faults


def _places(addresses: tuple[Address, ...]) -> set[str]:
    return {str(one) for one in addresses if one.port}


def _tls_faults(
    side: str, prefix: str, addresses: tuple[Address, ...], files: TlsFiles | None
) -> list[str]:
    if files is not None and files.cert_file is not None:
        return []
    return [
        f"TLS key/cert (--{prefix}cert-file, --{prefix}key-file) must be provided for {side} url"
        f" https://{address} with HTTPS scheme"
        for address in addresses
        if address.is_tls
    ]


def _timing_faults(config: Config) -> list[str]:
    heartbeat_ms, election_ms = config.heartbeat_ms, config.election_ms
    if heartbeat_ms <= 0 or election_ms <= 0:
        return [
            f"heartbeat interval [{heartbeat_ms}ms] and election timeout [{election_ms}ms]"
            " must be greater than 0"
        ]
    if config.era is Era.LEGACY:
        if election_ms > heartbeat_ms:
            return []
        return [
            f"-peer-election-timeout [{election_ms}ms] must be longer than"
            f" -peer-heartbeat-interval [{heartbeat_ms}ms]"
        ]
    faults = []
    if election_ms < 5 * heartbeat_ms:
        faults.append(
            f"--election-timeout[{election_ms}ms] should be at least as 5 times as"
            f" --heartbeat-interval[{heartbeat_ms}ms]"
        )
    if election_ms > ELECTION_MS_MAX:
        faults.append(
            f"--election-timeout[{election_ms}ms] is too long,"
            f" and should be set less than {ELECTION_MS_MAX}ms"
        )
    return faults


def _limit_faults(config: Config) -> list[str]:
    faults = []
    for label, value, least in (
        ("snapshot count", config.snapshot_count, 1),
        ("maximum request size", config.request_bytes_max, 1),
        ("compaction retention", config.auto_compaction_retention, 0),
        ("compaction retention", config.auto_compaction_seconds, 0),
        ("maximum number of retry attempts", config.max_retry_attempts, 0),
        ("retry interval", config.retry_interval_seconds, 0),
        ("HTTP read timeout", config.http_read_timeout_seconds, 0),
        ("HTTP write timeout", config.http_write_timeout_seconds, 0),
        ("verbosity", config.verbosity, 0),
    ):
        if value is not None and value < least:
            faults.append(f"{label} must be at least {least}, not {value}")
    return faults


def _bootstrap_faults(config: Config) -> list[str]:
    cluster = config.bootstrap_cluster
    listing = ",".join(f"{name}={url}" for name, urls in cluster.items() for url in urls)
    urls = [url for member_urls in cluster.values() for url in member_urls]
    faults = []
    if len(set(urls)) < len(urls):
        faults.append(f"initial cluster {listing} has duplicate url")
    if config.name not in cluster:
        faults.append(
            f'couldn\'t find local name "{config.name}" in the initial cluster configuration'
        )
        return faults
    own, advertised = cluster[config.name], config.advertised_peer_urls
    faults += [
        f"--initial-cluster has {config.name}={url} but missing from"
        f" --initial-advertise-peer-urls={','.join(advertised)}"
        for url in own
        if url not in advertised
    ]
    faults += [
        f"--initial-advertise-peer-urls has {url} but missing from --initial-cluster={listing}"
        for url in advertised
        if url not in own
    ]
    return faults
