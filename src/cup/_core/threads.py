"""Making threads, and joining them.

Not here: what threads do.
"""

from __future__ import annotations

import sys
import threading
from contextvars import Context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["join_all", "join_within", "make_thread"]


def make_thread(
    target: Callable[[], object], *, name: str, daemon: bool
) -> threading.Thread:
    """Return a thread, not started, that inherits nothing from who makes it.

    From 3.14 on a thread may start in a copy of its maker's context; ours start empty,
    since each job brings its own.
    """
    if sys.version_info >= (3, 14):
        return threading.Thread(
            target=target, name=name, daemon=daemon, context=Context()
        )

    return threading.Thread(target=target, name=name, daemon=daemon)


def join_within(thread: threading.Thread, seconds: float) -> bool:
    """Wait for a thread to end, for so long at most; tell whether it has."""
    thread.join(seconds)
    return not thread.is_alive()


def join_all(threads: Iterable[threading.Thread]) -> None:
    """Wait until the threads have ended; the calling thread is left out."""
    me = threading.current_thread()
    for thread in threads:
        if thread is not me and thread.ident is not None:
            thread.join()
