"""What all kinds of identifiers share: the base of their cores, and their checks.

A core answers at once: with an identifier, or with `NotYet`, which says how long the
clock has to be waited for. Faces wait: `sync_ids` on the thread, `aio_ids` on the task.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar
from uuid import UUID, SafeUUID

from cup.errors import IdError, InvalidId, InvalidType, InvalidValue, TimelessId

from .api import IDStats

if TYPE_CHECKING:
    from .api import ParsedID

__all__ = [
    "Ids",
    "NotYet",
    "begin_of",
    "check_count",
    "check_int",
    "expect",
    "make_uuid",
    "number_in",
    "tick_at",
    "tick_of",
    "utc",
]

T = TypeVar("T")

_1970: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROS: Final = 1_000_000


class NotYet(IdError):
    """The clock has to be waited for; never leaves this package.

    Attributes:
        seconds: How long.
        most: How long at most, if that has to be done again and again; None for ever.
        error: What to raise then.
    """

    def __init__(
        self,
        message: str = "",
        *,
        seconds: float = 0.0,
        most: float | None = None,
        error: IdError | None = None,
    ) -> None:
        super().__init__(message)
        self.seconds: float = seconds
        self.most: float | None = most
        self.error: IdError | None = error

    def add_to(self, waited: float) -> float:
        """Add this wait to those before it; raises where that is too much.

        Raises:
            IdError: What was said for that case.
        """
        if self.most is not None and waited > self.most and self.error is not None:
            raise self.error

        return waited + self.seconds


class Ids(Generic[T]):
    """Base of the core of every kind.

    Attributes:
        kind: Its name.
    """

    __slots__ = ("__weakref__",)

    kind = "id"

    def attempt(self) -> T:
        """Return an identifier, or raise `NotYet`; never waits."""
        raise NotImplementedError

    def attempt_some(self, n: int) -> list[T]:
        """Return at least one and at most `n` identifiers, or raise `NotYet`."""
        return [self.attempt() for _ in range(n)]

    def parse(self, value: T | str) -> ParsedID:
        """Say what an identifier of this kind tells about itself.

        Args:
            value: An identifier, or its text form.

        Raises:
            InvalidId: If it is none of this kind.
            InvalidType: If its type is none that this kind has.
        """
        raise NotImplementedError

    def bounds(self, time: datetime | float) -> tuple[T, T]:
        """Return the least and the greatest identifier that a time can have.

        All identifiers that are made within the tick of this time lie between the two,
        which may be issued themselves: compare with `<=`.

        Args:
            time: An aware `datetime`, or seconds since 1970.

        Raises:
            TimelessId: If this kind does not tell the time.
            InvalidValue: If the time is naive, or cannot be expressed.
            InvalidType: If it is neither of the two types.
        """
        tick_of(time, 1)
        raise TimelessId(
            f"identifiers of the kind {self.kind} do not tell when they were made; "
            "take uuid7, ulid or snowflake for queries by time"
        )

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        return IDStats(kind=self.kind)

    def __reduce__(self) -> NoReturn:
        raise InvalidType(
            f"a {type(self).__name__} cannot be pickled or copied: each process draws "
            "from its own; make one there"
        )


_new = object.__new__
_set = object.__setattr__
_UNKNOWN = SafeUUID.unknown


def make_uuid(number: int) -> UUID:
    """Return the UUID of a valid 128-bit number, in a third of its constructor's time.

    A UUID refuses to be changed, so its two slots are set as its own class does it.
    """
    made = _new(UUID)
    _set(made, "int", number)
    _set(made, "is_safe", _UNKNOWN)
    return made


def expect(value: object, kind: type[T], otherwise: str) -> T:
    """Return a value of a type.

    Raises:
        InvalidType: If it is of another; says what the value is, and `otherwise`.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidType(f"{value!r} {otherwise}")

    return value


def check_int(name: str, value: object, low: int, high: int) -> int:
    """Return an integer that lies between two others, both allowed.

    Raises:
        InvalidType: If it is no integer.
        InvalidValue: If it lies outside.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidType(f"{name} is {value!r}; give an integer")

    if not low <= value <= high:
        raise InvalidValue(f"{name} is {value}; give one from {low} to {high}")

    return value


def check_count(n: object) -> int:
    """Return how many identifiers are asked for.

    Raises:
        InvalidType: If it is no integer.
        InvalidValue: If it is negative.
    """
    number = expect(n, int, "is no number of identifiers: give an integer")
    if number < 0:
        raise InvalidValue(f"{n} identifiers cannot be made: give 0 or more")

    return number


def begin_of(tick: int, micros: int) -> float:
    """Return the seconds since 1970 at which a tick of so many microseconds begins.

    It is the float nearest to it, as `datetime.timestamp` gives it, and a clock.
    """
    return tick * micros / _MICROS


def tick_at(seconds: float, micros: int) -> int:
    """Return the tick that has begun last, by `begin_of`.

    A product alone would often be cut to the tick before.
    """
    tick = math.floor(seconds * (_MICROS / micros))
    if begin_of(tick + 1, micros) <= seconds:
        return tick + 1

    return tick if begin_of(tick, micros) <= seconds else tick - 1


def tick_of(time: object, micros: int) -> int:
    """Return the tick, of so many microseconds, that a time lies in, from 1970 on.

    Raises:
        InvalidType: If it is no `datetime` and no number.
        InvalidValue: If it is naive, or not finite.
    """
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise InvalidValue(
                f"{time!r} has no time zone; give it one, such as timezone.utc"
            )
        return (time - _1970) // timedelta(microseconds=micros)

    if not isinstance(time, int | float) or isinstance(time, bool):
        raise InvalidType(f"the time is {time!r}; give a datetime, or seconds")

    if isinstance(time, int):
        return time * _MICROS // micros

    if not math.isfinite(time):
        raise InvalidValue(f"the time is {time}; give a point in time")

    return tick_at(time, micros)


def utc(micros: int) -> datetime | None:
    """Return microseconds since 1970 as a time; None beyond what `datetime` knows."""
    try:
        seconds, rest = divmod(micros, _MICROS)
        time = datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
    return time.replace(microsecond=rest)


def number_in(value: object, bits: int, kind: str) -> int:
    """Return an identifier that is a number, or decimal text of one.

    Raises:
        InvalidType: If it is neither.
        InvalidId: If it is no number of so many bits.
    """
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit()):
            raise InvalidId(f"{value!r} is no {kind} id: it has to be decimal digits")
        if len(value) > bits:  # int() takes long for long text
            raise InvalidId(f"{value[:20]!r}... is no {kind} id: it is too long")
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidType(f"{value!r} is no {kind} id: give an integer, or its digits")

    if not 0 <= value < 1 << bits:
        raise InvalidId(f"{value} is no {kind} id: those have {bits} bits")

    return value
