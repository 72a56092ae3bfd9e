"""How a member's connection to another begins: an HTTP/1.1 upgrade that says who calls whom.

Both sides belong to one cluster, the caller means the member that answers, and is not a member that
was removed; otherwise the answer is a refusal with the reason as text. Only a caller of this
cluster that was removed is told so by the status GONE: it may rely on it. Whom it means does not
matter for that: while it was away all others may have been replaced.
Source: RFC 9110, section 7.8.
"""

from collections.abc import Mapping

from msgspec import Struct

from kvorum.decoding import parse_id
from kvorum.raft.types import MemberId

PROTOCOL = b"kvorum-raft"
VERSION = b"1"
STREAM_PATH = "/raft/stream"
SNAPSHOT_PATH = "/raft/snapshot"

SWITCHING_PROTOCOLS = 101
GONE = 410


class Caller(Struct, frozen=True):
    """Who calls, as the headers of its request say.

    Attributes:
        fault: why it must be refused.
        is_of_cluster: whether it belongs to the cluster of the member that answers.
        url: where it can be called back; empty when it does not say.
    """

    member_id: MemberId
    fault: str
    url: str = ""
    is_of_cluster: bool = True


def request(
    url: str, path: str, cluster_id: int, caller: MemberId, target: MemberId, own_url: str = ""
) -> bytes:
    """The request that opens a connection to `target` at `url`; the caller listens at `own_url`."""
    back = f"X-Kvorum-Peer-Url: {own_url}\r\n" if own_url else ""
    host = url.partition("://")[2].partition("/")[0]
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n"
        f"Upgrade: {PROTOCOL.decode()}\r\nX-Kvorum-Protocol: {VERSION.decode()}\r\n"
        f"X-Kvorum-Cluster-Id: {cluster_id:x}\r\nX-Kvorum-Member-Id: {caller:x}\r\n"
        f"X-Kvorum-Target-Id: {target:x}\r\n{back}\r\n"
    ).encode()


def accept_head() -> bytes:
    """Status and header lines of the answer that takes the connection over."""
    return b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\n" % PROTOCOL


def refusal_head(*, was_removed: bool) -> bytes:
    """Status and header lines of an answer that refuses; its body says why."""
    status = b"%d Gone" % GONE if was_removed else b"412 Precondition Failed"
    return b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\n" % status


def read_caller(headers: Mapping[bytes, bytes], cluster_id: int, own_id: MemberId) -> Caller:
    """Who calls, and whether this member may answer."""
    caller, other = (
        _number(headers, name) for name in (b"x-kvorum-member-id", b"x-kvorum-cluster-id")
    )
    speaks = headers.get(b"upgrade") == PROTOCOL and headers.get(b"x-kvorum-protocol") == VERSION
    if headers.get(b"upgrade") != PROTOCOL:
        fault = "this address only talks to kvorum members"
    elif not speaks:
        fault = f"this member speaks version {VERSION.decode()} of the protocol between members"
    elif other != cluster_id:
        fault = (
            "this member belongs to another cluster: cluster ID mismatch,"
            f" {cluster_id:x} against the caller's {other:x}"
        )
    elif _number(headers, b"x-kvorum-target-id") != own_id:
        fault = "another member answers at this address"
    else:
        fault = "" if caller else "the caller does not say who it is"
    url = headers.get(b"x-kvorum-peer-url", b"").decode("ascii", "replace")
    return Caller(caller, fault, url, is_of_cluster=speaks and other == cluster_id)


def _number(headers: Mapping[bytes, bytes], name: bytes) -> int:
    return parse_id(headers.get(name, b"")) or 0
