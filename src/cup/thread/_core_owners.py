"""Who holds a lock: threads, by identifier, and tasks.

No event loop is imported here: a task is asked for its loop.
"""

from __future__ import annotations

import threading
from typing import Protocol

__all__ = ["VANISHED", "is_dead", "loop_of", "name_of", "names_of_threads"]


class AsyncioLoop(Protocol):
    """What is asked of the loop of a task."""

    def is_closed(self) -> bool:
        """Tell whether no task of it will ever run again."""
        ...


class _Vanished:
    """Stands for a writer of the parent in a forked child; equal to nobody."""

    name = "a thread of the parent process"


VANISHED = _Vanished()


def names_of_threads() -> dict[int | None, str]:
    """Return the names of the threads that run, by identifier."""
    return {thread.ident: thread.name for thread in threading.enumerate()}


def name_of(owner: object, threads: dict[int | None, str]) -> str:
    """Return how people call a thread or a task."""
    if isinstance(owner, int):
        return threads.get(owner, f"thread {owner}")

    for attribute in ("get_name", "name"):
        name = getattr(owner, attribute, None)
        if name is not None:
            return str(name() if callable(name) else name)
    return repr(owner)


def loop_of(owner: object) -> AsyncioLoop | None:
    """Return the asyncio loop of a task; threads and tasks of trio have none."""
    get_loop = getattr(owner, "get_loop", None)
    loop: AsyncioLoop | None = None if get_loop is None else get_loop()
    return loop


def is_dead(owner: object) -> bool:
    """Tell whether an owner can never run again: its loop is closed."""
    loop = loop_of(owner)
    return loop is not None and loop.is_closed()
