"""The options of an executor and of its views, checked where they are given."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, get_args

from cup._core.clock import SYSTEM, check_timeout
from cup._core.program import ThreadDriver
from cup.errors import InvalidType, InvalidValue
from cup.services.threadpool._core_limits import check_limits
from cup.services.threadpool._core_settings import check_at_least_one

from ._core_timers import Timers
from .api_values import CatchUp, Jitter, JobOptions, OnBroken, Overlap

if TYPE_CHECKING:
    from collections.abc import Callable

    from cup._core.clock import WakefulClock
    from cup._core.program import Program

    from .api import Backend, JobStore, TimeSource
    from .api_values import Urgency

__all__ = [
    "Settings",
    "check_kind",
    "check_options",
    "instant_of",
    "make_settings",
]

_POLICIES: Final = ("skip", "queue_one", "queue_all", "cancel_previous")
_CATCH_UPS: Final = {
    "none": CatchUp.none(),
    "latest": CatchUp.latest(),
    "all": CatchUp.all(),
}

_serial = itertools.count(1)


class ThreadSource:
    """Time as it passes: programs are called by a thread each."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def clock(self) -> WakefulClock:
        """The clock of this machine."""
        return SYSTEM

    def add(self, program: Program) -> ThreadDriver:
        """Take a program; its thread starts with its first nudge."""
        what = "timers" if isinstance(program, Timers) else "backend"
        return ThreadDriver(program, f"{self._name}: {what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an executor was asked to be; see `ExecutionService`."""

    name: str
    delayed_workers: int
    queued_workers: int
    interrupt_grace: float
    on_unhandled: Callable[[BaseException, str], object] | None
    source: TimeSource
    backend: Backend | None
    backend_workers: int | None
    on_broken: OnBroken
    store: JobStore | None


def make_settings(
    delay_exe_thdnum: int,
    queue_exec_thdnum: int,
    name: str | None,
    *,
    interrupt_grace: float,
    on_unhandled: Callable[[BaseException, str], object] | None,
    time_source: TimeSource | None,
    backend: Backend | None,
    backend_workers: int | None,
    on_broken: OnBroken,
    store: JobStore | None,
) -> Settings:
    """Check the options and return them with their defaults filled in."""
    check_at_least_one("delay_exe_thdnum", delay_exe_thdnum)
    check_at_least_one("queue_exec_thdnum", queue_exec_thdnum)
    if on_unhandled is not None and not callable(on_unhandled):
        raise InvalidType(f"on_unhandled must be callable, not {on_unhandled!r}")

    grace = check_timeout(interrupt_grace, "interrupt_grace")
    if grace is None:
        raise InvalidValue("interrupt_grace must be a number of seconds")

    if backend_workers is not None:
        check_at_least_one("backend_workers", backend_workers)
    if on_broken not in get_args(OnBroken):
        raise InvalidValue(f"on_broken={on_broken!r} is neither 'fail' nor 'retry'")

    if name is not None:
        check_kind("name", name, str)
    if store is not None and not (hasattr(store, "load") and hasattr(store, "write")):
        raise InvalidType(f"a store has load() and write(); {store!r} has not")

    chosen = name or f"ExecutionService-{next(_serial)}"
    return Settings(
        name=chosen,
        delayed_workers=delay_exe_thdnum,
        queued_workers=queue_exec_thdnum,
        interrupt_grace=grace,
        on_unhandled=on_unhandled,
        source=ThreadSource(chosen) if time_source is None else time_source,
        backend=backend,
        backend_workers=backend_workers,
        on_broken=on_broken,
        store=store,
    )


def check_options(
    *,
    urgency: Urgency | int,
    queue_timeout: float | None,
    run_timeout: float | None,
    overlap: Overlap,
    catch_up: CatchUp | str,
    jitter: Jitter | float | None,
    max_runs: int | None,
    until: datetime | float | None,
    stop_after_failures: int | None,
    name: str | None,
    key: str | None,
    history: int,
    cancel_with_waiter: bool,
    has_store: bool,
) -> JobOptions:
    """Check the options of a view and return them.

    Raises:
        InvalidValue: If one makes no sense.
        InvalidType: If one has the wrong type.
    """
    limits = check_limits(urgency, queue_timeout, run_timeout, "wait")
    for what, value in (
        ("max_runs", max_runs),
        ("stop_after_failures", stop_after_failures),
    ):
        if value is not None:
            check_at_least_one(what, value)
    if type(history) is not int:
        raise InvalidType(f"history must be an int, not {history!r}")
    if history < 0:
        raise InvalidValue(f"history must be 0 or more, not {history!r}")

    _check_text("name", name)
    _check_text("key", key)
    if key is not None and not has_store:
        raise InvalidValue(f"key={key!r} is for stored jobs; give the executor a store")

    return JobOptions(
        urgency=limits.urgency,
        queue_timeout=limits.queue_timeout,
        run_timeout=limits.run_timeout,
        overlap=_check_overlap(overlap),
        catch_up=_check_catch_up(catch_up),
        jitter=_check_jitter(jitter),
        max_runs=max_runs,
        until=None if until is None else instant_of(until, "until"),
        stop_after_failures=stop_after_failures,
        name=name,
        key=key,
        history=history,
        cancel_with_waiter=bool(cancel_with_waiter),
    )


def _check_text(what: str, text: object) -> None:
    if text is not None and not (isinstance(text, str) and text):
        raise InvalidType(f"{what} must be a str that is not empty, not {text!r}")


def _check_overlap(overlap: Overlap) -> Overlap:
    if isinstance(overlap, int) and not isinstance(overlap, bool):
        check_at_least_one("overlap", overlap)
    elif overlap not in _POLICIES:
        raise InvalidValue(
            f"overlap={overlap!r} is none of {', '.join(_POLICIES)}, and no number"
        )
    return overlap


def _check_catch_up(catch_up: CatchUp | str) -> CatchUp:
    if isinstance(catch_up, str):
        found = _CATCH_UPS.get(catch_up)
        if found is None:
            raise InvalidValue(
                f"catch_up={catch_up!r} is none of {', '.join(_CATCH_UPS)}"
            )
        return found

    check_kind("catch_up", catch_up, CatchUp)
    if catch_up.limit is not None:
        check_at_least_one("catch_up.limit", catch_up.limit)
    check_timeout(catch_up.window, "catch_up.window")
    check_timeout(catch_up.grace, "catch_up.grace")
    return catch_up


def check_kind(name: str, value: object, kind: type) -> None:
    """Refuse what is of another type.

    Raises:
        InvalidType: If it is.
    """
    if not isinstance(value, kind):
        raise InvalidType(f"{name} must be a {kind.__name__}, not {value!r}")


def _check_jitter(jitter: Jitter | float | None) -> Jitter | None:
    if jitter is None:
        return None

    chosen = jitter if isinstance(jitter, Jitter) else Jitter(jitter)
    spread = check_timeout(chosen.spread, "jitter")
    if spread is None:
        raise InvalidValue("jitter must be a number of seconds")

    return Jitter(spread, chosen.stable) if spread else None


def instant_of(when: datetime | float, name: str = "when") -> float:
    """Return a moment as seconds since the epoch.

    A naive datetime is local time, as everywhere in `datetime`.

    Raises:
        InvalidType: If it is neither a datetime nor a number.
        InvalidValue: If it is no finite number, or no time that the system knows.
    """
    if isinstance(when, datetime):
        try:
            return when.timestamp()
        except (OverflowError, OSError, ValueError) as error:
            raise InvalidValue(f"{name}={when!r} cannot be reached: {error}") from None

    seconds = _number(name, when)
    if not seconds - seconds == 0.0:  # NaN and infinities
        raise InvalidValue(f"{name}={when!r} is no moment")
    return seconds


def _number(name: str, when: object) -> float:
    if isinstance(when, bool) or not isinstance(when, float | int):
        raise InvalidType(f"{name} must be a datetime or seconds, not {when!r}")

    try:
        return float(when)
    except OverflowError:
        raise InvalidValue(f"{name}={when!r} is too large") from None


assert set(_POLICIES) == set(get_args(get_args(Overlap)[0]))
