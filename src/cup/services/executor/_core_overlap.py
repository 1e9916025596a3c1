"""What runs of one series may do beside each other; used by one thread at a time.

Not here: starting them, and interrupting them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._core_run import Run
    from .api_values import Overlap

__all__ = ["Overlapping"]


class Overlapping:
    """The runs of one series: those that run, and those that are due and wait.

    Attributes:
        replaces: Whether a run that arrives is to end those that run.
    """

    __slots__ = ("_active", "_backlog", "_most", "_policy", "_waiting", "replaces")

    def __init__(self, policy: Overlap) -> None:
        self._policy = policy
        self._most = policy if isinstance(policy, int) else 1
        self._active: dict[Run, None] = {}
        self._waiting: deque[float] = deque()
        self._backlog: deque[Iterator[float]] = deque()
        self.replaces: bool = False

    def arrive(self, due: float) -> int:
        """Take a run that is due.

        Returns:
            How many runs are left out by that: this one, or one that waited.
        """
        policy = self._policy
        self.replaces = policy == "cancel_previous" and bool(self._active)
        if len(self._active) + len(self._waiting) < self._most:
            self._waiting.append(due)
            return 0

        if policy == "skip" or isinstance(policy, int):
            return 1

        if policy == "queue_all" or not self._waiting:
            self._waiting.append(due)
            return 0

        if self.replaces:
            self._waiting[-1] = due
        return 1

    def make_up_for(self, runs: Iterator[float]) -> None:
        """Take runs that are made up for, one after the other, before all others."""
        self._backlog.append(runs)

    def take(self) -> float | None:
        """Take the next run that may start; None if none may."""
        if len(self._active) >= self._most:
            return None

        while self._backlog:
            due = next(self._backlog[0], None)
            if due is not None:
                return due

            self._backlog.popleft()
        return self._waiting.popleft() if self._waiting else None

    def started(self, run: Run) -> None:
        """Note that a run was handed to workers."""
        self._active[run] = None

    def ended(self, run: Run) -> None:
        """Note that a run is over."""
        self._active.pop(run, None)

    def drop_waiting(self) -> int:
        """Forget what waits; return how many runs that were, as far as is known."""
        dropped = len(self._waiting)
        self._waiting.clear()
        self._backlog.clear()
        return dropped

    def waits(self) -> bool:
        """Tell whether something waits."""
        return bool(self._waiting or self._backlog)

    def is_busy(self) -> bool:
        """Tell whether something runs or waits."""
        return bool(self._active) or self.waits()

    def active_now(self) -> list[Run]:
        """Return what runs, or waits for a worker."""
        return list(self._active)
