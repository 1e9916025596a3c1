"""The generators of identifiers, in threads; the twin for tasks has the same parts."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from subprocess import PIPE, Popen
from time import time
from typing import TYPE_CHECKING, Final, TypeVar

from cup.services.generator import (
    CounterGenerator,
    CycleIDGenerator,
    FileSlots,
    NameGenerator,
    RandomGenerator,
    SnowflakeGenerator,
    StaticWorker,
    ULIDGenerator,
    UUID4Generator,
    UUID7Generator,
)
from cup.services.threadpool import ThreadPool

from ._demo_part import Part

if TYPE_CHECKING:
    from cup.services.generator import IDGenerator, ParsedID

    from ._demo_part import Stage

__all__ = [
    "CLOCK",
    "KINDS",
    "LEDGER",
    "PARTS",
    "PROCESSES",
    "Hands",
    "away",
    "commands",
    "disorder",
    "state",
    "surroundings",
]

T = TypeVar("T")

THREADS: Final = 4


@dataclass
class Hands:
    """A clock whose hands are turned."""

    now: float = field(default_factory=time)

    def time(self) -> float:
        """Return what the hands show."""
        return self.now

    def monotonic(self) -> float:
        """Return the same: nothing here waits."""
        return self.now


def disorder(made: list[T]) -> int:
    """Count the ids that are not greater than the one before."""
    texts = [f"{one:040}" if isinstance(one, int) else str(one) for one in made]
    return sum(after <= before for before, after in pairwise(texts))


def away(told: ParsedID, hands: Hands) -> int:
    """Return the seconds between the time of an id and the clock."""
    return -1 if told.time is None else int(abs(told.time.timestamp() - hands.now))


def kinds(stage: Stage) -> None:
    """Draw from each kind in several threads at once."""
    number = stage.many(5000, 1000)
    in_threads(stage, UUID7Generator(), number)
    in_threads(stage, UUID4Generator(), number)
    in_threads(stage, ULIDGenerator(), number)
    in_threads(stage, SnowflakeGenerator(FileSlots(stage.folder)), number)
    in_threads(stage, CounterGenerator(), number)
    in_threads(stage, NameGenerator("demo"), number)
    in_threads(stage, RandomGenerator(), number)
    in_threads(stage, CycleIDGenerator("127.0.0.1", 80), number)


def in_threads(stage: Stage, ids: IDGenerator[T], number: int) -> None:
    """Draw from one kind in several threads, and state what came."""

    def draw() -> list[T]:
        mine = ids.next_ids(number // 2)
        return mine + [next(ids) for _ in range(number - number // 2)]

    with ThreadPool(max_workers=THREADS) as pool:
        jobs = [pool.submit(draw) for _ in range(THREADS)]
        made = [job.result() for job in jobs]
    kind = ids.stats().kind
    distinct = {str(one) for mine in made for one in mine}
    stage.exactly(f"distinct {kind} ids", len(distinct), THREADS * number)
    if kind not in {"uuid4", "random"}:
        stage.exactly(f"{kind} ids out of order", sum(map(disorder, made)), 0)


def clock(stage: Stage) -> None:
    """Turn the clock back by an hour, and on again."""
    hands = Hands()
    number = stage.many(2000, 500)
    for ids in (UUID7Generator(clock=hands), ULIDGenerator(clock=hands)):
        made = [str(one) for one in ids.next_ids(number)]
        hands.now -= 3600
        made += [str(one) for one in ids.next_ids(number)]
        hands.now += 7200
        made += [str(one) for one in ids.next_ids(number)]
        stage.exactly(f"{ids.kind} ids out of order", disorder(made), 0)
        told = ids.parse(made[-1])
        stage.exactly("seconds between its time and the clock", away(told, hands), 0)


def ledger(stage: Stage) -> None:
    """Start anew at the same moment, under the same worker number."""
    hands = Hands()
    number = stage.many(3000, 500)
    made: list[int] = []
    lives = [
        SnowflakeGenerator(StaticWorker(5, directory=stage.folder), clock=hands)
        for _ in range(3)
    ]
    for ids in lives:
        made += ids.next_ids(number)
    stage.exactly("distinct ids of three lives", len(set(made)), 3 * number)
    stage.exactly("out of order", disorder(made), 0)
    ids = lives[0]
    least, greatest = ids.bounds(hands.now)
    inside = sum(least <= one <= greatest for one in made[:number])
    stage.exactly("of the first life, in the bounds of its time", inside, number)
    stage.exactly("year in which its layout ends", ids.expires_at.year, 2080)


def commands(stage: Stage) -> list[list[str]]:
    """Return commands that draw snowflake ids, and numbers of one file."""
    number = str(stage.many(20_000, 2000))
    cup = [sys.executable, "-m", "cup", "id"]
    path = str(stage.folder / "count")
    return [
        *[[*cup, "snowflake", "-n", number]] * 2,
        *[[*cup, "counter", "--path", path, "-n", number]] * 2,
    ]


def surroundings(stage: Stage) -> dict[str, str]:
    """Return the environment in which worker numbers are those of the stage."""
    return {**os.environ, "XDG_RUNTIME_DIR": str(stage.folder)}


def processes(stage: Stage) -> None:
    """Draw in several processes at once, by the command line."""
    started = [
        Popen(command, stdout=PIPE, env=surroundings(stage))  # noqa: S603 - our own
        for command in commands(stage)
    ]
    state(stage, [process.communicate()[0] for process in started])


def state(stage: Stage, outputs: list[bytes]) -> None:
    """State what the processes have printed."""
    drawn = [line for output in outputs for line in output.split()]
    stage.exactly(
        "ids of processes", len(drawn), len(outputs) * stage.many(20_000, 2000)
    )
    stage.exactly("distinct", len(set(drawn)), len(drawn))


KINDS: Final = Part("generator.kinds", "draw each kind in threads at once", kinds)
CLOCK: Final = Part("generator.clock", "turn the clock back, and on again", clock)
LEDGER: Final = Part("generator.restart", "start again at the same moment", ledger)
PROCESSES: Final = Part("generator.processes", "draw in processes", processes)

PARTS: Final[tuple[Part, ...]] = (KINDS, CLOCK, LEDGER, PROCESSES)
