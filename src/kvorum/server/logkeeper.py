"""How much of the log is kept, in memory and on disk.

The backend holds the state, so the log is needed for two things only: entries the backend has not
made durable yet, and entries a slow peer may still ask for. A peer that needs older ones gets a
snapshot.

Rules: after a cut, memory keeps at most `CATCH_UP_ENTRIES` and `CATCH_UP_BYTES` behind the applied
index; disk keeps everything after min(durable index of the backend, first entry in memory).
The caller: `keep` from time to time, and `durable` when the backend has committed.
"""

import logging

from kvorum.backend.base import Backend
from kvorum.membership import Cluster
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import Index, SnapshotMeta
from kvorum.wal.wal import Wal

_log = logging.getLogger("kvorum.server")

CATCH_UP_ENTRIES = 5_000
"""Entries kept behind a cut, as etcd does: a peer that was away for a moment needs no snapshot."""


CATCH_UP_BYTES = 16 << 20
"""One entry holds all commands of a turn, so entries alone do not bound memory."""

LOG_BYTES_MAX = 2 * CATCH_UP_BYTES
"""Data in memory that makes a cut due, however few the entries."""


class LogKeeper:
    """Cuts the log once it has grown by `snapshot_count` entries, or too large."""

    def __init__(
        self, name: str, storage: MemoryStorage, wal: Wal, backend: Backend, snapshot_count: int
    ) -> None:
        self._name = name
        self._storage = storage
        self._wal = wal
        self._backend = backend
        self._snapshot_count = snapshot_count
        self._last_cut = storage.first_index() - 1

    def keep(self, cluster: Cluster) -> None:
        """Cuts what is no longer needed, when enough has collected."""
        applied_index, applied_term = self._backend.applied
        entry_count = applied_index - self._last_cut
        is_large = self._storage.data_bytes > LOG_BYTES_MAX
        if entry_count <= self._snapshot_count and not (is_large and entry_count):
            return
        self._last_cut = applied_index
        meta = SnapshotMeta(applied_index, applied_term, cluster.conf_state)
        self._storage.set_snapshot_meta(meta)
        self._storage.compact(self._keep_after(applied_index))
        _log.info(
            "%s: snapshot of %d events at index %d completed",
            self._name,
            entry_count,
            applied_index,
        )

    def _keep_after(self, applied_index: Index) -> Index:
        """The last index to go, so that what is kept is within both limits."""
        first_index = self._storage.first_index()
        low = max(applied_index - min(CATCH_UP_ENTRIES, self._snapshot_count), first_index - 1)
        kept = self._storage.entries(low + 1, applied_index + 1, 1 << 62)
        room = CATCH_UP_BYTES
        for entry in reversed(kept):
            room -= len(entry.data)
            if room < 0:
                return entry.index
        return low

    def durable(self) -> None:
        """The backend has committed: the log on disk may follow."""
        self._wal.release(min(self._backend.durable_index, self._storage.first_index() - 1))
