"""Runs of numbers, one after the other: how all threads draw in order without a lock.

A generator draws from its newest run by `next` on a count, which is atomic. A run that
is used up, or whose time is over, gets a successor; whoever comes first makes it, and
all others find it. A run with a successor is never drawn from again, so whoever draws
after another call has returned gets a greater number. A forked child begins a chain of
its own. Nothing here waits, and all of it may be done in signal handlers.

Not here: what a run stands for (the kinds), when its time is over (`_core_ticks`).
"""

from __future__ import annotations

from itertools import count, islice
from threading import RLock
from typing import Generic, TypeVar

from cup._core import fork
from cup._core.fork import generation

from ._core_ids import Ids

__all__ = ["Chain", "Run"]

T = TypeVar("T")


class Run:
    """Numbers that belong to one generator in one process.

    Attributes:
        epoch: The fork generation that it belongs to.
        numbers: What is drawn; those from `end` on do not count.
        end: The first number that is none of the run.
        size: How many numbers it began with.
        full: Whether it was found to be used up.
        after: Its successor is the first item.
        mutex: Held while that is made.
        first: What a number is added to.
        tick: The time it belongs to, in ticks.
        floor: The earliest tick of the clock at which it may still be drawn from.
        opens: When that begins, in seconds since 1970.
        closes: When it must not be drawn from any more.
        text: What its identifiers begin with.
        deadline: When it ends on the monotonic clock; None if it does not.
    """

    __slots__ = (
        "after",
        "closes",
        "deadline",
        "end",
        "epoch",
        "first",
        "floor",
        "full",
        "mutex",
        "numbers",
        "opens",
        "size",
        "text",
        "tick",
    )

    def __init__(
        self,
        start: int,
        end: int,
        *,
        first: int = 0,
        tick: int = 0,
        text: str = "",
        deadline: float | None = None,
    ) -> None:
        self.epoch: int = generation()
        self.numbers: count[int] = count(start)
        self.end: int = end
        self.size: int = end - start
        self.full: bool = False
        self.after: list[Run] = []
        self.mutex = RLock()
        self.first: int = first
        self.tick: int = tick
        self.floor: int = tick
        self.opens: float = 0.0
        self.closes: float = 0.0
        self.text: str = text
        self.deadline: float | None = deadline

    def left(self) -> int:
        """Return how many numbers are left; a count tells by its repr, "count(5)"."""
        return 0 if self.full else max(0, self.end - int(repr(self.numbers)[6:-1]))


class Chain(Ids[T], Generic[T]):
    """A core that draws from a chain of runs.

    A subclass says in `_follow` what comes next.
    """

    __slots__ = ("_run",)

    _run: Run

    def _follow(self, run: Run | None) -> Run:
        """Make the successor of a run, or the first of this process; may raise."""
        raise NotImplementedError

    def _begin(self) -> None:
        """Make the first run of this process."""
        self._run: Run = self._follow(None)

    def _begin_anew(self) -> None:
        """Have all draw from a first run again; what is left of the others is lost."""
        run = self._run
        if not self._is_mine(run):
            self._enter_child()
            return

        fresh = self._follow(None)
        while True:
            with run.mutex:
                if not run.after:
                    run.end = 0
                    run.after.append(fresh)
                    break
            run = run.after[0]
        self._run = fresh

    def _is_mine(self, run: Run) -> bool:
        """Tell whether a run belongs to this process."""
        return bool(fork.stamp[0]) and run.epoch == fork.epoch

    def _turn(self, run: Run) -> Run:
        """Return the run after this one, which is not to be drawn from any more."""
        if not self._is_mine(run):
            return self._enter_child()

        if not run.after:
            with run.mutex:
                if not run.after:
                    run.after.append(self._follow(run))
        while run.after:
            run = run.after[0]
        self._run = run
        return run

    def _enter_child(self) -> Run:
        with fork.renewal:
            if not self._is_mine(self._run):
                self._begin()
            return self._run

    def _draw(self) -> int:
        """Return the next number of the newest run."""
        while True:
            run = self._run
            if fork.stamp[0] and run.epoch == fork.epoch and not run.after:
                number = next(run.numbers)
                if number < run.end:
                    return run.first + number

                run.full = True
            self._turn(run)

    def _draw_some(self, n: int) -> list[int]:
        """Return at least one and at most `n` numbers of one run."""
        while True:
            run = self._run
            if self._is_mine(run) and not run.after:
                numbers = [*islice(run.numbers, min(n, run.size))]
                if not numbers or numbers[-1] >= run.end:
                    run.full = True
                    numbers = [number for number in numbers if number < run.end]
                if numbers:
                    first = run.first
                    return [first + number for number in numbers] if first else numbers

            self._turn(run)
