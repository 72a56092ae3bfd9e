"""How much of the log is kept, in memory and on disk.

The backend holds the state, so the log is needed for two things only: entries the backend has not
made durable yet, and entries a slow peer may still ask for. A peer that needs older ones gets a
snapshot.

Rules: memory keeps `CATCH_UP_ENTRIES` behind the applied index after each cut; disk keeps
everything after min(durable index of the backend, first entry in memory).
The caller: `keep` from time to time, and `durable` when the backend has committed.
"""

import logging

from kvorum.backend.base import Backend
from kvorum.membership import Cluster
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import SnapshotMeta
from kvorum.wal.wal import Wal

_log = logging.getLogger("kvorum.server")

CATCH_UP_ENTRIES = 5_000
"""Entries kept behind a cut, as etcd does: a peer that was away for a moment needs no snapshot."""


class LogKeeper:
    """Cuts the log once it has grown by `snapshot_count` entries."""

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
        if entry_count <= self._snapshot_count:
            return
        self._last_cut = applied_index
        meta = SnapshotMeta(applied_index, applied_term, cluster.conf_state)
        self._storage.set_snapshot_meta(meta)
        keep_after = applied_index - min(CATCH_UP_ENTRIES, self._snapshot_count)
        if keep_after >= self._storage.first_index():
            self._storage.compact(keep_after)
        _log.info(
            "%s: snapshot of %d events at index %d completed",
            self._name,
            entry_count,
            applied_index,
        )

    def durable(self) -> None:
        """The backend has committed: the log on disk may follow."""
        self._wal.release(min(self._backend.durable_index, self._storage.first_index() - 1))
