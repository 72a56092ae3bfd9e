"""The table itself: what follows from a row."""

from kvorum.cli.flags import FLAGS, GROUP_FOREIGN, GROUP_TLS, Flag, Kind


def flag(modern: str, legacy: str = "", group: str = GROUP_FOREIGN) -> Flag:
    return Flag(group, modern, legacy, Kind.TEXT, "", "", "", "", "")


def test_variables_and_keys_follow_from_the_name() -> None:
    row = flag("max-wals", "peer-bind-addr")
    assert row.environment(is_legacy=False) == "ETCD_MAX_WALS"
    assert row.environment(is_legacy=True) == "ETCD_PEER_BIND_ADDR"
    assert (row.file_key, row.modern_file_key) == ("peer.bind_addr", "max-wals")


def test_what_is_a_flag_only_has_neither_variable_nor_key() -> None:
    row = flag("max-wals", "addr")._replace(is_flag_only=True)
    assert not row.environment(is_legacy=False)
    assert not row.environment(is_legacy=True)
    assert (row.file_key, row.modern_file_key) == ("", "")


def test_tls_stands_in_tables_of_the_modern_file() -> None:
    keys = {
        "cert-file": "client-transport-security.cert-file",
        "peer-cert-file": "peer-transport-security.cert-file",
        "client-cert-auth": "client-transport-security.client-cert-auth",
        "client-cert-allowed-hostname": "client-transport-security.allowed-hostname",
        "peer-cert-allowed-cn": "peer-transport-security.allowed-cn",
    }
    assert {name: flag(name, group=GROUP_TLS).modern_file_key for name in keys} == keys


def test_every_row_has_a_name_and_a_meaning() -> None:
    assert all((row.modern or row.legacy) and row.help for row in FLAGS)
