"""How late timers were taken: a histogram, written by one thread.

Not here: how long jobs then waited for a worker, which their pool knows.
"""

from __future__ import annotations

from .api_values import TimerLateness

__all__ = ["Lateness"]

_BUCKETS = 48  # the last holds all that was late by more than four years


class Lateness:
    """Counts in buckets that double; bucket `i` holds what is below `2**i` us."""

    __slots__ = ("_counts", "_longest", "_total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._total = 0.0
        self._longest = 0.0

    def note(self, seconds: float) -> None:
        """Count one timer."""
        bucket = int(seconds * 1e6).bit_length()
        self._counts[bucket if bucket < _BUCKETS else -1] += 1
        self._total += seconds
        self._longest = max(self._longest, seconds)

    def read(self) -> TimerLateness:
        """Return the figures."""
        counts = tuple(self._counts)
        return TimerLateness(
            counts=counts,
            taken=sum(counts),
            total=self._total,
            longest=self._longest,
        )
