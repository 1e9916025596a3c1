"""What runs a disk under test: faults, locks, room, and the trace of events."""

from __future__ import annotations

import errno
from _thread import allocate_lock
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ._core.pause import pause
from ._testing_crashdisk_faults import FaultPlan
from ._testing_crashdisk_image import DiskEvent, Image, os_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from ._testing_crashdisk_file import CachedFile

__all__ = ["CrashFile", "Engine"]

_UNTRACED: Final = {"open", "read", "listdir", "lock"}


class Engine:
    """The disk itself; whoever looks into it holds `mutex`."""

    __slots__ = ("base", "capacity", "image", "locks", "mutex", "plan", "trace")

    def __init__(self, image: Image, capacity: int | None) -> None:
        self.base: Image = image
        self.image: Image = image.copy()
        self.capacity: int | None = capacity
        self.plan: FaultPlan = FaultPlan()
        self.trace: list[DiskEvent] = []
        self.locks: dict[int, dict[CrashFile, bool]] = {}
        self.mutex = allocate_lock()

    def meet(self, event: DiskEvent) -> int | None:
        """Let an operation meet its fault, before it takes place.

        Returns:
            How many bytes it transfers at most; None for all.

        Raises:
            OSError: If it is to fail.
        """
        with self.mutex:
            trouble = self.plan.meet(event.operation, event.path)
        if trouble.before is not None:
            trouble.before()
        if trouble.delay:
            pause(trouble.delay, "a slow CrashDisk", "a thread's answer")
        if trouble.error:
            with self.mutex:
                self.do(replace(event, error=trouble.error))
            raise os_error(trouble.error, event.path)
        return trouble.partial

    def do(self, event: DiskEvent) -> None:
        """Let an event take place, and keep it."""
        self.image.apply(event)
        if event.operation not in _UNTRACED:
            self.trace.append(event)

    def file_at(self, path: str) -> CachedFile:
        """Return the file of a path.

        Raises:
            OSError: If there is none.
        """
        node = self.image.find(path)
        if node is None:
            raise os_error(errno.ENOENT, path)
        if node not in self.image.files:
            raise os_error(errno.EISDIR, path)
        return self.image.files[node]

    def directory_at(self, path: str) -> int:
        """Return the directory of a path.

        Raises:
            OSError: If there is none.
        """
        node = self.image.find(path)
        if node is None:
            raise os_error(errno.ENOENT, path)
        if node not in self.image.directories:
            raise os_error(errno.ENOTDIR, path)
        return node

    def room(self, file: CachedFile, offset: int, length: int) -> int:
        """Return how many of the bytes of a write there is room for."""
        if self.capacity is None:
            return length
        growth = max(0, offset + length - len(file.cache))
        lacking = growth - max(0, self.capacity - self.image.used())
        return length - max(0, lacking)


class CrashFile:
    """An open file of a `CrashDisk`; what a `DiskFile` is."""

    __slots__ = ("_engine", "_node", "_open", "_writable", "path")

    def __init__(self, engine: Engine, node: int, path: str, *, write: bool) -> None:
        self._engine = engine
        self._node = node
        self._open = True
        self._writable = write
        self.path: str = path

    def _file(self, *, write: bool = False) -> CachedFile:
        if not self._open or (write and not self._writable):
            raise os_error(errno.EBADF, self.path)
        return self._engine.image.files[self._node]

    def _check(self, *numbers: int) -> None:
        """Refuse sizes and offsets that no system takes."""
        if min(numbers) < 0:
            raise os_error(errno.EINVAL, self.path)

    def pread(self, size: int, offset: int, /) -> bytes:
        """Read, as `DiskFile.pread`."""
        self._check(size, offset)
        partial = self._engine.meet(DiskEvent(operation="read", path=self.path))
        size = size if partial is None else min(size, partial)
        with self._engine.mutex:
            return bytes(self._file().cache[offset : offset + size])

    def pwrite(self, data: Buffer, offset: int, /) -> int:
        """Write, as `DiskFile.pwrite`."""
        self._check(offset)
        engine = self._engine
        event = DiskEvent(
            operation="write",
            path=self.path,
            offset=offset,
            data=bytes(data),
            node=self._node,
        )
        partial = engine.meet(event)
        with engine.mutex:
            file = self._file(write=True)
            length = len(event.data) if partial is None else partial
            data = event.data[:length]
            fitting = engine.room(file, offset, len(data))
            if fitting <= 0 < len(data):
                engine.do(replace(event, error=errno.ENOSPC))
                raise os_error(errno.ENOSPC, self.path)
            engine.do(replace(event, data=data[:fitting]))
            return fitting

    def pwritev(self, parts: Sequence[Buffer], offset: int, /) -> int:
        """Write parts, as `DiskFile.pwritev`."""
        return self.pwrite(b"".join(parts), offset)

    def truncate(self, size: int, /) -> None:
        """Cut or extend, as `DiskFile.truncate`."""
        self._resize(
            DiskEvent(operation="truncate", path=self.path, size=size, node=self._node)
        )

    def allocate(self, size: int, /) -> None:
        """Have room, as `DiskFile.allocate`."""
        self._resize(
            DiskEvent(operation="allocate", path=self.path, size=size, node=self._node)
        )

    def _resize(self, event: DiskEvent) -> None:
        self._check(event.size)
        engine = self._engine
        engine.meet(event)
        with engine.mutex:
            file = self._file(write=True)
            if engine.room(file, 0, event.size) < event.size:
                engine.do(replace(event, error=errno.ENOSPC))
                raise os_error(errno.ENOSPC, self.path)
            engine.do(event)

    def sync(self) -> None:
        """Make durable what was written before, as `DiskFile.sync`."""
        engine = self._engine
        with engine.mutex:
            count = self._file().count
        event = DiskEvent(operation="sync", path=self.path, size=count, node=self._node)
        engine.meet(event)
        with engine.mutex:
            engine.do(event)

    def size(self) -> int:
        """Return the size, as `DiskFile.size`."""
        with self._engine.mutex:
            return len(self._file().cache)

    def lock(self, *, shared: bool = False) -> bool:
        """Try to lock the file, as `DiskFile.lock`."""
        engine = self._engine
        engine.meet(DiskEvent(operation="lock", path=self.path))
        with engine.mutex:
            self._file()
            holders = engine.locks.setdefault(self._node, {})
            others = [kind for holder, kind in holders.items() if holder is not self]
            if others and not (shared and all(others)):
                return False
            holders[self] = shared
            return True

    def unlock(self) -> None:
        """Give the lock back, as `DiskFile.unlock`."""
        with self._engine.mutex:
            self._engine.locks.get(self._node, {}).pop(self, None)

    def fileno(self) -> int:
        """Return -1: it has no descriptor."""
        return -1

    def close(self) -> None:
        """Close the file, as `DiskFile.close`."""
        self.unlock()
        self._open = False

    def __repr__(self) -> str:
        return f"<CrashFile {self.path!r}{'' if self._open else ' closed'}>"
