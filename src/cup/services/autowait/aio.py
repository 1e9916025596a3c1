"""Waiting for conditions in tasks, on asyncio and trio; the twin for threads is `sync`.

A cancelled wait leaves nothing behind. What could block the loop (file systems of other
machines, trees of directories, names of hosts) is looked at in a worker thread.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from anyio import move_on_after, to_thread
from typing_extensions import ParamSpec

from cup._core.clock import check_timeout
from cup._core.loops import current_loop, wait_until
from cup.errors import ConditionTimeout

from . import _core_seed as seed
from ._core import Engine, Rest
from ._core_hub import Bell
from ._core_watch import Watch
from .conditions import PortFree, PortOpen, ProcessGone, ProcessRunning
from .files import RegexInFile

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from ._core import Step
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


async def wait(
    condition: Condition[T],
    timeout: float | None = None,
    *,
    safety: float | None = None,
) -> T:
    """Wait until a condition holds, and return what it gives.

    Twin of `cup.services.autowait.wait`; functions of a `Predicate` may be awaited.
    """
    return await _wait(condition, timeout, safety)


async def _wait(
    condition: Condition[T],
    timeout: float | None,
    safety: float | None,
    *,
    terse: bool = False,
) -> T:
    timeout = check_timeout(timeout)
    safety = check_timeout(safety, "safety")
    loop = current_loop()
    waiter = loop.make_waiter()
    bell = Bell(waiter)
    engine = _engine(condition, bell, timeout, safety, terse=terse)
    try:
        await loop.immediate()
        while True:
            rung, bell.rung = bell.rung, False
            step = await _step(engine, rung=rung)
            if not isinstance(step, Rest):
                return step.value

            left = None if step.until is None else step.until - monotonic()
            if left is not None and left <= 0:
                await loop.checkpoint()
            else:
                await wait_until(bell.is_rung, waiter, left)
    finally:
        engine.close()


def _engine(
    condition: Condition[T],
    bell: Bell,
    timeout: float | None,
    safety: float | None,
    *,
    terse: bool = False,
) -> Engine[T]:
    engine = Engine(
        condition,
        Watch(bell, most=safety),
        timeout=timeout,
        safety=safety,
        now=monotonic(),
        terse=terse,
    )
    if engine.blocks():
        engine.put_off_calls()
    return engine


async def _step(engine: Engine[T], *, rung: bool) -> Step[T]:
    if engine.has_async():
        await _ask(engine, rung=rung)
    if not engine.blocks():
        return engine.step(monotonic(), rung=rung)

    return await to_thread.run_sync(
        lambda: engine.step_apart(monotonic(), rung=rung), abandon_on_cancel=True
    )


async def _ask(engine: Engine[T], *, rung: bool) -> None:
    """Await the functions that say whether something holds, until the time is over."""
    now = monotonic()
    with move_on_after(engine.left(now)):
        for probe in engine.awaited(now, rung=rung):
            await probe.call(now)


async def satisfied(condition: Condition[object]) -> bool:
    """Tell whether a condition holds now; it is looked at once.

    Twin of `cup.services.autowait.satisfied`.
    """
    try:
        await _wait(condition, 0, None, terse=True)
    except ConditionTimeout:
        return False
    return True


async def look(condition: Condition[object]) -> Report:
    """Look at a condition once, and return what was found, and how it is watched.

    Twin of `cup.services.autowait.look`.
    """
    loop = current_loop()
    engine = _engine(condition, Bell(loop.make_waiter()), None, None)
    try:
        await loop.immediate()
        await _ask(engine, rung=True)
        if not engine.blocks():
            return engine.look(monotonic())
        return await to_thread.run_sync(
            lambda: engine.look_apart(monotonic()), abandon_on_cancel=True
        )
    finally:
        engine.close()


# -- the older names -------------------------------------------------------------------


async def wait_until_file_exist(
    dst_path: str | os.PathLike[str],
    file_name: str,
    max_wait_sec: float = 10,
    interval_sec: float = 2,
    recursive: bool = False,
) -> bool:
    """Wait until a file is in a directory; tell whether it is in time.

    Twin of `cup.services.autowait.wait_until_file_exist`.
    """
    condition = seed.file_exist(dst_path, file_name, recursive=recursive)
    return await _holds(condition, max_wait_sec, interval_sec)


async def wait_until_reg_str_exist(
    dst_file_path: str | os.PathLike[str],
    reg_str: str,
    max_wait_sec: float = 10,
    interval_sec: float = 0.5,
) -> bool:
    """Wait until a line of a file matches; tell whether one does in time.

    Twin of `cup.services.autowait.wait_until_reg_str_exist`.
    """
    condition = RegexInFile(dst_file_path, reg_str)
    return await _holds(condition, max_wait_sec, interval_sec)


async def wait_until_process_not_exist(
    process_path: str | os.PathLike[str],
    max_wait_sec: float = 10,
    interval_sec: float = 0.5,
) -> bool:
    """Wait until nobody runs a program; tell whether that is so in time.

    Twin of `cup.services.autowait.wait_until_process_not_exist`.
    """
    condition = ProcessGone(process_path)
    return await _holds(condition, max_wait_sec, interval_sec)


async def wait_until_process_exist(
    process_path: str | os.PathLike[str],
    max_wait_sec: float = 10,
    interval_sec: float = 0.5,
) -> bool:
    """Wait until somebody runs a program; tell whether that is so in time.

    Twin of `cup.services.autowait.wait_until_process_exist`.
    """
    condition = ProcessRunning(process_path)
    return await _holds(condition, max_wait_sec, interval_sec)


async def wait_until_port_used(
    port: int, max_wait_sec: float = 10, interval_sec: float = 0.5
) -> bool:
    """Wait until somebody listens on a TCP port; tell whether one does in time.

    Twin of `cup.services.autowait.wait_until_port_used`.
    """
    return await _holds(PortOpen(port), max_wait_sec, interval_sec)


async def wait_until_port_not_used(
    port: int, max_wait_sec: float = 10, interval_sec: float = 0.5
) -> bool:
    """Wait until nobody listens on a TCP port; tell whether that is so in time.

    Twin of `cup.services.autowait.wait_until_port_not_used`.
    """
    condition = PortFree(port)
    return await _holds(condition, max_wait_sec, interval_sec)


async def wait_until_process_used_ports(
    process_path: str | os.PathLike[str],
    ports: int | Iterable[int],
    max_wait_sec: float = 10,
    interval_sec: float = 0.5,
) -> bool:
    """Wait until a program runs and all ports are listened on; tell whether in time.

    Twin of `cup.services.autowait.wait_until_process_used_ports`.
    """
    condition = seed.process_used_ports(process_path, ports)
    return await _holds(condition, max_wait_sec, interval_sec)


async def wait_until_process_killed(
    process_path: str | os.PathLike[str],
    ports: int | Iterable[int],
    max_wait_sec: float = 10,
    interval_sec: float = 0.5,
) -> bool:
    """Wait until nobody runs a program, or listens on a port; tell whether in time.

    Twin of `cup.services.autowait.wait_until_process_killed`.
    """
    condition = seed.process_killed(process_path, ports)
    return await _holds(condition, max_wait_sec, interval_sec)


async def wait_return_true(
    func: Callable[P, object],
    max_wait_sec: float,
    interval_sec: float = 0.5,
    *args: P.args,
    **kwargs: P.kwargs,
) -> bool:
    """Call a function until it returns something true; tell whether it does in time.

    Twin of `cup.services.autowait.wait_return_true`.
    """
    condition = seed.returns(func, interval_sec, True, *args, **kwargs)  # noqa: FBT003
    return await _holds(condition, max_wait_sec, None)


async def wait_return_false(
    func: Callable[P, object],
    max_wait_sec: float,
    interval_sec: float = 0.5,
    *args: P.args,
    **kwargs: P.kwargs,
) -> bool:
    """Call a function until it returns something false; tell whether it does in time.

    Twin of `cup.services.autowait.wait_return_false`.
    """
    condition = seed.returns(func, interval_sec, False, *args, **kwargs)  # noqa: FBT003
    return await _holds(condition, max_wait_sec, None)


async def _holds(
    condition: Condition[object],
    max_wait_sec: float,
    interval_sec: float | None,
) -> bool:
    try:
        await _wait(condition, max_wait_sec, interval_sec, terse=True)
    except ConditionTimeout:
        return False
    return True
