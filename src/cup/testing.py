"""What tests of concurrent code need: a clock to turn, and one test in four colours.

A behaviour is written once and played in threads, in asyncio, on uvloop and in trio. It
has actors: each is one thread or one task, and does what it is told in there, one
operation after the other, so that a lock which knows its owner knows each of them::

    from cup.testing import COLOURS
    from cup.thread import RWLock

    async def one_writer(colour):
        lock = RWLock()
        async with colour.actors(lock, lock.aio) as actors:
            ann, bob = actors.hire("ann"), actors.hire("bob")
            await ann.call("acquire_writelock")
            wish = bob.start("acquire_writelock", 5)
            await colour.until(lambda: lock.stats().waiting_writers == 1)
            await ann.call("release_writelock")
            await wish.result()
            await bob.call("release_writelock")

    for colour in COLOURS:
        if colour.available:
            colour.run(one_writer, colour)

With pytest, one fixture makes a test of four::

    @pytest.fixture(params=available_colours(), ids=str)
    def colour(request):
        return request.param

Services take a clock, and their background programs a driver: a `VirtualClock` and a
`VirtualDriver` make hours pass at once, in the same order every time.

What must survive a power cut runs on a `CrashDisk`: run once, it gives every state that
a crash may leave, at any point; it also fails, fills up and is slow on demand.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

from cup._core import running
from cup._core.program import perform
from cup._testing_actors import Actor, Actors, CallCancelled, Pending
from cup._testing_colours import COLOURS, Colour, available_colours
from cup._testing_crashdisk import (
    CrashDisk,
    CrashKind,
    CrashState,
    DiskEvent,
    DiskFault,
    DiskOperation,
)
from cup.errors import InvalidValue, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Generator

    from cup._core.clock import WakefulClock
    from cup._core.program import Program
__all__ = [
    "COLOURS",
    "Actor",
    "Actors",
    "CallCancelled",
    "Colour",
    "CrashDisk",
    "CrashKind",
    "CrashState",
    "DiskEvent",
    "DiskFault",
    "DiskOperation",
    "Pending",
    "VirtualClock",
    "VirtualDriver",
    "VirtualSeat",
    "available_colours",
    "strict_blocking",
]

_ENDLESS = 10_000  # steps of a program at one and the same moment


class VirtualClock:
    """A clock whose hands a test turns.

    Args:
        start: What `monotonic` begins with.
        wall: What `time` begins with, in seconds since the epoch.
    """

    __slots__ = ("_now", "_slept", "_wall")

    def __init__(self, start: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._now = start
        self._wall = wall
        self._slept = 0.0

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return self._now

    def time(self) -> float:
        """Return seconds since the epoch, as people read them."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass, on both hands.

        Programs are not called: for that, `VirtualDriver.advance`.

        Raises:
            InvalidValue: If `seconds` is negative or no finite number.
        """
        _check_seconds(seconds)
        self.advance_to(self._now + seconds)

    def advance_to(self, moment: float) -> None:
        """Let time pass until `monotonic` shows exactly this moment, if it is ahead.

        Raises:
            InvalidValue: If `moment` is no finite number.
        """
        if not math.isfinite(moment):
            raise InvalidValue(f"no clock shows {moment}")

        passed = max(0.0, moment - self._now)
        self._now = max(self._now, moment)
        self._wall += passed

    def step_wall(self, seconds: float) -> None:
        """Move the wall time alone, forward or back, as when somebody sets the clock.

        Raises:
            InvalidValue: If `seconds` is no finite number.
        """
        if not math.isfinite(seconds):
            raise InvalidValue(f"a clock cannot be set by {seconds} s")

        self._wall += seconds

    def suspended(self) -> float:
        """Return the seconds of all `suspend` calls."""
        return self._slept

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: the wall time goes on, `monotonic` stands still.

        Raises:
            InvalidValue: If `seconds` is negative or no finite number.
        """
        _check_seconds(seconds)
        self._wall += seconds
        self._slept += seconds

    def __repr__(self) -> str:
        return f"<VirtualClock monotonic={self._now} time={self._wall}>"


class VirtualSeat:
    """The place of one program at a `VirtualDriver`: what a service gets as driver.

    Attributes:
        program: The program.
        deadline: When it is called next, on the monotonic clock; None if it waits for
            a nudge.
    """

    __slots__ = ("_stopped", "deadline", "program")

    def __init__(self, program: Program) -> None:
        self.program: Program = program
        self.deadline: float | None = None
        self._stopped = False

    def nudge(self, deadline: float) -> None:
        """Have the program called at `deadline` at the latest; it only lowers."""
        if not self._stopped and (self.deadline is None or deadline < self.deadline):
            self.deadline = deadline

    def stop(self) -> None:
        """Call the program no more."""
        self._stopped = True
        self.deadline = None

    def call(self, now: float) -> None:
        """Run one step and its effects, and note when to come back."""
        self.deadline = None
        deadline = perform(self.program, now)
        if deadline is not None:
            self.nudge(deadline)

    def __repr__(self) -> str:
        due = "idle" if self.deadline is None else f"due at {self.deadline}"
        return f"<VirtualSeat of {self.program!r}, {due}>"


class VirtualDriver:
    """Runs background programs on a virtual clock, in the thread of the test.

    Each step is called at exactly its deadline, the earliest first, and those of one
    moment in the order in which they were added.

    Args:
        clock: The clock to turn; None makes one.
    """

    __slots__ = ("_busy", "_seats", "clock")

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.clock: VirtualClock = VirtualClock() if clock is None else clock
        self._seats: list[VirtualSeat] = []
        self._busy = False

    def add(self, program: Program) -> VirtualSeat:
        """Take a program; like on a thread, its first step comes with its first nudge.

        Returns:
            Its seat, to nudge and to stop it.
        """
        seat = VirtualSeat(program)
        self._seats.append(seat)
        return seat

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass, and call each program when it is due.

        Raises:
            InvalidValue: If `seconds` is negative or no finite number.
            RuntimeError: If a program calls this, or is due again without end.
        """
        _check_seconds(seconds)
        with self._alone():
            self._run(self.clock.monotonic() + seconds)

    def run_until_idle(self, within: float = 86_400.0) -> float:
        """Let time pass until all programs wait for a nudge.

        Args:
            within: The virtual seconds that this may take.

        Returns:
            The virtual seconds that it took.

        Raises:
            WaitTimeout: If a program has a deadline beyond that.
            RuntimeError: If a program calls this, or is due again without end.
        """
        _check_seconds(within, "within")
        start = self.clock.monotonic()
        with self._alone():
            while (seat := self._next()) is not None:
                due = self._when(seat)
                if due > start + within:
                    raise WaitTimeout(
                        f"not idle within {within} virtual seconds: {seat!r}",
                        timeout=within,
                    )
                self._run(due)
        return self.clock.monotonic() - start

    def _run(self, end: float) -> None:
        clock = self.clock
        steps = 0
        while (seat := self._next()) is not None and self._when(seat) <= end:
            steps = steps + 1 if self._when(seat) <= clock.monotonic() else 0
            if steps > _ENDLESS:
                raise RuntimeError(
                    f"{seat!r} is due again and again; time stands still"
                )

            clock.advance_to(self._when(seat))
            seat.call(clock.monotonic())
        clock.advance_to(end)

    def _next(self) -> VirtualSeat | None:
        due = [seat for seat in self._seats if seat.deadline is not None]
        return min(due, key=self._when, default=None)

    def _when(self, seat: VirtualSeat) -> float:
        """Return when a program is due; who is late is due now."""
        now = self.clock.monotonic()
        return now if seat.deadline is None else max(now, seat.deadline)

    @contextlib.contextmanager
    def _alone(self) -> Generator[None]:
        if self._busy:
            raise RuntimeError("a program cannot turn the clock that drives it")

        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def __repr__(self) -> str:
        return f"<VirtualDriver of {len(self._seats)} programs, {self.clock!r}>"


def _check_seconds(seconds: float, name: str = "seconds") -> None:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise InvalidValue(f"{name}={seconds}: time passes by 0 or more seconds")


@contextlib.contextmanager
def strict_blocking() -> Generator[None]:
    """Make it an error that a sync face blocks an event loop, inside of the block.

    Outside it is a `BlockingInLoopWarning`, here a `BlockingInLoop`, whatever the
    environment says. It counts for the whole process. Names that promise to block
    there (those of `Executor` and `Future`, `stop`) do so as ever.
    """
    before = running.set_strict(strict=True)
    try:
        yield
    finally:
        running.set_strict(strict=before)


if TYPE_CHECKING:
    _clock: WakefulClock = VirtualClock()
