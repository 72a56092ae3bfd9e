from pathlib import Path

import pytest
from msgspec import structs

from kvorum.config import LEGACY_CONFIG, Address, Config, Era
from kvorum.errors import ConfigError


def faults_of(config: Config) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.validate()
    return caught.value.faults


def bootstrap_faults_of(config: Config) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.validate_bootstrap()
    return caught.value.faults


def test_the_defaults_of_both_eras_are_usable() -> None:
    for config in (Config(), LEGACY_CONFIG):
        config.validate()
        config.validate_bootstrap()


def test_the_defaults_are_the_ports_and_timing_of_each_era() -> None:
    modern, legacy = Config(), LEGACY_CONFIG
    assert (modern.era, legacy.era) == (Era.MODERN, Era.LEGACY)
    assert modern.client_listen_addresses == (Address("127.0.0.1", 2379),)
    assert modern.peer_listen_addresses == (Address("127.0.0.1", 2380),)
    assert legacy.client_listen_addresses == (Address("", 4001),)
    assert legacy.peer_listen_addresses == (Address("", 7001),)
    assert (modern.heartbeat_ms, modern.election_ms) == (100, 1000)
    assert (legacy.heartbeat_ms, legacy.election_ms) == (50, 200)
    assert (modern.auto_compaction_retention, legacy.auto_compaction_retention) == (0, 100_000)
    assert modern.request_bytes_max == 1_572_864


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("127.0.0.1", 4001), "127.0.0.1:4001"),
        (Address("", 4001), ":4001"),
        (Address("::1", 4001), "[::1]:4001"),
    ],
)
def test_an_address_is_written_as_go_writes_it(address: Address, text: str) -> None:
    assert str(address) == text


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"name": ""}, "Name cannot be blank"),
        ({"log_level": "bogus"}, 'unrecognized level: "bogus"'),
        ({"client_listen_addresses": ()}, "--listen-client-urls must name at least one address"),
        ({"advertised_peer_urls": ()}, "--initial-advertise-peer-urls must name at least one URL"),
        (
            {"peer_listen_addresses": (Address("", 65536),)},
            "--listen-peer-urls: port 65536 is not between 0 and 65535",
        ),
        (
            {"advertised_client_urls": ("ftp://h:1",)},
            "--advertise-client-urls: ftp://h:1 is not an http or https URL",
        ),
        (
            {"peer_listen_addresses": (Address("127.0.0.1", 2379),)},
            "clients and peers cannot share 127.0.0.1:2379",
        ),
        (
            {"heartbeat_ms": 500},
            "--election-timeout[1000ms] should be at least as 5 times as"
            " --heartbeat-interval[500ms]",
        ),
        (
            {"election_ms": 60_000},
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
        ),
        (
            {"heartbeat_ms": 0},
            "heartbeat interval [0ms] and election timeout [1000ms] must be greater than 0",
        ),
        ({"snapshot_count": 0}, "snapshot count must be at least 1, not 0"),
        ({"request_bytes_max": 0}, "maximum request size must be at least 1, not 0"),
        ({"auto_compaction_retention": -1}, "compaction retention must be at least 0, not -1"),
        ({"retry_interval_seconds": -0.5}, "retry interval must be at least 0, not -0.5"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(change: dict[str, object], fault: str) -> None:
    assert faults_of(structs.replace(Config(), **change)) == [fault]


def test_an_election_waits_for_five_heartbeats_and_not_one_more() -> None:
    Config(heartbeat_ms=200, election_ms=1000).validate()
    assert len(faults_of(Config(heartbeat_ms=200, election_ms=999))) == 1
    Config(election_ms=50_000).validate()


def test_all_faults_come_at_once() -> None:
    assert len(faults_of(Config(name="", heartbeat_ms=0, snapshot_count=0))) == 3


def test_the_system_may_choose_both_ports() -> None:
    free = (Address("127.0.0.1", 0),)
    Config(client_listen_addresses=free, peer_listen_addresses=free).validate()


def test_the_legacy_era_only_asks_for_an_election_longer_than_a_heartbeat() -> None:
    structs.replace(LEGACY_CONFIG, heartbeat_ms=150, election_ms=200).validate()
    assert faults_of(structs.replace(LEGACY_CONFIG, heartbeat_ms=200)) == [
        "-peer-election-timeout [200ms] must be longer than -peer-heartbeat-interval [200ms]"
    ]


def test_without_a_list_of_members_the_cluster_is_this_member_alone() -> None:
    config = Config(name="m1", advertised_peer_urls=("http://10.0.0.1:2380",))
    assert config.bootstrap_cluster == {"m1": ("http://10.0.0.1:2380",)}
    config.validate_bootstrap()


def test_a_member_that_is_not_listed_cannot_bootstrap() -> None:
    config = Config(initial_cluster={"m1": ("http://localhost:2380",)})
    assert bootstrap_faults_of(config) == [
        'couldn\'t find local name "default" in the initial cluster configuration'
    ]


def test_listed_and_advertised_urls_must_be_the_same() -> None:
    config = Config(
        name="m1",
        initial_cluster={"m1": ("http://a:1",), "m2": ("http://b:1",)},
        advertised_peer_urls=("http://c:1",),
    )
    assert bootstrap_faults_of(config) == [
        "--initial-cluster has m1=http://a:1 but missing from"
        " --initial-advertise-peer-urls=http://c:1",
        "--initial-advertise-peer-urls has http://c:1 but missing from"
        " --initial-cluster=m1=http://a:1,m2=http://b:1",
    ]


def test_two_members_cannot_share_a_url() -> None:
    config = Config(
        name="m1",
        initial_cluster={"m1": ("http://a:1",), "m2": ("http://a:1",)},
        advertised_peer_urls=("http://a:1",),
    )
    assert bootstrap_faults_of(config) == [
        "initial cluster m1=http://a:1,m2=http://a:1 has duplicate url"
    ]


def test_a_legacy_server_has_no_list_of_first_members() -> None:
    structs.replace(LEGACY_CONFIG, initial_cluster={"x": ("http://a:1",)}).validate_bootstrap()


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Config().name = "other"  # type: ignore[misc]
    assert Config().data_dir == Path("default.etcd")
