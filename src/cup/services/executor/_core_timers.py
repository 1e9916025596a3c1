"""The timers of one service: a million of them, on one thread.

A program with two heaps, one for the monotonic clock and one for the wall clock. Who
sets or cancels a timer takes no lock: a new one goes into an inbox, which the next step
sorts in; a cancelled one is left behind as a husk that holds nothing, and husks are
swept out when there are many. So both work in signal handlers and finalizers, and their
cost does not grow with the number of timers, but for the step's part of it.

Each service has its own: its end can then say what became of each of its timers, and
its thread goes with it. The process's timekeeper (`cup._core.timekeeper`) stays apart:
it has what the library itself must do in time, however many timers users have.

Not here: what a timer does when it is due. That is decided after the step, and is never
the code of a user.
"""

from __future__ import annotations

import heapq
import itertools
from _thread import allocate_lock
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

from cup._core.clock import ClockWatch
from cup._core.program import Program

from ._core_lateness import Lateness

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Iterator

    from cup._core.clock import WakefulClock

__all__ = ["BATCH", "SLICE", "UNARMED", "Alarm", "Seat", "TimerHeap", "Timers"]

UNARMED = 0
"""The ticket of an alarm that is not set."""

SLICE = 30.0
"""Seconds after which somebody looks at the wall clock, while it has timers."""

BATCH = 1023
"""A mask: after so many new timers, or husks, the thread comes to tidy up."""

_AT_ONCE = float("-inf")
_NEVER = float("inf")
_FEW = 64  # husks that are no trouble


class Alarm(Protocol):
    """Something that is set for a moment.

    Attributes:
        ticket: Which entry of a heap is its own; `UNARMED` if none is. An entry with
            another ticket is a husk.
    """

    ticket: int

    def ring(self) -> object:
        """Do what is due; called on the timers' thread, and over at once."""
        ...

    def clock_was_set(self, by: float, /) -> object:
        """Take it that the wall clock, which this alarm goes by, was set."""
        ...


class Seat(Protocol):
    """What calls the program: a thread, or the virtual clock of a test."""

    def nudge(self, deadline: float) -> None:
        """Have it called at the latest at this point of the monotonic clock."""
        ...

    def stop(self) -> None:
        """Call it no more."""
        ...


Entry = tuple[float, int, Alarm]


class TimerHeap:
    """Timers of one clock, the earliest first; equal ones in the order of setting."""

    __slots__ = ("entries", "husks", "inbox")

    def __init__(self) -> None:
        self.inbox: deque[Entry] = deque()
        self.entries: list[Entry] = []
        self.husks: deque[None] = deque()

    def tidy(self) -> None:
        """Sort in what is new, and sweep out husks if they are many."""
        inbox, entries = self.inbox, self.entries
        if len(inbox) > max(_FEW, len(entries) // 8):
            entries.extend(self._drain())
            heapq.heapify(entries)
        elif inbox:
            for entry in self._drain():
                heapq.heappush(entries, entry)
        if len(self.husks) > max(_FEW, len(entries) // 2):
            self.husks.clear()
            entries[:] = [entry for entry in entries if entry[2].ticket == entry[1]]
            heapq.heapify(entries)

    def _drain(self) -> Iterator[Entry]:
        inbox = self.inbox
        for _ in range(len(inbox)):
            entry = inbox.popleft()
            if entry[2].ticket == entry[1]:
                yield entry

    def next_due(self) -> float | None:
        """Return when the earliest timer is due; husks are dropped on the way."""
        entries = self.entries
        while entries:
            due, ticket, alarm = entries[0]
            if alarm.ticket == ticket:
                return due

            heapq.heappop(entries)
        return None

    def clear(self) -> list[Alarm]:
        """Forget all timers; return those that were set."""
        left = [*self.entries, *self.inbox]
        self.entries.clear()
        self.inbox.clear()
        self.husks.clear()
        return [alarm for _, ticket, alarm in sorted(left) if alarm.ticket == ticket]


class Timers(Program):
    """The timers of one service, as a program.

    Attributes:
        seat: Who calls this program; None while the service does not run.
        lateness: How late timers were taken.
        on_empty: Called by steps that leave no timer; None for nothing.
        armed: When the thread comes by itself; later timers need not tell it.
        by_monotonic: The timers of the clock that nobody sets.
        by_wall: The timers of the wall clock.
    """

    precise = True

    __slots__ = (
        "_clock",
        "_mutex",
        "_tickets",
        "_watch",
        "_watching",
        "armed",
        "by_monotonic",
        "by_wall",
        "lateness",
        "on_empty",
        "seat",
    )

    def __init__(self, clock: WakefulClock) -> None:
        super().__init__()
        self._clock = clock
        self._watch = ClockWatch(clock)
        self._watching = False  # else nobody needs to know what happened to the clock
        self.seat: Seat | None = None
        self.on_empty: Callable[[], object] | None = None
        self.armed: float = _NEVER
        self.lateness: Lateness = Lateness()
        self._tickets = itertools.count(UNARMED + 1)
        self.by_monotonic: TimerHeap = TimerHeap()
        self.by_wall: TimerHeap = TimerHeap()
        # Between a step that takes a timer and somebody who sets it anew.
        self._mutex: LockType = allocate_lock()

    # -- for everybody; takes no lock ----------------------------------------------

    def set(self, alarm: Alarm, due: float) -> None:
        """Have an alarm ring at a point of the monotonic clock."""
        alarm.ticket = ticket = next(self._tickets)
        inbox = self.by_monotonic.inbox
        inbox.append((due, ticket, alarm))
        # Put in first, looked at second: the step that clears `armed` empties the inbox
        # after it.
        if due < self.armed or not len(inbox) & BATCH:
            seat = self.seat
            if seat is not None:
                seat.nudge(due if len(inbox) & BATCH else _AT_ONCE)

    def set_by_wall(self, alarm: Alarm, due: float) -> None:
        """Have an alarm ring when the wall clock shows this."""
        alarm.ticket = ticket = next(self._tickets)
        inbox = self.by_wall.inbox
        inbox.append((due, ticket, alarm))
        seat = self.seat
        if seat is not None:
            clock = self._clock
            wait = min(SLICE, due - clock.time())
            # The first one begins the watch over the clock.
            seat.nudge(clock.monotonic() + wait if self._watching else _AT_ONCE)

    def look_at_husks(self, heap: TimerHeap) -> None:
        """Have husks swept out, if they are many for their heap."""
        seat = self.seat
        if len(heap.husks) > len(heap.entries) // 2 and seat is not None:
            seat.nudge(_AT_ONCE)

    # -- for who may wait for a lock -----------------------------------------------

    def take(self, alarm: Alarm) -> bool:
        """Unset an alarm; False if it is not set: it rings or has rung."""
        with self._mutex:
            taken = alarm.ticket != UNARMED
            alarm.ticket = UNARMED
        return taken

    def open(self, seat: Seat) -> None:
        """Let timers ring; what was set before may be due already."""
        self._watching = False
        self.seat = seat
        seat.nudge(_AT_ONCE)

    def close(self) -> list[Alarm]:
        """Let those ring that are due, and forget the others.

        Returns:
            Those others, unset, the earliest first.
        """
        seat, self.seat = self.seat, None
        if seat is not None:
            seat.stop()
        self._ring_due()
        self.armed = _NEVER
        left = [*self.by_monotonic.clear(), *self.by_wall.clear()]
        return [alarm for alarm in left if self.take(alarm)]

    def _ring_due(self) -> None:
        self.step(self._clock.monotonic())
        while self.effects:
            self.effects.popleft()()

    def forget_all(self) -> list[Alarm]:
        """Forget everything, in a forked child; return what was set."""
        self.effects.clear()
        left = [*self.by_monotonic.clear(), *self.by_wall.clear()]
        self._mutex = allocate_lock()
        self._watching = False
        self.seat = None
        self.armed = _NEVER
        return left

    def pending(self) -> int:
        """Return how many timers are set; it looks at each of them."""
        heaps = (self.by_monotonic, self.by_wall)
        return sum(
            entry[2].ticket == entry[1]
            for heap in heaps
            for entry in (*heap.entries, *heap.inbox)
        )

    # -- the program ---------------------------------------------------------------

    def step(self, now: float) -> float | None:
        """Take the timers that are due; say when the next one is."""
        self.armed = _NEVER
        heap = self.by_monotonic
        heap.tidy()
        due = self._take_due(heap, now)
        by_wall = self.by_wall
        if by_wall.entries or by_wall.inbox:
            due = self._step_by_wall(now, due)
        else:
            self._watching = False
        if due is None:
            if self.on_empty is not None:
                self.effects.append(self.on_empty)
            return None

        self.armed = due
        return due

    def _take_due(self, heap: TimerHeap, now: float) -> float | None:
        """Take what is due by the clock of a heap; return when the next one is."""
        entries = heap.entries
        while entries:
            due, ticket, alarm = entries[0]
            if due > now and alarm.ticket == ticket:
                return due

            heapq.heappop(entries)
            with self._mutex:
                mine = alarm.ticket == ticket
                if mine:
                    alarm.ticket = UNARMED
            if mine:
                self.lateness.note(now - due)
                self.effects.append(alarm.ring)
        return None

    def _step_by_wall(self, now: float, due: float | None) -> float:
        heap = self.by_wall
        heap.tidy()
        jump = self._watch.look()
        fresh, self._watching = not self._watching, True
        if jump is not None and jump.stepped and not fresh:
            # They decide first; what is due by then, the next step finds.
            for _, ticket, alarm in heap.entries:
                if alarm.ticket == ticket:
                    self.effects.append(partial(alarm.clock_was_set, jump.stepped))
            return now

        wall = self._clock.time()
        next_wall = self._take_due(heap, wall)
        look = now + SLICE
        if next_wall is not None:
            look = min(look, now + (next_wall - wall))
        return look if due is None else min(look, due)
