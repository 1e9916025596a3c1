"""What generators offer, in both colours, and the values they answer with.

`IDGenerator` is what every kind of identifier has in threads, `AsyncIDGenerator` the
same in tasks. `GeneratorManAPI` is that of the older `CGeneratorMan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from cup._core.clock import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import datetime

    from ._core_layout import Layout

__all__ = [
    "AsyncGeneratorManAPI",
    "AsyncIDGenerator",
    "AsyncWorkerAPI",
    "Clock",
    "ClockPolicy",
    "GeneratorManAPI",
    "GeneratorStats",
    "IDGenerator",
    "IDStats",
    "ParsedID",
    "WorkerAPI",
    "WorkerSeat",
]

T = TypeVar("T")

ClockPolicy = Literal["hold", "borrow", "wait", "raise"]
"""What happens when the clock is behind the last identifier, or its tick is used up.

Identifiers never go back in time. With `max_ahead` seconds as the bound:

- `hold` stays in the tick of the last identifier while the clock is behind by no more
  than the bound;
- `borrow` does that and takes further ticks from the future, up to the bound;
- `wait` does neither: it waits for the clock;
- `raise` does neither: it raises `ClockBehind` at once.

What `hold` and `borrow` may not do they wait for, too. No wait is longer than the
bound: where it would be, `ClockBehind` is raised at once; where the clock does not move
meanwhile, it is raised a second after the bound.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedID:
    """What an identifier says about itself.

    Attributes:
        kind: The kind it was read as, such as "uuid7".
        text: Its text form.
        number: Its value as an integer; None where it is text only.
        time: When it was made, in UTC; None where it does not say.
        worker: The number of the worker that made it; None where there is none.
        sequence: What counts inside of its tick or process; None where nothing does.
        origin: Where it was made (an address and port, or a prefix); None where it
            does not say.
    """

    kind: str
    text: str
    number: int | None = None
    time: datetime | None = None
    worker: int | None = None
    sequence: int | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IDStats:
    """The state of a generator in this process at one moment.

    Attributes:
        kind: The kind of its identifiers.
        latest: The time of its last tick, in UTC; None before the first identifier, and
            where identifiers have no time.
        ahead: Seconds by which that tick is ahead of the clock, 0.0 if it is not.
        worker: The number it issues under; None where there is none, or none yet.
        left: Numbers that can be issued before new ones are taken from the ledger, the
            server or the clock; None where there is no such limit.
    """

    kind: str
    latest: datetime | None = None
    ahead: float = 0.0
    worker: int | None = None
    left: int | None = None


class _Reads(Protocol[T]):
    """What both colours do without waiting."""

    def parse(self, value: T | str) -> ParsedID:
        """Say what an identifier of this kind tells about itself."""
        ...

    def bounds(self, time: datetime | float) -> tuple[T, T]:
        """Return the least and the greatest identifier that a time can have."""
        ...

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        ...


class IDGenerator(_Reads[T], Protocol[T]):
    """A source of identifiers of one kind, for threads."""

    def next_id(self) -> T:
        """Return an identifier that nobody else gets."""
        ...

    def next_ids(self, n: int) -> list[T]:
        """Return `n` identifiers, in order."""
        ...

    def __iter__(self) -> Iterator[T]: ...

    def __next__(self) -> T: ...


class AsyncIDGenerator(_Reads[T], Protocol[T]):
    """A source of identifiers of one kind, for tasks."""

    async def next_id(self) -> T:
        """Return an identifier that nobody else gets."""
        ...

    async def next_ids(self, n: int) -> list[T]:
        """Return `n` identifiers, in order."""
        ...

    def __aiter__(self) -> AsyncIterator[T]: ...

    async def __anext__(self) -> T: ...


class WorkerSeat(Protocol):
    """The right to issue under one worker number, as this process has it now."""

    @property
    def number(self) -> int:
        """The worker number."""
        ...

    @property
    def deadline(self) -> float | None:
        """When the right ends, on the monotonic clock; None if it does not."""
        ...

    def claim(self, tick: int, limit: int) -> int:
        """Take a tick for this process alone, not below `tick`.

        Returns:
            The tick; if it is above `limit`, it was not taken.
        """
        ...


class WorkerAPI(Protocol):
    """Where worker numbers come from, for threads."""

    def seat(self, layout: Layout) -> WorkerSeat:
        """Return the seat of this process for a layout; may wait to get one."""
        ...


class AsyncWorkerAPI(Protocol):
    """Where worker numbers come from, for tasks."""

    async def seat(self, layout: Layout) -> WorkerSeat:
        """Return the seat of this process for a layout; may wait to get one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorStats:
    """What a generator has given out in this process.

    Attributes:
        prefix: What its names begin with.
        pid: The process.
        names: How many names it gave out here.
        next_number: The number that comes next here.
    """

    prefix: str
    pid: int
    names: int
    next_number: int


class _Generates(Protocol):
    """The calls that both colours have; none of them waits."""

    def get_uniqname(self) -> str:
        """Return a name that nobody else gets."""
        ...

    def get_next_uniq_num(self) -> int:
        """Return the next number of this process."""
        ...

    def get_next_uniqhex(self) -> str:
        """Return the next number of this process as hexadecimal text."""
        ...

    def reset_uniqid_start(self, num: int = 0) -> None:
        """Begin the numbers of this process anew."""
        ...

    def get_random_str(self, length: int) -> str:
        """Return random lower-case letters."""
        ...

    def get_uuid(self) -> str:
        """Return a random UUID as 32 hexadecimal digits."""
        ...

    def stats(self) -> GeneratorStats:
        """Return what was given out in this process."""
        ...


class GeneratorManAPI(_Generates, Protocol):
    """A generator, seen from threads."""

    @property
    def aio(self) -> AsyncGeneratorManAPI:
        """The same generator, seen from an event loop."""
        ...


class AsyncGeneratorManAPI(_Generates, Protocol):
    """A generator, seen from an event loop."""

    @property
    def sync(self) -> GeneratorManAPI:
        """The same generator, seen from threads."""
        ...
