"""What waits to be written: batches of records, and who waits for them.

A batch collects what comes while another one is written and synced; its records get
their ids when it is written. Whoever waits for one waits for the batch.

- A thread parks on its `Seat`. The seats of a batch form a chain: each one that wakes
  wakes the next, so that no two of them race for the interpreter, and the last one has
  the next batch written.
- Tasks of one loop share a `Sheaf`, which enters the batch once per turn of the loop,
  and is settled by one wake-up of it.

Not here: writing (`_core_committer`).
"""

from __future__ import annotations

from collections import deque
from copy import copy
from itertools import accumulate, pairwise
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

from cup._core.park import LockParker

from ._core_format import FRAME_SIZE, Piece

if TYPE_CHECKING:
    from cup._core.loops import Loop, TaskWaiter
    from cup.errors import LogError

__all__ = ["NOW", "Batch", "Entries", "Seat", "Sheaf", "Unit", "raise_copy"]

NOW = 0.0  # a deadline that is over on every clock

_NOTHING: Final[list[Piece]] = []

Entries: TypeAlias = "list[tuple[list[Piece], bool]]"
"""Records in their order, in parts; the bool says whether a part is one batch of the
file: all or nothing."""


class Unit:
    """What one caller appends; it becomes part of a batch in one step.

    Attributes:
        entries: The records.
        count: How many there are; none waits for what came before.
        size: The bytes of their payloads.
        deadline: When they are to be written at the latest.
        watched: Whether somebody waits for them.
        index: Which of the batch the first one is; set when it is written.
    """

    __slots__ = ("count", "deadline", "entries", "index", "size", "watched")

    def __init__(
        self, entries: Entries, count: int, size: int, deadline: float, *, watched: bool
    ) -> None:
        self.entries: Entries = entries
        self.count: int = count
        self.size: int = size
        self.deadline: float = deadline
        self.watched: bool = watched
        self.index: int = 0


class Seat(Unit):
    """Where a thread waits for what it has appended.

    Attributes:
        batch: The batch it is in.
        parker: What it is parked on.
        next: The seat that it wakes.
        woken: Whether the chain has come to it.
        left: Whether an exception has ended the wait.
        promoted: Whether it is to write the batch.
    """

    __slots__ = ("batch", "left", "next", "parker", "promoted", "woken")

    def __init__(
        self, entries: Entries, count: int, size: int, deadline: float
    ) -> None:
        self.entries = entries
        self.count = count
        self.size = size
        self.deadline = deadline
        self.watched = True
        self.index = 0
        self.batch: Batch
        self.parker: LockParker = LockParker()
        self.next: Seat | None = None
        self.woken: bool = False
        self.left: bool = False
        self.promoted: bool = False


class Batch:
    """Records that are written and synced together.

    While it is open, units are added, each in one step: an exception from outside
    leaves all of one in it, or nothing. What depends on them is computed by who writes.

    Attributes:
        begins: The id that its first record will have, if nothing fails.
        units: What callers have appended.
        exposed: Whether ids of its records are known already.
        deadline: When it is to be written at the latest.
        background: The same, for what no thread waits for.
        baton: Taken by the one who lets the next batch be written.
        done: Whether it is settled.
        error: Why it failed.
        entries: Its records.
        count: How many there are.
        size: The bytes of their payloads.
        waits: Whether anybody waits for it.
        unwatched: Whether there are records that nobody waits for.
        head: The first thread that waits.
        sheaves: The tasks that wait.
        first: The id of its first record; 0 until it is written.
        group: The id that the group begins at, that it was written in.
        at: Where it was written; -1 until then.
    """

    __slots__ = (
        "_added",
        "at",
        "background",
        "baton",
        "begins",
        "count",
        "deadline",
        "done",
        "entries",
        "error",
        "exposed",
        "first",
        "group",
        "head",
        "sheaves",
        "size",
        "units",
        "unwatched",
        "waits",
    )

    def __init__(self, begins: int) -> None:
        self.begins: int = begins
        self.units: list[Unit] = []
        self._added: tuple[int, int, int] = (0, 0, 0)
        self.exposed: bool = False
        self.deadline: float = inf
        self.background: float = inf
        self.baton: deque[None] = deque([None])
        self.done: bool = False
        self.error: LogError | None = None
        self.entries: Entries = []
        self.count: int = 0
        self.size: int = 0
        self.waits: bool = False
        self.unwatched: bool = False
        self.head: Seat | None = None
        self.sheaves: list[Sheaf] = []
        self.first: int = 0
        self.group: int = 0
        self.at: int = -1

    def added(self) -> tuple[int, int]:
        """Return how many records were added so far, and how many bytes they have."""
        units = self.units
        seen, count, size = self._added
        while seen < len(units):
            unit = units[seen]
            seen, count, size = seen + 1, count + unit.count, size + unit.size
        self._added = seen, count, size
        return count, size

    def first_seat(self) -> Seat | None:
        """Return the first thread that waits, if its wait goes on."""
        for unit in self.units:
            if isinstance(unit, Seat) and not unit.left:
                return unit
        return None

    def close(self) -> None:
        """Draw up what there is to write, and who waits; nothing is added any more."""
        entries: Entries = []
        seats: list[Seat] = []
        sheaves: list[Sheaf] = []
        number = watched = 0
        for unit in self.units:
            entries += unit.entries
            unit.index = number
            number += unit.count
            watched += unit.watched
            if isinstance(unit, Seat):
                seats.append(unit)
            elif isinstance(unit, Sheaf):
                sheaves.append(unit)
        for seat, following in pairwise(seats):
            seat.next = following
        self.entries = entries
        self.head = seats[0] if seats else None
        self.sheaves = sheaves
        self.waits = watched > 0
        self.unwatched = watched < len(self.units)
        self.count, self.size = self.added()

    def frames_size(self) -> int:
        """Return the bytes that the records take in a file."""
        return self.size + self.count * FRAME_SIZE


class Sheaf(Unit):
    """What tasks of one loop append in one turn of it.

    It belongs to the loop's thread until it is handed in.

    Attributes:
        home: The loop.
        asked: Records, and batches of the file, each with the task that waits for it.
        batch: The batch it is in; None until it is handed in.
        settled: Whether the waiting is over.
        error: Why it was not taken in.
    """

    __slots__ = ("_offsets", "asked", "batch", "error", "home", "settled")

    count: int
    deadline: float
    size: int

    def __init__(self, home: Loop) -> None:
        super().__init__([], 0, 0, inf, watched=True)
        self.home: Loop = home
        self.asked: list[tuple[Piece | list[Piece], TaskWaiter]] = []
        self._offsets: list[int] | None = None
        self.batch: Batch | None = None
        self.settled: bool = False
        self.error: LogError | None = None

    def add(self, part: Piece | list[Piece], waiter: TaskWaiter) -> int:
        """Take a record in, or a batch of the file; return which part it is."""
        position = len(self.asked)
        self.asked.append((part, waiter))
        return position

    def hurry(self, delay: float) -> None:
        """Have it written in so many seconds at the latest."""
        self.deadline = min(self.deadline, monotonic() + delay if delay else NOW)

    def bind(self) -> None:
        """Draw up what there is to write: not for tasks that are cancelled already."""
        parts = [_NOTHING if w.is_leaving() else part for part, w in self.asked]
        singles = [part for part in parts if isinstance(part, Piece)]
        if len(singles) == len(parts):
            entries: Entries = [(singles, False)]
            self.count = len(singles)
        else:
            entries = [
                ([part], False) if isinstance(part, Piece) else (part, True)
                for part in parts
            ]
            self._offsets = [0, *accumulate([len(some) for some, _ in entries])]
            self.count = self._offsets[-1]
        self.entries = entries
        self.size = sum([len(p.payload) for some, _ in entries for p in some])

    def set(self) -> None:
        """Wake the tasks, on their loop."""
        self.settled = True
        asked, self.asked = self.asked, []
        for _, waiter in asked:
            waiter.set()

    def check(self) -> Batch:
        """Return its batch, once it is settled.

        Raises:
            LogError: If it failed.
        """
        batch = self.batch
        raise_copy(self.error)
        assert batch is not None, "it is settled"
        raise_copy(batch.error)
        return batch

    def id_of(self, position: int) -> int:
        """Return the id of the first record of a part.

        Raises:
            LogError: If it failed.
        """
        batch = self.check()
        offset = position if self._offsets is None else self._offsets[position]
        return batch.first + self.index + offset


def raise_copy(error: LogError | None) -> None:
    """Raise an error that others raise, too: each raises its own."""
    if error is not None:
        raise copy(error) from error.__cause__
