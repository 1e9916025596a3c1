"""ULIDs, as github.com/ulid/spec defines them: 48 bits of milliseconds, 80 of chance.

Within a millisecond the random part goes up by one. Text is Crockford's base 32, in
capitals, 26 letters that sort as the numbers do.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cup._core import fork
from cup.errors import InvalidId

from ._core_ids import expect, make_uuid, utc
from ._core_runs import Run
from ._core_ticks import Ticking
from ._core_uuid import check_millis, millis_in
from .api import ParsedID

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from .api import Clock, ClockPolicy

__all__ = ["ULIDCore", "decode_ulid", "encode_ulid"]

_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES: Final = {letter: n for n, letter in enumerate(_LETTERS)} | {
    letter: _LETTERS.index(meant) for letter, meant in zip("ILO", "110", strict=True)
}
_PAIRS: Final = tuple(high + low for high in _LETTERS for low in _LETTERS)
_LENGTH: Final = 26
_MILLI: Final = 1000
_CHANCE: Final = 80
_DIRECT: Final = 20  # bits that one run counts through: the last four letters


class ULIDCore(Ticking[str]):
    """What generators of ULIDs do, without waiting."""

    __slots__ = ()

    kind = "ulid"

    def __init__(
        self, policy: ClockPolicy, max_ahead: float | None, clock: Clock | None
    ) -> None:
        super().__init__(tick=_MILLI, policy=policy, max_ahead=max_ahead, clock=clock)
        self._begin()

    def _make(self, tick: int, limit: int) -> Run | int:
        if tick > limit:
            return tick

        check_millis(tick)
        # The highest bit is clear: there is room to count up.
        chance = int.from_bytes(os.urandom(_CHANCE // 8), "big") >> 1
        return _run(tick, chance)

    def _go_on(self, run: Run) -> Run | None:
        chance = (run.first & (1 << _CHANCE) - 1) + (1 << _DIRECT)
        return _run(run.tick, chance) if chance < 1 << _CHANCE else None

    def attempt(self) -> str:
        """Return the next ULID as text, or raise `NotYet`."""
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
                    return run.text + _PAIRS[number >> 10] + _PAIRS[number & 1023]

                run.full = True
            self._prepare(run)

    def attempt_some(self, n: int) -> list[str]:
        """Return some of the next ULIDs, or raise `NotYet`."""
        run, numbers = self._take(n)
        text = run.text
        return [
            text + _PAIRS[number >> 10] + _PAIRS[number & 1023] for number in numbers
        ]

    def parse(self, value: str) -> ParsedID:
        """Say what an identifier of this kind tells about itself.

        Args:
            value: Its text; small letters, and I, L, O for 1, 1, 0, are read, too.

        Raises:
            InvalidId: If it is none.
            InvalidType: If it is no text.
        """
        number = decode_ulid(value)
        return ParsedID(
            kind=self.kind,
            text=encode_ulid(number),
            number=number,
            time=utc((number >> _CHANCE) * _MILLI),
            sequence=number & (1 << _CHANCE) - 1,
        )

    def bounds(self, time: datetime | float) -> tuple[str, str]:
        """Return the least and the greatest identifier that a time can have.

        All ULIDs that are made in the millisecond of this time lie between the two,
        which may be issued themselves: compare with `<=`.

        Args:
            time: An aware `datetime`, or seconds since 1970.

        Raises:
            InvalidValue: If the time is naive, or out of the range of 48 bits.
            InvalidType: If it is neither of the two types.
        """
        least = millis_in(time) << _CHANCE
        return encode_ulid(least), encode_ulid(least | (1 << _CHANCE) - 1)

    @staticmethod
    def to_uuid(ulid: str) -> UUID:
        """Return the UUID of the same 128 bits, as databases store it.

        It is no UUID of a version of RFC 9562.

        Raises:
            InvalidId: If it is no ULID.
        """
        return make_uuid(decode_ulid(ulid))

    @staticmethod
    def from_uuid(value: UUID) -> str:
        """Return the ULID of the 128 bits of a UUID."""
        return encode_ulid(value.int)


def encode_ulid(number: int) -> str:
    """Return a number of 128 bits in Crockford's base 32."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def decode_ulid(text: object) -> int:
    """Return the number of a ULID.

    Raises:
        InvalidId: If the text is none, or beyond 7ZZZ..., which has 129 bits.
        InvalidType: If it is no text.
    """
    given = expect(text, str, "is no ULID: give a text")
    number = 0
    for letter in given.upper() if given.isascii() and len(given) == _LENGTH else "?":
        value = _VALUES.get(letter)
        if value is None:
            raise InvalidId(
                f"{given[:50]!r} is no ULID: those have {_LENGTH} letters of {_LETTERS}"
            )
        number = number << 5 | value
    if number >> 128:
        raise InvalidId(f"{text!r} is no ULID: it is beyond 128 bits (7ZZZ...)")

    return number


def _run(tick: int, chance: int) -> Run:
    first = (tick << _CHANCE | chance) >> _DIRECT << _DIRECT
    text = encode_ulid(first)[:-4]
    start = chance & (1 << _DIRECT) - 1
    return Run(start, 1 << _DIRECT, first=first, tick=tick, text=text)
