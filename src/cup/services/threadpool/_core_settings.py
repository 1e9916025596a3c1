"""The options of a pool, checked where they are given.

Not here: options of single jobs (`api.Limits`, checked in `_core_limits`).
"""

from __future__ import annotations

import functools
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

from cup._core.clock import check_timeout
from cup.errors import InvalidType, InvalidValue

from .api import WhenFull

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "UNSET",
    "Settings",
    "Unset",
    "check_at_least_one",
    "check_bounds",
    "make_settings",
]

_number = itertools.count(1)


class Unset:
    """The type of `UNSET`: tells an argument left out from one that is None."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<unset>"


UNSET: Final = Unset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a pool was asked to be; see `ThreadPool` for the meaning of each."""

    name: str
    prefix: str
    minimum: int
    maximum: int
    daemon: bool
    initializer: Callable[[], object] | None
    queue_size: int | None
    when_full: WhenFull
    room_timeout: float | None
    keep_alive: float | None
    interrupt_grace: float
    on_unhandled: Callable[[BaseException, str], object] | None


def make_settings(
    *,
    minthreads: int | Unset,
    maxthreads: int | Unset,
    max_workers: int | Unset | None,
    name: str | None,
    thread_name_prefix: str,
    daemon_threads: bool,
    initializer: Callable[..., object] | None,
    initargs: tuple[object, ...],
    queue_size: int | None,
    when_full: WhenFull,
    room_timeout: float | None,
    keep_alive: float | None,
    interrupt_grace: float,
    on_unhandled: Callable[[BaseException, str], object] | None,
) -> Settings:
    """Check the options and return them with their defaults filled in."""
    minimum, maximum = _bounds(minthreads, maxthreads, max_workers)
    _check_callable("initializer", initializer)
    _check_callable("on_unhandled", on_unhandled)
    if when_full not in get_args(WhenFull):
        raise InvalidValue(
            f"when_full={when_full!r} is none of {', '.join(get_args(WhenFull))}"
        )

    if queue_size is not None:
        _check_int("queue_size", queue_size)
        if queue_size < 1:
            raise InvalidValue(
                f"queue_size={queue_size} leaves no room; use 1 or more, or None"
            )

    if name is not None:
        _check_str("name", name)
    _check_str("thread_name_prefix", thread_name_prefix)
    chosen = name or thread_name_prefix or f"ThreadPool-{next(_number)}"
    return Settings(
        name=chosen,
        prefix=thread_name_prefix or chosen,
        minimum=minimum,
        maximum=maximum,
        daemon=bool(daemon_threads),
        initializer=(
            None if initializer is None else functools.partial(initializer, *initargs)
        ),
        queue_size=queue_size,
        when_full=when_full,
        room_timeout=check_timeout(room_timeout, "room_timeout"),
        keep_alive=check_timeout(keep_alive, "keep_alive"),
        interrupt_grace=_finite("interrupt_grace", interrupt_grace),
        on_unhandled=on_unhandled,
    )


def _bounds(
    minthreads: int | Unset, maxthreads: int | Unset, max_workers: int | Unset | None
) -> tuple[int, int]:
    """Return the bounds, from the seed's names or from the standard library's."""
    if isinstance(max_workers, Unset):
        minimum = 5 if isinstance(minthreads, Unset) else minthreads
        maximum = 20 if isinstance(maxthreads, Unset) else maxthreads
        check_bounds(minimum, maximum)
        return minimum, maximum

    if not isinstance(maxthreads, Unset):
        raise InvalidType("give maxthreads or max_workers, not both")

    maximum = min(32, (os.cpu_count() or 1) + 4) if max_workers is None else max_workers
    _check_int("max_workers", maximum)
    if maximum <= 0:
        raise InvalidValue(f"max_workers must be greater than 0, not {maximum}")

    minimum = 0 if isinstance(minthreads, Unset) else minthreads
    check_bounds(minimum, maximum)
    return minimum, maximum


def check_bounds(minimum: int, maximum: int) -> None:
    """Refuse bounds that no pool can keep.

    Raises:
        InvalidType: If one is not an int.
        InvalidValue: If they are negative, or the wrong way round.
    """
    _check_int("minthreads", minimum)
    _check_int("maxthreads", maximum)
    if minimum < 0:
        raise InvalidValue(f"minthreads={minimum} is negative")

    if maximum < 1:
        raise InvalidValue(f"maxthreads={maximum}: a pool needs at least one thread")

    if minimum > maximum:
        raise InvalidValue(f"minthreads={minimum} is above maxthreads={maximum}")


def check_at_least_one(name: str, value: int) -> None:
    """Refuse what is not a whole number above zero."""
    _check_int(name, value)
    if value < 1:
        raise InvalidValue(f"{name} must be 1 or more, not {value}")


def _finite(name: str, value: float) -> float:
    seconds = check_timeout(value, name)
    if seconds is None:
        raise InvalidValue(f"{name} must be a number of seconds, not {value!r}")

    return seconds


def _check_int(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidType(f"{name} must be an int, not {value!r}")


def _check_str(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidType(f"{name} must be a str, not {value!r}")


def _check_callable(name: str, value: object) -> None:
    if value is not None and not callable(value):
        raise InvalidType(f"{name} must be callable, not {value!r}")
