"""The process's timekeeper: short internal calls at a given time, on one thread.

For what a service must do itself at a deadline (fail a job that was not started in
time). The calls are the library's own: they decide, hand over, and never run the code
of users. Its thread starts with the first call and sleeps while nothing is due.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING

from . import fork
from .program import Program, ThreadDriver

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Appointment", "Timekeeper", "call_at"]

_COMPACT_FROM = 64  # calls to be sorted in, or cancelled, that may lie around


class Appointment:
    """A call that is due at a point of the monotonic clock; can be cancelled."""

    __slots__ = ("callback", "deadline", "keeper")

    def __init__(
        self, deadline: float, callback: Callable[[], object], keeper: Timekeeper
    ) -> None:
        self.deadline = deadline
        self.callback: Callable[[], object] | None = callback
        self.keeper = keeper

    def cancel(self) -> None:
        """Forget the call; what it holds is free at once."""
        if self.callback is not None:
            self.callback = None
            self.keeper.cancelled.append(None)


class Timekeeper(Program):
    """A heap of appointments; driven by a thread, or by a virtual clock in tests."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: deque[None] = deque()
        self._new: deque[Appointment] = deque()
        self._heap: list[tuple[float, int, Appointment]] = []
        self._number = itertools.count()

    def add(self, deadline: float, callback: Callable[[], object]) -> Appointment:
        """Remember a call; whoever drives this program has to be nudged."""
        appointment = Appointment(deadline, callback, self)
        self._new.append(appointment)
        return appointment

    def is_cluttered(self) -> bool:
        """Tell whether a step would tidy up enough to be worth it."""
        return len(self._new) > max(_COMPACT_FROM, len(self._heap))

    def forget_all(self) -> None:
        """Drop all calls."""
        self._new.clear()
        self._heap.clear()
        self.cancelled.clear()
        self.effects.clear()

    def step(self, now: float) -> float | None:
        """Collect the calls that are due."""
        heap = self._heap
        while self._new:
            new = self._new.popleft()
            if new.callback is not None:
                heapq.heappush(heap, (new.deadline, next(self._number), new))
        if len(self.cancelled) > max(_COMPACT_FROM, len(heap) // 2):
            self._compact()
        while heap and (heap[0][0] <= now or heap[0][2].callback is None):
            due = heapq.heappop(heap)[2]
            callback, due.callback = due.callback, None
            if callback is not None:
                self.effects.append(callback)
        return heap[0][0] if heap else None

    def _compact(self) -> None:
        self.cancelled.clear()
        heap = self._heap
        heap[:] = [entry for entry in heap if entry[2].callback is not None]
        heapq.heapify(heap)


_keeper = Timekeeper()
_driver = ThreadDriver(_keeper, "cup: timekeeper")
fork.on_fork(_keeper.forget_all)


def call_at(deadline: float, callback: Callable[[], object]) -> Appointment:
    """Have `callback` called once the monotonic clock reaches `deadline`.

    Never blocks. In a forked child, what the parent had asked for is not called.
    """
    fork.generation()  # a forked child forgets first
    appointment = _keeper.add(deadline, callback)
    # Calls that are made and cancelled at once would lie around until the next is due.
    _driver.nudge(float("-inf") if _keeper.is_cluttered() else deadline)
    return appointment
