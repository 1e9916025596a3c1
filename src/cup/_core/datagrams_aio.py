"""Driving a program of datagrams on a loop; its twin for threads is in `datagrams`.

anyio's own UDP socket keeps a hundred packets and drops the oldest without a word. Here
a task waits until the socket can be read, and the program reads what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import Event, create_task_group, move_on_after, wait_readable
from anyio.lowlevel import checkpoint

from .program import perform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .clock import Clock
    from .datagrams import Datagrams
    from .program import Program

__all__ = ["LoopDriver"]


class LoopDriver:
    """Runs one program in tasks of the loop that calls `run`.

    A step is called when its time has come, and whenever a socket has news; other tasks
    run between two steps.
    """

    __slots__ = ("_clock", "_deadline", "_event", "_program", "_sockets")

    def __init__(
        self, program: Program, sockets: Sequence[Datagrams], clock: Clock
    ) -> None:
        self._program: Program = program
        self._sockets: Sequence[Datagrams] = sockets
        self._clock: Clock = clock
        self._deadline: float | None = None
        self._event: Event = Event()

    def nudge(self, deadline: float) -> None:
        """Have the program called at `deadline` at the latest; on this loop only."""
        if self._deadline is None or deadline < self._deadline:
            self._deadline = deadline
            self._event.set()

    async def run(self) -> None:
        """Run the program until cancelled."""
        async with create_task_group() as tasks:
            for each in self._sockets:
                tasks.start_soon(self._read, each)
            while True:
                self._step()
                await self._sleep()

    def _step(self) -> None:
        self._deadline = perform(self._program, self._clock.monotonic())

    async def _sleep(self) -> None:
        """Wait for the deadline, which readers and nudges may change."""
        await checkpoint()
        while True:
            self._event = Event()
            deadline = self._deadline
            if deadline is None:
                await self._event.wait()
                continue

            left = deadline - self._clock.monotonic()
            if left <= 0:
                return
            with move_on_after(left):
                await self._event.wait()

    async def _read(self, datagrams: Datagrams) -> None:
        while True:
            await wait_readable(datagrams.raw)
            before = self._deadline
            self._step()
            if self._deadline != before:
                self._event.set()
            # A loop that is always readable still lets the others run.
            await checkpoint()
