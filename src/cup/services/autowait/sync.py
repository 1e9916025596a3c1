"""Waiting for conditions in threads; the twin for tasks is `aio`."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import ParamSpec

from cup._core import interrupt
from cup._core.clock import check_timeout
from cup._core.running import guard_blocking
from cup._core.wait import ThreadWaiter, park
from cup.errors import ConditionTimeout

from . import _core_seed as seed
from ._core import Engine, Rest
from ._core_hub import Bell
from ._core_lease import HERE, borrow, give_back
from ._core_watch import Watch
from .conditions import PortFree, PortOpen, ProcessGone, ProcessRunning
from .files import RegexInFile

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from cup._core.park import Parker

    from .api import Condition, Report

__all__ = [
    "look",
    "satisfied",
    "wait",
    "wait_return_false",
    "wait_return_true",
    "wait_until_file_exist",
    "wait_until_port_not_used",
    "wait_until_port_used",
    "wait_until_process_exist",
    "wait_until_process_killed",
    "wait_until_process_not_exist",
    "wait_until_process_used_ports",
    "wait_until_reg_str_exist",
]

P = ParamSpec("P")
T = TypeVar("T")


def wait(
    condition: Condition[T],
    timeout: float | None = None,
    *,
    safety: float | None = None,
) -> T:
    """Wait until a condition holds, and return what it gives.

    It is looked at once at least, and once more when the time is over. An interrupt
    (`CupThread.raise_exc`, an exception of a signal handler) ends the wait at once.

    Args:
        condition: What to wait for.
        timeout: Seconds; None waits for ever, zero or less looks once.
        safety: Seconds after which to look again even though nothing was heard. None
            trusts the events of the system, where there are any.

    Raises:
        ConditionTimeout: If it does not hold in time: a `WaitTimeout`, which says what
            was seen last.
        WaitFailed: If what `fail_if` names came to hold.
        OSError: If it cannot be looked at.
        InvalidType: If it is no condition, or one that only a task can wait for.
    """
    return _wait(condition, timeout, safety, "wait")


def _wait(
    condition: Condition[T],
    timeout: float | None,
    safety: float | None,
    name: str,
    *,
    terse: bool = False,
) -> T:
    timeout = check_timeout(timeout)
    safety = check_timeout(safety, "safety")
    target = interrupt.current()
    if target is None:
        return _run(condition, timeout, safety, name, terse=terse)

    # Only the sleep is a point of interruption: what is listened to has to be let go.
    target.mask()
    try:
        value = _run(condition, timeout, safety, name, terse=terse)
    except BaseException:
        target.unmask_quietly()
        raise
    target.unmask()
    return value


def _run(
    condition: Condition[T],
    timeout: float | None,
    safety: float | None,
    name: str,
    *,
    terse: bool,
) -> T:
    """Listen in this thread, or have the helper thread listen."""
    lease = borrow()
    if lease is None:
        waiter = ThreadWaiter()
        bell = Bell(waiter)
        watch = Watch(bell, most=safety)
        parker: Parker = waiter.parker
    else:
        bell = Bell(HERE)
        watch = Watch(bell, lease, safety)
        parker = lease
    try:
        engine = _engine(condition, watch, timeout, safety, terse=terse)
        try:
            return _loop(engine, bell, parker, name)
        finally:
            engine.close()
    finally:
        if lease is not None:
            give_back(lease)


def _engine(
    condition: Condition[T],
    watch: Watch,
    timeout: float | None,
    safety: float | None,
    *,
    terse: bool = False,
) -> Engine[T]:
    engine = Engine(
        condition,
        watch,
        timeout=timeout,
        safety=safety,
        now=monotonic(),
        terse=terse,
    )
    engine.refuse_async()
    return engine


def _loop(engine: Engine[T], bell: Bell, parker: Parker, name: str) -> T:
    told = False
    while True:
        rung, bell.rung = bell.rung, False
        step = engine.step(monotonic(), rung=rung)
        if not isinstance(step, Rest):
            return step.value

        if not told:
            engine.refuse_async()  # a function may have returned what is to be awaited
            guard_blocking(
                f"cup.services.autowait.{name}", f"cup.services.autowait.aio.{name}"
            )
            told = True
        _sleep(bell, parker, step.until)


def _sleep(bell: Bell, parker: Parker, until: float | None) -> None:
    while True:
        # An interrupt comes in here, so it parks though there is nothing to wait for.
        park(parker, monotonic() if bell.is_rung() else until)
        if bell.is_rung() or (until is not None and monotonic() >= until):
            return


def satisfied(condition: Condition[object]) -> bool:
    """Tell whether a condition holds now; it is looked at once.

    Raises:
        OSError: If it cannot be looked at.
    """
    try:
        _wait(condition, 0, None, "satisfied", terse=True)
    except ConditionTimeout:
        return False
    return True


def look(condition: Condition[object]) -> Report:
    """Look at a condition once, and return what was found, and how it is watched.

    Raises:
        OSError: If it cannot be looked at.
    """
    engine = _engine(condition, Watch(Bell(ThreadWaiter())), None, None)
    try:
        return engine.look(monotonic())
    finally:
        engine.close()


# -- the older names -------------------------------------------------------------------


def wait_until_file_exist(
    dst_path: str | os.PathLike[str],
    file_name: str,
    max_wait_sec: float = 10,
    interval_sec: float = 2,
    recursive: bool = False,
) -> bool:
    """Wait until a file is in a directory; tell whether it is in time.

    Args:
        dst_path: The directory; it need not be there yet.
        file_name: A name, or a pattern of names.
        max_wait_sec: Seconds; 0 looks once.
        interval_sec: Seconds after which to look again though nothing was heard.
        recursive: Look in all directories below, too.
    """
    condition = seed.file_exist(dst_path, file_name, recursive=recursive)
    return _holds(condition, max_wait_sec, interval_sec, "wait_until_file_exist")


def wait_until_reg_str_exist(
    dst_file_path: str | os.PathLike[str],
    reg_str: str,
    max_wait_sec: float = 10,
    interval_sec: float = 0.5,
) -> bool:
    """Wait until a line of a file matches; tell whether one does in time.

    Args:
        dst_file_path: The file; it need not be there yet.
        reg_str: A regular expression.
        max_wait_sec: Seconds; 0 looks once.
        interval_sec: Seconds after which to look again though nothing was heard.

    Raises:
        OSError: If it is no file or cannot be read.
        re.error: If the pattern is none.
    """
    condition = RegexInFile(dst_file_path, reg_str)
    return _holds(condition, max_wait_sec, interval_sec, "wait_until_reg_str_exist")


def wait_until_process_not_exist(
    process_path: str | os.PathLike[str],
    max_wait_sec: float = 10,
    interval_sec: float = 0.5,
) -> bool:
    """Wait until nobody runs a program; tell whether that is so in time.

    Args:
        process_path: An executable, a script, or a directory of them.
        max_wait_sec: Seconds; 0 looks once.
        interval_sec: Seconds after which to look again though nothing was heard.
    """
    condition = ProcessGone(process_path)
    return _holds(condition, max_wait_sec, interval_sec, "wait_until_process_not_exist")


def wait_until_process_exist(
    process_path: str | os.PathLike[str],
    max_wait_sec: float = 10,
    interval_sec: float = 0.5,
) -> bool:
    """Wait until somebody runs a program; tell whether that is so in time.

    Args:
        process_path: An executable, a script, or a directory of them.
        max_wait_sec: Seconds; 0 looks once.
        interval_sec: Seconds after which to look again though nothing was heard.
    """
    condition = ProcessRunning(process_path)
    return _holds(condition, max_wait_sec, interval_sec, "wait_until_process_exist")


def wait_until_port_used(
    port: int, max_wait_sec: float = 10, interval_sec: float = 0.5
) -> bool:
    """Wait until somebody listens on a TCP port; tell whether one does in time.

    Args:
        port: From 1 to 65535.
        max_wait_sec: Seconds; 0 looks once.
        interval_sec: Seconds between two looks, at most.
    """
    return _holds(PortOpen(port), max_wait_sec, interval_sec, "wait_until_port_used")


def wait_until_port_not_used(
    port: int, max_wait_sec: float = 10, interval_sec: float = 0.5
) -> bool:
    """Wait until nobody listens on a TCP port; tell whether that is so in time.

    Args:
        port: From 1 to 65535.
        max_wait_sec: Seconds; 0 looks once.
        interval_sec: Seconds between two looks, at most.
    """
    condition = PortFree(port)
    return _holds(condition, max_wait_sec, interval_sec, "wait_until_port_not_used")


def wait_until_process_used_ports(
    process_path: str | os.PathLike[str],
    ports: int | Iterable[int],
    max_wait_sec: float = 10,
    interval_sec: float = 0.5,
) -> bool:
    """Wait until a program runs and all ports are listened on; tell whether in time.

    Args:
        process_path: An executable, a script, or a directory of them.
        ports: One port or several.
        max_wait_sec: Seconds; 0 looks once.
        interval_sec: Seconds after which to look again though nothing was heard.
    """
    condition = seed.process_used_ports(process_path, ports)
    name = "wait_until_process_used_ports"
    return _holds(condition, max_wait_sec, interval_sec, name)


def wait_until_process_killed(
    process_path: str | os.PathLike[str],
    ports: int | Iterable[int],
    max_wait_sec: float = 10,
    interval_sec: float = 0.5,
) -> bool:
    """Wait until nobody runs a program, or listens on a port; tell whether in time.

    Args:
        process_path: An executable, a script, or a directory of them.
        ports: One port or several.
        max_wait_sec: Seconds; 0 looks once.
        interval_sec: Seconds after which to look again though nothing was heard.
    """
    condition = seed.process_killed(process_path, ports)
    return _holds(condition, max_wait_sec, interval_sec, "wait_until_process_killed")


def wait_return_true(
    func: Callable[P, object],
    max_wait_sec: float,
    interval_sec: float = 0.5,
    *args: P.args,
    **kwargs: P.kwargs,
) -> bool:
    """Call a function until it returns something true; tell whether it does in time.

    Args:
        func: The function; what it raises ends the wait.
        max_wait_sec: Seconds; 0 calls it once.
        interval_sec: Seconds between two calls.
        args: What it is called with.
        kwargs: What it is called with, by name.
    """
    condition = seed.returns(func, interval_sec, True, *args, **kwargs)  # noqa: FBT003
    return _holds(condition, max_wait_sec, None, "wait_return_true")


def wait_return_false(
    func: Callable[P, object],
    max_wait_sec: float,
    interval_sec: float = 0.5,
    *args: P.args,
    **kwargs: P.kwargs,
) -> bool:
    """Call a function until it returns something false; tell whether it does in time.

    Args:
        func: The function; what it raises ends the wait.
        max_wait_sec: Seconds; 0 calls it once.
        interval_sec: Seconds between two calls.
        args: What it is called with.
        kwargs: What it is called with, by name.
    """
    condition = seed.returns(func, interval_sec, False, *args, **kwargs)  # noqa: FBT003
    return _holds(condition, max_wait_sec, None, "wait_return_false")


def _holds(
    condition: Condition[object],
    max_wait_sec: float,
    interval_sec: float | None,
    name: str,
) -> bool:
    try:
        _wait(condition, max_wait_sec, interval_sec, name, terse=True)
    except ConditionTimeout:
        return False
    return True
