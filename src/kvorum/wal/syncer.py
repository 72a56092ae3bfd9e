"""Who makes written bytes durable while the owner of the log goes on.

Rules, for every implementation:

1. `request` never blocks. While a sync runs, later requests wait and share the next one.
2. Files are synced in the order of their requests, each before any later one.
3. A completion runs on the owning thread, after all that was written before its request is
   durable; completions run in the order of the requests, in one call for all of one sync.
4. The first error is the last thing that happens: it is reported once, and no completion whose sync
   had not ended by then is ever run. What an operating system holds after a failed sync is unknown,
   so a second try proves nothing.
"""

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple, Protocol

from kvorum.wal.segment import LogFile

Callback = Callable[[], object]
Post = Callable[[Callback], object]
"""Runs a callable on the owning thread, later; callable from any thread."""


class Syncer(Protocol):
    """Makes files durable in the background."""

    def start(self, on_failure: Callable[[OSError], None]) -> None:
        """Begins; `on_failure` is posted once, when a sync fails."""

    def post(self, callback: Callback) -> None:
        """Runs `callback` on the owning thread, later."""

    def request(self, file: LogFile, done: Callback) -> None:
        """Asks that what is written to `file` so far becomes durable, then `done` is run."""

    def flush(self, file: LogFile) -> None:
        """As `request`, but returns when it is durable. Raises OSError."""

    def stop(self) -> None:
        """Returns when everything requested has been dealt with; no request may follow."""


class _Request(NamedTuple):
    file: LogFile
    done: Callback
    is_posted: bool
    """False: `done` is run in the helper thread, whatever came of the sync."""


class ThreadSyncer:
    """One helper thread that sleeps on a queue, or in a system call."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._queue: SimpleQueue[_Request | None] = SimpleQueue()
        self._error: OSError | None = None

    def start(self, on_failure: Callable[[OSError], None]) -> None:
        """Starts the thread."""
        self._on_failure = on_failure
        self._thread = threading.Thread(target=self._run, name="kvorum-wal-sync", daemon=True)
        self._thread.start()

    def post(self, callback: Callback) -> None:
        """Runs `callback` on the owning thread, later."""
        self._post(callback)

    def request(self, file: LogFile, done: Callback) -> None:
        """Asks that what is written to `file` so far becomes durable, then `done` is run."""
        self._queue.put(_Request(file, done, is_posted=True))

    def flush(self, file: LogFile) -> None:
        """As `request`, but returns when it is durable. Raises OSError."""
        dealt_with = threading.Event()
        self._queue.put(_Request(file, dealt_with.set, is_posted=False))
        dealt_with.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ends the thread after what was requested."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_stopping = False
        while not is_stopping:
            batch = self._take()
            is_stopping = batch[-1] is None
            requests = [request for request in batch if request is not None]
            if self._error is None:
                self._sync(requests)
            for request in requests:
                if not request.is_posted:
                    request.done()

    def _take(self) -> list[_Request | None]:
        """Waits for a request, and takes all that have come meanwhile."""
        batch = [self._queue.get()]
        batch += [self._queue.get() for _ in range(self._queue.qsize())]
        return batch

    def _sync(self, requests: list[_Request]) -> None:
        try:
            for file in dict.fromkeys(request.file for request in requests):
                file.sync()
        except OSError as error:
            self._error = error
            self._post(partial(self._on_failure, error))
            return
        completions = [request.done for request in requests if request.is_posted]
        if completions:
            self._post(partial(run_all, completions))


def run_all(callbacks: list[Callback]) -> None:
    """Runs the completions of one sync, oldest first."""
    for callback in callbacks:
        callback()
