"""Clocks, and the rules that every time-out of the library follows.

`None` waits for ever, zero and negative numbers try once, NaN is refused. A deadline
is a point on `Clock.monotonic`; wall time is only for what people read.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Protocol

from cup.errors import InvalidType, InvalidValue

__all__ = ["SYSTEM", "Clock", "SystemClock", "check_timeout", "deadline_after"]


class Clock(Protocol):
    """A source of time; services take one, so that tests can turn the hands."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        ...

    def time(self) -> float:
        """Return seconds since the epoch, as people read them."""
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

    def __repr__(self) -> str:
        return "SystemClock()"


SYSTEM = SystemClock()

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
