"""Which event loop runs in the calling thread, without importing one.

It looks at the modules that are loaded already, so a program without event loops pays a
dictionary look-up. Not here: waiting on a loop (`loops`).
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING

from cup.errors import BlockingInLoop, BlockingInLoopWarning

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["caller", "guard_blocking", "name_of_running_loop", "set_strict"]

_strict = False
_modules = sys.modules


def set_strict(*, strict: bool) -> bool:
    """Make blocking in a loop's thread an error; returns what it was before."""
    global _strict
    before, _strict = _strict, strict
    return before


def name_of_running_loop() -> str | None:
    """Return "trio" or "asyncio" if the calling thread runs that loop now."""
    # While another thread imports a loop, its modules are there without their content.
    in_trio_run = getattr(_modules.get("trio.lowlevel"), "in_trio_run", None)
    if in_trio_run is not None and in_trio_run():
        return "trio"

    running = getattr(_modules.get("asyncio.events"), "_get_running_loop", None)
    if running is not None and running() is not None:
        return "asyncio"

    return None


def guard_blocking(what: str, twin: str, *, hopeless: bool = False) -> None:
    """Warn, or raise, when the calling thread runs a loop and is about to block.

    Args:
        what: The call that blocks, for the message.
        twin: What to await instead; an empty string where blocking is the contract.
        hopeless: Only the loop of this thread could end the wait.

    Raises:
        BlockingInLoop: If the wait is hopeless, or always under `cup.testing`.
    """
    if not twin:
        return

    loop = name_of_running_loop()
    if loop is None:
        return

    message = f"{what} blocks the {loop} loop of this thread; await {twin} instead"
    if hopeless:
        raise BlockingInLoop(f"{message}: nothing else can end this wait")

    if _strict:
        raise BlockingInLoop(message)

    if not os.environ.get("CUP_ALLOW_BLOCKING_IN_LOOP"):
        warnings.warn(message, BlockingInLoopWarning, stacklevel=_callers_level())


def caller() -> FrameType | None:
    """Return the first frame outside of this library."""
    import inspect  # noqa: PLC0415 - costs 10 ms, and few programs need it

    frame = inspect.currentframe()
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(
        "cup."
    ):
        frame = frame.f_back
    return frame


def _callers_level() -> int:
    """Return the stack level of the first frame outside of this library."""
    import inspect  # noqa: PLC0415 - costs 10 ms, and few programs need it

    outside = caller()
    frame = inspect.currentframe()
    level = 0
    while frame is not None and frame is not outside:
        frame = frame.f_back
        level += 1
    return level
