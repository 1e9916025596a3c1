"""inotify: three functions of libc and a record format. Linux only.

Nothing here blocks but `add`, on a file system that does not answer. To close a
descriptor of inotify does, for milliseconds, so it is done in forked children only,
where it is not the last one.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from _thread import allocate_lock
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# linux/inotify.h
ACCESS: Final = 0x001
MODIFY: Final = 0x002
ATTRIB: Final = 0x004
CLOSE_WRITE: Final = 0x008
CLOSE_NOWRITE: Final = 0x010
OPEN: Final = 0x020
MOVED_FROM: Final = 0x040
MOVED_TO: Final = 0x080
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
UNMOUNT: Final = 0x2000
OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
_MASK_ADD: Final = 0x20000000

if sys.platform == "linux":
    _FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
else:
    _FLAGS: Final = 0
_HEAD: Final = struct.Struct("iIII")
_BUFFER: Final = 65536


class Record(NamedTuple):
    """One event: whose watch, what happened, to which name in the directory."""

    key: int
    mask: int
    name: bytes


# A child that is forked while another thread imports could never import that module.
_loading = allocate_lock()
if sys.platform != "win32":
    os.register_at_fork(
        before=_loading.acquire,
        after_in_parent=_loading.release,
        after_in_child=_loading.release,
    )


@cache
def _functions() -> tuple[
    Callable[[int, bytes, int], int], Callable[[int, int], int], Callable[[int], int]
]:
    """Return add, remove and init; ctypes is loaded by the first wait that needs it."""
    with _loading:
        import ctypes  # noqa: PLC0415 - 10 ms, and most waits end at the first look

    libc = ctypes.CDLL(None, use_errno=True)
    init, add = libc.inotify_init1, libc.inotify_add_watch
    # It never blocks; to let other threads run meanwhile costs more than it does.
    remove = ctypes.PyDLL(None, use_errno=True).inotify_rm_watch
    add.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
    remove.argtypes = (ctypes.c_int, ctypes.c_int)
    return add, remove, init


def _checked(answer: int, path: bytes = b"") -> int:
    if answer < 0:
        import ctypes  # noqa: PLC0415 - loaded already

        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fsdecode(path))
    return answer


def open_queue() -> int:
    """Return a new descriptor.

    Raises:
        OSError: EMFILE if the user has no instance left.
    """
    return _checked(_functions()[2](_FLAGS))


def add(queue: int, path: bytes, mask: int) -> int:
    """Watch a path, in addition to what is watched of it already.

    Raises:
        OSError: ENOSPC if the user has no watch left; EACCES; ENOENT.
    """
    return _checked(_functions()[0](queue, path, mask | _MASK_ADD), path)


def remove(queue: int, key: int) -> None:
    """End a watch; one that is gone already is fine."""
    try:
        _checked(_functions()[1](queue, key))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def read(queue: int) -> Iterator[Record]:
    """Give what has happened, without waiting."""
    try:
        records = os.read(queue, _BUFFER)
    except BlockingIOError:
        return
    at = 0
    while at < len(records):
        key, mask, _, length = _HEAD.unpack_from(records, at)
        at += _HEAD.size
        yield Record(key, mask, records[at : at + length].rstrip(b"\0"))
        at += length


available: Final = sys.platform == "linux"
