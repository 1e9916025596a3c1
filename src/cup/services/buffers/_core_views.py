"""Views of blocks that can be taken back, and whether somebody still holds one.

The view of a block is made anew for each buffer. Releasing it makes that object
useless to whoever holds it. What was derived from it (a slice, a copy of the view, a
system call that is under way) keeps the *managed buffer* behind it alive: its reference
count tells. CPython counts references exactly; elsewhere every released view counts as
gone.

Not here: what is done about a block that is still shown (`_core`).
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Shown", "dealt", "release_views"]

_get_count: Callable[[object], int] | None = getattr(sys, "getrefcount", None)


class Shown:
    """A managed buffer that may still be shown by somebody's view."""

    __slots__ = ("_managed",)

    def __init__(self, managed: object) -> None:
        self._managed: list[object] = [managed]

    def is_shown(self) -> bool:
        """Tell whether any view of it is left."""
        return _count(self._managed)[0] > _ALONE


def _count(managed: list[object]) -> list[int]:
    """Return how many references there are to each; 0 where that is unknown."""
    return [0] * len(managed) if _get_count is None else [*map(_get_count, managed)]


def _managed_by(views: list[memoryview]) -> list[object]:
    """Return what is behind each view; nothing where that is unknown."""
    found = gc.get_referents(*views)
    return found if len(found) == len(views) else []


def _measure_alone() -> int:
    """Return the count of a managed buffer that only one list holds."""
    view = memoryview(bytearray(1))
    managed = _managed_by([view])
    view.release()
    del view
    return max(_count(managed), default=0)


_ALONE: Final = _measure_alone()


def release_views(views: list[memoryview]) -> list[Shown | None]:
    """Take views back, and empty the list.

    Returns:
        For each view, what is still shown of its memory, or None if nothing is; empty
        if nothing is shown of any.
    """
    managed = _managed_by(views)
    while views:
        view = views.pop()
        try:
            view.release()
        except BufferError:
            pass  # a system call works on this very view: it is still shown
        del view  # it would count
    counts = _count(managed)
    if max(counts, default=0) <= _ALONE:
        return []

    return [
        Shown(one) if count > _ALONE else None
        for one, count in zip(managed, counts, strict=True)
    ]


def dealt(blocks: list[int], parts: int) -> list[list[int]]:
    """Return the blocks behind each view: one each, or all behind a single one."""
    return [[block] for block in blocks] if parts == len(blocks) else [blocks]
