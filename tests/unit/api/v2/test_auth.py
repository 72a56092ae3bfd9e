"""Authentication of the v2 API: never on, and said so."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("enable", '{"enabled":false}\n'),
        ("users", '{"users":null}\n'),
        ("users/", '{"users":null}\n'),
        (
            "roles",
            '{"roles":[{"role":"root","permissions":{"kv":{"read":["/*"],"write":["/*"]}}}]}\n',
        ),
    ],
)
def test_auth_is_as_it_is_before_anybody_used_it(modern: Any, path: str, text: str) -> None:
    exchange = modern.get(f"/v2/auth/{path}")
    assert (exchange.status, exchange.text) == (200, text)
    assert exchange.header_lines["X-Etcd-Cluster-Id"] == "cafe"


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "enable"), ("DELETE", "enable"), ("PUT", "users/root"), ("GET", "roles/guest")],
)
def test_a_change_is_refused_in_words(modern: Any, method: str, path: str) -> None:
    exchange = modern.send(method, f"/v2/auth/{path}", "{}")
    assert exchange.status == 501
    assert "auth: not supported by this server" in exchange.text


def test_auth_has_its_methods_and_no_more(modern: Any, legacy: Any) -> None:
    assert modern.send("POST", "/v2/auth/enable").header_lines["Allow"] == "GET,PUT,DELETE"
    assert modern.send("PUT", "/v2/auth/users").header_lines["Allow"] == "GET"
    assert modern.get("/v2/auth/x").status == 404
    assert legacy.get("/v2/auth/enable").status == 404
