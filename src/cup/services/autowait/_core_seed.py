"""What the older names wait for, as conditions; both faces use it."""

from __future__ import annotations

import inspect
import os
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import ParamSpec

from .api import AllOf, Condition
from .conditions import PortFree, PortOpen, Predicate, ProcessGone, ProcessRunning
from .files import FileExists

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ._core_arguments import StrPath

P = ParamSpec("P")

_MAGIC = frozenset("*?[")


def file_exist(
    dst_path: StrPath, file_name: str, *, recursive: bool
) -> Condition[object]:
    """A name or a pattern of names in a directory, or below."""
    folder, name = os.path.split(file_name)
    if folder:
        dst_path = os.path.join(dst_path, folder)  # noqa: PTH118
    if recursive or _MAGIC & {*name}:
        return FileExists(dst_path, glob=name, recursive=recursive)
    return FileExists(os.path.join(dst_path, name))  # noqa: PTH118


def process_used_ports(
    process_path: StrPath, ports: int | Iterable[int]
) -> Condition[object]:
    """A process runs, and somebody listens on each of the ports."""
    return AllOf((ProcessRunning(process_path), *map(PortOpen, _several(ports))))


def process_killed(
    process_path: StrPath, ports: int | Iterable[int]
) -> Condition[object]:
    """No such process runs, and nobody listens on any of the ports."""
    return AllOf((ProcessGone(process_path), *map(PortFree, _several(ports))))


def _several(ports: int | Iterable[int]) -> list[int]:
    return [ports] if isinstance(ports, int) else list(ports)


def returns(
    func: Callable[P, object],
    interval_sec: float,
    wanted: bool,
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Predicate[object]:
    """A function returns something true, or something false; it may be awaited."""
    call = partial(func, *args, **kwargs)
    name = getattr(func, "__qualname__", repr(func))
    if wanted:
        return Predicate(call, every=interval_sec, name=name)

    def opposite() -> object:
        answer = call()
        return _negated(answer) if inspect.isawaitable(answer) else not answer

    async def awaited() -> object:
        answer = opposite()
        return await answer if inspect.isawaitable(answer) else answer

    turned = awaited if Predicate(call).is_async() else opposite
    return Predicate(turned, every=interval_sec, name=f"not {name}")


async def _negated(answer: Awaitable[object]) -> bool:
    return not await answer
