"""Background programs: small state machines that say when to be called next.

A program is an object with all its state in attributes, so it survives an exception in
one step, a fork, and a clock turned by a test. In production a `ThreadDriver` runs it;
in tests a virtual clock does (`cup.testing.VirtualDriver`).

Not here: what programs do, and jobs of users, which never run on a driver's thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, ClassVar

from . import fork, lifecycle
from .clock import SYSTEM
from .park import LockParker, make_parker
from .threads import OwnThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clock import Clock
    from .park import Parker

__all__ = ["Program", "ThreadDriver", "perform"]

_log = logging.getLogger("cup.program")

_ASLEEP = float("-inf")  # no nudge is earlier: the driver is not parked
_RETRY = 1.0  # seconds after a step that failed, and said no deadline


class Program:
    """Base of background programs.

    `step` decides and appends what is to be done to `effects`; the driver performs
    them after `step` has returned.

    Attributes:
        stage: When its thread ends at interpreter exit.
        precise: Whether its thread waits for deadlines by the microsecond; else it is
            woken faster, and deadlines are rounded up to the millisecond.
    """

    __slots__ = ("effects",)

    stage: ClassVar[lifecycle.Stage] = lifecycle.Stage.TIMERS
    precise: ClassVar[bool] = False

    def __init__(self) -> None:
        self.effects: deque[Callable[[], object]] = deque()

    def step(self, now: float) -> float | None:
        """Advance to `now`; return when to be called next, None for "when nudged"."""
        raise NotImplementedError


def perform(program: Program, now: float) -> float | None:
    """Run one step and its effects; exceptions are reported, never raised.

    Returns:
        When the program wants to be called next.
    """
    try:
        deadline = program.step(now)
    except Exception:  # noqa: BLE001 - reported; the next step runs
        _log.exception("a step of %r failed", program)
        deadline = now + _RETRY
    while program.effects:
        effect = program.effects.popleft()
        try:
            effect()
        except Exception:  # noqa: BLE001 - reported; the next effect runs
            _log.exception("an effect of %r failed", program)
    return deadline


class ThreadDriver:
    """Runs one program on a thread of its own, from the first nudge on.

    The thread is not a daemon, unless the interpreter is about to end already; it is
    stopped at interpreter exit, and started anew in a forked child by the first nudge
    there.
    """

    def __init__(self, program: Program, name: str, clock: Clock = SYSTEM) -> None:
        self._program = program
        self._name = name
        self._clock = clock
        self._renew()
        self._generation = fork.generation()
        lifecycle.at_exit(program.stage, self)

    def _enter_child(self) -> None:
        """Start anew: the thread stayed in the parent."""
        with fork.renewal:
            if self._generation != fork.generation():
                self._renew()
                self._generation = fork.generation()

    def _renew(self) -> None:
        self._nudged = False
        self._parked_until = _ASLEEP
        self._parker: Parker = LockParker() if self._program.precise else make_parker()
        self._seat: deque[None] = deque([None])  # whoever pops it starts the thread
        self._thread: threading.Thread | None = None
        self._stopping = False

    def nudge(self, deadline: float) -> None:
        """Have the program called at `deadline` at the latest; never blocks."""
        if self._generation != fork.generation():
            self._enter_child()
        self._nudged = True
        if deadline < self._parked_until:
            self._parker.wake()
        if self._seat and not self._stopping:
            self._start()

    def _start(self) -> None:
        try:
            self._seat.pop()
        except IndexError:
            return

        # Started by a thread that outlives the main thread: nobody stops it any more.
        late = lifecycle.exiting()
        thread = OwnThread(self._run, name=self._name, daemon=late)
        try:
            thread.start()
        except BaseException:
            # It may have started: the exception may be that of a signal handler.
            if thread.call_off():
                self._seat.append(None)
            else:
                self._thread = thread
            raise
        self._thread = thread

    def _run(self) -> None:
        generation = self._generation
        while not self._stopping and generation == fork.generation():
            self._nudged = False
            deadline = perform(self._program, self._clock.monotonic())
            self._parked_until = float("inf") if deadline is None else deadline
            # Published first, looked at second: a nudge sees it, or is seen here.
            if not self._nudged and not self._stopping:
                self._park(deadline)
            self._parked_until = _ASLEEP

    def _park(self, deadline: float | None) -> None:
        if deadline is None:
            self._parker.park()
        else:
            self._parker.park_until(deadline)

    def end_at_exit(self) -> None:
        """End the thread at interpreter exit."""
        self.stop()

    def stop(self) -> None:
        """End the thread and wait for it; the program keeps its state."""
        if self._generation != fork.generation():
            self._enter_child()
        self._stopping = True
        self._parker.wake()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
