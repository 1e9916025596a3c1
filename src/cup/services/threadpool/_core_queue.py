"""The queue of a pool: three urgencies, FIFO inside, and room for so many.

All operations are single steps of a deque, so that they work in signal handlers and
finalizers. A bounded queue hands out places: a record takes one to be queued, its start
gives it back, and who finds none waits in `room`, first come, first served.

Not here: who runs the records.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from cup._core.line import Line
from cup._core.wait import Ask
from cup.errors import PoolFull

from .api import Urgency

if TYPE_CHECKING:
    from ._core_record import Record

__all__ = ["JobQueue", "Room", "RoomAsk"]

_TURN = 16  # of so many starts, one goes to a less urgent class that waits
_HUSKS = 256  # emptied records that may lie around in the queue


class JobQueue:
    """Records that wait for a worker.

    Attributes:
        normal: The records of normal urgency; the fast path pops here.
        mixed: Whether another urgency was ever used: then `take` decides.
        room: The places of a bounded queue, None for an unbounded one.
    """

    __slots__ = (
        "_classes",
        "_made",
        "_met",
        "_turn",
        "high",
        "low",
        "mixed",
        "normal",
        "room",
    )

    def __init__(self, size: int | None) -> None:
        self.high: deque[Record] = deque()
        self.normal: deque[Record] = deque()
        self.low: deque[Record] = deque()
        self._classes = (self.high, self.normal, self.low)
        self.mixed: bool = False
        self._made: deque[None] = deque()
        self._met: deque[None] = deque()
        self.room: Room | None = None if size is None else Room(size)
        self._turn = 0

    def put(self, record: Record, urgency: Urgency) -> None:
        """Add a record at the end of its class."""
        if urgency is not Urgency.NORMAL:
            self.mixed = True
        self._classes[urgency].append(record)

    def take(self) -> Record:
        """Remove and return the record that is next; IndexError if there is none."""
        self._turn += 1
        if self._turn % _TURN == 0:
            first, second, third = self._turn_of_the_others()
        else:
            first, second, third = self._classes
        for line in (first, second, third):
            if line:
                try:
                    return line.popleft()
                except IndexError:
                    continue
        return self.normal.popleft()

    def _turn_of_the_others(
        self,
    ) -> tuple[deque[Record], deque[Record], deque[Record]]:
        """Return the classes as they are served when the most urgent one steps back."""
        if not self.high:
            return self.low, self.normal, self.high

        if self._turn % (2 * _TURN):
            return self.normal, self.low, self.high

        return self.low, self.normal, self.high

    def take_oldest(self) -> Record | None:
        """Remove and return what the policy drops first: the oldest, least urgent."""
        for line in (self.low, self.normal, self.high):
            try:
                return line.popleft()
            except IndexError:
                continue
        return None

    def has_work(self) -> bool:
        """Tell whether there is anything to take; it may be a husk."""
        return bool(self.normal or (self.mixed and (self.high or self.low)))

    def __len__(self) -> int:
        """Return the number of queued calls."""
        lying = len(self.normal) + len(self.high) + len(self.low)
        return max(0, lying - self.husks)

    @property
    def husks(self) -> int:
        """The number of emptied records that still lie in the queue."""
        return len(self._made) - len(self._met)

    def emptied(self) -> None:
        """Note that a queued record was emptied; bound what lies around."""
        self._made.append(None)
        if self.husks <= max(_HUSKS, len(self)):
            return

        for line in self._classes:
            try:
                # An empty list equals husks only: lists of other lengths differ.
                line.remove([])
            except ValueError:
                continue
            self.met_husk()
            return

    def met_husk(self) -> None:
        """Note that a husk was taken out, maybe before its canceller noted it."""
        self._met.append(None)
        while self._made and self._met:
            try:
                self._made.pop()
            except IndexError:
                return
            try:
                self._met.pop()
            except IndexError:
                self._made.append(None)


class RoomAsk(Ask[None]):
    """Asks for one place in a bounded queue."""

    __slots__ = ()

    what = "ThreadPool.submit on a full queue"
    twin = "AsyncThreadPool.submit"
    value = None


class Room(Line):
    """The places of a bounded queue."""

    __slots__ = ("_places", "closed", "size")

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size: int = size
        self.closed: bool = False
        self._places: deque[None] = deque([None] * size)

    def take_now(self) -> bool:
        """Take a place, if there is one and nobody is in line for it."""
        if len(self):
            return False

        try:
            self._places.pop()
        except IndexError:
            return False
        return True

    def free(self) -> None:
        """Give a place back; never blocks."""
        self._places.append(None)
        if len(self):  # given back first, looked at second
            self.changed()

    def close(self) -> None:
        """Let everybody in line go on, to be refused."""
        self.closed = True
        self.changed()

    def reopen(self) -> None:
        """Hand out places again; the queue is empty."""
        self._places = deque([None] * self.size)
        self.closed = False

    def take(self, _: Ask[Any], /) -> bool:
        """Give the ask a place."""
        if self.closed:
            return True

        try:
            self._places.pop()
        except IndexError:
            return False
        return True

    def put_back(self, _: Ask[Any], /) -> None:
        """Take the place back."""
        self._places.append(None)

    def vanished(self) -> None:
        """All places are free in a forked child: its queue is empty."""
        self._places = deque([None] * self.size)

    def full(self, name: str) -> PoolFull:
        """Return the error of a pool that refuses."""
        return PoolFull(
            f"the queue of pool {name!r} is full ({self.size} jobs); "
            f'submit less, or choose when_full="block"'
        )
