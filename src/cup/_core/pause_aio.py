"""Letting time pass on a task; the twin for threads is in `pause`."""

from __future__ import annotations

from anyio import Event, sleep

__all__ = ["Bell", "pause"]


async def pause(seconds: float) -> None:
    """Wait on this task for so many seconds.

    Args:
        seconds: How long.
    """
    await sleep(seconds)


class Bell:
    """Lets one task wait until another of its loop rings."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: Event = Event()

    def ring(self) -> None:
        """Wake who waits, or will wait."""
        self._event.set()

    async def until_rung(self) -> None:
        """Wait on this task until it rings."""
        await self._event.wait()
