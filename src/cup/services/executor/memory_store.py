"""A store of jobs that lives in memory: for tests, and as the shortest example of one.

It outlives its executors, but not its process.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .api import JobStore

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps stored jobs in a dict. Thread-safe.

    Attributes:
        jobs: The stored text of each job, by its key.
        writes: How many groups of changes were written.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        self.writes: int = 0
        self._lock = threading.Lock()

    def load(self) -> Iterable[tuple[str, str]]:
        """Return the key and the text of every job."""
        with self._lock:
            return list(self.jobs.items())

    def write(self, saved: Sequence[tuple[str, str]], removed: Sequence[str]) -> None:
        """Keep some jobs and remove others, all or none."""
        with self._lock:
            self.jobs.update(saved)
            for key in removed:
                self.jobs.pop(key, None)
            self.writes += 1

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self.jobs)} jobs>"


if TYPE_CHECKING:
    _proof: JobStore = MemoryStore()
