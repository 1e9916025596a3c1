"""What a writer counts, for `stats()`.

Not here: what can be counted when it is asked for.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BUCKETS", "Figures"]

BUCKETS: Final = 16
_FASTEST: Final = 6  # the first bucket ends at 2**6 microseconds


class Figures:
    """Counters, changed by the thread that has the lead alone.

    Attributes:
        records: Records made durable.
        groups: Syncs that made them durable.
        largest: The most records of one sync.
        seconds: What syncs took.
        slowest: What the slowest took.
        histogram: Syncs by their time, in powers of two.
        failed_writes: Groups that could not be written.
    """

    __slots__ = (
        "failed_writes",
        "groups",
        "histogram",
        "largest",
        "records",
        "seconds",
        "slowest",
    )

    def __init__(self) -> None:
        self.records: int = 0
        self.groups: int = 0
        self.largest: int = 0
        self.seconds: float = 0.0
        self.slowest: float = 0.0
        self.histogram: list[int] = [0] * BUCKETS
        self.failed_writes: int = 0

    def count_sync(self, records: int, seconds: float) -> None:
        """Count one sync that has succeeded."""
        self.groups += 1
        self.records += records
        self.largest = max(self.largest, records)
        self.seconds += seconds
        self.slowest = max(self.slowest, seconds)
        bucket = (int(seconds * 1e6) >> _FASTEST).bit_length()
        self.histogram[min(bucket, BUCKETS - 1)] += 1
