"""Finding out that code interrupts a critical section of its own thread.

A finalizer or a signal handler may run in the middle of a section of a line, in the
thread that is in it. It cannot wait for the mutex: its own thread holds that.

Not here: those who do not wait (`Line.leave`, `Line.changed`); they leave a note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cup.errors import LockDeadlock

if TYPE_CHECKING:
    from types import CodeType

__all__ = ["refuse_reentry", "sections"]

_sections: Final[set[CodeType]] = set()


def sections(kind: type[object], *methods: str) -> None:
    """Note the methods of a line that have a section which other code may interrupt.

    They set `_holder` to their thread right behind the mutex, and to 0 before the end.
    """
    _sections.update(getattr(kind, method).__code__ for method in methods)


def refuse_reentry(line: object) -> None:
    """Refuse to wait for the mutex of a line, if this very thread is in its section.

    Called by a method of the line that finds its thread in `_holder`. An exception may
    have left it there: the frames of the thread have the last word.

    Raises:
        LockDeadlock: If it is.
    """
    import inspect  # noqa: PLC0415 - rare, and slow to load

    frame = inspect.currentframe()
    for _ in range(2):  # to who called the method
        frame = None if frame is None else frame.f_back
    while frame is not None:
        if frame.f_code in _sections and frame.f_locals.get("self") is line:
            raise LockDeadlock(
                f"a finalizer or signal handler runs in the middle of {line!r}, in the "
                "thread that it interrupted, and cannot wait for it; have it hand the "
                "work to a pool"
            )

        frame = frame.f_back
