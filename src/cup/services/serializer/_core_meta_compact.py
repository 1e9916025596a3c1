"""When a store of metadata is compacted of its own accord, and by whom.

Whoever has made the history too long wakes a thread, and goes on. If a compaction
fails, for lack of room perhaps, nothing is lost, and it is tried again.

Not here: what a compaction does (`_core_meta`).
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

from cup._core.program import Program, ThreadDriver
from cup.errors import LogClosed, LogPoisoned

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Compactor"]

_log = logging.getLogger("cup.serializer")

_NOW: Final = float("-inf")
_AGAIN: Final = 5.0  # seconds after one that failed


class Compactor(Program):
    """Has a store compacted by a thread of its own.

    Args:
        compact: What compacts it.
        name: The name of the thread.
        look: What calls `want` if a compaction is due: asked after each of its own,
            as nobody may write any more who would find it due.

    Attributes:
        done: How many compactions there were, by hand, too.
        failed: How many of its own have failed.
        seconds: How long the last one took.
    """

    __slots__ = (
        "__weakref__",
        "_compact",
        "_driver",
        "_due",
        "_look",
        "_wanted",
        "done",
        "failed",
        "seconds",
    )

    def __init__(
        self, compact: Callable[[], object], name: str, look: Callable[[], object]
    ) -> None:
        super().__init__()
        self._compact = compact
        self._look = look
        self._driver = ThreadDriver(self, name)
        self._wanted = False
        self._due = _NOW
        self.done: int = 0
        self.failed: int = 0
        self.seconds: float = 0.0

    def want(self) -> None:
        """Have the store compacted soon."""
        if not self._wanted:
            self._wanted = True
            self._driver.nudge(_NOW)

    def step(self, now: float) -> float | None:
        """Compact it if that is wanted, and it is time."""
        if not self._wanted:
            return None

        if now < self._due:
            return self._due

        self.effects.append(self._run)
        return now + _AGAIN  # if it fails

    def _run(self) -> None:
        try:
            self._compact()
        except (LogClosed, LogPoisoned):
            # Nothing is written any more: there is nothing to bound.
            self._wanted = False
            return
        except Exception as error:  # noqa: BLE001 - told, and tried again
            self.failed += 1
            self._due = monotonic() + _AGAIN
            _log.warning("a compaction failed, and is tried again: %s", error)
            return

        self._due = _NOW
        self._wanted = False
        self._look()

    def stop(self) -> None:
        """Compact no more; one that runs is waited for."""
        self._driver.stop()
