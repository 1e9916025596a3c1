"""When periodic runs are due, and which of those that were missed are made up for.

Pure functions in O(1): ten years of missed seconds cost what one costs. A period is
known by its index: run `k` is due at `start + k * period`, so nothing adds up.

Not here: the calendar (`_core_cron`), and clocks.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

from cup._core.clock import check_timeout
from cup.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from .api_values import CatchUp, Jitter

__all__ = [
    "check_period",
    "delayed_by",
    "due_at",
    "finite",
    "index_after",
    "index_at",
    "made_up_for",
]

SHORTEST: Final = 1e-6
_FRACTION_BITS: Final = 64


def due_at(start: float, period: float, index: int) -> float:
    """Return when a run is due."""
    return start + index * period


def index_at(start: float, period: float, now: float) -> int:
    """Return the last index that is due at `now` or before; negative before `start`."""
    index = math.floor((now - start) / period)
    # The division rounds; the product is what counts. It is off by one at most.
    while due_at(start, period, index + 1) <= now:
        index += 1
    while due_at(start, period, index) > now:
        index -= 1
    return index


def index_after(start: float, period: float, now: float) -> int:
    """Return the first index that is due after `now`."""
    return index_at(start, period, now) + 1


def made_up_for(
    catch_up: CatchUp,
    first: int,
    last: int,
    *,
    now: float,
    start: float,
    period: float,
) -> range:
    """Choose the runs to start now among those that are due.

    Args:
        catch_up: What to do about runs that were missed.
        first: The index that was waited for.
        last: The last index that is due by now.
        now: What the clock shows.
        start: When index 0 was due.
        period: Seconds between two.

    Returns:
        The indices to run, the oldest first; the others count as missed.
    """
    if catch_up.mode == "latest":
        return range(last, last + 1)

    if catch_up.mode == "none":
        late = now - due_at(start, period, last)
        return range(last, last + (1 if late <= catch_up.grace else 0))

    if catch_up.limit is not None:
        first = max(first, last + 1 - catch_up.limit)
    if catch_up.window is not None:
        oldest = now - catch_up.window
        first = max(first, min(last + 1, index_after(start, period, oldest)))
    return range(first, last + 1)


def delayed_by(
    jitter: Jitter | None, room: float, name: str, draw: Callable[[], float]
) -> float:
    """Return by how many seconds a run is delayed.

    Args:
        jitter: How runs are spread; None for not at all.
        room: Seconds to the next run, which the delay stays below.
        name: What a stable delay follows from.
        draw: Returns a random number in [0, 1).
    """
    if jitter is None:
        return 0.0

    spread = min(jitter.spread, room)
    return spread * (_fraction(name) if jitter.stable else draw())


def _fraction(name: str) -> float:
    """Return a number in [0, 1) that follows from a name, on every machine."""
    digest = hashlib.blake2b(name.encode(), digest_size=_FRACTION_BITS // 8).digest()
    # 53 bits: a float has no more, and rounding up would give 1.0.
    return (int.from_bytes(digest, "big") >> (_FRACTION_BITS - 53)) / (1 << 53)


def check_period(name: str, value: float) -> float:
    """Refuse a period that cannot be kept.

    Raises:
        InvalidType: If it is not a number.
        InvalidValue: If it is NaN, infinite, zero or negative.
    """
    seconds = finite(name, value)
    if seconds < SHORTEST:
        raise InvalidValue(f"{name}={value!r} is below {SHORTEST} s, the shortest one")

    return seconds


def finite(name: str, value: float | None) -> float:
    """Refuse what is no number of seconds that ends; negative ones count as zero.

    Raises:
        InvalidType: If it is not a number.
        InvalidValue: If it is NaN or infinite.
    """
    if value is None:
        raise InvalidType(f"{name} must be seconds (a number), not None")

    seconds = check_timeout(value, name)
    if seconds is None:
        raise InvalidValue(f"{name}={value!r} never ends; use a number of seconds")

    return seconds
