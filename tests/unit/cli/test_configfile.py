"""0.4's configuration file: keys, precedence, and every way it can be wrong."""

from pathlib import Path

import pytest

from kvorum.cli import commandline, configfile, flags, settings
from kvorum.cli.commandline import UsageError
from kvorum.config import Config, TlsFiles
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
    invocation = commandline.parse(line, environment or {})
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
    old = configfile.add_files(commandline.parse(["-addr", "h:1"], {}), path)
    assert settings.build(old).config.name == "system"
    new = configfile.add_files(commandline.parse([], {}), path)
    assert settings.build(new).config.name == "default"


def test_the_place_of_the_flag_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('name = "file"', "utf-8")
    invocation = commandline.parse(["-addr", "h:1", "-config", str(path)], {})
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
    with pytest.raises(UsageError, match=fault) as caught:
        build(tmp_path, text)
    assert caught.value.is_legacy
    assert "etcd.toml" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    invocation = commandline.parse(["-config", "nofile.toml"], {})
    with pytest.raises(UsageError, match=r"^open nofile.toml: no such file or directory$"):
        configfile.add_files(invocation, tmp_path / "none")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(UsageError, match=r"c\.toml: 'utf-8' codec"):
        configfile.add_files(commandline.parse(["-config", str(path)], {}), tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a = " + "[" * 5000, "recursion"),
        ("snapshot_count = " + "9" * 5000, "Exceeds the limit"),
        ("snapshot_count = 0x" + "f" * 5000, "snapshot_count: value out of range"),
        ("snapshot_count = 9223372036854775808", "snapshot_count: value out of range"),
        ('data_dir = "a\\u0000b"', "data_dir: invalid character NUL"),
        ("a" + ".a" * 201 + " = 1", "more than 200 dots in a line"),
        ("#" * 65537, "larger than 65536 bytes"),
        ("a = 25:00:00", "Expected newline"),
    ],
)
def test_a_file_without_measure_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        build(tmp_path, text)


def test_a_file_is_not_read_past_its_limit() -> None:
    invocation = commandline.parse(["-config", "/dev/zero"], {})
    with pytest.raises(UsageError, match="/dev/zero: larger than"):
        configfile.add_files(invocation)


MODERN = """
name: m9
data-dir: /var/lib/m9
listen-client-urls: http://127.0.0.1:2479,http://127.0.0.1:2480
advertise-client-urls: http://127.0.0.1:2479
heartbeat-interval: 60
election-timeout: 600
auto-compaction-mode: revision
auto-compaction-retention: "500"
strict-reconfig-check: false
cors: [http://a, http://b]
initial-cluster: m9=http://localhost:2380
log-level:
client-transport-security:
  cert-file: c.pem
  key-file: c.key
  client-cert-auth: true
peer-transport-security:
  trusted-ca-file: ca.pem
"""


def modern(
    tmp_path: Path, text: str | bytes, *arguments: str, **environment: str
) -> settings.Settings:
    path = tmp_path / "etcd.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    invocation = commandline.parse([*arguments, "--config-file", str(path)], environment)
    return settings.build(configfile.add_files(invocation))


def test_the_modern_file_has_every_kind_of_setting(tmp_path: Path) -> None:
    made = modern(tmp_path, MODERN)
    config = made.config
    assert (config.name, config.data_dir) == ("m9", Path("/var/lib/m9"))
    assert [one.port for one in config.client_listen_addresses] == [2479, 2480]
    assert (config.heartbeat_ms, config.election_ms) == (60, 600)
    assert config.auto_compaction_retention == 500
    assert not config.strict_reconfig_check
    assert config.cors == ("http://a", "http://b")
    assert config.log_level == "info"
    shown = TlsFiles(cert_file=Path("c.pem"), key_file=Path("c.key"), client_cert_auth=True)
    assert config.client_tls == shown
    assert config.peer_tls == TlsFiles(ca_file=Path("ca.pem"))


def test_json_is_yaml_and_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert modern(tmp_path, '{"name": "j", "snapshot-count": 7}').config.snapshot_count == 7
    assert modern(tmp_path, "").config == Config()


def test_beside_the_modern_file_nothing_counts_and_that_is_said(tmp_path: Path) -> None:
    made = modern(tmp_path, "name: file", "--snapshot-count", "7", ETCD_LOG_LEVEL="debug")
    assert made.config == Config(name="file", data_dir=Path("file.etcd"))
    warned = [one.fields["setting"] for one in made.warnings if "counts alone" in one.text]
    assert warned == ["snapshot-count", "ETCD_LOG_LEVEL"]


def test_the_modern_file_may_be_named_by_its_variable(tmp_path: Path) -> None:
    path = tmp_path / "etcd.yml"
    path.write_text("name: file", "utf-8")
    invocation = commandline.parse([], {"ETCD_CONFIG_FILE": str(path)})
    assert not invocation.is_legacy
    assert settings.build(configfile.add_files(invocation)).config.name == "file"


def test_aliases_in_aliases_take_no_time(tmp_path: Path) -> None:
    lists = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 20)}]" for n in range(1, 20)]
    tables = [f"t{n}: &t{n} {{<<: [{', '.join([f'*t{n - 1}'] * 20)}]}}" for n in range(1, 20)]
    text = "\n".join(["l0: &l0 [x]", "t0: &t0 {x: 1}", *lists, *tables])
    assert modern(tmp_path, f"{text}\nname: m9").config.name == "m9"
    with pytest.raises(ConfigError, match="cors: Expected str but found list"):
        modern(tmp_path, f"{text}\ncors: *l19")
    with pytest.raises(ConfigError, match=r"enable-pprof: Expected bool .* but found dict"):
        modern(tmp_path, f"{text}\nenable-pprof: {{a: *l19}}")


def test_unknown_keys_of_the_modern_file_are_warned_of(tmp_path: Path) -> None:
    text = "nmae: a\ncert-file: c\npeer-transport-security: {cert_file: c}\n"
    made = modern(tmp_path, text)
    unknown = [one.fields["key"] for one in made.warnings if "unrecognized key" in one.text]
    assert unknown == ["nmae", "cert-file", "peer-transport-security.cert_file"]


def test_what_sets_nothing_may_have_any_form_in_the_modern_file(tmp_path: Path) -> None:
    text = "max-wals: 7\nlogger: zap\nauto-tls: 1\nproxy: 'off'\nproxy-failure-wait: 5000\n"
    made = modern(tmp_path, text)
    assert [one.text.partition(" has no")[0].rpartition(": ")[2] for one in made.warnings] == [
        "unrecognized key in " + str(tmp_path / "etcd.yml"),
        "max-wals",
        "proxy-failure-wait",
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("client-transport-security: {auto-tls: true}", "client-transport-security.auto-tls"),
        ("peer-transport-security: {allowed-cn: a}", "peer-transport-security.allowed-cn"),
        ("client-transport-security: {allowed-hostname: [a]}", "client-.*.allowed-hostname"),
        ("auth-token: [jwt, b]", "auth-token"),
    ],
)
def test_what_is_refused_is_refused_in_the_modern_file(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=f"etcd.yml: {key} is refused: "):
        modern(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: [", "error converting YAML to JSON: yaml: while parsing"),
        ("- name", "Expected `object"),
        (b"name: \xff", "'utf-8' codec"),
        ("name: 5", "name: Expected str but found int"),
        ("heartbeat-interval: '100'", "heartbeat-interval: Expected int but found str"),
        ("log-level: loud", 'invalid value "loud" for .*etcd.yml: log-level'),
        ("1: a", "Expected `str`"),
        ("name: 2026-11-25", "name: Expected str but found date"),
        ("name: 2026-13-41", "month must be in"),
        ("name: !!bool x", "yaml: 'x'"),
        ("name: !!int ''", "yaml: string index"),
        ("name: !!timestamp x", "yaml: 'NoneType'"),
        ("name: !!float 1" + ":59" * 3000, "yaml: int too large"),
        ("name: !!python/object:os.system x", "could not determine a constructor"),
        ("snapshot-count: " + "9" * 5000, "Exceeds the limit"),
        ("snapshot-count: 9223372036854775808", "snapshot-count: value out of range"),
        ("name: " + "[" * 5000, "yaml: "),
        ("name: &a {<<: *a}", "name: Expected str but found dict"),
        ("cors: &a [*a]", "cors: Expected str but found list"),
        ('data-dir: "a\\0b"', "data-dir: invalid character NUL"),
        ("#" * 65537, "larger than 65536 bytes"),
    ],
)
def test_a_modern_file_that_makes_no_sense_is_named(
    tmp_path: Path, text: str | bytes, fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault) as caught:
        modern(tmp_path, text)
    assert not isinstance(caught.value, UsageError)
    assert "etcd.yml" in str(caught.value)


def test_a_modern_file_that_is_not_there() -> None:
    invocation = commandline.parse(["--config-file", "nofile.yml"], {})
    with pytest.raises(ConfigError, match=r"^open nofile.yml: no such file or directory$"):
        configfile.add_files(invocation)


def test_keys_are_those_of_the_contract() -> None:
    keys = {flag.legacy: flag.file_key for flag in flags.FLAGS if flag.legacy}
    assert keys["peers-file"] == "peers_file"
    assert keys["peer-bind-addr"] == "peer.bind_addr"
    assert keys["vv"] == "very_verbose"
    assert keys["config"] == keys["version"] == keys["help"] == ""
    used = [key for key in keys.values() if key]
    assert len(set(used)) == len(used)


def test_keys_of_the_modern_file_are_those_of_the_contract() -> None:
    keys = {flag.modern: flag.modern_file_key for flag in flags.FLAGS if flag.modern}
    assert keys["name"] == "name"
    assert keys["peer-cert-file"] == "peer-transport-security.cert-file"
    assert keys["trusted-ca-file"] == "client-transport-security.trusted-ca-file"
    assert keys["config-file"] == keys["version"] == keys["help"] == ""
    used = [key for key in keys.values() if key]
    assert len(set(used)) == len(used)
