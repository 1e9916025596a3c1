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
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

from cup._core.park import LockParker

from ._core_format import FRAME_SIZE

if TYPE_CHECKING:
    from cup._core.loops import Loop, TaskWaiter
    from cup.errors import LogError

    from ._core_format import Piece

__all__ = ["NOW", "Batch", "Entries", "Seat", "Sheaf", "raise_copy"]

NOW = 0.0  # a deadline that is over on every clock

Entries: TypeAlias = "list[tuple[list[Piece], bool]]"
"""Records in their order, in parts; the bool says whether a part is one batch of the
file: all or nothing."""


class Batch:
    """Records that are written and synced together.

    Attributes:
        entries: The records.
        count: How many there are.
        size: The bytes of their payloads.
        waits: Whether anybody waits for it.
        unwatched: How many of the records nobody waits for.
        exposed: Whether ids of its records are known already.
        deadline: When it is to be written at the latest.
        background: The same, for what no thread waits for.
        head: The first thread that waits.
        sheaves: The tasks that wait.
        baton: Taken by the one who lets the next batch be written.
        done: Whether it is settled.
        error: Why it failed.
        first: The id of its first record; 0 until it is written.
        group: The id that the group begins at, that it was written in.
        at: Where it was written; -1 until then.
    """

    __slots__ = (
        "_last",
        "at",
        "background",
        "baton",
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
        "unwatched",
        "waits",
    )

    def __init__(self) -> None:
        self.entries: Entries = []
        self.count: int = 0
        self.size: int = 0
        self.waits: bool = False
        self.unwatched: int = 0
        self.exposed: bool = False
        self.deadline: float = inf
        self.background: float = inf
        self.head: Seat | None = None
        self._last: Seat | None = None
        self.sheaves: list[Sheaf] = []
        self.baton: deque[None] = deque([None])
        self.done: bool = False
        self.error: LogError | None = None
        self.first: int = 0
        self.group: int = 0
        self.at: int = -1

    def add(self, entries: Entries, count: int, size: int, deadline: float) -> int:
        """Take records in; return which of the batch the first one is."""
        index = self.count
        self.entries += entries
        self.count += count
        self.size += size
        self.deadline = min(self.deadline, deadline)
        return index

    def frames_size(self) -> int:
        """Return the bytes that the records take in a file."""
        return self.size + self.count * FRAME_SIZE

    def seat(self, seat: Seat) -> None:
        """Let a thread wait."""
        self.waits = True
        if self._last is None:
            self.head = seat
        else:
            self._last.next = seat
        self._last = seat


class Seat:
    """Where a thread waits for a batch.

    Attributes:
        batch: What it waits for.
        index: Which of the batch its first record is.
        deadline: When it writes the batch itself.
        parker: What it is parked on.
        next: The seat that it wakes.
        woken: Whether the chain has come to it.
        left: Whether an exception has ended the wait.
        promoted: Whether it is to write the batch.
    """

    __slots__ = (
        "batch",
        "deadline",
        "index",
        "left",
        "next",
        "parker",
        "promoted",
        "woken",
    )

    def __init__(self, deadline: float) -> None:
        self.batch: Batch
        self.index: int = 0
        self.deadline: float = deadline
        self.parker: LockParker = LockParker()
        self.next: Seat | None = None
        self.woken: bool = False
        self.left: bool = False
        self.promoted: bool = False


class Sheaf:
    """What tasks of one loop append in one turn of it.

    All but `error` and the batch's results belong to the loop's thread.

    Attributes:
        home: The loop.
        entries: The records.
        count: How many there are.
        size: The bytes of their payloads.
        deadline: When they are to be written at the latest.
        waiters: The tasks.
        batch: The batch they are in; None until they are handed in.
        index: Which of the batch the first one is.
        settled: Whether the waiting is over.
        error: Why it was not taken in.
    """

    __slots__ = (
        "_singles",
        "batch",
        "count",
        "deadline",
        "entries",
        "error",
        "home",
        "index",
        "settled",
        "size",
        "waiters",
    )

    def __init__(self, home: Loop) -> None:
        self.home: Loop = home
        self.entries: Entries = []
        self._singles: list[Piece] | None = None
        self.count: int = 0
        self.size: int = 0
        self.deadline: float = inf
        self.waiters: list[TaskWaiter] = []
        self.batch: Batch | None = None
        self.index: int = 0
        self.settled: bool = False
        self.error: LogError | None = None

    def add_one(self, piece: Piece) -> int:
        """Take one record in; return which of the sheaf it is."""
        singles = self._singles
        if singles is None:
            singles = self._singles = []
            self.entries.append((singles, False))
        singles.append(piece)
        index = self.count
        self.count = index + 1
        self.size += len(piece.payload)
        return index

    def add_many(self, pieces: list[Piece]) -> int:
        """Take records in, as one batch of the file."""
        self._singles = None
        self.entries.append((pieces, True))
        index = self.count
        self.count += len(pieces)
        self.size += sum(len(piece.payload) for piece in pieces)
        return index

    def hurry(self, delay: float) -> None:
        """Have it written in so many seconds at the latest."""
        self.deadline = min(self.deadline, monotonic() + delay if delay else NOW)

    def set(self) -> None:
        """Wake the tasks, on their loop."""
        self.settled = True
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.set()

    def first_id(self) -> int:
        """Return the id of its first record.

        Raises:
            LogError: If it failed.
        """
        batch = self.batch
        raise_copy(self.error)
        assert batch is not None, "it is settled"
        raise_copy(batch.error)
        return batch.first + self.index


def raise_copy(error: LogError | None) -> None:
    """Raise an error that others raise, too: each raises its own."""
    if error is not None:
        raise copy(error) from error.__cause__
