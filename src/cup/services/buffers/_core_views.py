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
from typing import Final

__all__ = ["Shown", "release_views"]

_get_count = getattr(sys, "getrefcount", None)


class Shown:
    """A managed buffer that may still be shown by somebody's view."""

    __slots__ = ("_managed",)

    def __init__(self, managed: object) -> None:
        self._managed = managed

    def holders(self) -> int:
        """Return how many references there are to it; 0 where that is unknown."""
        return 0 if _get_count is None else int(_get_count(self._managed))

    def is_shown(self) -> bool:
        """Tell whether any view of it is left."""
        return self.holders() > _ALONE


def _managed_by(view: memoryview) -> object:
    found = gc.get_referents(view)
    return found[0] if found else None


def _measure_alone() -> int:
    """Return the count of a managed buffer that only a `Shown` holds."""
    view = memoryview(bytearray(1))
    shown = Shown(_managed_by(view))
    view.release()
    del view
    return shown.holders()


_ALONE: Final = _measure_alone()


def release_views(views: list[memoryview]) -> list[Shown | None]:
    """Take views back, and empty the list.

    Returns:
        For each view, what is still shown of its memory; None if nothing is.
    """
    shown = [Shown(_managed_by(view)) for view in views]
    while views:
        view = views.pop()
        try:
            view.release()
        except BufferError:
            pass  # a system call works on this very view: it is still shown
        del view  # it would count
    return [one if one.is_shown() else None for one in shown]
