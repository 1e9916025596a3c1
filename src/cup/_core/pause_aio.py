"""Letting time pass on a task; the twin for threads is in `pause`."""

from __future__ import annotations

from anyio import sleep

__all__ = ["pause"]


async def pause(seconds: float) -> None:
    """Wait on this task for so many seconds.

    Args:
        seconds: How long.
    """
    await sleep(seconds)
