"""What clients, people and joiners ask: forms, paths, numbers, JSON bodies; and whole requests."""

from collections.abc import Callable
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.mutations import fuzz, fuzz_less, mutated
from tests.unit.protocol.conftest import Wire, read_statuses
from tests.unit.server.conftest import MemoryCluster

from kvorum.api.admin import merge_config
from kvorum.api.jsonbody import describe_fault
from kvorum.api.peers import PeerRouter
from kvorum.api.routes import client_router
from kvorum.api.v2 import form as forms
from kvorum.api.v2.members import find_url_fault
from kvorum.api.v2.params import LegacyParams, Read, Request, StrictParams, Write
from kvorum.config import Config
from kvorum.decoding import FAULTS, parse_id
from kvorum.errors import RequestError, UnavailableError
from kvorum.membership import ClusterConfig
from kvorum.net.dialer import split_address
from kvorum.protocol.exchange import Exchange
from kvorum.server.server import Server
from kvorum.v2 import path as paths
from kvorum.v2.commands import Set
from kvorum.v2.node import render_error

CONFIGS = [MemoryCluster().legacy_config(1), Config()]

MakeRouter: TypeAlias = Callable[[Server], Callable[[Exchange], None]]

FORM = (
    b"value=a%20b+c&ttl=5&prevExist=true&prevIndex=7&prevValue=x&dir=false&recursive=true"
    b"&wait=true&waitIndex=9&refresh=1&noValueOnSuccess=t&quorum=x&sorted="
)


_methods = st.sampled_from(("GET", "PUT", "POST", "DELETE"))


def read_form(data: bytes) -> tuple[forms.Form, str]:
    form: forms.Form = {}
    return form, forms.parse_into(form, data)


@fuzz
@given(mutated(FORM, b"&".join(b"a%d" % number for number in range(1100))))
def test_a_form_is_read_as_far_as_it_can_be(data: bytes) -> None:
    form, fault = read_form(data)
    assert len(form) <= forms.PARAMETERS_MAX
    assert sum(len(name) + len(value) for name, value in form.items()) <= len(data)
    assert fault.encode("utf-8", "surrogateescape") or form or not data.strip(b"&")


@fuzz
@given(
    mutated(FORM, b"ttl=9223372036854775807&value=a"),
    st.sampled_from(("GET", "PUT", "POST", "DELETE")),
)
def test_parameters_are_read_or_refused(data: bytes, method: str) -> None:
    for params in (LegacyParams(), StrictParams(20)):
        request = Request(b"/k", *read_form(data), now_ns=10**18, index=7, method=method)
        parsed = getattr(params, method.lower())(request)
        if isinstance(parsed, RequestError):
            assert render_error(parsed)
        else:
            assert isinstance(parsed, Read | Write)
            # It fits the log: MessagePack has no number beyond 64 bits.
            assert msgspec.msgpack.encode(parsed)


@fuzz
@given(mutated(b"18446744073709551615", b"-9223372036854775808", b"+0007", b"true"))
def test_numbers_are_those_of_64_bits(text: bytes) -> None:
    unsigned, signed, member_id = (
        read(text) or 0 for read in (forms.parse_unsigned, forms.parse_signed, parse_id)
    )
    assert 0 <= unsigned < 1 << 64
    assert -(1 << 63) <= signed < 1 << 63
    assert 0 <= member_id < 1 << 64


@fuzz
@given(mutated(b"/v2/keys/a%2fb/../c/./_h//d%41", b"/..%2f%2e%2e/x/", b"/" + b"a/" * 1100))
def test_a_path_is_cleaned_or_refused(raw: bytes) -> None:
    decoded = paths.percent_decode(raw)
    if decoded is None:
        assert b"%" in raw
        return
    cleaned = paths.clean(b"/" + decoded)
    assert paths.is_clean(cleaned)
    path = paths.parse(cleaned)
    assert path.startswith(b"/")
    assert paths.of_key(paths.directory_prefix(path)) == path
    if paths.is_within_limits(path):
        assert len(list(paths.ancestors(path))) < paths.COMPONENTS_MAX


JSON_SEEDS = (
    b'{"peerURLs":["http://a:1"],"clientURLs":[]}',
    b'{"activeSize":5,"removeDelay":1e3,"syncInterval":2.5,"x":[{"y":null}]}',
)


@fuzz
@given(mutated(*JSON_SEEDS))
def test_a_config_in_json_is_merged_or_described(body: bytes) -> None:
    try:
        given = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except FAULTS as error:
        fault = error
    else:
        assert msgspec.msgpack.encode(merge_config(ClusterConfig(), given))
        return
    assert describe_fault(body, fault, "EOF").encode()


@fuzz
@given(mutated(b"https://[::1]:2380", b"http://h\xc3\xa9:1", b"http://a..b:1"))
def test_a_url_that_is_accepted_can_be_called(url: bytes) -> None:
    text = url.decode("utf-8", "replace")
    if not find_url_fault(text):
        assert split_address(text).port


FORM_KIND, JSON_KIND = forms.FORM_TYPE, b"application/json"

Asked: TypeAlias = tuple[bytes, bytes, bytes, bytes]
"""Method, target, content type and body."""

OF_CLIENTS: list[Asked] = [
    (b"GET", b"/v2/keys/a/../b%2fc?recursive=true&sorted=true&wait=true&waitIndex=1", b"", b""),
    (b"GET", b"/v2/keys/?recursive=true&quorum=true", b"", b""),
    (b"PUT", b"/v2/keys/a/b?prevExist=false", FORM_KIND, b"value=1&ttl=1"),
    (b"POST", b"/v2/keys/q", FORM_KIND, b"value=%41&ttl=9"),
    (b"DELETE", b"/v2/keys/a?recursive=true&prevIndex=3&prevValue=x", b"", b""),
    (b"POST", b"/v2/members", JSON_KIND, b'{"peerURLs":["http://h:7009"]}'),
    (b"PUT", b"/v2/members/1f", JSON_KIND, b'{"peerURLs":["http://h:7009"]}'),
    (b"DELETE", b"/v2/members/1f", b"", b""),
    (b"POST", b"/mod/v2/lock/name?ttl=5&value=x&timeout=1", b"", b""),
    (b"PUT", b"/mod/v2/lock/name", FORM_KIND, b"ttl=5&index=3"),
    (b"PUT", b"/mod/v2/leader/name?name=a&ttl=3", b"", b""),
    (b"GET", b"/v1/keys/a/b", b"", b""),
    (b"POST", b"/v1/keys/a/b", FORM_KIND, b"value=x&ttl=5&prevValue=y"),
    (b"POST", b"/v1/watch/a", FORM_KIND, b"index=3"),
    (b"GET", b"/v2/stats/self", b"", b""),
    (b"GET", b"/v2/machines", b"", b""),
    (b"PUT", b"/v2/auth/users/x", JSON_KIND, b'{"user":"x"}'),
]
OF_PEERS: list[Asked] = [
    (b"PUT", b"/join", b"", b'{"name":"m2","raftURL":"http://h:7002","etcdURL":"http://h:4002"}'),
    (b"PUT", b"/join", b"", b'{"name":"m1","raftURL":"http://h:1","etcdURL":"","memberID":"f"}'),
    (b"PUT", b"/join", b"", b'{"name":"m3","raftURL":"http://[","etcdURL":""}'),
    (b"PUT", b"/v2/admin/config", b"", b'{"activeSize":5,"removeDelay":1e3}'),
    (b"GET", b"/v2/admin/machines/machine1", b"", b""),
    (b"GET", b"/members", b"", b""),
    (b"DELETE", b"/v2/admin/machines/m2", b"", b""),
    (b"DELETE", b"/remove/m2", b"", b""),
    (b"OPTIONS", b"/version/2/check", b"", b""),
]


def conversations(asked: list[Asked]) -> st.SearchStrategy[list[bytes]]:
    """Requests whose frame is sound, and what is in it is not."""

    def spoil(one: Asked) -> st.SearchStrategy[bytes]:
        method, target, kind, body = one
        return st.builds(
            lambda target, body: (
                b"%b %b HTTP/1.1\r\nHost: h\r\nContent-Type: %b\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (method, target, kind, len(body), body)
            ),
            st.just(target) | mutated(target),
            st.just(body) | mutated(body),
        )

    return st.lists(st.sampled_from(asked).flatmap(spoil), min_size=1, max_size=6)


def serve(config: Config, requests: list[bytes], make_router: MakeRouter) -> None:
    """Every request is answered, or waits; and the member goes on working."""
    cluster = MemoryCluster()
    member = cluster.add(config)
    member.start()
    cluster.leader()
    router = make_router(member.server)
    for data in requests:
        wire = Wire()
        wire.settings.body_bytes_max = 1 << 20
        for exchange in wire.receive(data):
            router(exchange)
        cluster.advance(0.1)
        assert all(100 <= status < 600 for status in read_statuses(wire.sent()))
        wire.core.connection_lost()
    cluster.advance(1.0)
    assert not member.stopped_because
    assert all(split_address(url) for one in member.server.cluster for url in one.peer_urls)
    if len(member.server.cluster.conf_state.voters) == 1:  # nobody was added who never comes
        assert not isinstance(cluster.write(Set(b"/still/here")), UnavailableError)


@pytest.mark.parametrize("config", CONFIGS, ids=["0.4", "3.x"])
@fuzz_less
@given(requests=conversations(OF_CLIENTS))
def test_the_client_port_answers_anything(config: Config, requests: list[bytes]) -> None:
    serve(config, requests, client_router)


@pytest.mark.parametrize("config", CONFIGS, ids=["0.4", "3.x"])
@fuzz_less
@given(requests=conversations(OF_PEERS))
def test_the_peer_port_answers_anything(config: Config, requests: list[bytes]) -> None:
    serve(config, requests, lambda server: PeerRouter(server, lambda one: one.refuse(400)))
