"""0.4's configuration file: keys, precedence, and every way it can be wrong."""

from pathlib import Path

import pytest

from kvorum.cli import configfile, flags, settings
from kvorum.config import Config
from kvorum.errors import ConfigError

WHOLE = """
name = "m9"
data_dir = "/var/lib/m9"
addr = "10.0.0.9:4009"
bind_addr = "127.0.0.1"
peers = ["10.0.0.1:7001", "10.0.0.2:7001"]
snapshot = false
snapshot_count = 77
max_retry_attempts = 5
retry_interval = 1.5
http_read_timeout = 10
cors = ["http://a", "http://b"]
verbose = true
unheard_of = { a = 1 }

[peer]
addr = "10.0.0.9:7009"
heartbeat_interval = 60
election_timeout = 300
unheard_of = "x"

[cluster]
active_size = 9
"""


def build(
    tmp_path: Path,
    text: str,
    arguments: list[str] | None = None,
    environment: dict[str, str] | None = None,
    system: str | None = None,
) -> Config:
    path = tmp_path / "etcd.toml"
    path.write_text(text, "utf-8")
    system_path = tmp_path / "etcd.conf"
    if system is not None:
        system_path.write_text(system, "utf-8")
    line = ["-config", str(path), *(arguments or [])]
    invocation = flags.parse(line, environment or {})
    return settings.build(configfile.add_files(invocation, system_path)).config


def test_every_kind_of_setting(tmp_path: Path) -> None:
    config = build(tmp_path, WHOLE)
    assert config.name == "m9"
    assert config.data_dir == Path("/var/lib/m9")
    assert config.advertised_client_urls == ("http://10.0.0.9:4009",)
    assert config.client_listen_addresses[0][:2] == ("127.0.0.1", 4009)
    assert config.advertised_peer_urls == ("http://10.0.0.9:7009",)
    assert config.peers == ("10.0.0.1:7001", "10.0.0.2:7001")
    assert (config.snapshot, config.snapshot_count) == (False, 77)
    assert (config.heartbeat_ms, config.election_ms) == (60, 300)
    assert (config.max_retry_attempts, config.retry_interval_seconds) == (5, 1.5)
    assert config.http_read_timeout_seconds == 10
    assert config.cors == ("http://a", "http://b")
    assert config.verbosity == 1


def test_who_wins(tmp_path: Path) -> None:
    system = 'name = "system"\nsnapshot_count = 1\naddr = "h:1"\nmax_retry_attempts = 8\n'
    text = 'name = "file"\nsnapshot_count = 2\naddr = "h:2"\n'
    environment = {"ETCD_NAME": "variable", "ETCD_SNAPSHOTCOUNT": "3"}
    config = build(tmp_path, text, ["-name", "flag"], environment, system)
    assert config.name == "flag"
    assert config.snapshot_count == 3
    assert config.advertised_client_urls == ("http://h:2",)
    assert config.max_retry_attempts == 8


def test_a_false_flag_wins_over_a_true_file(tmp_path: Path) -> None:
    assert build(tmp_path, 'name = "a"\nsnapshot = true', ["-snapshot=false"]).snapshot is False


def test_a_file_of_peers_replaces_peers_wherever_it_was_named(tmp_path: Path) -> None:
    listed = tmp_path / "peers"
    listed.write_text("10.0.0.7:7001\n", "utf-8")
    text = f'name = "a"\npeers_file = "{listed}"'
    assert build(tmp_path, text, ["-peers", "10.0.0.1:7001"]).peers == ("10.0.0.7:7001",)


def test_the_systems_file_is_read_by_a_server_of_the_old_way_only(tmp_path: Path) -> None:
    path = tmp_path / "etcd.conf"
    path.write_text('name = "system"', "utf-8")
    old = configfile.add_files(flags.parse(["-addr", "h:1"], {}), path)
    assert settings.build(old).config.name == "system"
    new = configfile.add_files(flags.parse([], {}), path)
    assert settings.build(new).config.name == "default"


def test_the_place_of_the_flag_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('name = "file"', "utf-8")
    invocation = flags.parse(["-addr", "h:1", "-config", str(path)], {})
    assert settings.build(configfile.add_files(invocation, tmp_path / "none")).config.name == "file"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name = ", "Invalid value"),
        ("name = 5", "name: Expected str but found int"),
        ("snapshot = 'yes'", "snapshot: Expected bool but found str"),
        ("snapshot_count = true", "snapshot_count: Expected int but found bool"),
        ("retry_interval = '1'", "retry_interval: Expected int or float but found str"),
        ("peers = [1]", "peers: Expected str but found int"),
        ("[peer]\nheartbeat_interval = 1.5", "peer.heartbeat_interval: Expected int but found"),
    ],
)
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(flags.UsageError, match=fault) as caught:
        build(tmp_path, text)
    assert caught.value.is_legacy
    assert "etcd.toml" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    invocation = flags.parse(["-config", "nofile.toml"], {})
    with pytest.raises(flags.UsageError, match=r"^open nofile.toml: no such file or directory$"):
        configfile.add_files(invocation, tmp_path / "none")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(flags.UsageError, match=r"c\.toml: 'utf-8' codec"):
        configfile.add_files(flags.parse(["-config", str(path)], {}), tmp_path / "none")


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["--config-file", "etcd.yml"], {}), ([], {"ETCD_CONFIG_FILE": "etcd.yml"})],
)
def test_yaml_is_refused(arguments: list[str], environment: dict[str, str]) -> None:
    invocation = flags.parse(arguments, environment)
    assert not invocation.is_legacy
    with pytest.raises(ConfigError, match=r"--config-file etcd\.yml: this release does not read"):
        configfile.add_files(invocation)


def test_keys_are_those_of_the_contract() -> None:
    keys = {flag.legacy: flag.file_key for flag in flags.FLAGS if flag.legacy}
    assert keys["peers-file"] == "peers_file"
    assert keys["peer-bind-addr"] == "peer.bind_addr"
    assert keys["vv"] == "very_verbose"
    assert keys["config"] == keys["version"] == keys["help"] == ""
    used = [key for key in keys.values() if key]
    assert len(set(used)) == len(used)
