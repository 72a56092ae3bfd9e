"""Every error kvorum shows, in six kinds under one root.

    KvorumError
    ├── RequestError      a v2 caller's answer; code and text are part of the wire contract
    ├── RpcError          a v3 caller's answer; status and text are part of the wire contract
    ├── UnavailableError  try elsewhere or later: no leader, timeout, overload, shutting down
    ├── ProtocolError     Local…: we misused a core; Remote…: they broke the rules
    ├── StorageError      what is wrong with which file, where, and what the operator can do
    └── ConfigError       every fault of a configuration at once

In `apply` a refused request is a returned `RequestError` or `RpcError`, equal on every member; an
exception that leaves apply is a bug and stops the server.
Source: reference contract, v2-api section 4 and v3-api section 4.
"""

from enum import IntEnum
from pathlib import Path
from typing import ClassVar


class KvorumError(Exception):
    """Root of all errors raised by kvorum."""


class RequestError(KvorumError):
    """A request answered with the contract's error.

    Attributes:
        v2_code: `errorCode` of the v2 API.
        http_status: status of the v2 reply.
        text: `message` of the v2 reply, to the letter: clients match on it.
        cause: what in this request was wrong; left out of the reply when empty.
        index: the store's revision when the request was refused.
    """

    v2_code: ClassVar[int]
    http_status: ClassVar[int] = 400
    text: ClassVar[str]

    by_v2_code: ClassVar[dict[int, type["RequestError"]]] = {}

    def __init__(self, cause: str = "", index: int = 0) -> None:
        super().__init__(cause, index)
        self.cause = cause
        self.index = index

    def __init_subclass__(cls) -> None:
        code = cls.v2_code
        if code in RequestError.by_v2_code:
            raise TypeError(f"v2 error code {code} is registered twice")
        RequestError.by_v2_code[code] = cls

    def __str__(self) -> str:
        return f"{self.v2_code}: {self.text} ({self.cause}) [{self.index}]"


class KeyNotFound(RequestError):
    """Nothing at the path; the cause is its first missing ancestor."""

    v2_code, http_status, text = 100, 404, "Key not found"


class CompareFailed(RequestError):
    """A previous value or index did not match."""

    v2_code, http_status, text = 101, 412, "Compare failed"


class NotAFile(RequestError):
    """A directory stands where a file is needed."""

    v2_code, http_status, text = 102, 403, "Not a file"


class ClusterFull(RequestError):
    """A join was refused because the cluster has its active size."""

    v2_code, text = 103, "Reached the max number of peers in the cluster"


class NotADirectory(RequestError):
    """A file stands in the way of the path; it is the cause."""

    v2_code, text = 104, "Not a directory"


class KeyExists(RequestError):
    """A create met an existing node."""

    v2_code, http_status, text = 105, 412, "Key already exists"


class RootReadOnly(RequestError):
    """The root, or a node computed from the membership, cannot be written."""

    v2_code, text = 107, "Root is read only"


class DirectoryNotEmpty(RequestError):
    """A directory with children was to be deleted without `recursive`."""

    v2_code, http_status, text = 108, 403, "Directory not empty"


class PeerAddressExists(RequestError):
    """A join used a peer URL that another name holds."""

    v2_code, text = 109, "Peer address has existed"


class ValueRequired(RequestError):
    """v1: a value is missing."""

    v2_code, text = 200, "Value is Required in POST form"


class PrevValueRequired(RequestError):
    """`prevValue` was given and empty."""

    v2_code, text = 201, "PrevValue is Required in POST form"


class TTLNotANumber(RequestError):
    """`ttl` is not a decimal integer."""

    v2_code, text = 202, "The given TTL in POST form is not a number"


class IndexNotANumber(RequestError):
    """`prevIndex` or `waitIndex` is not an unsigned integer."""

    v2_code, text = 203, "The given index in POST form is not a number"


class ValueOrTTLRequired(RequestError):
    """An update gave neither a value nor a TTL."""

    v2_code, text = 204, "Value or TTL is required in POST form"


class TimeoutNotANumber(RequestError):
    """How long to wait for a lock is not a decimal integer."""

    v2_code, text = 205, "The given timeout in POST form is not a number"


class NameRequired(RequestError):
    """Who is to lead was not said."""

    v2_code, text = 206, "Name is required in POST form"


class IndexOrValueRequired(RequestError):
    """Neither index nor value says which place in a lock's queue is meant."""

    v2_code, text = 207, "Index or value is required"


class IndexAndValue(RequestError):
    """Index and value may mean different places in a lock's queue."""

    v2_code, text = 208, "Index and value cannot both be specified"


class InvalidField(RequestError):
    """A parameter does not parse (3.x era), or names nothing that a lock has."""

    v2_code, text = 209, "Invalid field"


class InvalidForm(RequestError):
    """The form does not parse (3.x era), or is larger than a request may be."""

    v2_code, text = 210, "Invalid POST form"


class RefreshValue(RequestError):
    """`refresh` keeps the value, so none may be given."""

    v2_code, text = 211, "Value provided on refresh"


class RefreshTTLRequired(RequestError):
    """`refresh` needs a TTL."""

    v2_code, text = 212, "A TTL must be provided on refresh"


class RaftInternal(RequestError):
    """The cluster could not commit: no leader, or no quorum within the deadline."""

    v2_code, http_status, text = 300, 500, "Raft Internal Error"


class LeaderElection(RequestError):
    """No leader is known right now."""

    v2_code, http_status, text = 301, 500, "During Leader Election"


class StandbyInternal(RequestError):
    """A standby knows no leader to send its caller to."""

    v2_code, text = 402, "Standby Internal Error"


class EventIndexCleared(RequestError):
    """A wait asked for history that compaction has removed."""

    v2_code, text = 401, "The event in requested index is outdated and cleared"


class ClientInternal(RequestError):
    """v1: the history a watch begins with is gone."""

    v2_code, text = 500, "Client Internal Error"


class GrpcCode(IntEnum):
    """gRPC's status codes that answers of ours carry."""

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    FAILED_PRECONDITION = 9
    OUT_OF_RANGE = 11


class RpcError(KvorumError):
    """A v3 request answered with the contract's error; it says nothing but its kind.

    Attributes:
        grpc_code: the status.
        text: the status message, to the letter: clients match on it.
    """

    grpc_code: ClassVar[GrpcCode]
    text: ClassVar[str]

    def __str__(self) -> str:
        return self.text


class KeyNotProvided(RpcError):
    """A request names no key."""

    grpc_code, text = GrpcCode.INVALID_ARGUMENT, "etcdserver: key is not provided"


class KeyMissing(RpcError):
    """What a put is to keep of a key is not there; or an operation of a transaction is empty."""

    grpc_code, text = GrpcCode.INVALID_ARGUMENT, "etcdserver: key not found"


class ValueProvided(RpcError):
    """A put is to keep the value, and gives one."""

    grpc_code, text = GrpcCode.INVALID_ARGUMENT, "etcdserver: value is provided"


class LeaseProvided(RpcError):
    """A put is to keep the lease, and gives one."""

    grpc_code, text = GrpcCode.INVALID_ARGUMENT, "etcdserver: lease is provided"


class TooManyOperations(RpcError):
    """A transaction is longer than `--max-txn-ops`."""

    grpc_code = GrpcCode.INVALID_ARGUMENT
    text = "etcdserver: too many operations in txn request"


class DuplicateKey(RpcError):
    """A branch of a transaction writes a key twice."""

    grpc_code = GrpcCode.INVALID_ARGUMENT
    text = "etcdserver: duplicate key given in txn request"


class InvalidSortOption(RpcError):
    """A range is to be sorted in a way that there is not."""

    grpc_code, text = GrpcCode.INVALID_ARGUMENT, "etcdserver: invalid sort option"


class RevisionCompacted(RpcError):
    """The revision asked for lies below the compacted one."""

    grpc_code = GrpcCode.OUT_OF_RANGE
    text = "etcdserver: mvcc: required revision has been compacted"


class RevisionInFuture(RpcError):
    """The revision asked for has not been made yet."""

    grpc_code = GrpcCode.OUT_OF_RANGE
    text = "etcdserver: mvcc: required revision is a future revision"


class LeaseTtlTooLarge(RpcError):
    """A lease is to live longer than any may."""

    grpc_code, text = GrpcCode.OUT_OF_RANGE, "etcdserver: too large lease TTL"


class LeaseNotFound(RpcError):
    """There is no such lease, or not any more."""

    grpc_code, text = GrpcCode.NOT_FOUND, "etcdserver: requested lease not found"


class LeaseExists(RpcError):
    """A lease is to be granted under an id that one has."""

    grpc_code, text = GrpcCode.FAILED_PRECONDITION, "etcdserver: lease already exists"


class UnavailableError(KvorumError):
    """The server cannot do this now; another member, or a later try, may."""


class ProtocolError(KvorumError):
    """The rules of a protocol core were broken."""


class LocalProtocolError(ProtocolError):
    """Our own code called a core against its contract."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what its protocol forbids.

    Attributes:
        status: HTTP status to answer with before closing, where an answer is possible.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class StorageError(KvorumError):
    """Something on disk is wrong.

    Attributes:
        path: the file or directory.
        offset: byte offset of the damage, when there is one.
    """

    def __init__(self, message: str, path: Path, offset: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.offset = offset

    def __str__(self) -> str:
        at = "" if self.offset is None else f" at byte {self.offset}"
        return f"{self.path}{at}: {self.args[0]}"


class ConfigError(KvorumError):
    """A configuration cannot be used.

    Attributes:
        faults: one sentence per fault, each naming the setting.
    """

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults
