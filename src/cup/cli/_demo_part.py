"""What the demo is made of: parts, the stage they play on, and the facts they state.

A part does something real with a service, and states facts about it. Each fact says
what was promised as well as what was found.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from ._demo_loops import run_on

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

__all__ = ["AsyncPart", "Fact", "Part", "Stage", "Value"]

Value: TypeAlias = "int | str | list[int] | list[str]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that was found, and what was promised about it.

    Attributes:
        what: The subject.
        found: What it was.
        promised: What it was to be.
        kept: Whether it was so.
        at: When it was stated, by `perf_counter`.
    """

    what: str
    found: Value
    promised: Value
    kept: bool
    at: float = field(default_factory=perf_counter)


@dataclass(slots=True, kw_only=True)
class Stage:
    """Where one part plays once, and what it stated there.

    Attributes:
        folder: An empty folder, removed after the part.
        seed: What random content is made from.
        quick: Whether to take less work.
        facts: What was stated so far.
    """

    folder: Path
    seed: int = 1
    quick: bool = False
    facts: list[Fact] = field(default_factory=list["Fact"])

    def many(self, full: int, quick: int) -> int:
        """Say how many of something to take."""
        return quick if self.quick else full

    def exactly(self, what: str, found: Value, promised: Value) -> None:
        """State a fact that was promised to the point."""
        kept = found == promised
        self.facts.append(Fact(what=what, found=found, promised=promised, kept=kept))

    def at_most(self, what: str, found: int, most: int) -> None:
        """State a fact that was promised as a limit."""
        promised = f"at most {most}"
        kept = found <= most
        self.facts.append(Fact(what=what, found=found, promised=promised, kept=kept))


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
    run: Callable[[Stage], object]


@dataclass(frozen=True, slots=True)
class AsyncPart:
    """The same part in async code, for every loop.

    Attributes:
        twin: The part for threads: gives name and title.
        run: Does it, and states the same facts.
    """

    twin: Part
    run: Callable[[Stage], Awaitable[object]]

    def on(self, loop: str) -> Part:
        """Return the part as it runs on one loop."""
        return Part(
            self.twin.name, self.twin.title, lambda stage: run_on(loop, self.run, stage)
        )
