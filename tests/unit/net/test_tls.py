"""Which files make a context, what is said of those that do not, and when they are read again."""

import logging
import shutil
import ssl
from pathlib import Path

import msgspec
import pytest
from tests.unit.net.conftest import TLS, tls_files

from kvorum.config import TlsFiles
from kvorum.errors import ConfigError
from kvorum.net.tls import (
    caller_credentials,
    make_caller_context,
    server_credentials,
    system_credentials,
)


def fault_of(files: TlsFiles) -> str:
    with pytest.raises(ConfigError) as caught:
        server_credentials(files)
    (fault,) = caught.value.faults
    return fault


def test_a_server_asks_for_certificates_when_it_has_a_ca() -> None:
    asked = {
        files: server_credentials(files).current().verify_mode
        for files in (
            tls_files("server"),
            tls_files("server", "ca"),
            TlsFiles(
                cert_file=TLS / "server.pem", key_file=TLS / "server.key", client_cert_auth=True
            ),
        )
    }
    assert list(asked.values()) == [ssl.CERT_NONE, ssl.CERT_REQUIRED, ssl.CERT_REQUIRED]


def test_every_context_has_a_floor() -> None:
    for credentials in (server_credentials(tls_files("server")), system_credentials()):
        assert credentials.current().minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("cipher", "name"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256"),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
        ("TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
    ],
)
def test_only_listed_ciphers_are_spoken(cipher: str, name: str) -> None:
    files = msgspec.structs.replace(tls_files("server"), ciphers=(cipher,))
    for credentials in (server_credentials(files), caller_credentials(files)):
        spoken = [one["name"] for one in credentials.current().get_ciphers()]
        assert [one for one in spoken if not one.startswith("TLS_")] == [name]


@pytest.mark.parametrize("cipher", ["TLS_RSA_WITH_RC4_128_SHA", "TLS_X_WITH_Y", "ALL", ""])
def test_a_cipher_that_is_none_is_named(cipher: str) -> None:
    files = msgspec.structs.replace(tls_files("server"), ciphers=(cipher,))
    assert fault_of(files) == f'unexpected TLS cipher suite "{cipher}"'


def test_versions_have_bounds() -> None:
    files = msgspec.structs.replace(tls_files("server"), min_version="TLS1.3")
    context = server_credentials(files).current()
    assert context.minimum_version is context.maximum_version is ssl.TLSVersion.TLSv1_3


def test_a_caller_checks_names_and_trusts_its_ca_alone() -> None:
    own = caller_credentials(tls_files("client", "ca")).current()
    assert own.check_hostname
    assert own.verify_mode is ssl.CERT_REQUIRED
    (trusted,) = own.get_ca_certs()
    assert trusted["subject"] == ((("commonName", "ca"),),)
    only_trust = make_caller_context(TlsFiles(ca_file=TLS / "ca.pem"))
    assert only_trust.check_hostname


def test_key_and_certificate_may_share_a_file(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes((TLS / "server.pem").read_bytes() + (TLS / "server.key").read_bytes())
    server_credentials(TlsFiles(cert_file=both))


@pytest.mark.parametrize(
    ("cert", "key", "ca", "fault"),
    [
        ("nofile", "server.key", "ca.pem", "open {}/nofile: no such file or directory"),
        ("server.pem", "nofile", "ca.pem", "open {}/nofile: no such file or directory"),
        ("server.pem", "server.key", "nofile", "open {}/nofile: no such file or directory"),
        ("make.sh", "server.key", "", "tls: failed to find any PEM data in certificate input:"),
        ("server.pem", "make.sh", "", "tls: failed to find any PEM data in key input: {}/make.sh"),
        ("server.pem", "server.key", "make.sh", "no CA certificate in PEM form in {}/make.sh"),
        ("server.pem", "client.key", "", "tls: private key does not match public key: {}/client"),
        ("server.pem", "locked.key", "", "the key in {}/locked.key has a password: give one"),
    ],
)
def test_files_that_cannot_be_used_are_named(cert: str, key: str, ca: str, fault: str) -> None:
    files = TlsFiles(cert_file=TLS / cert, key_file=TLS / key, ca_file=TLS / ca if ca else None)
    assert fault_of(files).startswith(fault.format(TLS))


def test_a_directory_and_nonsense_are_no_files(tmp_path: Path) -> None:
    assert fault_of(TlsFiles(cert_file=tmp_path)).endswith("is a directory")
    broken = tmp_path / "broken.pem"
    marks = "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\nPRIVATE KEY-----"
    broken.write_text(marks)
    for files in (TlsFiles(cert_file=broken), TlsFiles(ca_file=broken)):
        assert str(broken) in fault_of(files)


@pytest.fixture
def pair(tmp_path: Path) -> TlsFiles:
    install("server", tmp_path)
    return TlsFiles(cert_file=tmp_path / "cert", key_file=tmp_path / "key")


def install(name: str, directory: Path, *ends: str) -> None:
    for target, end in (("cert", ".pem"), ("key", ".key")):
        if not ends or target in ends:
            shutil.copyfile(TLS / f"{name}{end}", directory / target)


def test_changed_files_are_read_at_the_next_connection(pair: TlsFiles, tmp_path: Path) -> None:
    credentials = server_credentials(pair)
    first = credentials.current()
    assert credentials.current() is first
    install("renewed", tmp_path)
    second = credentials.current()
    assert second is not first
    assert credentials.current() is second


def test_half_a_change_keeps_the_old_pair(
    pair: TlsFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kvorum.net")
    credentials = server_credentials(pair)
    first = credentials.current()
    install("renewed", tmp_path, "cert")
    assert credentials.current() is first
    assert credentials.current() is first
    (tmp_path / "key").unlink()
    assert credentials.current() is first
    install("renewed", tmp_path, "key")
    assert credentials.current() is not first
    texts = [line.partition(":")[0] for line in caplog.messages]
    assert texts == [
        "the old certificate stays in use",
        "the old certificate stays in use",
        f"the certificate in {tmp_path / 'cert'} was read anew",
    ]
