"""What the demo is made of: parts, and the facts that they find.

A part does something real with a service, and returns facts. Each fact says what was
promised as well as what was found.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from ._demo_loops import run_on

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

__all__ = ["AsyncPart", "Fact", "Part", "Stage", "at_most", "exactly"]

Value: TypeAlias = "int | str | list[int] | list[str]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that was found, and what was promised about it.

    Attributes:
        what: The subject.
        found: What it was.
        promised: What it was to be.
        kept: Whether that is the same.
        at: When it was found, by `perf_counter`.
    """

    what: str
    found: Value
    promised: Value
    kept: bool
    at: float = field(default_factory=perf_counter)


def exactly(what: str, found: Value, promised: Value) -> Fact:
    """State a fact that was promised to the point."""
    return Fact(what=what, found=found, promised=promised, kept=found == promised)


def at_most(what: str, found: int, most: int) -> Fact:
    """State a fact that was promised as a limit."""
    return Fact(what=what, found=found, promised=f"<= {most}", kept=found <= most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where a part plays.

    Attributes:
        folder: An empty folder, removed after the part.
        seed: What random content is made from.
        quick: Whether to take less work.
    """

    folder: Path
    seed: int = 1
    quick: bool = False

    def many(self, full: int, quick: int) -> int:
        """Say how many of something to take."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the demo.

    Attributes:
        name: `<service>.<what it shows>`.
        title: What it does, in a few words.
        run: Does it, and states the facts while it finds them.
    """

    name: str
    title: str
    run: Callable[[Stage], Iterable[Fact]]


@dataclass(frozen=True, slots=True)
class AsyncPart:
    """The same part in async code, for every loop.

    Attributes:
        twin: The part for threads: gives name and title.
        run: Does it, and returns the facts.
    """

    twin: Part
    run: Callable[[Stage], Awaitable[Iterable[Fact]]]

    def on(self, loop: str) -> Part:
        """Return the part as it runs on one loop."""
        return Part(
            self.twin.name, self.twin.title, lambda stage: run_on(loop, self.run, stage)
        )
