"""Identifiers, in tasks; the twin for threads is `_demo_generator`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import anyio

from cup.errors import ClockBehind
from cup.services.generator import (
    AsyncCounterGenerator,
    AsyncNameGenerator,
    AsyncRandomGenerator,
    AsyncSnowflakeGenerator,
    AsyncULIDGenerator,
    AsyncUUID4Generator,
    AsyncUUID7Generator,
    CycleIDGenerator,
    awaited,
)
from cup.testing import VirtualClock

from . import _demo_generator as twin
from ._demo_generator import (
    HANDS,
    HOUR,
    PROCESSES,
    STRICT,
    counting,
    slots,
    tell_counted,
    tell_drawn,
    tell_in_order,
)
from ._demo_part import AsyncPart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._demo_part import Stage

__all__ = ["PARTS"]


class Draws(Protocol):
    """A generator of any kind."""

    def next_id(self) -> Awaitable[object]:
        """Return an identifier that nobody else gets."""
        ...


KINDS: Final[dict[str, Callable[[], Draws]]] = {
    "UUIDs of version 7": AsyncUUID7Generator,
    "ULIDs": AsyncULIDGenerator,
    "counted numbers": AsyncCounterGenerator,
    "names": lambda: AsyncNameGenerator("demo"),
    "cycle ids": lambda: awaited(CycleIDGenerator("10.0.0.1", 4000)),
    "UUIDs of version 4": AsyncUUID4Generator,
    "random strings": AsyncRandomGenerator,
}


async def together(stage: Stage) -> None:
    """Draw from one generator of each kind in many tasks at once."""
    each = stage.many(500, 100)
    kinds = {"snowflakes": lambda: AsyncSnowflakeGenerator(slots(stage))}
    for kind, make in (kinds | KINDS).items():
        ids = make()
        drawn: list[list[object]] = [[] for _ in range(HANDS)]
        async with anyio.create_task_group() as tasks:
            for hand in drawn:
                tasks.start_soon(draw, ids, each, hand)
        tell_drawn(stage, kind, drawn)


async def draw(ids: Draws, how_many: int, hand: list[object]) -> None:
    """Draw some one by one."""
    hand += [await ids.next_id() for _ in range(how_many)]


async def restart(stage: Stage) -> None:
    """Share a counter among processes, end them, and go on."""
    path = stage.folder / "count"
    each = stage.many(200, 50)
    outputs: list[str] = []

    async def count() -> None:
        process = await anyio.run_process(counting(path, each), stderr=None)
        outputs.append(process.stdout.decode())

    async with anyio.create_task_group() as tasks:
        for _ in range(PROCESSES):
            tasks.start_soon(count)
    tell_counted(stage, path, outputs, each)


async def clock(stage: Stage) -> None:
    """Set the clock back by an hour while identifiers are drawn."""
    hand = VirtualClock()
    for kind, ids in (
        ("UUIDs", AsyncUUID7Generator(clock=hand)),
        ("ULIDs", AsyncULIDGenerator(clock=hand)),
    ):
        drawn: list[object] = []
        await draw(ids, 50, drawn)
        hand.step_wall(-HOUR)
        await draw(ids, 50, drawn)
        hand.step_wall(HOUR)
        await draw(ids, 50, drawn)
        tell_in_order(stage, kind, drawn)
    strict = AsyncUUID7Generator(policy="raise", clock=hand)
    await strict.next_id()
    hand.step_wall(-HOUR)
    try:
        await strict.next_id()
    except ClockBehind as error:
        stage.exactly(STRICT, type(error).__name__, "ClockBehind")


PARTS: Final = tuple(
    AsyncPart(part, run)
    for part, run in zip(twin.PARTS, (together, restart, clock), strict=True)
)
