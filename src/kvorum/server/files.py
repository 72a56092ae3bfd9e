"""Where a member keeps what it must not forget: the data directory, or memory in a simulation."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from kvorum.backend.base import Backend
from kvorum.backend.lmdbenv import LmdbBackend
from kvorum.decoding import FAULTS
from kvorum.errors import StorageError
from kvorum.membership import Member
from kvorum.raft.types import MemberId
from kvorum.wal.aiosyncer import Watch
from kvorum.wal.datadir import DataDir
from kvorum.wal.replay import Recovered
from kvorum.wal.wal import Wal

Post = Callable[[Callable[[], object]], None]
OnFailure = Callable[[BaseException], None]


class Identity(Struct, frozen=True, array_like=True):
    """Which seat of which cluster this process holds."""

    cluster_id: int
    member_id: MemberId
    name: str


class LogMetadata(Struct, array_like=True):
    """What the log says of itself: whose it is, and with whom the cluster was born.

    `founders` is None for a member that joined. A founder's first entries follow from it, so a
    crash before they were written loses nothing. `peers` is whom a joiner was told of with its
    seat: until the log tells, it could answer nobody after a crash without them.
    """

    identity: Identity
    founders: list[Member] | None = None
    is_legacy: bool = False
    peers: dict[MemberId, str] = {}


class Files(Protocol):
    """An open place to keep a member in, used by nobody else."""

    @property
    def backend(self) -> Backend:
        """The state."""

    @property
    def log_path(self) -> Path:
        """Where the log is, for people."""

    def create_log(self, metadata: LogMetadata) -> Wal:
        """A new log; from now on a seat is held here."""

    def open_log(self) -> tuple[Wal, Recovered, LogMetadata]:
        """The log as it was left."""

    def close(self) -> None:
        """Lets another process have the place. Log and backend are closed by their owner."""


class DiskFiles:
    """A data directory, held by this process, with its backend open.

    `post` runs a callable on the owning thread, `watch` whenever a descriptor can be read;
    `on_failure` is called there, once, when the disk has failed for good. `wal_dir` puts the log
    elsewhere. With `forgets_data` what
    was in the directory is removed first.
    """

    def __init__(
        self,
        data_dir: Path,
        post: Post,
        on_failure: OnFailure,
        watch: Watch | None = None,
        *,
        wal_dir: Path | None = None,
        forgets_data: bool = False,
    ) -> None:
        self._post = post
        self._watch = watch
        self._on_failure = on_failure
        self._directory = DataDir.open(data_dir, wal_dir)
        if forgets_data:
            self._directory.clear()
        self.log_path = self._directory.wal_dir
        backend = LmdbBackend.open(self._directory.backend_path, post)
        backend.on_failure = on_failure
        self.backend: Backend = backend

    def create_log(self, metadata: LogMetadata) -> Wal:
        """A new log; from now on a seat is held here.

        Raises:
            StorageError: there is a state here, whose log is elsewhere or gone.
        """
        if self.backend.applied[0]:
            raise StorageError(
                "the state of a member is here, and its log is not. Name the directory of its log"
                " (--wal-dir), restore both from one backup, or begin with an empty directory",
                self._directory.backend_path,
            )
        encoded = msgspec.msgpack.encode(metadata)
        return Wal.create(self.log_path, encoded, self._post, self._on_failure, self._watch)

    def open_log(self) -> tuple[Wal, Recovered, LogMetadata]:
        """The log as it was left."""
        wal, recovered = Wal.open(self.log_path, self._post, self._on_failure, self._watch)
        return wal, recovered, decode_metadata(recovered.metadata, self.log_path)

    def close(self) -> None:
        """Releases the directory's lock."""
        self._directory.release()


def decode_metadata(encoded: bytes, log_path: Path) -> LogMetadata:
    """Inverse of the encoding a log's metadata has. Raises StorageError for anything else."""
    try:
        return msgspec.msgpack.decode(encoded, type=LogMetadata)
    except FAULTS as error:
        reason = f"whose log it is cannot be read ({error}); another version may have written it"
        raise StorageError(reason, log_path) from error
