"""Snowflake ids: a time, a worker and a sequence in 63 bits (see `_core_layout`).

A process issues only in ticks that it has claimed for its worker number, so neither its
forked children nor its next start issue there. Not here: who gets which worker number
(`_core_workers`, `_core_lease`).
"""

from __future__ import annotations

import warnings
from time import monotonic
from typing import TYPE_CHECKING, Final

from cup._core import fork
from cup._core.fork import generation
from cup.errors import WorkerIdLost

from ._core_ids import NotYet, expect, number_in, tick_of, utc
from ._core_layout import Layout
from ._core_runs import Run
from ._core_ticks import Ticking
from .api import IDStats, ParsedID

if TYPE_CHECKING:
    from datetime import datetime

    from .api import Clock, ClockPolicy, WorkerSeat

__all__ = ["SeatNeeded", "SnowflakeCore"]

_BITS: Final = 63
_SOON: Final = 2 * 365.25 * 86400


class SeatNeeded(NotYet):
    """This process has no worker number; its face gets one, and comes again."""


class SnowflakeCore(Ticking[int]):
    """What generators of snowflake ids do, without waiting."""

    __slots__ = ("_layout", "_seat", "_seat_epoch", "_shift")

    kind = "snowflake"

    def __init__(
        self,
        layout: Layout,
        policy: ClockPolicy,
        max_ahead: float | None,
        clock: Clock | None,
    ) -> None:
        expect(layout, Layout, "is no layout: give a Layout, such as TWITTER")
        super().__init__(
            tick=layout.unit_micros, policy=policy, max_ahead=max_ahead, clock=clock
        )
        self._layout: Layout = layout
        self._shift: int = layout.worker_bits if layout.sequence_first else 0
        self._seat: WorkerSeat | None = None
        self._seat_epoch: int = -1
        self._begin()
        self._warn_of_the_end()

    @property
    def layout(self) -> Layout:
        """How its numbers are made."""
        return self._layout

    @property
    def expires_at(self) -> datetime:
        """When the time bits of its layout are used up, in UTC."""
        return self._layout.expires_at

    def _warn_of_the_end(self) -> None:
        left = self.expires_at.timestamp() - self._read()
        if 0 < left < _SOON:
            warnings.warn(
                f"the layout of these snowflake ids ends at {self.expires_at}, in "
                f"{left / 86400:.0f} days; change to one with a later epoch",
                RuntimeWarning,
                stacklevel=4,
            )

    def sit(self, seat: WorkerSeat) -> None:
        """Issue under a worker number from now on."""
        self._seat = seat
        self._seat_epoch = generation()

    def _make(self, tick: int, limit: int) -> Run | int:
        seat = self._seat
        if seat is None or self._seat_epoch != generation():
            raise SeatNeeded("no worker number yet")

        self._layout.compose(tick, seat.number)  # else it would be claimed for nothing
        try:
            claimed = seat.claim(tick, limit)
        except WorkerIdLost as error:
            raise SeatNeeded("the worker number is lost") from error
        if claimed > limit:
            return claimed

        first = self._layout.compose(claimed, seat.number)
        size = 1 << self._layout.sequence_bits
        return Run(0, size, first=first, tick=claimed, deadline=seat.deadline)

    def attempt(self) -> int:
        """Return the next id, or raise `NotYet`."""
        while True:
            run = self._run
            if (
                fork.stamp[0]
                and run.epoch == fork.epoch
                and not run.after
                and run.opens <= self._read() < run.closes
            ):
                number = next(run.numbers)
                if number < run.end and (
                    run.deadline is None or monotonic() < run.deadline
                ):
                    return run.first + (number << self._shift)

                run.full = True
            self._prepare(run)

    def attempt_some(self, n: int) -> list[int]:
        """Return some of the next ids, or raise `NotYet`."""
        while True:
            run, numbers = self._take(n)
            if run.deadline is None or monotonic() < run.deadline:
                first, shift = run.first, self._shift
                return [first + (number << shift) for number in numbers]

            run.full = True

    def parse(self, value: int | str) -> ParsedID:
        """Say what an identifier of this kind tells about itself.

        Args:
            value: An id, or its decimal digits.

        Raises:
            InvalidId: If it is no number of 63 bits.
            InvalidType: If it is no integer and no text.
        """
        number = number_in(value, _BITS, self.kind)
        tick, worker, sequence = self._layout.split(number)
        return ParsedID(
            kind=self.kind,
            text=str(number),
            number=number,
            time=utc(tick * self._layout.unit_micros),
            worker=worker,
            sequence=sequence,
        )

    def bounds(self, time: datetime | float) -> tuple[int, int]:
        """Return the least and the greatest identifier that a time can have.

        All ids that any worker makes in the tick of this time lie between the two,
        which may be issued themselves: compare with `<=`.

        Args:
            time: An aware `datetime`, or seconds since 1970.

        Raises:
            EpochOver: If the layout cannot express the time.
            InvalidValue: If the time is naive.
            InvalidType: If it is neither of the two types.
        """
        layout = self._layout
        tick = tick_of(time, layout.unit_micros)
        least = layout.compose(tick, 0)
        return least, least | (1 << layout.worker_bits + layout.sequence_bits) - 1

    def text_of(self, number: int) -> str:
        """Return an id as 19 digits: text that sorts, and that JSON keeps.

        Raises:
            InvalidId: If it is no number of 63 bits.
        """
        return f"{number_in(number, _BITS, self.kind):019}"

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        now = super().stats()
        seat = self._seat if self._seat_epoch == generation() else None
        return IDStats(
            kind=now.kind,
            latest=now.latest,
            ahead=now.ahead,
            left=now.left,
            worker=None if seat is None else seat.number,
        )
