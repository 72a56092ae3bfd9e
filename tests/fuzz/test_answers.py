"""What other servers answer: to a joiner, to clients of the v2 API, from a discovery service."""

import asyncio
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.mutations import fuzz, mutated
from tests.fuzz.test_http import RESPONSE_SEEDS
from tests.unit.client.test_members import Answering
from tests.unit.server.conftest import FakeClock
from tests.unit.server.test_joining import CONFIG, M1, M2, MODERN, SEATED, listing

from kvorum.client import connection
from kvorum.client.answers import Event, checked, decode_event
from kvorum.client.connection import Response
from kvorum.client.members import MembersRefused, find_leader, list_members
from kvorum.errors import ClusterFull, KvorumError, StorageError, UnavailableError
from kvorum.net.dialer import HttpReply
from kvorum.server import discovery, joining, registry, standby
from kvorum.server.seats import Seat

REFUSAL = b'{"errorCode":109,"message":"Peer address has existed","cause":"http://x","index":7}\n'
LISTING = b'{"action":"get","node":{"key":"/t","dir":true,"nodes":[%b],"modifiedIndex":3}}'
EVENT = LISTING % (
    b'{"key":"/t/_config","dir":true},{"key":"/t/a","value":"m1=http://127.0.0.1:2380",'
    b'"ttl":5,"expiration":"2026-11-25T00:00:00Z","modifiedIndex":5,"createdIndex":5}'
)
MEMBER = b'{"id":"1f","name":"m1","peerURLs":["http://h:1"],"clientURLs":null}'
MEMBERS = b'{"members":[%b,%b]}' % (MEMBER, MEMBER)
SIZE = b'{"action":"get","node":{"key":"/t/_config/size","value":"3","createdIndex":4}}'

_statuses = st.sampled_from((200, 201, 307, 400, 404, 500))
_header_names = st.sampled_from([*SEATED.headers, b"location", b"x-etcd-index"])
_header_values = mutated(*SEATED.headers.values(), b"http://127.0.0.1:7009/join", b"7")
_index = st.dictionaries(st.just("x-etcd-index"), st.text() | st.just("9" * 5000))
_headers = st.dictionaries(_header_names, _header_values, max_size=3)


def _answering(monkeypatch: pytest.MonkeyPatch, module: object, replies: list[HttpReply]) -> None:
    """Answers every request of a module in turn, and nothing after the last."""

    async def http_request(*_: object) -> HttpReply:
        if not replies:
            raise UnavailableError("silence")
        return replies.pop(0)

    monkeypatch.setattr(module, "http_request", http_request)


_join_replies = st.builds(
    lambda status, headers, body: HttpReply(status, {**SEATED.headers, **headers}, body),
    _statuses,
    _headers,
    mutated(REFUSAL, REFUSAL.replace(b"109", b"103"), b"\x05\0\0\0\0\0\0\0"),
)


@fuzz
@given(st.lists(_join_replies, min_size=1, max_size=3))
def test_a_join_is_answered_with_a_seat_or_none(replies: list[HttpReply]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _answering(patch, joining, replies)
        try:
            seat = asyncio.run(joining.join_once(CONFIG, CONFIG.peers, 0))
        except ClusterFull:
            return
    if seat is not None:
        assert all(0 < one < 1 << 64 for one in (seat.cluster_id, seat.member_id, *seat.peers))


@fuzz
@given(mutated(listing(M1, M2).body))
def test_a_listing_of_members_has_a_seat_or_none(body: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _answering(patch, joining, [HttpReply(200, {}, body)])
        try:
            seat = asyncio.run(joining.find_seat(MODERN))
        except UnavailableError:
            return
    assert isinstance(seat, Seat)


@fuzz
@given(
    _statuses, st.dictionaries(st.just("x-etcd-index"), st.text()), mutated(EVENT, SIZE, REFUSAL)
)
def test_an_answer_of_the_keys_api_is_read_or_refused(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    try:
        event = decode_event(checked(Response(status, headers, body), "x"))
    except KvorumError as error:
        refusal = error
    else:
        assert isinstance(event, Event)
        return
    assert str(refusal)


@fuzz
@given(mutated(MEMBERS, MEMBER))
def test_an_answer_about_members_is_read_or_refused(body: bytes) -> None:
    client = Answering(200, body)
    for ask in (list_members, find_leader):
        try:
            ask(client)
        except MembersRefused:
            continue


@fuzz
@given(mutated(*RESPONSE_SEEDS), st.sampled_from(("GET", "HEAD")))
def test_a_blocking_client_reads_or_refuses_an_answer(data: bytes, method: str) -> None:
    stream, headers = io.BytesIO(data), dict[str, str]()
    try:
        status, _ = connection._read_head(stream, headers)
        body, _ = connection._read_body(stream, method, status, headers)
    except (ValueError, EOFError):
        return
    assert len(body) <= len(data)


@fuzz
@given(st.lists(st.tuples(_statuses, _headers, mutated(EVENT, SIZE, REFUSAL)), max_size=4))
def test_a_discovery_service_may_answer_anything(
    answers: list[tuple[int, dict[bytes, bytes], bytes]],
) -> None:
    legacy = msgspec.structs.replace(
        CONFIG, discovery="http://h:1/v2/keys/t", peers=(), max_retry_attempts=1
    )
    with pytest.MonkeyPatch.context() as patch:
        _answering(patch, registry, [HttpReply(*answer) for answer in answers])
        try:
            asyncio.run(discovery.find_peers(legacy, FakeClock()))
        except UnavailableError:
            return


MACHINES = (
    b'[{"name":"m1","state":"leader","clientURL":"http://h:4001","peerURL":"http://h:7001"},'
    b'{"name":"m2","state":"follower","clientURL":"http://h:4002","peerURL":"http://h:7002"}]'
)
STANDBY = b'{"Running":true,"Cluster":%b,"SyncInterval":5}' % MACHINES


@fuzz
@given(mutated(MACHINES), mutated(b'{"activeSize":9,"removeDelay":1800,"syncInterval":5}'))
def test_a_machine_that_stands_by_learns_of_members_or_not(machines: bytes, config: bytes) -> None:
    replies = [HttpReply(200, {}, machines), HttpReply(200, {}, config)]
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        _answering(patch, standby, replies)
        mine = msgspec.structs.replace(CONFIG, data_dir=Path(folder))
        waiting = standby.Standby(mine, [])
        if asyncio.run(waiting.sync()):
            assert waiting.machines
            assert waiting.sync_interval > 0
            info = standby.find_info(mine)
            assert info is not None
            assert info.machines == waiting.machines


@fuzz
@given(mutated(STANDBY))
def test_what_a_machine_that_stands_by_has_kept_is_read_or_refused(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / standby.FILE_NAME).write_bytes(data)
        try:
            standby.find_info(msgspec.structs.replace(CONFIG, data_dir=Path(folder)))
        except StorageError:
            return
