"""Flags that etcd has and that set nothing here, and what becomes of a server that is given one.

What for: a unit file written for etcd starts this server, too, as long as it gets what it asks for.

Rules:
    a value in `harmless` asks for what is done anyway: nothing is said
    PASSED_OVER: a warning says so and why; nothing that is stored or allowed depends on the flag
    REFUSED: without it the server would guard less, join others, or be found elsewhere than told;
        so it does not start, and says why
    flags, variables and keys of the file are treated alike
Source: reference contract, v2-api section 10; v3-operations section 2; flags of etcd 2.3 to 3.6.
"""

from collections.abc import Iterator

from kvorum.cli.flags import GROUP_FOREIGN, GROUP_TLS, Effect, Flag, Kind

ON, OFF = ("true",), ("false",)


def _passed_over(
    names: str, why: str, kind: Kind = Kind.TEXT, harmless: tuple[str, ...] = ()
) -> Iterator[Flag]:
    for name in names.split():
        yield _flag(GROUP_FOREIGN, name, kind, Effect.PASSED_OVER, why, harmless)


def _refused(
    names: str,
    why: str,
    kind: Kind = Kind.TEXT,
    harmless: tuple[str, ...] = ("",),
    group: str = GROUP_FOREIGN,
) -> Iterator[Flag]:
    for name in names.split():
        yield _flag(group, name, kind, Effect.REFUSED, why, harmless)


def _flag(
    group: str, name: str, kind: Kind, effect: Effect, why: str, harmless: tuple[str, ...]
) -> Flag:
    return Flag(group, name, "", kind, "", "", "", "", why, effect=effect, harmless=harmless)


def _experimental(*names: str) -> str:
    """3.4 and 3.5 knew these with a word in front, 3.6 knows both."""
    return " ".join(f"{name} experimental-{name}" for name in names)


_NO_AUTHENTICATION = "there is no authentication of users yet"
_NO_DISCOVERY = (
    "members are found by --initial-cluster or --discovery only; started without, this one would"
    " begin a cluster of its own"
)
_NO_SUCH_CHECK = "certificates are checked against their CA only; it would let in others as well"
_NO_PROXY = "this server is no proxy"
_NO_CHECK = "members do not compare their data with each other yet"
_NO_GATES = "it is decided for this server, or not there yet"

_LEGACY = (
    Flag(
        GROUP_FOREIGN, "", "max-result-buffer", Kind.INTEGER, "", "", "", "",
        "a wait reaches back to the last compaction",
        old_spellings=("m",), effect=Effect.PASSED_OVER, harmless=("1024",),
    ),
    Flag(
        GROUP_FOREIGN, "", "trace", Kind.TEXT, "", "", "", "",
        "there are no debug endpoints; figures are at /metrics",
        is_flag_only=True, effect=Effect.PASSED_OVER,
    ),
    Flag(
        GROUP_FOREIGN, "", "graphite-host", Kind.TEXT, "", "", "", "",
        "figures are not sent anywhere; they are at /metrics", effect=Effect.PASSED_OVER,
    ),
    Flag(
        GROUP_FOREIGN, "", "cpuprofile", Kind.TEXT, "", "", "", "",
        "no profile is written", is_flag_only=True, effect=Effect.PASSED_OVER,
    ),
)  # fmt: skip

_STORAGE = (
    *_passed_over(
        "max-snapshots max-wals", "files are removed once they are not needed", harmless=("5",)
    ),
    *_passed_over(
        "backend-batch-interval backend-batch-limit"
        f" {_experimental('backend-bbolt-freelist-type', 'bootstrap-defrag-threshold-megabytes')}",
        "the store is LMDB, which has no such setting",
    ),
    *_passed_over(
        _experimental("memory-mlock"), "memory is not locked", Kind.BOOLEAN, harmless=OFF
    ),
    *_passed_over("quota-backend-bytes", "there is no quota yet", harmless=("0",)),
    *_passed_over(
        _experimental("compaction-batch-limit", "compaction-sleep-interval"),
        "compaction makes way for requests by itself",
    ),
    *_passed_over(
        _experimental("snapshot-catchup-entries"), "how much of the log is kept follows from need"
    ),
)

_CONSENSUS = (
    *_passed_over("pre-vote", "members always ask before they campaign", Kind.BOOLEAN, ON),
    *_passed_over(
        "initial-election-tick-advance", "a first election is not hastened", Kind.BOOLEAN
    ),
    *_passed_over("raft-read-timeout raft-write-timeout", "silence of a peer is told by raft"),
    *_passed_over("max-learners", "learners are not limited"),
    *_passed_over(
        "experimental-initial-corrupt-check experimental-compact-hash-check-enabled",
        _NO_CHECK, Kind.BOOLEAN, OFF,
    ),
    *_passed_over(_experimental("corrupt-check-time"), _NO_CHECK, harmless=("0", "0s")),
    *_passed_over(_experimental("compact-hash-check-time"), _NO_CHECK),
    *_passed_over(
        "experimental-enable-lease-checkpoint experimental-enable-lease-checkpoint-persist"
        " experimental-txn-mode-write-with-shared-buffer experimental-stop-grpc-service-on-defrag",
        _NO_GATES, Kind.BOOLEAN,
    ),
    *_passed_over("feature-gates", _NO_GATES),
    *_passed_over(_experimental("downgrade-check-time"), "versions are not negotiated yet"),
)  # fmt: skip

_REQUESTS = (
    *_passed_over(
        "max-txn-ops max-concurrent-streams"
        " grpc-keepalive-min-time grpc-keepalive-interval grpc-keepalive-timeout",
        "the v3 API is not served yet",
    ),
    *_passed_over(_experimental("watch-progress-notify-interval"), "the v3 API is not served yet"),
    *_passed_over("enable-grpc-gateway", "the v3 API is not served yet", Kind.BOOLEAN),
    *_passed_over(
        "socket-reuse-port socket-reuse-address", "ports are bound alone", Kind.BOOLEAN, OFF
    ),
    *_passed_over("enable-v2", "the v2 API is always served", Kind.BOOLEAN, ON),
    *_passed_over("v2-deprecation", "the v2 API is always served", harmless=("not-yet",)),
    *_refused(
        "experimental-enable-v2v3",
        "what v2 writes is seen by v3 under the same key, without a prefix",
    ),
)

_FINDING = (
    *_refused(
        "discovery-srv discovery-srv-name discovery-endpoints discovery-token"
        " discovery-dial-timeout discovery-request-timeout"
        " discovery-keepalive-time discovery-keepalive-timeout"
        " discovery-cert discovery-key discovery-cacert discovery-user discovery-password"
        " discovery-proxy",
        _NO_DISCOVERY,
    ),
    *_refused(
        "discovery-insecure-transport discovery-insecure-skip-tls-verify",
        _NO_DISCOVERY, Kind.BOOLEAN, harmless=(*ON, *OFF),
    ),
    *_passed_over(
        "discovery-fallback",
        "this server is no proxy: a member for which the token has no room exits",
        harmless=("exit",),
    ),
    *_refused("proxy", _NO_PROXY, harmless=("off",)),
    *_passed_over(
        "proxy-failure-wait proxy-refresh-interval proxy-dial-timeout proxy-write-timeout"
        " proxy-read-timeout",
        _NO_PROXY,
    ),
)  # fmt: skip

_PROTECTION = (
    *_refused(
        "auto-tls peer-auto-tls", "certificates are not made here yet; give some",
        Kind.BOOLEAN, OFF, GROUP_TLS,
    ),
    *_passed_over("self-signed-cert-validity", "certificates are not made here yet"),
    *_refused("client-crl-file peer-crl-file", "revocation lists are not read yet"),
    *_refused(
        "client-cert-allowed-hostname peer-cert-allowed-cn peer-cert-allowed-hostname",
        _NO_SUCH_CHECK, group=GROUP_TLS,
    ),
    *_passed_over(
        "client-cert-file client-key-file", "this server is not its own client"
    ),
    *_refused(
        "peer-client-cert-file peer-client-key-file",
        "members call each other with the certificate of --peer-cert-file",
    ),
    *_passed_over(
        _experimental("peer-skip-client-san-verification"),
        "members that call may come from any address", Kind.BOOLEAN, ON,
    ),
    *_refused("auth-token", _NO_AUTHENTICATION, harmless=("simple",)),
    *_passed_over("auth-token-ttl bcrypt-cost", _NO_AUTHENTICATION),
)  # fmt: skip

_WATCHING = (
    *_passed_over("enable-pprof", "no profiles are served", Kind.BOOLEAN, OFF),
    *_passed_over("metrics", "/metrics has one form", harmless=("basic",)),
    *_passed_over("logger", "log lines are zap's JSON", harmless=("zap",)),
    *_passed_over("log-format", "log lines are zap's JSON", harmless=("json",)),
    *_passed_over("log-package-levels", "one level counts for all; use --log-level"),
    *_passed_over(
        "enable-log-rotation", "the log is not rotated; logrotate can", Kind.BOOLEAN, OFF
    ),
    *_passed_over("log-rotation-config-json", "the log is not rotated; logrotate can"),
    *_passed_over(
        _experimental("warning-apply-duration", "warning-unary-request-duration"),
        "slow requests are not logged",
    ),
    *_passed_over(
        _experimental("enable-distributed-tracing"), "there is no tracing", Kind.BOOLEAN, OFF
    ),
    *_passed_over(
        _experimental(
            "distributed-tracing-address", "distributed-tracing-service-name",
            "distributed-tracing-instance-id", "distributed-tracing-sampling-rate",
        ),
        "there is no tracing",
    ),
)  # fmt: skip

FOREIGN = (
    *_LEGACY, *_STORAGE, *_CONSENSUS, *_REQUESTS, *_FINDING, *_PROTECTION, *_WATCHING
)  # fmt: skip
"""Every flag of etcd 0.4 to 3.6 that `FLAGS` does not have."""
