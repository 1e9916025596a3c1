"""Moments of the two clocks of an executor, and what people read of them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ._core_periods import finite

if TYPE_CHECKING:
    from cup._core.clock import WakefulClock

__all__ = ["Moments"]


class Moments:
    """What is asked of a clock, by who schedules jobs and by jobs.

    Attributes:
        clock: The clock.
    """

    clock: WakefulClock

    def due_in(self, delay: float, *, by_wall: bool) -> float:
        """Return the moment in so many seconds, by one of the clocks.

        Raises:
            InvalidValue: If the delay is NaN or infinite.
            InvalidType: If it is not a number.
        """
        seconds = finite("delay", delay)
        return seconds + (self.clock.time() if by_wall else self.clock.monotonic())

    def wall_of(self, due: float, *, by_wall: bool) -> float:
        """Return what the wall clock shows at a moment of one of the clocks."""
        if by_wall:
            return due

        return self.clock.time() + (due - self.clock.monotonic())

    def moment_of(self, due: float, *, by_wall: bool) -> datetime:
        """Return a moment of one of the clocks as a datetime in UTC."""
        wall = self.wall_of(due, by_wall=by_wall)
        latest = datetime.max.replace(tzinfo=timezone.utc)
        try:
            return datetime.fromtimestamp(wall, timezone.utc)
        except (OverflowError, ValueError, OSError):
            return latest
