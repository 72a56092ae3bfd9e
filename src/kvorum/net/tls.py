"""TLS contexts that follow their files, and words for what goes wrong in a handshake.

What for: a listener or a caller asks for `current()` at every connection, so a renewed certificate
counts from the next connection on, without a restart.

Owns: how files become contexts: TLS 1.2 or newer, ALPN http/1.1, and who is trusted.

Rules:
    A server's callers must show a certificate when a CA file, or client_cert_auth, is given.
    A caller trusts the CA file alone, or without one the system's certificates; names are checked.
    Files are looked at once per connection. Ones that changed and cannot be used are told of once,
    and the context made of the last good ones stays: certificate and key are rarely replaced in
    the same instant.

The caller: makes `Credentials` before it opens anything, so that unusable files stop the start.
Source: reference contract, v2-api section 9.7; v3-operations section 5.
"""

import logging
import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

from kvorum.config import TlsFiles
from kvorum.errors import ConfigError

_log = logging.getLogger("kvorum.net")

ALPN_PROTOCOLS = ["http/1.1"]

CERTIFICATE_MARK = b"-----BEGIN CERTIFICATE-----"
KEY_MARK = b"PRIVATE KEY-----"

VERSIONS = {"TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}

NOT_TLS_REASONS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)
"""What OpenSSL says to bytes that are no TLS."""

Stamp: TypeAlias = tuple[tuple[int, int, int], ...]
"""Of each file: time of change, size and inode."""


class Credentials:
    """One side's certificate and trust: the context made of the files as they are now."""

    def __init__(
        self, files: TlsFiles | None, make_context: Callable[[TlsFiles | None], ssl.SSLContext]
    ) -> None:
        """Reads the files.

        Raises:
            ConfigError: they cannot be used.
        """
        self._files = files
        self._make_context = make_context
        self._stamp = _stamp(files)
        self._context = make_context(files)

    def current(self) -> ssl.SSLContext:
        """The context for a connection that begins now."""
        stamp = _stamp(self._files)
        if stamp != self._stamp:
            self._stamp = stamp
            self._reload()
        return self._context

    def _reload(self) -> None:
        try:
            self._context = self._make_context(self._files)
        except ConfigError as error:
            _log.warning("the old certificate stays in use: %s", error)
        else:
            assert self._files is not None
            _log.info("the certificate in %s was read anew", self._files.cert_file)


def server_credentials(files: TlsFiles) -> Credentials:
    """What a listener shows and asks for.

    Raises:
        ConfigError: the files cannot be used.
    """
    return Credentials(files, _make_server_context)


def caller_credentials(files: TlsFiles | None) -> Credentials:
    """What a caller shows and trusts; without files the system's trust and no certificate.

    Raises:
        ConfigError: the files cannot be used.
    """
    return Credentials(files, make_caller_context)


@cache
def system_credentials() -> Credentials:
    """Those of a caller without any settings; read when first needed, as it takes long."""
    return caller_credentials(None)


def make_caller_context(files: TlsFiles | None) -> ssl.SSLContext:
    """A context for outgoing connections.

    Raises:
        ConfigError: the files cannot be used.
    """
    context = _make_context(ssl.PROTOCOL_TLS_CLIENT, files)
    if files is None or files.ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _make_server_context(files: TlsFiles | None) -> ssl.SSLContext:
    context = _make_context(ssl.PROTOCOL_TLS_SERVER, files)
    if files is not None and files.requires_client_cert:
        context.verify_mode = ssl.CERT_REQUIRED
        if files.ca_file is None:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    return context


def _make_context(protocol: int, files: TlsFiles | None) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = VERSIONS["TLS1.2"]
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    # As Go has it: whatever the CA file holds may vouch, also a certificate that is no root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if files is None:
        return context
    context.minimum_version = VERSIONS[files.min_version]
    context.maximum_version = VERSIONS[files.max_version]
    if files.ciphers:
        context.set_ciphers(":".join(map(_openssl_name, files.ciphers)))
    if files.cert_file is not None:
        _load_pair(context, files.cert_file, files.key_file or files.cert_file)
    if files.ca_file is not None:
        _load_trust(context, files.ca_file)
    return context


def _openssl_name(cipher: str) -> str:
    """Go's TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is OpenSSL's ECDHE-RSA-AES128-GCM-SHA256.

    Raises:
        ConfigError: this system speaks no such cipher.
    """
    exchange, _, rest = cipher.removeprefix("TLS_").partition("_WITH_")
    rest = rest.replace("AES_", "AES").replace("_CBC", "").replace("POLY1305_SHA256", "POLY1305")
    name = "-".join([*([] if exchange == "RSA" else [exchange]), rest]).replace("_", "-")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(name)
    except ssl.SSLError as error:
        raise ConfigError([f'unexpected TLS cipher suite "{cipher}"']) from error
    return name


def _load_pair(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    for path, mark, what in (
        (cert_file, CERTIFICATE_MARK, "certificate"),
        (key_file, KEY_MARK, "key"),
    ):
        if mark not in _read(path):
            raise ConfigError([f"tls: failed to find any PEM data in {what} input: {path}"])

    def refuse_password() -> str:
        # Otherwise OpenSSL would ask on the terminal, and wait.
        raise ConfigError([f"the key in {key_file} has a password: give one without"])

    try:
        context.load_cert_chain(cert_file, key_file, refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            reason = "tls: private key does not match public key"
        else:
            reason = f"tls: {_reason(error)}"
        raise ConfigError([f"{reason}: {key_file} and {cert_file}"]) from error


def _load_trust(context: ssl.SSLContext, ca_file: Path) -> None:
    if CERTIFICATE_MARK not in _read(ca_file):
        raise ConfigError([f"no CA certificate in PEM form in {ca_file}"])
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError as error:
        reason = f"the CA certificate in {ca_file} cannot be read: {_reason(error)}"
        raise ConfigError([reason]) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError([f"open {path}: {reason}"]) from error


def _stamp(files: TlsFiles | None) -> Stamp:
    if files is None:
        return ()
    paths = (files.cert_file, files.key_file, files.ca_file)
    return tuple(_stamp_file(path) for path in paths if path is not None)


def _stamp_file(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


def describe_tls(error: ssl.SSLError) -> str:
    """What went wrong between two sides, seen from this one, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message.rstrip('.')}"
    reason = error.reason or ""
    if reason in NOT_TLS_REASONS:
        return "it does not speak TLS"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "it shows no certificate, and one is required"
    if "_ALERT_" in reason:
        alert = reason.partition("_ALERT_")[2].lower().replace("_", " ")
        return f"it refused the handshake or our certificate: {alert}"
    return f"TLS handshake failed: {_reason(error)}"


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
