"""One stamp that tells a forked child from its parent, for 10-50 ns.

On Linux it is a page that the kernel wipes in the child (`MADV_WIPEONFORK`), so it also
works where a server forks without running Python's at-fork hooks (uWSGI). Elsewhere
the process id is compared. `os.register_at_fork` only makes the child notice sooner.

Not here: what a service does about a fork. Each compares `generation()` with the one
it was made under, wherever it would otherwise touch what it may have inherited.
"""

from __future__ import annotations

import mmap
import os
import sys
from _thread import get_ident
from threading import RLock
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_MADV_WIPEONFORK = 18  # linux/mman.h, since 4.14; the mmap module does not name it


class Stamp(Protocol):
    """Something whose item 0 is true in the process that last looked."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class PidStamp:
    """The portable stamp: compares the process id."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, index: int, /) -> int:
        return os.getpid() == self._pid

    def __setitem__(self, index: int, value: int, /) -> None:
        self._pid = os.getpid()


def make_stamp() -> Stamp:
    """Return a wiped-on-fork page where the kernel has them, else a `PidStamp`."""
    if sys.platform == "linux":
        try:
            page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            page.madvise(_MADV_WIPEONFORK)
        except (OSError, ValueError):
            return PidStamp()
        page[0] = 1
        return page
    return PidStamp()


stamp: Stamp = make_stamp()
"""Item 0 is false in a forked child until `generation()` was called there."""

epoch: int = 0
"""What `generation()` returns; right only while `stamp[0]` is true."""

survivor: int = 0
"""The thread that forked, in a child; the only one that came along."""

renewal = RLock()
"""Held while something inherited is made anew: threads of a child may race for it."""

_hooks: list[Callable[[], None]] = []


def generation() -> int:
    """Return a number that differs in every forked child from that of its parent."""
    return epoch if stamp[0] else _enter_child()


def _enter_child() -> int:
    """Count the fork, once; a child starts with one thread, so nothing races here."""
    global epoch, renewal, survivor  # noqa: PLW0603 - there is one process
    if not stamp[0]:
        epoch += 1
        survivor = get_ident()  # where no hook runs, most likely
        stamp[0] = 1
        renewal = RLock()  # a thread of the parent may have held it
        for hook in _hooks:
            hook()
    return epoch


def on_fork(hook: Callable[[], None]) -> None:
    """Call `hook` once in each forked child, for process-wide state of `cup._core`.

    Services do not register themselves: they compare `generation()`.
    """
    _hooks.append(hook)


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_enter_child)
