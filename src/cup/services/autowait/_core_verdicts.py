"""What one look at a condition comes to, and what makes such looks: probes.

A probe is the living side of a condition, made for one wait. `arm` declares what its
changes come from, `check` looks. It never waits: it says in `due` when it wants to look
again though nothing was heard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from .api import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .api import Condition

__all__ = [
    "NOT_YET",
    "Ear",
    "Failed",
    "Look",
    "Met",
    "NotYet",
    "Probe",
    "Verdict",
    "Watching",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Met(Generic[T_co]):
    """The condition holds."""

    value: T_co


@dataclass(frozen=True, slots=True)
class NotYet:
    """The condition does not hold (yet)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The wait is to be given up."""

    why: str


Verdict: TypeAlias = "Met[T] | NotYet | Failed"
NOT_YET = NotYet()


@dataclass(slots=True)
class Look:
    """The circumstances of one look.

    Attributes:
        now: The monotonic clock.
        began: When the wait began.
        rung: Whether something was heard since the last look.
        last: Whether the time is over: nobody looks again.
    """

    now: float
    began: float
    rung: bool = False
    last: bool = False

    def gap(self, share: float, least: float, most: float) -> float:
        """Return when to look again: after a share of the time that has passed."""
        return self.now + min(most, max(least, (self.now - self.began) * share))


class Ear(Protocol):
    """One thing that is listened to, for one wait.

    Attributes:
        last: The last event that tells whether somebody writes: `MODIFY` or
            `CLOSE_WRITE` of inotify; 0 if there was none.
    """

    last: int


class Watching(Protocol):
    """Where a probe declares what it depends on.

    What cannot be watched is polled instead, with the reason noted; then the answer is
    None or False.
    """

    def entry(self, directory: str, name: str, *, passed: bool) -> bool:
        """Hear of a name in a directory that comes or goes.

        Args:
            directory: Its path, without symbolic links.
            name: The name.
            passed: It is there, and leads on to another directory.
        """
        ...

    def entries(self, directory: str, matches: Callable[[bytes], bool]) -> bool:
        """Hear of all names in a directory that match, coming or going."""
        ...

    def content(self, path: str) -> Ear | None:
        """Hear of writes to a file, of its closing after them, and of its end."""
        ...

    def content_of(self, fd: int) -> Ear | None:
        """Hear of writes to an open file, wherever it was moved to."""
        ...

    def execution(self, path: str, *, below: bool = False) -> Ear | None:
        """Hear of an executable being started, and left; or of those in a directory."""
        ...

    def process(self, pid: int) -> bool:
        """Hear of the end of a process."""
        ...

    def poll(self, why: str, most: float | None = None) -> None:
        """Look now and then: no event tells of this."""
        ...

    def by(self, mechanism: str) -> None:
        """Note by what the probe notices changes."""
        ...


class Probe(Generic[T_co]):
    """Looks at one condition, for one wait.

    Attributes:
        condition: The condition.
        met: Whether it held at the last look.
        due: When to look again though nothing was heard; None if there is no need.
        more: The look is not over: there is more to look at right now, or at `due`.
        unsure: The last look could not tell: neither it nor its opposite holds.
        blocks: A look may block for long: a file system of another machine, a tree.
    """

    __slots__ = ("blocks", "condition", "due", "met", "more", "unsure")

    def __init__(self, condition: Condition[T_co]) -> None:
        self.condition: Condition[T_co] = condition
        self.met: bool = False
        self.due: float | None = None
        self.more: bool = False
        self.blocks: bool = False
        self.unsure: bool = False

    def arm(self, watching: Watching) -> None:
        """Declare what the condition depends on."""
        raise NotImplementedError

    def check(self, look: Look) -> Verdict[T_co]:
        """Look at it."""
        raise NotImplementedError

    def look_at(self, look: Look) -> Verdict[T_co]:
        """Look at it, and keep for reports what came of it."""
        verdict = self.check(look)
        self.met = isinstance(verdict, Met)
        return verdict

    def seen(self) -> str:
        """Say what was seen at the last look."""
        return ""

    def nearest(self) -> str:
        """Say what comes nearest to it; may take its time."""
        return ""

    def parts(self) -> tuple[Probe[object], ...]:
        """Return the probes of what the condition is made of."""
        return ()

    def walk(self) -> Iterator[Probe[object]]:
        """Give this probe, and all that it is made of."""
        yield self
        for part in self.parts():
            yield from part.walk()

    def report(self, mechanism: str = "") -> Report:
        """Return what was found."""
        return Report(
            condition=str(self.condition),
            met=self.met,
            seen="" if self.met else self.seen(),
            nearest="" if self.met else self.nearest(),
            mechanism=mechanism,
            parts=tuple(part.report() for part in self.parts()),
        )

    def close(self) -> None:
        """Give back what is open; may be called again."""
        for part in self.parts():
            part.close()
