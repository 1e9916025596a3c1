"""When to doubt a silence: because the fault may be on this side.

Two guards, both pure. `PauseGuard` notices that this process was stopped, or lost
packets: silence counts anew from then. `MassGuard` notices that more fall silent at
once than die at once: losses are held back, until the others beat again, or for so
long; then they are declared after all, a few at a time.

The ideas: Cassandra's local pause, Eureka's self-preservation, the zones of Kubernetes.
Unlike some of these, each of them ends by itself.
"""

from __future__ import annotations

import enum
import sys
import time
from typing import Final

__all__ = ["MassGuard", "PauseGuard", "Verdict", "asleep"]

_LATE_TICKS: Final = 3.0


def asleep() -> float:
    """Return the seconds that this machine was suspended for, since it booted."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return 0.0  # macOS and Windows count a suspension, so the tick is late there


class PauseGuard:
    """Notices pauses of this process, and packets that it never saw.

    Args:
        tick: Seconds between two looks.
    """

    __slots__ = ("_asleep", "_expected", "_tick")

    def __init__(self, tick: float) -> None:
        self._tick: float = tick
        self._expected: float | None = None
        self._asleep: float = 0.0

    def excuse(self, now: float, dropped: int, suspended: float) -> str:
        """Return why silence until now does not count; empty if it does.

        Args:
            now: The monotonic clock.
            dropped: How many packets the system dropped since the last look.
            suspended: What `asleep` returns.
        """
        expected, self._expected = self._expected, now + self._tick
        slept, self._asleep = suspended - self._asleep, suspended
        if expected is None:
            return ""

        if now - expected > _LATE_TICKS * self._tick:
            return f"this process was stopped for {now - expected:.3g} s"
        if slept > _LATE_TICKS * self._tick:
            return f"this machine was suspended for {slept:.3g} s"
        return f"{dropped} packets were dropped" if dropped else ""


class Verdict(enum.Enum):
    """What to do about the silent."""

    JUDGE = enum.auto()
    HOLD = enum.auto()
    RELEASE = enum.auto()
    """Declare some of them lost."""
    FORGIVE = enum.auto()
    """The others beat again: silence counts anew from now on."""


class MassGuard:
    """Notices that more fall silent at once than die at once.

    Args:
        share: Which share of all has to be late for that.
        least: How many devices there have to be.
        patience: Seconds after which those who are still silent are declared lost.
    """

    __slots__ = ("_least", "_patience", "_releasing", "_share", "_since")

    def __init__(self, share: float, least: int, patience: float) -> None:
        self._share: float = share
        self._least: int = least
        self._patience: float = patience
        self._since: float | None = None
        self._releasing: bool = False

    @property
    def holding(self) -> bool:
        """Whether losses are held back, or declared a few at a time."""
        return self._since is not None

    @property
    def releasing(self) -> bool:
        """Whether they are declared a few at a time."""
        return self._releasing

    def judge(self, now: float, late: int, alive: int) -> Verdict:
        """Say what to do, when `late` of `alive` devices are late."""
        many = late > self._share * alive
        if self._since is None:
            if not many or alive < self._least:
                return Verdict.JUDGE
            self._since = now
            return Verdict.HOLD

        if not many:
            self._since, self._releasing = None, False
            return Verdict.FORGIVE

        self._releasing = self._releasing or now - self._since >= self._patience
        return Verdict.RELEASE if self._releasing else Verdict.HOLD
