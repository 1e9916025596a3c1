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
        sites: The lines, by the serial numbers of their buffers.
    """

    __slots__ = ("level", "mask", "sites")

    def __init__(self, level: Leaks) -> None:
        self.level: Leaks = level
        self.mask: int = _MASKS[level]
        self.sites: dict[int, str] = {}

    def note(self, serial: int) -> None:
        """Remember the line outside of this library that takes a buffer now."""
        frame = caller()
        if frame is not None:
            self.sites[serial] = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    def report(self, serial: int, blocks: int) -> Report | None:
        """Return a report of a lost buffer, if it was watched."""
        site = self.sites.pop(serial, None)
        return None if site is None else Report(site, blocks)


class Report:
    """Warns about a lost buffer when it is dropped.

    An exception that a warning filter makes of it ends there, as in any finalizer.
    """

    __slots__ = ("_blocks", "_site")

    def __init__(self, site: str, blocks: int) -> None:
        self._site = site
        self._blocks = blocks

    def __del__(self) -> None:
        warnings.warn(
            f"a buffer of {self._blocks} blocks, allocated at {self._site}, was never "
            "released",
            ResourceWarning,
            stacklevel=1,
        )
