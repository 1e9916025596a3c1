"""How a part is performed, and what became of it."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ._demo_part import Fact, Part, Stage

__all__ = ["Outcome", "Reporter", "Show", "perform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one part in one place.

    Attributes:
        part: The part.
        where: Where it ran: in threads, or on which loop.
        began: When, by `perf_counter`.
        seconds: How long it took.
        facts: What it stated.
        error: What it raised instead of coming to its end; "" if nothing.
    """

    part: Part
    where: str
    began: float
    seconds: float
    facts: tuple[Fact, ...]
    error: str

    @property
    def kept(self) -> bool:
        """Whether it came to its end, and each promise was kept."""
        return not self.error and all(fact.kept for fact in self.facts)

    def laps(self) -> list[tuple[Fact, float]]:
        """Give each fact with the seconds it took after the one before."""
        times = [self.began, *(fact.at for fact in self.facts)]
        return [
            (fact, fact.at - before)
            for fact, before in zip(self.facts, times, strict=False)
        ]


@dataclass(slots=True, kw_only=True)
class Show:
    """One run of the demo.

    Attributes:
        python: The interpreter, with its version.
        system: The operating system.
        cpus: How many there are.
        seed: What random content is made from.
        quick: Whether to take less work.
        began: When it began, by `perf_counter`.
        seconds: How long it took.
        outcomes: What was performed.
    """

    python: str
    system: str
    seed: int
    quick: bool
    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    began: float = field(default_factory=perf_counter)
    seconds: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list["Outcome"])

    @property
    def kept(self) -> bool:
        """Whether each promise was kept."""
        return all(outcome.kept for outcome in self.outcomes)

    def counts(self) -> tuple[int, int]:
        """Count the promises that were kept, and those that were not.

        A part that raised counts as one that was not.
        """
        facts = [fact.kept for outcome in self.outcomes for fact in outcome.facts]
        errors = sum(bool(outcome.error) for outcome in self.outcomes)
        return facts.count(True), facts.count(False) + errors


class Reporter(Protocol):
    """Tells the user what happens."""

    def begin(self, show: Show) -> None:
        """Say what is going to be shown."""
        ...

    def chapter(self, where: str) -> None:
        """Say where the next parts run."""
        ...

    def during(self, part: Part) -> AbstractContextManager[object]:
        """Show that a part is being performed."""
        ...

    def outcome(self, outcome: Outcome) -> None:
        """Say what became of a part."""
        ...

    def finish(self, show: Show) -> None:
        """Sum up."""
        ...


def perform(part: Part, where: str, stage: Stage) -> Outcome:
    """Run a part; what it raises is printed on stderr and makes it fail."""
    began = perf_counter()
    error = ""
    try:
        part.run(stage)
    except Exception as caught:  # noqa: BLE001 - the other parts go on
        traceback.print_exception(caught)
        error = traceback.format_exception_only(caught)[-1].strip()
    return Outcome(
        part=part,
        where=where,
        began=began,
        seconds=perf_counter() - began,
        facts=tuple(stage.facts),
        error=error,
    )
