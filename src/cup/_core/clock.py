"""Clocks, and the rules that every time-out of the library follows.

`None` waits for ever, zero and negative numbers try once, NaN is refused. A deadline
is a point on `Clock.monotonic`; wall time is only for what people read, and for what
is planned by the calendar. A `ClockWatch` notices that the wall clock was set, or that
the machine slept.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from typing import NamedTuple, Protocol

from cup.errors import InvalidType, InvalidValue

__all__ = [
    "SYSTEM",
    "Clock",
    "ClockJump",
    "ClockWatch",
    "SystemClock",
    "WakefulClock",
    "check_timeout",
    "deadline_after",
]


class Clock(Protocol):
    """A source of time; services take one, so that tests can turn the hands."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        ...

    def time(self) -> float:
        """Return seconds since the epoch, as people read them."""
        ...


class WakefulClock(Clock, Protocol):
    """A clock that also knows how long the machine has slept."""

    def suspended(self) -> float:
        """Return the seconds so far in which the monotonic clock stood still."""
        ...


class SystemClock:
    """The clock of this machine."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    def time(self) -> float:
        """Return `time.time()`."""
        return time.time()

    def suspended(self) -> float:
        """Return the seconds that this machine has slept; 0.0 where none can tell."""
        if sys.platform == "linux":
            return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        return 0.0

    def __repr__(self) -> str:
        return "SystemClock()"


SYSTEM = SystemClock()


class ClockJump(NamedTuple):
    """What happened to the wall clock besides the passing of time."""

    stepped: float
    """Seconds by which somebody set it, forward or back."""
    slept: float
    """Seconds that the machine was suspended."""


class ClockWatch:
    """Compares the wall clock with the monotonic one, whenever it is asked to look.

    Not thread-safe.
    """

    __slots__ = ("_ahead", "_clock", "_slept")

    def __init__(self, clock: WakefulClock) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Forget what was before; the next look tells what has happened since."""
        clock = self._clock
        self._ahead: float = clock.time() - clock.monotonic()
        self._slept: float = clock.suspended()

    def look(self) -> ClockJump | None:
        """Tell what has happened since the last look.

        Returns:
            None if the clocks agree within a second, as they do while the wall clock is
            only slewed.
        """
        ahead, slept = self._ahead, self._slept
        self.begin()
        pause = max(0.0, self._slept - slept)
        pause = pause if pause >= _NOTICED else 0.0
        stepped = self._ahead - ahead - pause
        if abs(stepped) < _NOTICED:
            stepped = 0.0
        return ClockJump(stepped, pause) if stepped or pause else None


_NOTICED = 1.0  # seconds; less is slewing, and the time between two readings

LONGEST = threading.TIMEOUT_MAX
"""What a lock can wait at most, in seconds; longer waits are waited in parts."""


def check_timeout(timeout: float | None, name: str = "timeout") -> float | None:
    """Return the time-out as the library counts it.

    Args:
        timeout: Seconds; None or infinity wait for ever, zero or less tries once.
        name: The name of the argument, for the error.

    Raises:
        InvalidType: If it is not a number.
        InvalidValue: If it is NaN.
    """
    if timeout is None:
        return None

    try:
        if math.isnan(timeout):
            raise InvalidValue(f"{name} is NaN; give seconds, or None to wait for ever")
        seconds = float(timeout)
    except TypeError:  # a string, too, which `float` would take
        raise InvalidType(
            f"{name} must be seconds (a number) or None, not {timeout!r}"
        ) from None
    except OverflowError:  # an integer beyond all floats
        return None if timeout > 0 else 0.0

    if math.isinf(seconds) and seconds > 0:
        return None

    return max(0.0, seconds)


def deadline_after(timeout: float | None, clock: Clock = SYSTEM) -> float | None:
    """Return the point on the monotonic clock at which a checked time-out ends."""
    return None if timeout is None else clock.monotonic() + timeout
