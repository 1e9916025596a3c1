"""The seam between a log and its disk: the few file operations it is built from.

Whoever must survive a power cut does all its input and output through a `Disk`, so that
a test can put one under it that loses power (`cup.testing.CrashDisk`). `OS_DISK` is the
real one. Not here: any policy. A short write stays short, nothing is retried, and what
has to be synced is said by the caller.

What counts: bytes of a file are durable after `DiskFile.sync`; that a name exists, has
moved or is gone is durable after `Disk.sync_dir` of its directory. A failed sync means
that nobody knows what is durable; syncing again proves nothing.
"""

from __future__ import annotations

import errno
import os
import sys
from _thread import allocate_lock
from typing import TYPE_CHECKING, Final, Protocol

if sys.platform != "win32":
    import fcntl
else:
    import msvcrt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

__all__ = ["OS_DISK", "Disk", "DiskFile", "OsDisk", "OsFile"]

_MODE: Final = 0o666  # what the umask leaves of it
_PARTS: Final = 1024  # IOV_MAX on every system there is
_PIECE: Final = 1 << 30  # macOS refuses 2 GiB at once, Linux cuts it
_LOCK_BYTE: Final = 1 << 30  # Windows forbids reading a locked byte: far behind the end
_NO_DIR_SYNC: Final = {errno.EINVAL, errno.EBADF, errno.EACCES, errno.EISDIR}
_NO_ALLOCATION: Final = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV}


class DiskFile(Protocol):
    """An open file. Calls of several threads may overlap."""

    def pread(self, size: int, offset: int, /) -> bytes:
        """Read up to `size` bytes; fewer come at the end, or for no reason."""
        ...

    def pwrite(self, data: Buffer, offset: int, /) -> int:
        """Write bytes and return how many were written: it may be fewer."""
        ...

    def pwritev(self, parts: Sequence[Buffer], offset: int, /) -> int:
        """Write parts one behind the other and return how many bytes were written."""
        ...

    def truncate(self, size: int, /) -> None:
        """Cut the file, or extend it with zeros."""
        ...

    def allocate(self, size: int, /) -> None:
        """Have room for `size` bytes and extend the file to them, if possible."""
        ...

    def sync(self) -> None:
        """Make the content and the size durable."""
        ...

    def size(self) -> int:
        """Return the size in bytes."""
        ...

    def lock(self, *, shared: bool = False) -> bool:
        """Try to lock the file until it is closed; False if another holds it."""
        ...

    def unlock(self) -> None:
        """Give the lock back."""
        ...

    def fileno(self) -> int:
        """Return the descriptor; -1 if it is closed or has none."""
        ...

    def close(self) -> None:
        """Close the file; twice does no harm."""
        ...


class Disk(Protocol):
    """Directories and the names in them. Paths are what the operating system takes."""

    def open(
        self,
        path: str,
        /,
        *,
        create: bool = False,
        exclusive: bool = False,
        write: bool = False,
    ) -> DiskFile:
        """Open a file; `exclusive` creates it and fails if it exists."""
        ...

    def rename(self, source: str, target: str, /) -> None:
        """Give a file another name; what has that name is replaced."""
        ...

    def unlink(self, path: str, /) -> None:
        """Remove a file."""
        ...

    def mkdir(self, path: str, /) -> None:
        """Make a directory; its parent must exist."""
        ...

    def sync_dir(self, path: str, /) -> None:
        """Make durable which names a directory has."""
        ...

    def listdir(self, path: str, /) -> list[str]:
        """Name what is in a directory, in no order."""
        ...

    def size(self, path: str, /) -> int:
        """Return the size of a file in bytes."""
        ...

    def exists(self, path: str, /) -> bool:
        """Tell whether there is a file or a directory of that name."""
        ...


class OsFile:
    """A file of the operating system; other programs do not inherit it."""

    __slots__ = ("_fd", "_position", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path: str = path
        self._fd = fd
        # Where there is no pread, reading moves a position that all calls share.
        self._position = allocate_lock()

    def pread(self, size: int, offset: int, /) -> bytes:
        """Read up to `size` bytes from `offset` on."""
        if sys.platform != "win32":
            return os.pread(self._fd, min(size, _PIECE), offset)
        with self._position:
            os.lseek(self._fd, offset, os.SEEK_SET)
            return os.read(self._fd, min(size, _PIECE))

    def pwrite(self, data: Buffer, offset: int, /) -> int:
        """Write bytes at `offset`, perhaps not all of them."""
        piece = memoryview(data)[:_PIECE]
        if sys.platform != "win32":
            return os.pwrite(self._fd, piece, offset)
        with self._position:
            os.lseek(self._fd, offset, os.SEEK_SET)
            return os.write(self._fd, piece)

    def pwritev(self, parts: Sequence[Buffer], offset: int, /) -> int:
        """Write parts at `offset`, perhaps not all of them."""
        if sys.platform == "linux":
            return os.pwritev(self._fd, parts[:_PARTS], offset)
        return self.pwrite(b"".join(parts), offset)

    def truncate(self, size: int, /) -> None:
        """Cut the file, or extend it with zeros."""
        os.ftruncate(self._fd, size)

    def allocate(self, size: int, /) -> None:
        """Reserve room with `posix_fallocate`, where system and file system have it.

        Raises:
            OSError: If the disk has no such room.
        """
        if sys.platform != "win32" and sys.platform != "darwin":
            try:
                os.posix_fallocate(self._fd, 0, size)
            except OSError as error:
                if error.errno not in _NO_ALLOCATION:
                    raise

    def sync(self) -> None:
        """Make content and size durable, down to the medium where the system lets us.

        Raises:
            OSError: If it failed. What is durable then is not known.
        """
        if sys.platform == "darwin":
            try:
                fcntl.fcntl(self._fd, fcntl.F_FULLFSYNC)
            except OSError as error:  # a network file system
                if error.errno not in {errno.ENOTSUP, errno.ENOTTY, errno.EINVAL}:
                    raise
                os.fsync(self._fd)
        elif sys.platform == "win32":
            os.fsync(self._fd)
        else:
            os.fdatasync(self._fd)

    def size(self) -> int:
        """Return the size in bytes."""
        return os.fstat(self._fd).st_size

    def lock(self, *, shared: bool = False) -> bool:
        """Try to lock the file, against every other opening of it in any process.

        The lock ends with `unlock`, with `close` and with the process. Forked children
        share it. Windows has no shared lock: there it is an exclusive one.

        Raises:
            OSError: If the file system knows no locks.
        """
        try:
            if sys.platform != "win32":
                kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
                fcntl.flock(self._fd, kind | fcntl.LOCK_NB)
            else:
                with self._position:
                    os.lseek(self._fd, _LOCK_BYTE, os.SEEK_SET)
                    msvcrt.locking(self._fd, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EACCES, errno.EDEADLK}:
                return False
            raise
        return True

    def unlock(self) -> None:
        """Give the lock back."""
        if sys.platform != "win32":
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        else:
            with self._position:
                os.lseek(self._fd, _LOCK_BYTE, os.SEEK_SET)
                msvcrt.locking(self._fd, msvcrt.LK_UNLCK, 1)

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return self._fd

    def close(self) -> None:
        """Close the file; twice does no harm."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __repr__(self) -> str:
        return f"<OsFile {self.path!r}{' closed' if self._fd < 0 else ''}>"


class OsDisk:
    """The disk of the operating system."""

    __slots__ = ()

    def open(
        self,
        path: str,
        /,
        *,
        create: bool = False,
        exclusive: bool = False,
        write: bool = False,
    ) -> OsFile:
        """Open a file for reading, and for writing if `write` is true.

        Raises:
            FileNotFoundError: If it does not exist and is not to be created.
            FileExistsError: If `exclusive` is true and it exists.
            OSError: If it cannot be opened.
        """
        flags = os.O_RDWR if write else os.O_RDONLY
        if create or exclusive:
            flags |= os.O_CREAT
        if exclusive:
            flags |= os.O_EXCL
        if sys.platform == "win32":
            flags |= os.O_BINARY | os.O_NOINHERIT
        else:
            flags |= os.O_CLOEXEC
        return OsFile(path, os.open(path, flags, _MODE))

    def rename(self, source: str, target: str, /) -> None:
        """Give a file another name, in one step."""
        os.replace(source, target)  # noqa: PTH105 - the seam speaks in plain paths

    def unlink(self, path: str, /) -> None:
        """Remove a file."""
        os.unlink(path)  # noqa: PTH108 - the same

    def mkdir(self, path: str, /) -> None:
        """Make a directory."""
        os.mkdir(path)  # noqa: PTH102 - the same

    def sync_dir(self, path: str, /) -> None:
        """Make durable which names a directory has, where a system lets us ask.

        Raises:
            OSError: If it failed. What is durable then is not known.
        """
        if sys.platform == "win32":  # opens no directories, and has no such call
            return

        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:  # some network file systems refuse directories
            if error.errno not in _NO_DIR_SYNC:
                raise
        finally:
            os.close(fd)

    def listdir(self, path: str, /) -> list[str]:
        """Name what is in a directory."""
        return os.listdir(path)  # noqa: PTH208 - the same

    def size(self, path: str, /) -> int:
        """Return the size of a file."""
        return os.stat(path).st_size  # noqa: PTH116 - the same

    def exists(self, path: str, /) -> bool:
        """Tell whether there is something of that name."""
        return os.path.exists(path)  # noqa: PTH110 - the same

    def __repr__(self) -> str:
        return "<OsDisk>"


OS_DISK: Final = OsDisk()

if TYPE_CHECKING:
    _disk: Disk = OS_DISK
