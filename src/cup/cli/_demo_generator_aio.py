"""The generators of identifiers, in tasks; for threads see `_demo_generator`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from cup.services.generator import (
    AsyncCounterGenerator,
    AsyncCycleIDGenerator,
    AsyncNameGenerator,
    AsyncRandomGenerator,
    AsyncSnowflakeGenerator,
    AsyncULIDGenerator,
    AsyncUUID4Generator,
    AsyncUUID7Generator,
    FileSlots,
    StaticWorker,
    awaited,
)

from . import _demo_generator as twin
from ._demo_generator import Hands, away, commands, disorder, state, surroundings
from ._demo_part import AsyncPart

if TYPE_CHECKING:
    from cup.services.generator import AsyncIDGenerator

    from ._demo_part import Stage

__all__ = ["PARTS"]

T = TypeVar("T")

TASKS: Final = 4


async def kinds(stage: Stage) -> None:
    """Draw from each kind in several tasks at once."""
    number = stage.many(5000, 1000)
    cycle = AsyncCycleIDGenerator("127.0.0.1", 80)
    await in_tasks(stage, AsyncUUID7Generator(), number)
    await in_tasks(stage, AsyncUUID4Generator(), number)
    await in_tasks(stage, AsyncULIDGenerator(), number)
    slots = FileSlots(stage.folder)
    await in_tasks(stage, AsyncSnowflakeGenerator(slots), number)
    await in_tasks(stage, AsyncCounterGenerator(), number)
    await in_tasks(stage, AsyncNameGenerator("demo"), number)
    await in_tasks(stage, AsyncRandomGenerator(), number)
    await in_tasks(stage, awaited(cycle.sync), number)


async def in_tasks(stage: Stage, ids: AsyncIDGenerator[T], number: int) -> None:
    """Draw from one kind in several tasks, and state what came."""
    made: list[list[T]] = []

    async def draw() -> None:
        mine = await ids.next_ids(number // 2)
        mine += [await anext(ids) for _ in range(number - number // 2)]
        made.append(mine)

    async with anyio.create_task_group() as tasks:
        for _ in range(TASKS):
            tasks.start_soon(draw)
    kind = ids.stats().kind
    distinct = {str(one) for mine in made for one in mine}
    stage.exactly(f"distinct {kind} ids", len(distinct), TASKS * number)
    if kind not in {"uuid4", "random"}:
        stage.exactly(f"{kind} ids out of order", sum(map(disorder, made)), 0)


async def clock(stage: Stage) -> None:
    """Turn the clock back by an hour, and on again."""
    hands = Hands()
    number = stage.many(2000, 500)
    for ids in (AsyncUUID7Generator(clock=hands), AsyncULIDGenerator(clock=hands)):
        made = [str(one) for one in await ids.next_ids(number)]
        hands.now -= 3600
        made += [str(one) for one in await ids.next_ids(number)]
        hands.now += 7200
        made += [str(one) for one in await ids.next_ids(number)]
        kind = ids.stats().kind
        stage.exactly(f"{kind} ids out of order", disorder(made), 0)
        told = ids.sync.parse(made[-1])
        stage.exactly("seconds between its time and the clock", away(told, hands), 0)


async def ledger(stage: Stage) -> None:
    """Start anew at the same moment, under the same worker number."""
    hands = Hands()
    number = stage.many(3000, 500)
    made: list[int] = []
    lives = [
        AsyncSnowflakeGenerator(StaticWorker(5, directory=stage.folder), clock=hands)
        for _ in range(3)
    ]
    for ids in lives:
        made += await ids.next_ids(number)
    stage.exactly("distinct ids of three lives", len(set(made)), 3 * number)
    stage.exactly("out of order", disorder(made), 0)
    ids = lives[0]
    least, greatest = ids.bounds(hands.now)
    inside = sum(least <= one <= greatest for one in made[:number])
    stage.exactly("of the first life, in the bounds of its time", inside, number)
    stage.exactly("year in which its layout ends", ids.expires_at.year, 2080)


async def processes(stage: Stage) -> None:
    """Draw in several processes at once, by the command line."""
    outputs: list[bytes] = []

    async def draw(command: list[str]) -> None:
        done = await anyio.run_process(command, env=surroundings(stage))
        outputs.append(done.stdout)

    async with anyio.create_task_group() as tasks:
        for command in commands(stage):
            tasks.start_soon(draw, command)
    state(stage, outputs)


PARTS: Final[tuple[AsyncPart, ...]] = (
    AsyncPart(twin.KINDS, kinds),
    AsyncPart(twin.CLOCK, clock),
    AsyncPart(twin.LEDGER, ledger),
    AsyncPart(twin.PROCESSES, processes),
)
