"""The queue of a pool: three urgencies, FIFO inside, and room for so many.

All operations are single steps of a deque, so that they work in signal handlers and
finalizers. A bounded queue hands out places: a record takes one to be queued, its start
gives it back, and who finds none waits in `room`, first come, first served.

Not here: who runs the records.
"""

from __future__ import annotations

import itertools
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
_NEAR = 64  # places at the head of a line that are cheap to search


class JobQueue:
    """Records that wait for a worker.

    Attributes:
        normal: The records of normal urgency; the fast path pops here.
        own: Records of the pool itself, which are served first, never dropped, and
            have no place in a bounded queue.
        mixed: Whether anything but `normal` was ever used: then `take` decides.
        room: The places of a bounded queue, None for an unbounded one.
    """

    __slots__ = (
        "_classes",
        "_husks",
        "_turns",
        "high",
        "low",
        "mixed",
        "normal",
        "own",
        "room",
    )

    def __init__(self, size: int | None) -> None:
        self.high: deque[Record] = deque()
        self.normal: deque[Record] = deque()
        self.low: deque[Record] = deque()
        self.own: deque[Record] = deque()
        self._classes = (self.high, self.normal, self.low)
        self.mixed: bool = False
        self._husks: deque[None] = deque()
        self.room: Room | None = None if size is None else Room(size)
        self._turns = itertools.count(1)

    def put(self, record: Record, urgency: Urgency) -> None:
        """Add a record at the end of its class."""
        if urgency is not Urgency.NORMAL:
            self.mixed = True
        self._classes[urgency].append(record)

    def put_own(self, record: Record) -> None:
        """Add a record of the pool itself."""
        self.mixed = True
        self.own.append(record)

    def take(self) -> Record:
        """Remove and return the record that is next; IndexError if there is none."""
        turn = next(self._turns)
        if turn % _TURN == 0:
            first, second, third = self._turn_of_the_others(turn)
        else:
            first, second, third = self._classes
        for line in (self.own, first, second, third):
            if line:
                try:
                    return line.popleft()
                except IndexError:
                    continue
        return self.normal.popleft()

    def _turn_of_the_others(
        self, turn: int
    ) -> tuple[deque[Record], deque[Record], deque[Record]]:
        """Return the classes as they are served when the most urgent one steps back."""
        if not self.high:
            return self.low, self.normal, self.high

        if turn % (2 * _TURN):
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
        return bool(self.normal or (self.mixed and (self.high or self.low or self.own)))

    def lying(self) -> int:
        """Return the number of records, those that were emptied among them."""
        return len(self.normal) + len(self.high) + len(self.low) + len(self.own)

    def __len__(self) -> int:
        """Return the number of queued calls; looks at each."""
        # An empty list equals husks only: lists of other lengths differ. So counting
        # calls no code of users, and is one step.
        husks = sum(line.count([]) for line in self._classes)
        return max(0, self.lying() - husks)

    def emptied(self) -> None:
        """Note that a queued record was emptied; bound what lies around.

        The count of husks is a guess, for this purpose only: records are also emptied
        before they are queued.
        """
        self._husks.append(None)
        husks, lying = len(self._husks), self.lying()
        if husks <= max(_HUSKS, lying // 2):
            return

        # Behind many jobs that wait, finding a husk is dear: then leave more of them.
        far = husks > max(_HUSKS, lying * 7 // 8)
        if any(_remove_husk(line, far=far) for line in self._classes):
            self.met_husk()
        elif far:
            self._husks.clear()  # there is none

    def met_husk(self) -> None:
        """Note that a husk was taken out."""
        try:
            self._husks.pop()
        except IndexError:
            pass


def _remove_husk(line: deque[Record], *, far: bool) -> bool:
    """Remove one husk; False if there is none, or none near the head."""
    try:
        if not far:
            line.index([], 0, _NEAR)
        line.remove([])
    except ValueError:
        return False
    return True


class RoomAsk(Ask[bool]):
    """Asks for one place in a bounded queue; gets False when that was closed."""

    __slots__ = ()

    what = "ThreadPool.submit on a full queue"
    twin = "AsyncThreadPool.submit"


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
        """Hand out places again."""
        self.closed = False

    def take(self, ask: Ask[Any], /) -> bool:
        """Give the ask a place."""
        if self.closed:
            ask.value = False
            return True

        try:
            self._places.pop()
        except IndexError:
            return False
        ask.value = True
        return True

    def put_back(self, ask: Ask[Any], /) -> None:
        """Take the place back."""
        if ask.value:
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
