"""Identifiers, in threads; the twin for tasks is `_demo_generator_aio`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final, Protocol

from cup.errors import ClockBehind
from cup.services.generator import (
    CounterGenerator,
    CycleIDGenerator,
    FileSlots,
    NameGenerator,
    RandomGenerator,
    SnowflakeGenerator,
    ULIDGenerator,
    UUID4Generator,
    UUID7Generator,
)
from cup.services.threadpool import ThreadPool
from cup.testing import VirtualClock

from ._demo_part import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ._demo_part import Stage

__all__ = ["PARTS"]

HANDS: Final = 8
"""How many draw at the same time."""
PROCESSES: Final = 3
"""How many processes share a counter."""
HOUR: Final = 3600.0
"""Seconds by which a clock is set back."""


class Draws(Protocol):
    """A generator of any kind."""

    def next_id(self) -> object:
        """Return an identifier that nobody else gets."""
        ...


IN_ORDER: Final[dict[str, Callable[[], Draws]]] = {
    "UUIDs of version 7": UUID7Generator,
    "ULIDs": ULIDGenerator,
    "counted numbers": CounterGenerator,
    "names": lambda: NameGenerator("demo"),
    "cycle ids": lambda: CycleIDGenerator("10.0.0.1", 4000),
}
"""The kinds that promise an order, and how to make a generator of each."""

UNORDERED: Final[dict[str, Callable[[], Draws]]] = {
    "UUIDs of version 4": UUID4Generator,
    "random strings": RandomGenerator,
}
"""The kinds that promise none."""


def together(stage: Stage) -> None:
    """Draw from one generator of each kind in many threads at once."""
    each = stage.many(2000, 100)
    with ThreadPool(max_workers=HANDS) as pool:
        kinds = {"snowflakes": lambda: SnowflakeGenerator(slots(stage))}
        for kind, make in (kinds | IN_ORDER | UNORDERED).items():
            ids = make()
            draws = [pool.submit(draw, ids, each) for _ in range(HANDS)]
            tell_drawn(stage, kind, [job.result() for job in draws])


def draw(ids: Draws, how_many: int) -> list[object]:
    """Draw some one by one."""
    return [ids.next_id() for _ in range(how_many)]


def restart(stage: Stage) -> None:
    """Share a counter among processes, end them, and go on."""
    path = stage.folder / "count"
    each = stage.many(200, 50)
    running = [
        subprocess.Popen(  # noqa: S603 - this very program
            counting(path, each), stdout=subprocess.PIPE, text=True
        )
        for _ in range(PROCESSES)
    ]
    outputs = [process.communicate()[0] for process in running]
    tell_counted(stage, path, outputs, each)


def clock(stage: Stage) -> None:
    """Set the clock back by an hour while identifiers are drawn."""
    hand = VirtualClock()
    for kind, ids in (
        ("UUIDs", UUID7Generator(clock=hand)),
        ("ULIDs", ULIDGenerator(clock=hand)),
    ):
        drawn = draw(ids, 50)
        hand.step_wall(-HOUR)
        drawn += draw(ids, 50)
        hand.step_wall(HOUR)
        drawn += draw(ids, 50)
        tell_in_order(stage, kind, drawn)
    strict = UUID7Generator(policy="raise", clock=hand)
    strict.next_id()
    hand.step_wall(-HOUR)
    try:
        strict.next_id()
    except ClockBehind as error:
        stage.exactly(STRICT, type(error).__name__, "ClockBehind")


# -- what both twins use ---------------------------------------------------------------

UNSORTED: Final = {"UUIDs of version 4", "random strings"}


def slots(stage: Stage) -> FileSlots:
    """Return where worker numbers come from: files that go with the demo."""
    return FileSlots(stage.folder / "slots")


STRICT: Final = "error where the policy is to raise"


def tell_drawn(stage: Stage, kind: str, drawn: Sequence[Sequence[object]]) -> None:
    """State that all were different, and that each hand got its own in order."""
    count = sum(map(len, drawn))
    stage.exactly(
        f"different {kind}", len({id_ for ids in drawn for id_ in ids}), count
    )
    if kind not in UNSORTED:
        late = sum(1 for ids in drawn if sorted(ids, key=str_or_int) != list(ids))
        stage.exactly(f"hands that got {kind} out of order", late, 0)


def str_or_int(id_: object) -> int | str:
    """Return what an identifier is ordered by."""
    return id_ if isinstance(id_, int) else str(id_)


def tell_in_order(stage: Stage, kind: str, drawn: Sequence[object]) -> None:
    """State that none came twice, and none too early."""
    stage.exactly(
        f"different {kind}, an hour back and forth", len({*drawn}), len(drawn)
    )
    in_order = sorted(drawn, key=str_or_int) == list(drawn)
    stage.exactly(f"{kind} went up", "yes" if in_order else "no", "yes")


def counting(path: Path, how_many: int) -> list[str]:
    """Return the command of a process that draws numbers from a file."""
    program = [sys.executable, "-m", "cup", "id", "counter"]
    return [*program, "--path", str(path), "-n", str(how_many)]


def tell_counted(stage: Stage, path: Path, outputs: list[str], each: int) -> None:
    """State what the processes got, and what a later one gets."""
    numbers = [int(line) for output in outputs for line in output.split()]
    stage.exactly("different numbers", len({*numbers}), each * PROCESSES)
    later = CounterGenerator(path=path).next_id()
    above = "above all" if later > max(numbers) else "not above all"
    stage.exactly("the first number after a restart is", above, "above all")


PARTS: Final = (
    Part("generator.together", "draw identifiers of every kind together", together),
    Part("generator.restart", "share a counter, end, and go on", restart),
    Part("generator.clock", "set the clock back by an hour", clock),
)
