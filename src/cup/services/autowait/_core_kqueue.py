"""What the helper thread sleeps on where there is kqueue: macOS and the BSDs.

A directory tells that names in it have changed, not which; a file that it was written,
not that it was closed. Each watched path takes a descriptor.
"""

from __future__ import annotations

import errno
import os
import select
import sys

from ._core_inotify import ATTRIB, CREATE, DELETE_SELF, MOVE_SELF, Record

__all__: list[str] = []

if sys.platform != "linux" and sys.platform != "win32":
    __all__ = ["KqueueEyes"]

    _MANY = 64
    _FOLLOWED = (
        select.KQ_NOTE_WRITE
        | select.KQ_NOTE_EXTEND
        | select.KQ_NOTE_ATTRIB
        | select.KQ_NOTE_LINK
        | select.KQ_NOTE_DELETE
        | select.KQ_NOTE_RENAME
        | select.KQ_NOTE_REVOKE
    )
    _O_EVTONLY = 0x8000 if sys.platform == "darwin" else os.O_RDONLY

    class KqueueEyes:
        """One kqueue over files, directories and processes."""

        name = "kqueue"

        def __init__(self) -> None:
            self._queue = select.kqueue()
            self._paths: dict[tuple[int, int], int] = {}
            self._files: dict[int, tuple[int, int]] = {}
            self._hear, self._bell = os.pipe()
            self._follow(self._hear, select.KQ_FILTER_READ)

        def _follow(self, ident: int, kind: int, notes: int = 0) -> None:
            flags = select.KQ_EV_ADD | select.KQ_EV_CLEAR
            self._queue.control([select.kevent(ident, kind, flags, notes)], 0)

        def add_path(self, path: bytes, mask: int) -> int:  # noqa: ARG002 - all or none
            """Watch a path."""
            fd = os.open(path, _O_EVTONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                found = os.fstat(fd)
                identity = (found.st_dev, found.st_ino)
                known = self._paths.get(identity)
                if known is None:
                    self._follow(fd, select.KQ_FILTER_VNODE, _FOLLOWED)
            except BaseException:
                os.close(fd)
                raise
            if known is not None:
                os.close(fd)
                return known

            self._paths[identity] = fd
            self._files[fd] = identity
            return fd

        def remove_path(self, key: int) -> None:
            """End the watch of a path; closing it does."""
            identity = self._files.pop(key, None)
            if identity is not None:
                del self._paths[identity]
                os.close(key)

        def add_process(self, pid: int) -> int:
            """Watch a process."""
            try:
                self._follow(pid, select.KQ_FILTER_PROC, select.KQ_NOTE_EXIT)
            except OSError as error:
                if error.errno == errno.ESRCH:
                    raise ProcessLookupError(*error.args) from None
                raise
            return pid

        def remove_process(self, key: int) -> None:
            """End the watch of a process."""
            event = select.kevent(key, select.KQ_FILTER_PROC, select.KQ_EV_DELETE)
            try:
                self._queue.control([event], 0)
            except OSError:
                pass  # it has ended, and its watch with it

        def see(self, seconds: float | None) -> tuple[list[Record], list[int]]:
            """Sleep until something happens."""
            events: list[Record] = []
            ended: list[int] = []
            for event in self._queue.control(None, _MANY, seconds):
                if event.ident == self._hear:
                    os.read(self._hear, _MANY)
                elif event.filter == select.KQ_FILTER_PROC:
                    ended.append(event.ident)
                elif event.filter == select.KQ_FILTER_VNODE:
                    events.append(Record(event.ident, _as_mask(event.fflags), b""))
            return events, ended

        def wake(self) -> None:
            """End the sleep of `see`."""
            os.write(self._bell, b"\0")

        def abandon(self, processes: list[int]) -> None:
            """Close the descriptors in a forked child; a kqueue is not inherited."""
            for fd in (self._hear, self._bell, *self._files):
                try:
                    os.close(fd)
                except OSError:
                    pass
            processes.clear()

    def _as_mask(notes: int) -> int:
        """Return what inotify would say; a write is no MODIFY, for no close follows."""
        mask = ATTRIB | CREATE
        if notes & (select.KQ_NOTE_DELETE | select.KQ_NOTE_REVOKE):
            mask |= DELETE_SELF
        if notes & select.KQ_NOTE_RENAME:
            mask |= MOVE_SELF
        return mask
