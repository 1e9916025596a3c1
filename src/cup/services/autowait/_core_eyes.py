"""What the helper thread sleeps on: one descriptor for all that is watched.

`LinuxEyes` (inotify, pidfd, epoll) here; those of BSD are in `_core_kqueue`. Elsewhere
there are none, and everything is polled.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from typing import TYPE_CHECKING, Final, Protocol

from . import _core_inotify as inotify

if TYPE_CHECKING:
    from ._core_inotify import Record

__all__ = ["Eyes", "Unwatchable", "open_eyes", "unwatchable"]

_REASONS: Final = {
    errno.ENOSPC: "no watches left (fs.inotify.max_user_watches)",
    errno.EMFILE: "no instances or descriptors left (fs.inotify.max_user_instances)",
    errno.ENFILE: "no descriptors left in the system",
    errno.EACCES: "no permission to read",
    errno.EPERM: "no permission",
    errno.ENOSYS: "not in this kernel",
}


class Unwatchable(Exception):
    """There are no events for this; it has to be polled.

    Attributes:
        forbidden: It may not be read; what is below it perhaps may.
    """

    def __init__(self, why: str, *, forbidden: bool = False) -> None:
        super().__init__(why)
        self.forbidden: bool = forbidden


def unwatchable(error: OSError) -> Unwatchable:
    """Say in words why something cannot be watched."""
    known = _REASONS.get(error.errno or 0)
    name = errno.errorcode.get(error.errno or 0, "error")
    return Unwatchable(
        f"{name}: {known or error.strerror}", forbidden=error.errno == errno.EACCES
    )


class Eyes(Protocol):
    """Watches paths and processes. `see` belongs to one thread, the rest to all."""

    name: str

    def add_path(self, path: bytes, mask: int) -> int:
        """Watch a path and return a key; the same file gives the same key."""
        ...

    def remove_path(self, key: int) -> None:
        """End the watch of a path."""
        ...

    def add_process(self, pid: int) -> int:
        """Watch for the end of a process and return a key."""
        ...

    def remove_process(self, key: int) -> None:
        """End the watch of a process."""
        ...

    def see(self, seconds: float | None) -> tuple[list[Record], list[int]]:
        """Sleep until something happens: events of paths, keys of ended processes.

        Args:
            seconds: How long at most; None is for ever.
        """
        ...

    def wake(self) -> None:
        """End the sleep of `see`."""
        ...

    def abandon(self, processes: list[int]) -> None:
        """Close the descriptors in a forked child, and touch nothing behind them."""
        ...


if sys.platform == "linux":

    class LinuxEyes:
        """inotify for paths, a pidfd for each process, one epoll over all."""

        name = "inotify"

        def __init__(self) -> None:
            self._queue = -1
            self._bell = -1
            self._poll = select.epoll()
            try:
                self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._poll.register(self._bell, select.EPOLLIN)
            except BaseException:
                self.abandon([])
                raise

        def add_path(self, path: bytes, mask: int) -> int:
            """Watch a path."""
            if self._queue < 0:  # a wait for processes needs none
                self._queue = inotify.open_queue()
                self._poll.register(self._queue, select.EPOLLIN)
            return inotify.add(self._queue, path, mask)

        def remove_path(self, key: int) -> None:
            """End the watch of a path."""
            inotify.remove(self._queue, key)

        def add_process(self, pid: int) -> int:
            """Watch a process."""
            fd = os.pidfd_open(pid)
            try:
                self._poll.register(fd, select.EPOLLIN)
            except BaseException:
                os.close(fd)
                raise
            return fd

        def remove_process(self, key: int) -> None:
            """End the watch of a process."""
            self._poll.unregister(key)
            os.close(key)

        def see(self, seconds: float | None) -> tuple[list[Record], list[int]]:
            """Sleep until something happens."""
            events: list[Record] = []
            ended: list[int] = []
            for fd, _ in self._poll.poll(seconds):
                if fd == self._queue:
                    events.extend(inotify.read(fd))
                elif fd == self._bell:
                    os.eventfd_read(fd)
                else:
                    ended.append(fd)
            return events, ended

        def wake(self) -> None:
            """End the sleep of `see`."""
            os.eventfd_write(self._bell, 1)

        def abandon(self, processes: list[int]) -> None:
            """Close the descriptors, if they are still what they were."""
            self._poll.close()
            for fd in (self._queue, self._bell, *processes):
                if fd >= 0 and _is_anonymous(fd):
                    os.close(fd)
            self._queue = self._bell = -1


def _is_anonymous(fd: int) -> bool:
    """Tell whether a descriptor is one of inotify and its like, not of a file.

    Where a server forks without at-fork hooks, this process notices late: it may have
    closed all descriptors and opened others since.
    """
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("anon_inode:")  # noqa: PTH115
    except OSError:
        return False


def open_eyes() -> Eyes:
    """Return what watches on this system.

    Raises:
        Unwatchable: If nothing does.
        OSError: If there are no descriptors left.
    """
    if sys.platform == "linux":
        return LinuxEyes()
    elif sys.platform != "win32":  # noqa: RET505 - so checkers know the platform
        from ._core_kqueue import KqueueEyes  # noqa: PLC0415 - BSD and macOS only

        return KqueueEyes()
    raise Unwatchable("this system has no events for it")
