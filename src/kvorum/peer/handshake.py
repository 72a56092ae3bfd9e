"""How a member's connection to another begins: an HTTP/1.1 upgrade that says who calls whom.

Both sides belong to one cluster, the caller means the member that answers, and is not a member that
was removed; otherwise the answer is a refusal with the reason as text.
Source: RFC 9110, section 7.8.
"""

from urllib.parse import urlsplit

from msgspec import Struct

from kvorum.raft.types import MemberId

PROTOCOL = b"kvorum-raft"
VERSION = b"1"
STREAM_PATH = "/raft/stream"
SNAPSHOT_PATH = "/raft/snapshot"

REPLY_HEAD_BYTES_MAX = 8 * 1024

_SWITCHING = b"HTTP/1.1 101 "


class Caller(Struct, frozen=True):
    """Who calls, as the headers of its request say; `fault` is why it must be refused."""

    member_id: MemberId
    fault: str


def request(url: str, path: str, cluster_id: int, caller: MemberId, target: MemberId) -> bytes:
    """The request that opens a connection to `target` at `url`."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nConnection: Upgrade\r\n"
        f"Upgrade: {PROTOCOL.decode()}\r\nX-Kvorum-Protocol: {VERSION.decode()}\r\n"
        f"X-Kvorum-Cluster-Id: {cluster_id:x}\r\nX-Kvorum-Member-Id: {caller:x}\r\n"
        f"X-Kvorum-Target-Id: {target:x}\r\n\r\n"
    ).encode()


def accept_head() -> bytes:
    """Status and header lines of the answer that takes the connection over."""
    return (
        _SWITCHING
        + b"Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
        + (PROTOCOL + b"\r\n")
    )


def read_caller(headers: dict[bytes, bytes], cluster_id: int, own_id: MemberId) -> Caller:
    """Who calls, and whether this member may answer."""
    caller = _number(headers, b"x-kvorum-member-id")
    if headers.get(b"upgrade") != PROTOCOL:
        fault = "this address only talks to kvorum members"
    elif headers.get(b"x-kvorum-protocol") != VERSION:
        fault = f"this member speaks version {VERSION.decode()} of the protocol between members"
    elif _number(headers, b"x-kvorum-cluster-id") != cluster_id:
        fault = "this member belongs to another cluster"
    elif _number(headers, b"x-kvorum-target-id") != own_id:
        fault = "another member answers at this address"
    else:
        fault = "" if caller else "the caller does not say who it is"
    return Caller(caller, fault)


def _number(headers: dict[bytes, bytes], name: bytes) -> int:
    try:
        return int(headers.get(name, b"0"), 16)
    except ValueError:
        return 0


class ReplyReader:
    """Reads the answer to `request` byte by byte as it comes.

    Attributes:
        is_accepted: the other side has taken the call.
        refusal: what it said instead; empty while unknown.
        rest: what followed the head of an acceptance.
    """

    def __init__(self) -> None:
        self.is_accepted = False
        self.refusal = ""
        self.rest = b""
        self._buffer = b""

    def receive_data(self, data: bytes) -> None:
        """Takes what came in."""
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            if len(head) > REPLY_HEAD_BYTES_MAX:
                self.refusal = "its answer is no answer of a member"
        elif head.startswith(_SWITCHING):
            self.is_accepted = True
            self.rest = rest
        else:
            reason = rest.decode("utf-8", "replace").strip()
            status = head.partition(b"\r\n")[0].decode("ascii", "replace")
            self.refusal = reason or status
