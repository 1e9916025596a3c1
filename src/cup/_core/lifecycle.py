"""The end of the interpreter, in stages: timers, executors, pools, logs.

One hook, which runs when the main thread has ended and before the interpreter joins
non-daemon threads, so that parked workers can be sent home. Services are held weakly.

Other threads of the program may still run then, and may still use a service: the hook
asks services to end when they are idle, and does not wait for foreign threads.
"""

from __future__ import annotations

import atexit
import enum
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Endable", "Stage", "at_exit", "exiting"]

_log = logging.getLogger("cup.lifecycle")


class Endable(Protocol):
    """Something that ends with the interpreter."""

    def end_at_exit(self) -> None:
        """Finish what was accepted, and let the threads go."""
        ...


class Stage(enum.IntEnum):
    """What ends together; lower stages end first."""

    TIMERS = 0
    EXECUTORS = 1
    POOLS = 2
    LOGS = 3


_stages: dict[Stage, weakref.WeakSet[Endable]] = {
    stage: weakref.WeakSet() for stage in Stage
}
_exiting = False


def at_exit(stage: Stage, service: Endable) -> None:
    """Have `service.end_at_exit()` called at exit, if `service` still lives then.

    It is told apart by identity: it must not define equality.
    """
    _stages[stage].add(service)


def exiting() -> bool:
    """Tell whether the main thread has ended and services are being closed."""
    return _exiting


def _end_all() -> None:
    global _exiting  # noqa: PLW0603 - there is one interpreter to end
    _exiting = True
    for stage in Stage:
        for service in list(_stages[stage]):
            try:
                service.end_at_exit()
            except Exception:  # noqa: BLE001 - reported; the others end, too
                _log.exception("%r failed to end at exit", service)


def _register(hook: Callable[[], None]) -> None:
    """Register a hook that runs before non-daemon threads are joined.

    `atexit` would be too late. The standard library's executors use the same function,
    which is private, untyped, and there in every version since 3.9.
    """
    register: Callable[[Callable[[], None]], object] | None
    register = getattr(threading, "_register_atexit", None)
    (atexit.register if register is None else register)(hook)


_register(_end_all)
