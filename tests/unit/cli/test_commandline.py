from collections.abc import Sequence

import pytest

from kvorum.cli import commandline
from kvorum.cli.commandline import KNOWN, SPELLINGS, Invocation, UsageError


def parse(line: str, **environment: str) -> Invocation:
    return commandline.parse(line.split(), environment)


def given(invocation: Invocation) -> dict[str, str]:
    return {one.name: one.text for one in invocation.given}


def refusal(line: str, **environment: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse(line, **environment)
    return caught.value


@pytest.mark.parametrize(
    "line", ["-addr 1:2", "--addr 1:2", "-addr=1:2", "--addr=1:2", "-addr 9:9 -addr 1:2"]
)
def test_one_dash_or_two_a_space_or_an_equals_sign_and_the_last_counts(line: str) -> None:
    assert given(parse(line)) == {"addr": "1:2"}


def test_a_value_may_hold_equals_signs_and_begin_with_a_dash() -> None:
    read = parse("--initial-cluster=m1=http://a:1 --name -x")
    assert given(read) == {"initial-cluster": "m1=http://a:1", "name": "-x"}


def test_a_boolean_takes_no_second_word() -> None:
    read = parse("-snapshot false -addr 1:2")
    assert given(read) == {"snapshot": "true"}
    assert read.extra == ["false", "-addr", "1:2"]
    assert given(parse("-snapshot=false")) == {"snapshot": "false"}


@pytest.mark.parametrize("line", ["-name m -- -addr 1:2", "-name m - -addr 1:2"])
def test_reading_stops_at_two_dashes_or_a_word(line: str) -> None:
    read = parse(line)
    assert not read.is_legacy
    assert given(read) == {"name": "m"}


@pytest.mark.parametrize(
    ("line", "is_legacy"),
    [
        ("", False),
        ("-name m", False),
        ("-name m -data-dir d -snapshot-count 5 -cors * -unsafe-no-fsync", False),
        ("-addr 127.0.0.1:4001", True),
        ("--addr 127.0.0.1:4001", True),
        ("-name m -peers 127.0.0.1:7001", True),
        ("-v", True),
        ("-n m", True),
        ("-listen-client-urls http://127.0.0.1:1", False),
    ],
)
def test_the_flags_choose_the_era(line: str, is_legacy: bool) -> None:
    assert parse(line).is_legacy is is_legacy


@pytest.mark.parametrize(
    ("variable", "is_legacy"),
    [
        ("ETCD_ADDR", True),
        ("ETCD_SNAPSHOTCOUNT", True),
        ("ETCD_SNAPSHOT_COUNT", False),
        ("ETCD_NAME", False),
        ("ETCD_LISTEN_PEER_URLS", False),
    ],
)
def test_without_such_flags_the_variables_choose_it(variable: str, is_legacy: bool) -> None:
    assert parse("-name m", **{variable: "1"}).is_legacy is is_legacy


def test_flags_choose_over_variables() -> None:
    read = parse("--heartbeat-interval 10", ETCD_ADDR="1:2", ETCD_ELECTION_TIMEOUT="90")
    assert not read.is_legacy
    assert given(read) == {"heartbeat-interval": "10", "ETCD_ELECTION_TIMEOUT": "90"}


def test_the_eras_do_not_mix() -> None:
    text = "-addr starts a server the 0.4 way and --initial-cluster the 3.x way: use one"
    error = refusal("--initial-cluster a=http://b:1 -addr 1:2")
    assert (str(error), error.is_legacy) == (text, False)
    assert "ETCD_ADDR" in str(refusal("", ETCD_ADDR="1:2", ETCD_INITIAL_CLUSTER="a=http://b:1"))


@pytest.mark.parametrize(
    ("line", "text", "is_legacy"),
    [
        ("-zzz", "flag provided but not defined: -zzz", False),
        ("--bogus", "flag provided but not defined: -bogus", False),
        ("-addr 1:2 -zzz x", "flag provided but not defined: -zzz", True),
        ("-zzz x -addr 1:2", "flag provided but not defined: -zzz", True),
        ("-addr", "flag needs an argument: -addr", True),
        ("--name", "flag needs an argument: -name", False),
        ("-one -two", "flag provided but not defined: -one", False),
        ("---name x", "bad flag syntax: ---name", False),
        ("-=x", "bad flag syntax: -=x", False),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_in_its_era(
    line: str,
    text: str,
    is_legacy: bool,
) -> None:
    error = refusal(line)
    assert (str(error), error.is_legacy) == (text, is_legacy)


@pytest.mark.parametrize(
    ("line", "action", "is_legacy"),
    [
        ("-version", "version", True),
        ("--version", "version", False),
        ("--version -addr 1:2", "version", True),
        ("-h -version", "version", True),
        ("-h", "help", False),
        ("--help", "help", False),
        ("-zzz -h", "help", False),
        ("--version=false", "run", False),
    ],
)
def test_version_and_help_come_before_a_server(line: str, action: str, is_legacy: bool) -> None:
    read = parse(line)
    assert (read.action, read.is_legacy) == (action, is_legacy)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("C", "peers"), ("CF", "peers-file"), ("n", "name"), ("c", "addr"), ("cl", "bind-addr"),
        ("s", "peer-addr"), ("sl", "peer-bind-addr"), ("d", "data-dir"),
        ("m", "max-result-buffer"), ("r", "max-retry-attempts"),
        ("snapshotCount", "snapshot-count"), ("peer-heartbeat-timeout", "peer-heartbeat-interval"),
    ],
)  # fmt: skip
def test_an_old_spelling_works_and_says_what_to_use(old: str, new: str) -> None:
    read = parse(f"-{old} 7")
    assert read.is_legacy
    assert given(read) == {new: "7"}
    assert read.notices == [f"[deprecated] use -{new}, not -{old}"]


def test_variables_fill_what_flags_leave_open() -> None:
    read = parse("-addr 1:2", ETCD_ADDR="3:4", ETCD_NAME=" m ", ETCD_PEERS="", HOME="/root")
    assert given(read) == {"addr": "1:2", "ETCD_NAME": "m"}
    assert read.warnings == []


def test_a_shadowed_variable_is_reported_the_modern_way() -> None:
    read = parse("--name m", ETCD_NAME="other")
    assert given(read) == {"name": "m"}
    assert [one.text for one in read.warnings] == ["environment variable is shadowed by its flag"]


def test_an_unknown_variable_is_reported_the_modern_way() -> None:
    read = parse("", ETCD_BOGUS="1", ETCD_UNSUPPORTED_ARCH="arm64", ETCDCTL_API="3")
    assert [(one.text, one.fields) for one in read.warnings] == [
        ("unrecognized environment variable", {"environment-variable": "ETCD_BOGUS=1"})
    ]
    assert parse("-addr 1:2", ETCD_BOGUS="1").warnings == []


@pytest.mark.parametrize(
    ("text", "means"), [("0", "false"), ("false", "false"), ("1", "true"), ("maybe", "true")]
)
def test_a_legacy_boolean_variable_is_false_only_in_two_words(text: str, means: str) -> None:
    read = parse("-addr 1:2", ETCD_VERBOSE=text)
    assert given(read) == {"addr": "1:2", "ETCD_VERBOSE": means}


def test_every_known_variable_is_known_by_one_name_in_each_era() -> None:
    assert parse("", ETCD_MAX_WALS="9").warnings == []
    assert given(parse("", ETCD_MAX_WALS="9")) == {"ETCD_MAX_WALS": "9"}
    assert parse("", ETCD_GRAPHITE_HOST="h").is_legacy


@pytest.mark.parametrize("variable", ["ETCD_FORCE", "ETCD_TRACE", "ETCD_CPUPROFILE", "ETCD_HELP"])
def test_some_flags_have_no_variable(variable: str) -> None:
    read = parse("-addr 1:2", **{variable: "1"})
    assert given(read) == {"addr": "1:2"}
    assert not parse("", **{variable: "1"}).is_legacy


@pytest.mark.parametrize(("short", "name"), [("f", "force"), ("h", "help")])
def test_a_short_name_is_as_good_as_the_long_one(short: str, name: str) -> None:
    read = commandline._scan([f"-{short}"])
    assert [one.name for one in read.given] == [name]
    assert read.notices == []


def names(*, is_legacy: bool) -> Sequence[str]:
    return [flag.name(is_legacy=is_legacy) for flag in KNOWN if flag.name(is_legacy=is_legacy)]


def test_no_word_means_two_flags() -> None:
    old = [word for flag in KNOWN for word in flag.old_spellings]
    for era in (names(is_legacy=True), names(is_legacy=False)):
        assert len(set(era)) == len(era)
    words = {*names(is_legacy=True), *names(is_legacy=False), *old, "h", "f"}
    assert set(SPELLINGS) == words
    assert not set(old) & {*names(is_legacy=True), *names(is_legacy=False)}


CONTRACT_0_4 = (
    "name data-dir addr bind-addr peer-addr peer-bind-addr peers peers-file ca-file cert-file"
    " key-file peer-ca-file peer-cert-file peer-key-file peer-heartbeat-interval"
    " peer-election-timeout cluster-active-size cluster-remove-delay cluster-sync-interval"
    " maxsize max-cluster-size snapshot snapshot-count max-retry-attempts retry-interval"
    " discovery max-result-buffer http-read-timeout http-write-timeout cors v vv vvv f force trace"
    " graphite-host cpuprofile config version h help"
    " C CF n c cl s sl d m r clientCAFile clientCert clientKey serverCAFile serverCert serverKey"
    " snapshotCount peer-heartbeat-timeout"
)

CONTRACT_0_4_VARIABLES = (
    "NAME DATA_DIR ADDR BIND_ADDR PEER_ADDR PEER_BIND_ADDR PEERS PEERS_FILE CA_FILE CERT_FILE"
    " KEY_FILE PEER_CA_FILE PEER_CERT_FILE PEER_KEY_FILE PEER_HEARTBEAT_INTERVAL"
    " PEER_ELECTION_TIMEOUT CLUSTER_ACTIVE_SIZE CLUSTER_REMOVE_DELAY CLUSTER_SYNC_INTERVAL"
    " SNAPSHOT SNAPSHOTCOUNT MAX_RETRY_ATTEMPTS RETRY_INTERVAL"
    " DISCOVERY MAX_RESULT_BUFFER HTTP_READ_TIMEOUT HTTP_WRITE_TIMEOUT CORS VERBOSE VERY_VERBOSE"
    " VERY_VERY_VERBOSE GRAPHITE_HOST"
)

CONTRACT_3 = (
    "name data-dir wal-dir snapshot-count snapshot-catchup-entries heartbeat-interval"
    " election-timeout initial-election-tick-advance listen-peer-urls listen-client-urls"
    " listen-client-http-urls listen-metrics-urls max-snapshots max-wals quota-backend-bytes"
    " backend-bbolt-freelist-type backend-batch-interval backend-batch-limit max-txn-ops"
    " max-request-bytes max-concurrent-streams grpc-keepalive-min-time grpc-keepalive-interval"
    " grpc-keepalive-timeout socket-reuse-port socket-reuse-address raft-read-timeout"
    " raft-write-timeout enable-grpc-gateway memory-mlock feature-gates max-learners"
    " initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token"
    " advertise-client-urls discovery discovery-fallback discovery-srv discovery-srv-name"
    " discovery-endpoints discovery-token discovery-proxy"
    " strict-reconfig-check pre-vote auto-compaction-mode auto-compaction-retention enable-v2"
    " v2-deprecation cert-file key-file client-cert-file client-key-file client-cert-auth"
    " trusted-ca-file client-crl-file client-cert-allowed-hostname auto-tls peer-cert-file"
    " peer-key-file peer-client-cert-auth peer-trusted-ca-file peer-crl-file peer-auto-tls"
    " peer-client-cert-file peer-client-key-file peer-cert-allowed-cn"
    " peer-cert-allowed-hostname peer-skip-client-san-verification"
    " experimental-peer-skip-client-san-verification self-signed-cert-validity cipher-suites"
    " tls-min-version tls-max-version cors host-whitelist auth-token auth-token-ttl bcrypt-cost"
    " enable-pprof metrics logger log-level log-outputs log-format enable-log-rotation"
    " log-rotation-config-json warning-apply-duration experimental-warning-apply-duration"
    " watch-progress-notify-interval experimental-watch-progress-notify-interval"
    " corrupt-check-time experimental-corrupt-check-time compact-hash-check-time"
    " compaction-batch-limit bootstrap-defrag-threshold-megabytes downgrade-check-time"
    " experimental-initial-corrupt-check experimental-enable-lease-checkpoint"
    " experimental-txn-mode-write-with-shared-buffer experimental-enable-v2v3 proxy"
    " proxy-failure-wait config-file force-new-cluster unsafe-no-fsync debug"
    " log-package-levels version help"
)


def test_every_word_of_the_contract_is_read() -> None:
    words = set(CONTRACT_0_4.split())
    assert words <= {word for word, one in SPELLINGS.items() if one.is_in_legacy}
    words = set(CONTRACT_3.split())
    assert words <= {word for word, one in SPELLINGS.items() if one.is_in_modern}


def test_every_variable_of_the_contract_is_read() -> None:
    read = {flag.environment(is_legacy=True) for flag in KNOWN}
    assert {f"ETCD_{name}" for name in CONTRACT_0_4_VARIABLES.split()} <= read
    read = {flag.environment(is_legacy=False) for flag in KNOWN}
    plain = set(CONTRACT_3.split()) - {"version", "help"}
    assert {"ETCD_" + name.upper().replace("-", "_") for name in plain} <= read
