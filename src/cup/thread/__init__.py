"""Threads that can be interrupted, and readers-writer locks for threads and tasks.

| for threads | for tasks     | interface                      |
|-------------|---------------|--------------------------------|
| `RWLock`    | `AsyncRWLock` | `RWLockAPI`, `AsyncRWLockAPI`  |
| `CupThread` |               | `threading.Thread`             |

One lock serves both: `lock.aio` is its face for tasks, `alock.sync` that for threads.
`shield()` keeps interrupts out of a block; `async_raise` and `thread_alive` are the
older names for single acts.
"""

from typing import TYPE_CHECKING

from .api import AsyncRWLockAPI, Fairness, LockStats, RWLockAPI
from .cup_thread import CupThread, async_raise, shield, thread_alive
from .sync import ReadGuard, RWLock, WriteGuard

__all__ = [
    "AsyncRWLock",
    "AsyncRWLockAPI",
    "AsyncReadGuard",
    "AsyncWriteGuard",
    "CupThread",
    "Fairness",
    "LockStats",
    "RWLock",
    "RWLockAPI",
    "ReadGuard",
    "WriteGuard",
    "async_raise",
    "shield",
    "thread_alive",
]

if TYPE_CHECKING:
    from .aio import AsyncReadGuard, AsyncRWLock, AsyncWriteGuard
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        # Not `from . import`: that asks this very function again.
        if name in {"AsyncReadGuard", "AsyncRWLock", "AsyncWriteGuard"}:
            import cup.thread.aio as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
