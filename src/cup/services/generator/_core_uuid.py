"""UUIDs of versions 7 and 4, as RFC 9562 defines them.

Version 7 is 48 bits of milliseconds, then a counter of 42 bits that begins at random in
each millisecond with its highest bit clear (section 6.2, method 1), then 32 bits of
randomness for each identifier.
"""

from __future__ import annotations

import os
import uuid
from struct import Struct
from typing import TYPE_CHECKING, Final

from cup._core import fork
from cup._core.fork import generation
from cup.errors import EpochOver, InvalidId, InvalidValue

from ._core_ids import Ids, expect, make_uuid, tick_of, utc
from ._core_runs import Run
from ._core_ticks import Ticking
from .api import ParsedID

if TYPE_CHECKING:
    from datetime import datetime

    from .api import Clock, ClockPolicy

__all__ = ["UUID4Core", "UUID7Core", "check_millis", "parse_uuid"]

_VERSION7: Final = 7 << 76
_VARIANT: Final = 2 << 62
_LOW: Final = 30  # bits of the counter below the variant
_TAIL: Final = 32
_MILLI: Final = 1000
_LATEST: Final = (1 << 48) - 1
_RANDOM7: Final = ((1 << 12) - 1) << 64 | (1 << 62) - 1

_POOL_ITEMS: Final = 1024
_POOL: Final = Struct(">1024I")
_WORDS: Final = Struct(">512Q")
_GREGORIAN: Final = 0x01B21DD213814000  # 100 ns from 1582-10-15 to 1970

_HIGH4_MASK: Final = 0xFFFF_FFFF_FFFF_0FFF
_HIGH4: Final = 0x4000
_LOW4_MASK: Final = (1 << 62) - 1


class UUID7Core(Ticking[uuid.UUID]):
    """What generators of UUIDs of version 7 do, without waiting."""

    __slots__ = ("_tails",)

    kind = "uuid7"

    def __init__(
        self, policy: ClockPolicy, max_ahead: float | None, clock: Clock | None
    ) -> None:
        super().__init__(tick=_MILLI, policy=policy, max_ahead=max_ahead, clock=clock)
        self._begin()

    def _begin(self) -> None:
        super()._begin()
        self._tails: list[int] = []  # what the parent had drawn stays with it

    def _make(self, tick: int, limit: int) -> Run | int:
        if tick > limit:
            return tick

        check_millis(tick)
        start = int.from_bytes(os.urandom(6), "big") >> 7  # 41 bits
        return _run7(tick, start)

    def _go_on(self, run: Run) -> Run | None:
        counter = ((run.first >> 64 & 0xFFF) + 1) << _LOW
        return _run7(run.tick, counter) if counter < 1 << 42 else None

    def attempt_int(self) -> int:
        """Return the next UUID as an integer, or raise `NotYet`."""
        while True:
            run = self._run
            if (
                fork.stamp[0]
                and run.epoch == fork.epoch
                and not run.after
                and run.opens <= self._read() < run.closes
            ):
                number = next(run.numbers)
                if number < run.end:
                    try:
                        return run.first + (number << _TAIL) + self._tails.pop()
                    except IndexError:
                        self._refill()
                        return run.first + (number << _TAIL) + self._tails.pop()

                run.full = True
            self._prepare(run)

    def _refill(self) -> None:
        # Other threads may take what is put in, but not so much so fast.
        self._tails.extend(_POOL.unpack(os.urandom(_POOL.size)))

    def attempt(self) -> uuid.UUID:
        """Return the next UUID, or raise `NotYet`."""
        return make_uuid(self.attempt_int())

    def attempt_some(self, n: int) -> list[uuid.UUID]:
        """Return some of the next UUIDs, or raise `NotYet`."""
        return [make_uuid(number) for number in self.attempt_ints(n)]

    def attempt_ints(self, n: int) -> list[int]:
        """Return some of the next UUIDs as integers, or raise `NotYet`."""
        run, numbers = self._take(min(n, _POOL_ITEMS))
        tails = _POOL.unpack(os.urandom(_POOL.size))
        first = run.first
        return [
            first + (number << _TAIL) + tail
            for number, tail in zip(numbers, tails, strict=False)
        ]

    def parse(self, value: uuid.UUID | str) -> ParsedID:
        """Say what an identifier of this kind tells about itself.

        Args:
            value: A UUID, or its text.

        Raises:
            InvalidId: If it is none of version 7.
            InvalidType: If it is no UUID and no text.
        """
        return parse_uuid(value, version=7)

    def bounds(self, time: datetime | float) -> tuple[uuid.UUID, uuid.UUID]:
        """Return the least and the greatest identifier that a time can have.

        All UUIDs that are made in the millisecond of this time lie between the two,
        which may be issued themselves: compare with `<=`.

        Args:
            time: An aware `datetime`, or seconds since 1970.

        Raises:
            InvalidValue: If the time is naive, or out of the range of 48 bits.
            InvalidType: If it is neither of the two types.
        """
        least = millis_in(time) << 80 | _VERSION7 | _VARIANT
        return make_uuid(least), make_uuid(least | _RANDOM7)


class UUID4Core(Ids[uuid.UUID]):
    """What generators of UUIDs of version 4 do; all of it at once."""

    __slots__ = ("_words",)

    kind = "uuid4"

    def __init__(self) -> None:
        self._words: tuple[int, list[int]] = (generation(), [])

    def next_int(self) -> int:
        """Return a random UUID as an integer."""
        epoch, words = self._words
        if fork.stamp[0] and epoch == fork.epoch:
            try:
                high, low = words.pop(), words.pop()
            except IndexError:
                pass
            else:
                return ((high & _HIGH4_MASK | _HIGH4) << 64) | (
                    low & _LOW4_MASK | _VARIANT
                )

        # Made by this process alone, and put in place at once.
        words = [*_WORDS.unpack(os.urandom(_WORDS.size))]
        high, low = words.pop(), words.pop()
        self._words = (generation(), words)
        return ((high & _HIGH4_MASK | _HIGH4) << 64) | (low & _LOW4_MASK | _VARIANT)

    def next_id(self) -> uuid.UUID:
        """Return an identifier that nobody else gets."""
        return make_uuid(self.next_int())

    def attempt(self) -> uuid.UUID:
        """Return a random UUID."""
        return make_uuid(self.next_int())

    def parse(self, value: uuid.UUID | str) -> ParsedID:
        """Say what an identifier of this kind tells about itself.

        Args:
            value: A UUID, or its text.

        Raises:
            InvalidId: If it is none of version 4.
            InvalidType: If it is no UUID and no text.
        """
        return parse_uuid(value, version=4)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def parse_uuid(value: uuid.UUID | str, version: int) -> ParsedID:
    """Say what an identifier of this kind tells about itself.

    Raises:
        InvalidId: If it is no UUID of this version as RFC 9562 defines them.
        InvalidType: If it is no UUID and no text.
    """
    value = _to_uuid(value)
    if value.variant != uuid.RFC_4122:
        raise InvalidId(f"{value} is no UUID of RFC 9562: its variant is another")

    if value.version != version:
        raise InvalidId(f"{value} is a UUID of version {value.version}, not {version}")

    number = value.int
    micros = None
    sequence = None
    if value.version == 7:  # noqa: PLR2004 - as the RFC numbers them
        micros = (number >> 80) * _MILLI
        sequence = (number >> 64 & 0xFFF) << _LOW | number >> _TAIL & (1 << _LOW) - 1
    elif value.version == 1:
        micros = (value.time - _GREGORIAN) // 10
    return ParsedID(
        kind=f"uuid{value.version}",
        text=str(value),
        number=number,
        time=None if micros is None else utc(micros),
        sequence=sequence,
    )


def _to_uuid(value: object) -> uuid.UUID:
    if not isinstance(value, str):
        return expect(value, uuid.UUID, "is no UUID: give one, or its text")

    try:
        return uuid.UUID(value)
    except ValueError:
        raise InvalidId(f"{value[:80]!r} is no UUID") from None


def millis_in(time: datetime | float) -> int:
    """Return a time as milliseconds of 48 bits.

    Raises:
        InvalidValue: If it cannot be.
        InvalidType: If it is no time.
    """
    millis = tick_of(time, _MILLI)
    if not 0 <= millis <= _LATEST:
        raise InvalidValue(f"the time {time} is out of the range of 48 bits from 1970")

    return millis


def check_millis(tick: int) -> None:
    """Refuse to issue where the clock shows what 48 bits cannot express.

    Raises:
        EpochOver: If it does.
    """
    if not 0 <= tick <= _LATEST:
        raise EpochOver(
            f"the clock shows {utc(tick * _MILLI) or tick}, which is out of the range "
            "of 48 bits of milliseconds from 1970; set it right"
        )


def _run7(tick: int, counter: int) -> Run:
    high, low = counter >> _LOW, counter & (1 << _LOW) - 1
    first = tick << 80 | _VERSION7 | high << 64 | _VARIANT
    return Run(low, 1 << _LOW, first=first, tick=tick)
