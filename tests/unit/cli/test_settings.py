import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from kvorum.cli import commandline, flags
from kvorum.cli.commandline import UsageError
from kvorum.cli.flags import FLAGS, Flag, Kind
from kvorum.cli.settings import CONVERTERS, Settings, build, parse_urls, split_host_port
from kvorum.config import LEGACY_CONFIG, Address, Config, Era, TlsFiles
from kvorum.errors import ConfigError


def built(line: str, **environment: str) -> Settings:
    return build(commandline.parse(line.split(), environment))


def config(line: str, **environment: str) -> Config:
    return built(line, **environment).config


def faults(line: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        built(line, **environment)
    assert not isinstance(caught.value, UsageError)
    return caught.value.faults


def usage_fault(line: str, **environment: str) -> str:
    with pytest.raises(UsageError) as caught:
        built(line, **environment)
    return str(caught.value)


def test_no_flags_give_the_modern_defaults() -> None:
    assert config("") == Config()


def test_the_users_first_machine() -> None:
    made = config(
        "-peer-addr 127.0.0.1:7001 -addr 127.0.0.1:4001 -data-dir machines/machine1 -name machine1"
    )
    assert made == structs.replace(
        LEGACY_CONFIG, name="machine1", data_dir=Path("machines/machine1")
    )


def test_the_users_second_machine() -> None:
    made = config(
        "-peer-addr 127.0.0.1:7002 -addr 127.0.0.1:4002 -peers 127.0.0.1:7001,127.0.0.1:7003"
        " -data-dir machines/machine2 -name machine2"
    )
    assert made == structs.replace(
        LEGACY_CONFIG,
        name="machine2",
        data_dir=Path("machines/machine2"),
        peers=("127.0.0.1:7001", "127.0.0.1:7003"),
        client_listen_addresses=(Address("", 4002),),
        advertised_client_urls=("http://127.0.0.1:4002",),
        peer_listen_addresses=(Address("", 7002),),
        advertised_peer_urls=("http://127.0.0.1:7002",),
    )


def test_a_modern_member_of_three() -> None:
    made = config(
        "--name m1 --data-dir d --listen-client-urls http://127.0.0.1:2379,http://localhost:3379"
        " --advertise-client-urls http://h1:2379 --listen-peer-urls http://0.0.0.0:2380"
        " --initial-advertise-peer-urls http://h1:2380 --initial-cluster-token t"
        " --initial-cluster m1=http://h1:2380,m2=http://h2:2380,m2=http://h2:9 --cors=*"
        " --initial-cluster-state existing --heartbeat-interval 50 --election-timeout=500"
    )
    assert made == Config(
        name="m1",
        data_dir=Path("d"),
        client_listen_addresses=(Address("127.0.0.1", 2379), Address("127.0.0.1", 3379)),
        advertised_client_urls=("http://h1:2379",),
        peer_listen_addresses=(Address("0.0.0.0", 2380),),
        advertised_peer_urls=("http://h1:2380",),
        initial_cluster={"m1": ("http://h1:2380",), "m2": ("http://h2:2380", "http://h2:9")},
        initial_cluster_state="existing",
        initial_cluster_token="t",
        heartbeat_ms=50,
        election_ms=500,
    )
    made.validate_bootstrap()


def test_a_lone_name_is_enough_to_start() -> None:
    made = config("-name m1")
    assert (made.name, made.data_dir) == ("m1", Path("m1.etcd"))


def test_a_legacy_member_takes_the_hosts_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    made = built("-addr 127.0.0.1:4001")
    assert (made.config.name, made.config.data_dir) == ("box", Path("box.etcd"))
    assert [one.text for one in made.warnings] == [
        "Using the directory box.etcd as the etcd curation directory"
        " because a directory was not specified. "
    ]
    assert faults("-addr 127.0.0.1:4001 -data-dir d") == ["Name cannot be blank"]


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("10.0.0.1", Address("10.0.0.1", 4002)),
        ("10.0.0.1:99", Address("10.0.0.1", 99)),
        ("[::1]", Address("::1", 4002)),
        ("[::1]:99", Address("::1", 99)),
    ],
)
def test_a_bind_address_may_leave_its_port_out(bind: str, address: Address) -> None:
    made = config(f"-name m -addr h:4002 -bind-addr {bind}")
    assert made.client_listen_addresses == (address,)
    assert made.advertised_client_urls == ("http://h:4002",)


def test_bad_legacy_addresses_are_named_all_at_once() -> None:
    prefix = "failed sanitizing configuration:"
    line = "-name m -addr 127.0.0.1 -peer-addr http://h:1 -peer-bind-addr :7001 -peers a:1,b"
    assert faults(line) == [
        f"{prefix} Peers: address b: missing port in address",
        f"{prefix} Advertised URL: address 127.0.0.1: missing port in address",
        f"{prefix} Peer Advertised URL: address http://h:1: too many colons in address",
        f"{prefix} Peer Listen Host: IP required can't use a port only",
    ]


def test_a_peers_file_replaces_peers(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    path.write_text("a:1, b:2,\n,c:3\n")
    assert config(f"-name m -peers z:9 -peers-file {path}").peers == ("a:1", "b:2", "c:3")
    assert usage_fault("-name m -peers-file /no/file") == (
        "Peers file error: open /no/file: no such file or directory"
    )
    path.write_bytes(b"a:1\xff")
    assert "Peers file error: " in usage_fault(f"-name m -peers-file {path}")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("-name \udcff", "for flag -name: 'utf-8' codec can't encode"),
        ("-addr \udcff:1", "for flag -addr: 'utf-8' codec can't encode"),
        ("--initial-cluster a=http://\udcff:1", "for flag -initial-cluster: 'utf-8' codec"),
        (f"-snapshot-count {'9' * 5000}", "for flag -snapshot-count: value out of range"),
        (f"--snapshot-count {'9' * 19}", "for flag -snapshot-count: value out of range"),
        (f"--listen-client-urls http://[::1]:{'1' * 5000}", "does not have the form"),
    ],
)
def test_a_value_that_nothing_can_hold_is_refused(line: str, fault: str) -> None:
    assert fault in usage_fault(line)


@pytest.mark.parametrize("port", ["1" * 5000, "65536", "-1", "\u0661"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(ValueError, match="invalid port"):
        split_host_port(f"h:{port}")


@pytest.mark.parametrize(
    ("line", "verbosity"),
    [("-addr h:1", 0), ("-v", 1), ("-v -vv", 2), ("-vvv", 2), ("-v=false -vv=0", 0)],
)
def test_the_higher_verbosity_counts(line: str, verbosity: int) -> None:
    assert config(f"-name m {line}").verbosity == verbosity


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "-peer-heartbeat-interval abc",
            'invalid value "abc" for flag -peer-heartbeat-interval: parse error',
        ),
        ("-snapshot=maybe", 'invalid boolean value "maybe" for -snapshot: parse error'),
        ("-v=maybe", 'invalid boolean value "maybe" for -v: parse error'),
        ("-retry-interval nan", 'invalid value "nan" for flag -retry-interval: parse error'),
        (
            "--advertise-client-urls http://127.0.0.1",
            'invalid value "http://127.0.0.1" for flag -advertise-client-urls:'
            ' URL address does not have the form "host:port": http://127.0.0.1',
        ),
        (
            "--initial-cluster-state bogus",
            'invalid value "bogus" for flag -initial-cluster-state: invalid value',
        ),
        (
            "--log-level bogus",
            'invalid value "bogus" for flag -log-level: unrecognized level: "bogus"',
        ),
        (
            "--initial-cluster m1",
            'invalid value "m1" for flag -initial-cluster: "m1" does not have the form name=url',
        ),
    ],
)
def test_a_value_that_cannot_be_read_is_named(line: str, text: str) -> None:
    assert usage_fault(line) == text


def test_a_variable_that_cannot_be_read_is_named() -> None:
    assert usage_fault("-addr h:1", ETCD_MAX_RETRY_ATTEMPTS="abc") == (
        'Parse error: ETCD_MAX_RETRY_ATTEMPTS: strconv.ParseInt: parsing "abc": invalid syntax'
    )
    assert faults("", ETCD_MAX_REQUEST_BYTES="abc") == [
        'invalid value "abc" for ETCD_MAX_REQUEST_BYTES: parse error'
    ]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://h:1", "URL scheme must be http, https, unix, or unixs: ftp://h:1"),
        ("localhost:1", "URL scheme must be http, https, unix, or unixs: localhost:1"),
        ("127.0.0.1:1", 'parse "127.0.0.1:1": first path segment in URL cannot contain colon'),
        ("http://h:1/p", "URL must not contain a path: http://h:1/p"),
        ("http://h:x", 'URL address does not have the form "host:port": http://h:x'),
        ("unix://h:1", "this release serves http and https only: unix://h:1"),
    ],
)
def test_a_bad_url_is_named(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_urls(f"http://ok:1,{url}")


def test_urls_come_in_order_whatever_order_they_were_given_in() -> None:
    assert parse_urls("http://b:1, http://a:1") == ("http://a:1", "http://b:1")


def test_a_modern_listener_needs_an_ip_and_an_advertised_url() -> None:
    assert faults("--listen-client-urls http://example.com:15501") == [
        "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        "expected IP in URL for binding (http://example.com:15501)",
    ]
    made = config("--listen-peer-urls http://[::1]:2380")
    assert made.peer_listen_addresses == (Address("::1", 2380),)


def test_addresses_for_http_are_more_of_the_same() -> None:
    line = "--listen-client-http-urls http://127.0.0.1:8080"
    default = Config().client_listen_addresses
    assert config(line).client_listen_addresses == (*default, Address("127.0.0.1", 8080))
    made = config(
        "--listen-client-urls http://127.0.0.1:1 --advertise-client-urls http://h:1 " + line
    )
    assert [one.port for one in made.client_listen_addresses] == [1, 8080]


def test_metrics_have_addresses_of_their_own() -> None:
    made = config(
        "--listen-metrics-urls http://127.0.0.1:8080,https://[::1]:81 --cert-file c --key-file k"
    )
    assert made.metrics_listen_addresses == (
        Address("127.0.0.1", 8080),
        Address("::1", 81, is_tls=True),
    )
    assert "for metrics url https://[::1]:81" in faults("--listen-metrics-urls https://[::1]:81")[0]


def test_the_log_may_be_elsewhere() -> None:
    assert config("--wal-dir /fast/wal").wal_dir == Path("/fast/wal")


def test_a_legacy_certificate_makes_its_side_https() -> None:
    made = config("-addr h:4001 -cert-file c -key-file k -ca-file a")
    assert made.client_tls == TlsFiles(cert_file=Path("c"), key_file=Path("k"), ca_file=Path("a"))
    assert made.client_tls is not None
    assert made.client_tls.requires_client_cert
    assert made.advertised_client_urls == ("https://h:4001",)
    assert made.client_listen_addresses == (Address("", 4001, is_tls=True),)
    assert made.peer_tls is None
    assert made.advertised_peer_urls == ("http://127.0.0.1:7001",)

    made = config("-addr h:4001", ETCD_PEER_CERT_FILE="c", ETCD_PEER_KEY_FILE="k")
    assert made.peer_tls == TlsFiles(cert_file=Path("c"), key_file=Path("k"))
    assert not made.peer_tls.requires_client_cert
    assert made.advertised_peer_urls == ("https://127.0.0.1:7001",)
    assert made.client_tls is None


@pytest.mark.parametrize("line", ["-cert-file c", "-key-file k", "-ca-file a -cert-file c"])
def test_half_a_legacy_pair_means_nothing_and_is_told(line: str) -> None:
    made = built(f"-name m -addr h:4001 -data-dir d {line}")
    assert made.config.client_tls is None
    assert made.config.advertised_client_urls == ("http://h:4001",)
    assert [warning.text for warning in made.warnings] == [
        "-cert-file and -key-file go together: without both there is no TLS"
    ]


def test_a_modern_side_is_tls_where_its_urls_say_so() -> None:
    made = built(
        "--cert-file c --key-file k --trusted-ca-file a --client-cert-auth"
        " --listen-client-urls https://127.0.0.1:2379,http://127.0.0.1:3379"
        " --advertise-client-urls https://h:2379"
        " --peer-cert-file pc --peer-key-file pk --listen-peer-urls https://[::1]:2380"
        " --initial-advertise-peer-urls https://h:2380 --initial-cluster default=https://h:2380"
    )
    assert made.config.client_tls == TlsFiles(
        cert_file=Path("c"), key_file=Path("k"), ca_file=Path("a"), client_cert_auth=True
    )
    assert made.config.peer_tls == TlsFiles(cert_file=Path("pc"), key_file=Path("pk"))
    assert made.config.client_listen_addresses == (
        Address("127.0.0.1", 3379),
        Address("127.0.0.1", 2379, is_tls=True),
    )
    assert made.config.peer_listen_addresses == (Address("::1", 2380, is_tls=True),)
    made.config.validate_bootstrap()
    url = {"client-url": "http://127.0.0.1:3379"}
    assert made.warnings == [
        ("scheme is HTTP while key and cert files are present; ignoring key and cert files", url),
        (
            "scheme is HTTP while --client-cert-auth is enabled;"
            " ignoring client cert auth for this URL",
            url,
        ),
    ]


PAIRS = "--cert-file c --key-file k --peer-cert-file pc --peer-key-file pk"


def test_what_is_spoken_in_tls_counts_for_clients_and_members() -> None:
    suite = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    made = config(
        f"{PAIRS} --cipher-suites {suite},TLS_AES_128_GCM_SHA256 --tls-max-version TLS1.2"
    )
    for files in (made.client_tls, made.peer_tls):
        assert files is not None
        assert files.ciphers == (suite,)
        assert (files.min_version, files.max_version) == ("TLS1.2", "TLS1.2")
    assert config(f"--cipher-suites {suite}") == Config(), "there is no TLS to speak"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            "--tls-min-version TLS1.1",
            'unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)',
        ),
        (
            "--tls-min-version TLS1.3 --tls-max-version TLS1.2",
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            "--tls-min-version TLS1.3 --cipher-suites A",
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
        (
            "--cipher-suites TLS_AES_128_GCM_SHA256",
            "--cipher-suites has none of TLS 1.2: use --tls-min-version=TLS1.3",
        ),
    ],
)
def test_a_choice_of_tls_that_makes_no_sense_is_refused(line: str, fault: str) -> None:
    assert fault in faults(line)


def test_https_without_a_certificate_is_refused() -> None:
    line = "--listen-{0}-urls https://127.0.0.1:15501"
    for side, prefix in (("client", ""), ("peer", "peer-")):
        pair = f"--{prefix}cert-file, --{prefix}key-file"
        assert faults(line.format(side) + " --advertise-client-urls https://h:1") == [
            f"TLS key/cert ({pair}) must be provided for {side} url https://127.0.0.1:15501"
            " with HTTPS scheme"
        ]
    assert faults("--cert-file c") == ["KeyFile and CertFile must both be present[key: , cert: c]"]
    assert usage_fault("--client-cert-auth=maybe") == (
        'invalid boolean value "maybe" for -client-cert-auth: parse error'
    )


def test_a_stray_word_is_refused_the_modern_way_only() -> None:
    assert faults("--name m extra") == ["'extra' is not a valid flag"]
    assert config("-addr h:1 -name m extra").name == "m"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1", 3600), ("0", 0), ("30m", 1800), ("1h30m", 5400), ("1.5h", 5400), ("10s500ms", 10.5)],
)
def test_compaction_by_time_is_hours_or_a_duration(text: str, seconds: float) -> None:
    made = config(f"--auto-compaction-retention {text}")
    assert (made.auto_compaction_retention, made.auto_compaction_seconds) == (0, seconds)
    legacy = config(f"-addr h:1 -name m -auto-compaction-mode periodic"
                    f" -auto-compaction-retention {text}")  # fmt: skip
    assert (legacy.auto_compaction_retention, legacy.auto_compaction_seconds) == (0, seconds)


@pytest.mark.parametrize("text", ["x", "-1", "1d", "h", "1h2", "1 h", "٣", "9" * 99, "1e9h"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(commandline.parse(["--auto-compaction-retention", text], {}))
    assert caught.value.faults == [
        f'error parsing CompactionRetention: time: invalid duration "{text}"'
    ]


def test_by_default_only_0_4_drops_history() -> None:
    assert config("--auto-compaction-mode periodic") == Config()
    legacy = config("-addr h:1 -name m -auto-compaction-mode periodic")
    assert (legacy.auto_compaction_retention, legacy.auto_compaction_seconds) == (0, 0)


def test_compaction_by_revision_is_a_number_of_revisions() -> None:
    line = "--auto-compaction-mode=revision --auto-compaction-retention="
    assert config(f"{line}1000").auto_compaction_retention == 1000
    assert faults(f"{line}1h") == [
        'error parsing CompactionRetention: strconv.ParseInt: parsing "1h": invalid syntax'
    ]
    assert faults("--auto-compaction-mode=bogus") == ['unknown auto-compaction-mode "bogus"']
    legacy = config("-addr h:1 -name m -auto-compaction-retention 0")
    assert legacy.auto_compaction_retention == 0


def test_debug_lines_may_be_asked_for_in_the_words_of_2_x() -> None:
    assert config("--debug").log_level == "debug"
    assert config("--debug=false --log-level warn").log_level == "warn"
    assert usage_fault("--debug=maybe").startswith('invalid boolean value "maybe" for -debug')


def test_a_member_may_begin_anew() -> None:
    assert config("-f -name m").forgets_data
    assert config("-force=true -name m").forgets_data
    assert not config("-force=false -name m").forgets_data


def test_unsafe_is_said_loudly() -> None:
    made = built("--unsafe-no-fsync")
    assert made.config.unsafe_no_fsync
    assert [one.text.split(":")[0] for one in made.warnings] == ["UNSAFE"]


def test_faults_of_the_whole_come_with_faults_of_the_parts() -> None:
    assert len(faults("--listen-client-urls http://127.0.0.1:1 --heartbeat-interval 500")) == 2


SPECIAL_KINDS = {
    Kind.ADDRESS, Kind.BIND_ADDRESS, Kind.PATH, Kind.PEERS, Kind.PEERS_FILE, Kind.LISTEN_URLS,
    Kind.COMPACTION_MODE, Kind.RETENTION, Kind.VERBOSITY, Kind.CONFIG_FILE, Kind.TLS_VERSION,
}  # fmt: skip


def test_every_kind_is_read_by_exactly_one_rule() -> None:
    assert set(Kind) == SPECIAL_KINDS | set(CONVERTERS)
    assert not SPECIAL_KINDS & set(CONVERTERS)


def test_every_row_sets_a_field_that_exists() -> None:
    assert {flag.field for flag in FLAGS if flag.field} == set(structs.asdict(Config())) - {"era"}


def shown_default(flag: Flag, *, is_legacy: bool) -> str:
    text = flag.legacy_default if is_legacy else flag.modern_default
    is_prose = " " in text or "NAME" in text
    return "" if is_prose or flag.group == flags.GROUP_HELP else text


@pytest.mark.parametrize("is_legacy", [False, True])
def test_giving_every_default_that_is_shown_changes_nothing(is_legacy: bool) -> None:
    base = "-name default -data-dir d" + (" -v=false" if is_legacy else "")
    line = base
    for flag in FLAGS:
        default = shown_default(flag, is_legacy=is_legacy)
        name = flag.name(is_legacy=is_legacy)
        if default and name != "name":
            line += f" -{name}={default}"
    assert line.count("=") > 8
    assert config(line) == config(base)


@settings(deadline=None, max_examples=50)
@given(
    st.from_regex(r"[a-z0-9.-]{0,12}", fullmatch=True) | st.just("::1"),
    st.integers(min_value=0, max_value=65535),
)
def test_an_address_comes_back_as_it_was_written(host: str, port: int) -> None:
    assert split_host_port(str(Address(host, port))) == (host, port)


@pytest.mark.parametrize("read", [split_host_port, parse_urls])
@settings(deadline=None, max_examples=100)
@given(text=st.text(alphabet="ah:/[]%@?#0159.,= ", max_size=16))
def test_any_text_is_read_or_refused(read: Callable[[str], object], text: str) -> None:
    for candidate in (text, f"http://{text}"):
        with suppress(ValueError):
            read(candidate)


@pytest.mark.parametrize("line", ["-discovery http://d:1/t -name m", "--discovery=http://d:1/t"])
def test_a_token_says_where_the_members_are(line: str) -> None:
    made = config(line)
    assert made.discovery == "http://d:1/t"
    assert made.era is Era.MODERN, "both eras have this flag"
    legacy = config("-discovery http://d:1/t -addr h:4001 -name m -peers a:1")
    assert (legacy.era, legacy.discovery) == (Era.LEGACY, "http://d:1/t")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            "--discovery http://d:1/t --initial-cluster default=http://localhost:2380",
            "multiple discovery or bootstrap flags are set."
            ' Choose one of "initial-cluster", "discovery" or "discovery-srv"',
        ),
        ("--discovery d:1/t", "--discovery: d:1/t is no URL of a token, http://HOST/TOKEN"),
        ("--discovery http://d", "--discovery: http://d is no URL of a token, http://HOST/TOKEN"),
    ],
)
def test_ways_to_find_members_that_are_refused(line: str, fault: str) -> None:
    assert faults(line) == [fault]


def test_the_size_of_a_cluster_and_its_times() -> None:
    made = config(
        "-name m -cluster-active-size 5 -cluster-remove-delay 60.5 -cluster-sync-interval 2"
    )
    assert (made.active_size, made.remove_delay_seconds, made.sync_interval_seconds) == (5, 60.5, 2)
    assert config("-name m -maxsize 4").active_size == 4
    assert config("-name m -max-cluster-size 6").active_size == 6
    assert config("-addr h:4001 -name m", ETCD_CLUSTER_REMOVE_DELAY="7").remove_delay_seconds == 7
    unset = config("-addr h:4001 -name m")
    assert (unset.active_size, unset.remove_delay_seconds, unset.sync_interval_seconds) == (
        9, 1800, 5,
    )  # fmt: skip
