"""Layouts of 64-bit identifiers: a time, a worker, a sequence, in 63 bits.

The layouts after Twitter (github.com/twitter-archive/snowflake), Sony
(github.com/sony/sonyflake), Instagram (their engineering blog, "Sharding & IDs at
Instagram") and Discord (its API reference). Those of the last two have one bit of time
less than the originals, so that numbers fit into signed 64 bits; they equal the
originals until 2046 and 2084.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from cup.errors import EpochOver, InvalidValue

from ._core_ids import check_int, expect, utc

__all__ = ["DISCORD", "INSTAGRAM", "LAYOUTS", "SONY", "TWITTER", "Capacity", "Layout"]

_BITS: Final = 63
_1970: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICRO: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a layout has room for.

    Attributes:
        workers: How many workers there can be.
        per_tick: Identifiers of one worker in one tick.
        per_second: Identifiers of one worker in one second, in the long run.
        in_all: Identifiers of all workers in one second.
        expires_at: When its time bits are used up, in UTC.
    """

    workers: int
    per_tick: int
    per_second: int
    in_all: int
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a number of at most 63 bits is made of a time, a worker and a sequence.

    The time is in the highest bits, so numbers sort by it.

    Attributes:
        epoch: When time 0 begins; aware, and a multiple of the unit from 1970 on.
        unit: How long a tick is.
        time_bits: How many ticks there can be, as a power of 2.
        worker_bits: How many workers, as a power of 2.
        sequence_bits: How many identifiers in a tick, as a power of 2.
        sequence_first: Whether the sequence stands before the worker.

    Raises:
        InvalidValue: If the bits are too many, or the epoch does not fit the unit.
        InvalidType: If something is of another type.
    """

    epoch: datetime
    unit: timedelta = timedelta(milliseconds=1)
    time_bits: int = 41
    worker_bits: int = 10
    sequence_bits: int = 12
    sequence_first: bool = False

    def __post_init__(self) -> None:
        check_int("time_bits", self.time_bits, 1, _BITS)
        check_int("worker_bits", self.worker_bits, 0, _BITS)
        check_int("sequence_bits", self.sequence_bits, 0, _BITS)
        bits = self.time_bits + self.worker_bits + self.sequence_bits
        if bits > _BITS:
            raise InvalidValue(f"{bits} bits do not fit into a signed 64-bit number")

        expect(self.unit, timedelta, "is no unit of time: give a timedelta")
        if self.unit < _MICRO:
            raise InvalidValue(f"unit is {self.unit!r}; give a microsecond or more")

        expect(self.epoch, datetime, "is no epoch: give a datetime")
        if self.epoch.tzinfo is None:
            raise InvalidValue(f"epoch {self.epoch!r} has no time zone; give it one")

        if (self.epoch - _1970) % self.unit:
            raise InvalidValue(
                f"epoch {self.epoch} is no multiple of the unit, {self.unit}, from 1970"
            )

    @property
    def first_tick(self) -> int:
        """The tick of the epoch, counted from 1970."""
        return (self.epoch - _1970) // self.unit

    @property
    def unit_micros(self) -> int:
        """The length of a tick in microseconds."""
        return self.unit // _MICRO

    @property
    def workers(self) -> int:
        """How many workers there can be."""
        return 1 << self.worker_bits

    @property
    def expires_at(self) -> datetime:
        """When the time bits are used up, in UTC; the year 9999 if that is later."""
        micros = (self.first_tick + (1 << self.time_bits)) * self.unit_micros
        return utc(micros) or datetime.max.replace(tzinfo=timezone.utc)

    def capacity(self) -> Capacity:
        """Return what there is room for."""
        per_tick = 1 << self.sequence_bits
        per_second = per_tick * 1_000_000 // self.unit_micros
        return Capacity(
            workers=self.workers,
            per_tick=per_tick,
            per_second=per_second,
            in_all=per_second * self.workers,
            expires_at=self.expires_at,
        )

    def compose(self, tick: int, worker: int, sequence: int = 0) -> int:
        """Return the number of a tick (from 1970), a worker and a sequence.

        Raises:
            EpochOver: If the time bits cannot express the tick.
            InvalidValue: If the worker or the sequence is out of its range.
        """
        time = tick - self.first_tick
        if not 0 <= time < 1 << self.time_bits:
            raise EpochOver(
                f"{utc(tick * self.unit_micros)} is outside of this layout, which "
                f"lasts from {self.epoch} to {self.expires_at}"
            )
        check_int("worker", worker, 0, self.workers - 1)
        check_int("sequence", sequence, 0, (1 << self.sequence_bits) - 1)
        if self.sequence_first:
            low = sequence << self.worker_bits | worker
        else:
            low = worker << self.sequence_bits | sequence
        return time << self.worker_bits + self.sequence_bits | low

    def split(self, number: int) -> tuple[int, int, int]:
        """Return the tick (from 1970), the worker and the sequence of a number."""
        low = number & (1 << self.worker_bits + self.sequence_bits) - 1
        tick = (number >> self.worker_bits + self.sequence_bits) + self.first_tick
        if self.sequence_first:
            return tick, low & self.workers - 1, low >> self.worker_bits
        return tick, low >> self.sequence_bits, low & (1 << self.sequence_bits) - 1

    def scope(self) -> str:
        """Return a name for what must not issue the same numbers."""
        return (
            f"{self.first_tick}-{self.unit_micros}-{self.time_bits}-"
            f"{self.worker_bits}-{self.sequence_bits}-{int(self.sequence_first)}"
        )


def _layout_of(epoch_millis: int, time: int, worker: int, sequence: int) -> Layout:
    return Layout(
        epoch=_1970 + timedelta(milliseconds=epoch_millis),
        time_bits=time,
        worker_bits=worker,
        sequence_bits=sequence,
    )


TWITTER: Final = _layout_of(1_288_834_974_657, 41, 10, 12)
"""Milliseconds since 2010-11-04 in 41 bits, 1024 workers, 4096 a millisecond."""

DISCORD: Final = _layout_of(1_420_070_400_000, 41, 10, 12)
"""Milliseconds since 2015; the worker is 5 bits of worker and 5 of process."""

INSTAGRAM: Final = _layout_of(1_314_220_021_721, 40, 13, 10)
"""Milliseconds since 2011-08-24 in 40 bits, 8192 shards, 1024 a millisecond."""

SONY: Final = Layout(
    epoch=datetime(2014, 9, 1, tzinfo=timezone.utc),
    unit=timedelta(milliseconds=10),
    time_bits=39,
    worker_bits=16,
    sequence_bits=8,
    sequence_first=True,
)
"""10 ms since 2014-09-01 in 39 bits, 256 of them in each, 65,536 machines."""

LAYOUTS: Final = {
    "twitter": TWITTER,
    "discord": DISCORD,
    "instagram": INSTAGRAM,
    "sony": SONY,
}
"""The layouts above, by name."""
