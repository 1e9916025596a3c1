"""Who lost a buffer: remembers where buffers were taken, and warns when one dies.

Not here: taking the blocks back (`_core`).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from cup._core.running import caller

if TYPE_CHECKING:
    from .api import Leaks

__all__ = ["LeakWatch"]

_MASKS = {"off": -1, "sampled": 127, "full": 0}


class LeakWatch:
    """Remembers, for some buffers or all, the line that took them.

    Attributes:
        mask: A buffer is watched if its serial number has none of these bits.
    """

    __slots__ = ("_sites", "level", "mask")

    def __init__(self, level: Leaks) -> None:
        self.level: Leaks = level
        self.mask: int = _MASKS[level]
        self._sites: dict[int, str] = {}

    def note(self, serial: int) -> None:
        """Remember the line outside of this library that takes a buffer now."""
        frame = caller()
        if frame is not None:
            self._sites[serial] = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    def forget(self, serial: int) -> None:
        """The buffer was given back."""
        if self._sites:
            self._sites.pop(serial, None)

    def report(self, serial: int, blocks: int) -> None:
        """Warn about a lost buffer, if it was watched; called by its finalizer."""
        site = self._sites.pop(serial, None)
        if site is not None:
            warnings.warn(
                f"a buffer of {blocks} blocks, allocated at {site}, was never released",
                ResourceWarning,
                stacklevel=1,
            )
