"""From the flags and variables that were given to a `Config`.

What for: `flags.py` knows words, this module knows what they mean: addresses, URLs, what a 0.4
address implies for the listener, defaults that depend on other settings.

Rules:
    a value that cannot be read at all is a `UsageError`, the first one found
    addresses and combinations that make no sense are a `ConfigError`, all of them
    nothing is opened or created; only -peers-file is read
Source: reference contract, v2-api section 10; v3-operations sections 2 and 3.
"""

import math
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from msgspec import structs

from kvorum.cli.commandline import Given, Invocation, LogWarning, UsageError
from kvorum.cli.configfile import read_text
from kvorum.cli.flags import BOOLEAN_KINDS, Effect, Kind
from kvorum.config import (
    LEGACY_CONFIG,
    LOG_LEVELS,
    PORT_MAX,
    TLS_VERSIONS,
    Address,
    Config,
    TlsFiles,
)
from kvorum.errors import ConfigError

TRUE_WORDS = {"1", "t", "T", "true", "True", "TRUE"}
FALSE_WORDS = {"0", "f", "F", "false", "False", "FALSE"}

FILE_KINDS = {Kind.PATH, Kind.PEERS_FILE, Kind.CONFIG_FILE}
"""The system names files in any bytes; everything else has to be text, for others will read it."""

TLS_1_3_CIPHERS = {
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
}

UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_one_duration = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s|us|ns)", re.ASCII).findall
_durations = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:h|ms|m|s|us|ns))+", re.ASCII).fullmatch

COMPACTION_MODES = {"periodic", "revision"}
DIGITS_MAX = 18
"""Of a number; so many always fit 64 bits."""

LEGACY_CLIENT_PORT = 4001
LEGACY_PEER_PORT = 7001

T = TypeVar("T")


class Settings(NamedTuple):
    """What a command line comes to."""

    config: Config
    warnings: list[LogWarning]


def build(invocation: Invocation) -> Settings:
    """Makes the configuration an invocation asks for, and checks it.

    Raises:
        UsageError: for a value that cannot be read.
        ConfigError: for values that cannot be used, with every fault.
    """
    is_legacy = invocation.is_legacy
    if invocation.extra and not is_legacy:
        raise ConfigError([f"'{invocation.extra[0]}' is not a valid flag"])
    for one in invocation.given:
        if one.flag.kind not in FILE_KINDS:
            _convert(one, str.encode, is_legacy=is_legacy)
    changes = {
        one.flag.field: _convert(one, CONVERTERS[one.flag.kind], is_legacy=is_legacy)
        for one in invocation.given
        if one.flag.field and one.flag.kind in CONVERTERS
    }
    add = _Legacy(invocation) if is_legacy else _Modern(invocation)
    changes |= add.changes()
    add.judge_foreign(invocation)
    config = structs.replace(LEGACY_CONFIG if is_legacy else Config(), **changes)
    if config.unsafe_no_fsync:
        text = "UNSAFE: fsync is off, so a power failure loses writes that were acknowledged"
        add.warnings.append(LogWarning(text, {}))
    try:
        config.validate()
    except ConfigError as error:
        add.faults += error.faults
    if add.faults:
        raise ConfigError(add.faults)
    return Settings(config, [*invocation.warnings, *add.warnings])


class _EraSettings:
    """The settings of one era that depend on each other."""

    def __init__(self, invocation: Invocation) -> None:
        is_legacy = invocation.is_legacy
        self.given = {one.flag.name(is_legacy=is_legacy): one for one in invocation.given}
        self.faults: list[str] = []
        self.warnings: list[LogWarning] = []

    def text(self, name: str) -> str:
        """What was given to a flag; empty when nothing was."""
        return self.given[name].text if name in self.given else ""

    def path(self, name: str) -> Path | None:
        """The file that was given to a flag, if any."""
        text = self.text(name)
        return Path(text) if text else None

    def judge_foreign(self, invocation: Invocation) -> None:
        """Passes over, or refuses, what is given to flags that set nothing."""
        is_legacy = invocation.is_legacy
        for one in invocation.given:
            flag = one.flag
            if flag.effect is Effect.SETS:
                continue
            text = one.text
            if flag.kind is Kind.BOOLEAN:
                text = str(_convert(one, _boolean, is_legacy=is_legacy)).lower()
            if text in flag.harmless:
                continue
            dashes = "-" if is_legacy else "--"
            name = one.name if one.is_from_environment else f"{dashes}{one.name}={one.text}"
            verdict = f"{name} {flag.effect.value}: {flag.help}"
            if flag.effect is Effect.REFUSED:
                self.faults.append(verdict)
            else:
                self.warnings.append(LogWarning(verdict, {}))

    def retention(self, default_mode: str, default: int) -> dict[str, object]:
        """How much history to keep, in revisions or in time."""
        mode = self.text("auto-compaction-mode") or default_mode
        if mode not in COMPACTION_MODES:
            self.faults.append(f'unknown auto-compaction-mode "{mode}"')
        is_by_time = mode == "periodic"
        text = self.text("auto-compaction-retention") or str(0 if is_by_time else default)
        revisions, seconds = 0, 0.0
        try:
            if is_by_time:
                seconds = _duration(text)
            else:
                revisions = _integer(text)
        except ValueError:
            reason = f'strconv.ParseInt: parsing "{text}": invalid syntax'
            if is_by_time:
                reason = f'time: invalid duration "{text}"'
            self.faults.append(f"error parsing CompactionRetention: {reason}")
        return {"auto_compaction_retention": revisions, "auto_compaction_seconds": seconds}


class _Legacy(_EraSettings):
    """0.4: addresses without scheme, listeners that follow what is advertised."""

    def changes(self) -> dict[str, object]:
        """The fields that need more than a conversion."""
        name, data_dir = self.text("name"), self.text("data-dir")
        if not name and not data_dir:
            name = socket.gethostname()
        if not data_dir:
            data_dir = f"{name}.etcd"
            self.warnings.append(
                LogWarning(
                    f"Using the directory {data_dir} as the etcd curation directory"
                    " because a directory was not specified. ",
                    {},
                )
            )
        return {
            "name": name,
            "data_dir": Path(data_dir),
            "peers": self._peers(),
            "verbosity": self._verbosity(),
            **self.retention("revision", LEGACY_CONFIG.auto_compaction_retention),
            **self._addresses("client", "", "", LEGACY_CLIENT_PORT),
            **self._addresses("peer", "peer-", "Peer ", LEGACY_PEER_PORT),
        }

    def _addresses(
        self, side: str, prefix: str, label: str, default_port: int
    ) -> dict[str, object]:
        advertised = self.text(f"{prefix}addr") or f"127.0.0.1:{default_port}"
        bind = self.text(f"{prefix}bind-addr")
        port, listen = default_port, Address("", default_port)
        try:
            port = split_host_port(advertised)[1]
        except ValueError as error:
            self._add_fault(f"{label}Advertised URL: {error}")
        try:
            listen = _bind_address(bind, port)
        except ValueError as error:
            self._add_fault(f"{label}Listen Host: {error}")
        files = self._tls_files(prefix)
        scheme = "http" if files is None else "https"
        return {
            f"advertised_{side}_urls": (f"{scheme}://{advertised}",),
            f"{side}_listen_addresses": (listen._replace(is_tls=files is not None),),
            f"{side}_tls": files,
        }

    def _tls_files(self, prefix: str) -> TlsFiles | None:
        """A certificate or a key alone, or a CA without both, means nothing in 0.4."""
        cert_file, key_file = self.path(f"{prefix}cert-file"), self.path(f"{prefix}key-file")
        ca_file = self.path(f"{prefix}ca-file")
        if cert_file and key_file:
            return TlsFiles(cert_file=cert_file, key_file=key_file, ca_file=ca_file)
        if cert_file or key_file or ca_file:
            pair = f"-{prefix}cert-file and -{prefix}key-file"
            text = f"{pair} go together: without both there is no TLS"
            self.warnings.append(LogWarning(text, {}))
        return None

    def _peers(self) -> tuple[str, ...]:
        listed = self.text("peers")
        path = self.text("peers-file")
        if path:
            try:
                listed = read_text(Path(path), is_legacy=True)
            except UsageError as error:
                raise UsageError(f"Peers file error: {error}", is_legacy=True) from error
        peers = _text_list(listed.replace("\n", ","))
        for peer in peers:
            try:
                split_host_port(peer)
            except ValueError as error:
                self._add_fault(f"Peers: {error}")
        return peers

    def _verbosity(self) -> int:
        for level, name in ((2, "vvv"), (2, "vv"), (1, "v")):
            one = self.given.get(name)
            if one and _convert(one, _boolean, is_legacy=True):
                return level
        return 0

    def _add_fault(self, text: str) -> None:
        self.faults.append(f"failed sanitizing configuration: {text}")


class _Modern(_EraSettings):
    """3.x: URLs, and listeners exactly where told."""

    def changes(self) -> dict[str, object]:
        """The fields that need more than a conversion."""
        name = self.text("name") or Config().name
        if "listen-client-urls" in self.given and "advertise-client-urls" not in self.given:
            self.faults.append(
                "--advertise-client-urls is required when --listen-client-urls is set explicitly"
            )
        self._check_tls_choice()
        debug = self.given.get("debug")
        is_debug = debug is not None and _convert(debug, _boolean, is_legacy=False)
        if self.text("initial-cluster") and self.text("discovery"):
            self.faults.append(
                "multiple discovery or bootstrap flags are set."
                ' Choose one of "initial-cluster", "discovery" or "discovery-srv"'
            )
        return {
            "name": name,
            "data_dir": Path(self.text("data-dir") or f"{name}.etcd"),
            "wal_dir": self.path("wal-dir"),
            "metrics_listen_addresses": self._addresses("listen-metrics-urls"),
            **self.retention("periodic", 0),
            **({"log_level": "debug"} if is_debug else {}),
            **self._listen("client", ""),
            **self._listen("peer", "peer-"),
        }

    def _listen(self, side: str, prefix: str) -> dict[str, object]:
        files = self._tls_files(prefix)
        changes: dict[str, object] = {f"{side}_tls": files}
        default = getattr(Config(), f"{side}_listen_addresses")
        urls = self._urls(f"listen-{side}-urls") or tuple(f"http://{one}" for one in default)
        urls += self._urls(f"listen-{side}-http-urls")
        changes[f"{side}_listen_addresses"] = tuple(map(self._listen_address, urls))
        self._check_schemes(side, prefix, urls, files)
        return changes

    def _addresses(self, name: str) -> tuple[Address, ...]:
        return tuple(map(self._listen_address, self._urls(name)))

    def _urls(self, name: str) -> tuple[str, ...]:
        one = self.given.get(name)
        return () if one is None else _convert(one, parse_urls, is_legacy=False)

    def _tls_files(self, prefix: str) -> TlsFiles | None:
        client_cert_auth = self.given.get(f"{prefix}client-cert-auth")
        files = TlsFiles(
            cert_file=self.path(f"{prefix}cert-file"),
            key_file=self.path(f"{prefix}key-file"),
            ca_file=self.path(f"{prefix}trusted-ca-file"),
            client_cert_auth=client_cert_auth is not None
            and _convert(client_cert_auth, _boolean, is_legacy=False),
        )
        if files == TlsFiles():
            return None
        return structs.replace(
            files,
            ciphers=self._ciphers(),
            min_version=self.text("tls-min-version") or files.min_version,
            max_version=self.text("tls-max-version") or files.max_version,
        )

    def _ciphers(self) -> tuple[str, ...]:
        """Those of TLS 1.2: OpenSSL lets nobody choose among those of TLS 1.3."""
        named = _text_list(self.text("cipher-suites"))
        return tuple(one for one in named if one not in TLS_1_3_CIPHERS)

    def _check_tls_choice(self) -> None:
        least = self.text("tls-min-version") or TLS_VERSIONS[0]
        most = self.text("tls-max-version") or TLS_VERSIONS[-1]
        one_of = ", ".join(TLS_VERSIONS)
        self.faults += [
            f'unexpected TLS version "{one}" (must be one of: {one_of})'
            for one in (least, most)
            if one not in TLS_VERSIONS
        ]
        if least > most:
            self.faults.append(f"min version ({least}) is greater than max version ({most})")
        if least == TLS_VERSIONS[-1] and self.text("cipher-suites"):
            self.faults.append("cipher suites cannot be configured when only TLS1.3 is enabled")
        elif self.text("cipher-suites") and not self._ciphers():
            self.faults.append("--cipher-suites has none of TLS 1.2: use --tls-min-version=TLS1.3")

    def _check_schemes(
        self, side: str, prefix: str, urls: tuple[str, ...], files: TlsFiles | None
    ) -> None:
        if files is None:
            return
        cert_file, key_file = files.cert_file, files.key_file
        if (cert_file is None) != (key_file is None):
            self.faults.append(
                "KeyFile and CertFile must both be present"
                f"[key: {key_file or ''}, cert: {cert_file or ''}]"
            )
        for url in (url for url in urls if url.startswith("http://")):
            fields = {f"{side}-url": url}
            if cert_file is not None:
                text = (
                    "scheme is HTTP while key and cert files are present;"
                    " ignoring key and cert files"
                )
                self.warnings.append(LogWarning(text, fields))
            if files.client_cert_auth:
                text = (
                    f"scheme is HTTP while --{prefix}client-cert-auth is enabled;"
                    " ignoring client cert auth for this URL"
                )
                self.warnings.append(LogWarning(text, fields))

    def _listen_address(self, url: str) -> Address:
        scheme, _, rest = url.partition("://")
        host, port = split_host_port(rest)
        if host == "localhost":
            host = "127.0.0.1"
        if not _is_ip(host):
            self.faults.append(f"expected IP in URL for binding ({url})")
        return Address(host, port, is_tls=scheme == "https")


def _convert(one: Given, converter: Callable[[str], T], *, is_legacy: bool) -> T:
    """Converts what was given.

    Raises:
        UsageError: when it cannot, in the words of its era.
        ConfigError: when it cannot and comes from a 3.x variable.
    """
    try:
        return converter(one.text)
    except ValueError as error:
        reason = error
    is_boolean = one.flag.kind in BOOLEAN_KINDS
    if not one.is_from_environment:
        name = one.flag.name(is_legacy=is_legacy)
        label = "invalid boolean value" if is_boolean else "invalid value"
        preposition = "" if is_boolean else "flag "
        text = f'{label} "{one.text}" for {preposition}-{name}: {reason}'
        raise UsageError(text, is_legacy=is_legacy) from reason
    if is_legacy:
        function = "ParseFloat" if one.flag.kind is Kind.SECONDS else "ParseInt"
        text = f'Parse error: {one.name}: strconv.{function}: parsing "{one.text}": invalid syntax'
        raise UsageError(text, is_legacy=True) from reason
    raise ConfigError([f'invalid value "{one.text}" for {one.name}: {reason}']) from reason


def _bind_address(text: str, port: int) -> Address:
    """Where 0.4 binds: all interfaces, or `host` or `host:port` as it was told."""
    if ":" not in text:
        return Address(text, port)
    if text.startswith("[") and text.endswith("]"):
        return Address(text[1:-1], port)
    host, own_port = split_host_port(text)
    if not host:
        raise ValueError("IP required can't use a port only")
    return Address(host, own_port)


def _is_ip(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):  # a NUL, or no text, is a ValueError
            continue
        return True
    return False


def split_host_port(text: str) -> tuple[str, int]:
    """Takes `host:port` or `[ipv6]:port` apart; the host may be empty.

    Raises:
        ValueError: with the text that Go gives for the same address.
    """
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise ValueError(f"address {text}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"address {text}: too many colons in address")
    is_number = port.isascii() and port.isdigit() and len(port) <= DIGITS_MAX
    if not (is_number and int(port) <= PORT_MAX):
        raise ValueError(f"address {text}: invalid port")
    return host, int(port)


def parse_urls(text: str) -> tuple[str, ...]:
    """Reads a comma list of URLs that name a scheme, a host and a port, and nothing else.

    Raises:
        ValueError: with etcd's text for the first one that does not.
    """
    return tuple(sorted(_check_url(part.strip()) for part in text.split(",")))


def _check_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        if url[:1].isdigit() and ":" in url:
            raise ValueError(f'parse "{url}": first path segment in URL cannot contain colon')
        raise ValueError(f"URL scheme must be http, https, unix, or unixs: {url}")
    if scheme in {"unix", "unixs"}:
        raise ValueError(f"this release serves http and https only: {url}")
    if scheme not in {"http", "https"}:
        raise ValueError(f"URL scheme must be http, https, unix, or unixs: {url}")
    parts = urlsplit(url)
    try:
        split_host_port(rest.partition("/")[0])
    except ValueError as error:
        form = 'URL address does not have the form "host:port"'
        raise ValueError(f"{form}: {url}") from error
    if parts.path or parts.query or parts.fragment:
        raise ValueError(f"URL must not contain a path: {url}")
    return url


def _boolean(text: str) -> bool:
    if text in TRUE_WORDS:
        return True
    if text in FALSE_WORDS:
        return False
    raise ValueError("parse error")


def _integer(text: str) -> int:
    digits = text[1:] if text[:1] in {"-", "+"} else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError("parse error")
    if len(digits) > DIGITS_MAX:
        raise ValueError("value out of range")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError("parse error")
    return seconds


def _duration(text: str) -> float:
    """Hours, or a duration as Go writes it: `30m`, `1h30m`, `1.5h`."""
    whole = f"{text}h" if text.isdigit() else text
    if not _durations(whole):
        raise ValueError("parse error")
    return sum(float(number) * UNIT_SECONDS[unit] for number, unit in _one_duration(whole))


def _text_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _cluster(text: str) -> dict[str, tuple[str, ...]]:
    members: dict[str, tuple[str, ...]] = {}
    for part in _text_list(text):
        name, equals, url = part.partition("=")
        if not (name and equals):
            raise ValueError(f'"{part}" does not have the form name=url')
        members[name] = (*members.get(name, ()), *parse_urls(url))
    return members


def _cluster_state(text: str) -> str:
    if text not in {"new", "existing"}:
        raise ValueError("invalid value")
    return text


def _log_level(text: str) -> str:
    if text not in LOG_LEVELS:
        raise ValueError(f'unrecognized level: "{text}"')
    return text


CONVERTERS: dict[Kind, Callable[[str], object]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.SECONDS: _seconds,
    Kind.TEXT: str,
    Kind.LIST: _text_list,
    Kind.URLS: parse_urls,
    Kind.CLUSTER: _cluster,
    Kind.CLUSTER_STATE: _cluster_state,
    Kind.LOG_LEVEL: _log_level,
}
