"""The kinds of identifiers, for tasks; their twins for threads are in `sync_ids`.

Plain generation neither blocks the loop nor leaves it: what a task awaits here is the
clock, where a policy says so, and a worker number that comes from a server.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from anyio import to_thread

from cup.errors import NoWorkerId

from ._core_ids import check_count
from ._core_layout import TWITTER, Layout
from ._core_random import URL_SAFE
from ._core_snowflake import SeatNeeded
from ._core_workers import is_awaited, make_worker
from .aio_base import AsyncIds
from .sync_ids import (
    CounterGenerator,
    NameGenerator,
    RandomGenerator,
    SnowflakeGenerator,
    ULIDGenerator,
    UUID4Generator,
    UUID7Generator,
)

if TYPE_CHECKING:
    import uuid
    from datetime import datetime
    from os import PathLike

    from typing_extensions import Self

    from ._core_ids import NotYet
    from .api import AsyncIDGenerator, AsyncWorkerAPI, Clock, ClockPolicy, WorkerAPI
    from .sync_base import SyncIds

__all__ = [
    "AsyncCounterGenerator",
    "AsyncNameGenerator",
    "AsyncRandomGenerator",
    "AsyncSnowflakeGenerator",
    "AsyncULIDGenerator",
    "AsyncUUID4Generator",
    "AsyncUUID7Generator",
]

T = TypeVar("T")
G = TypeVar("G")


class _Twin(AsyncIds[T], Generic[T, G]):
    """A face for tasks over the one for threads."""

    __slots__ = ("_own",)

    def __init__(self, own: G, ids: SyncIds[T]) -> None:
        super().__init__(ids)
        self._own: G = own

    @property
    def sync(self) -> G:
        """The same generator, seen from threads."""
        return self._own


class AsyncCounterGenerator(_Twin["int", CounterGenerator]):
    """Numbers that go up: 0, 1, 2 and so on.

    Twin of `CounterGenerator`. What a counter with a path takes from the disk, once in
    `step` numbers, is waited for on a worker thread of anyio; numbers that were on
    their way to a task that is cancelled then are left out.
    """

    __slots__ = ()

    def __init__(
        self,
        start: int = 0,
        *,
        path: str | PathLike[str] | None = None,
        step: int | None = None,
    ) -> None:
        own = CounterGenerator(start, path=path, step=step)
        super().__init__(own, own)

    @classmethod
    def over(cls, own: CounterGenerator) -> Self:
        """Return the face for tasks of a generator for threads."""
        made = object.__new__(cls)
        made._ids = made._own = own
        return made

    async def next_id(self) -> int:
        """Return an identifier that nobody else gets.

        Raises:
            EpochOver: If there are no more of 63 bits.
            OSError: If the file cannot be read or written.
        """
        if self._own.waits_for_disk():
            return await to_thread.run_sync(self._own.attempt)
        return await super().next_id()

    async def next_ids(self, n: int) -> list[int]:
        """Return `n` identifiers, in order where the kind promises one.

        Raises:
            EpochOver: If there are no more of 63 bits.
            InvalidType: If `n` is no integer.
            InvalidValue: If it is negative.
            OSError: If the file cannot be read or written.
        """
        if self._own.waits_for_disk(check_count(n)):
            return await to_thread.run_sync(self._own.next_ids, n)
        return await super().next_ids(n)


class AsyncNameGenerator(_Twin["str", NameGenerator]):
    """Unique names: `prefix_life_pid_counter`.

    Twin of `NameGenerator`.
    """

    __slots__ = ()

    def __init__(self, prefix: str = "localhost") -> None:
        own = NameGenerator(prefix)
        super().__init__(own, own)

    @classmethod
    def over(cls, own: NameGenerator) -> Self:
        """Return the face for tasks of a generator for threads."""
        made = object.__new__(cls)
        made._ids = made._own = own
        return made


class AsyncUUID4Generator(_Twin["uuid.UUID", UUID4Generator]):
    """Random UUIDs (RFC 9562, version 4), from the randomness of the system.

    Twin of `UUID4Generator`.
    """

    __slots__ = ()

    def __init__(self) -> None:
        own = UUID4Generator()
        super().__init__(own, own)

    @classmethod
    def over(cls, own: UUID4Generator) -> Self:
        """Return the face for tasks of a generator for threads."""
        made = object.__new__(cls)
        made._ids = made._own = own
        return made

    def next_int(self) -> int:
        """Return a random UUID as an integer."""
        return self._own.next_int()


class AsyncUUID7Generator(_Twin["uuid.UUID", UUID7Generator]):
    """UUIDs that sort by the time they were made at (RFC 9562, version 7).

    Twin of `UUID7Generator`.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        policy: ClockPolicy = "hold",
        max_ahead: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        own = UUID7Generator(policy=policy, max_ahead=max_ahead, clock=clock)
        super().__init__(own, own)

    @classmethod
    def over(cls, own: UUID7Generator) -> Self:
        """Return the face for tasks of a generator for threads."""
        made = object.__new__(cls)
        made._ids = made._own = own
        return made

    async def next_int(self) -> int:
        """Return the next UUID as an integer, in a third of the time."""
        return (await self.next_id()).int

    async def next_ints(self, n: int) -> list[int]:
        """Return `n` UUIDs as integers, in order."""
        return [made.int for made in await self.next_ids(n)]


class AsyncULIDGenerator(_Twin["str", ULIDGenerator]):
    """ULIDs: 26 letters that sort by the time they were made at.

    Twin of `ULIDGenerator`.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        policy: ClockPolicy = "hold",
        max_ahead: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        own = ULIDGenerator(policy=policy, max_ahead=max_ahead, clock=clock)
        super().__init__(own, own)

    @classmethod
    def over(cls, own: ULIDGenerator) -> Self:
        """Return the face for tasks of a generator for threads."""
        made = object.__new__(cls)
        made._ids = made._own = own
        return made

    @staticmethod
    def to_uuid(ulid: str) -> uuid.UUID:
        """Return the UUID of the same 128 bits, as databases store it."""
        return ULIDGenerator.to_uuid(ulid)

    @staticmethod
    def from_uuid(value: uuid.UUID) -> str:
        """Return the ULID of the 128 bits of a UUID."""
        return ULIDGenerator.from_uuid(value)


class AsyncRandomGenerator(_Twin["str", RandomGenerator]):
    """Random strings for tokens, keys and short names, from `secrets`.

    Twin of `RandomGenerator`.
    """

    __slots__ = ()

    def __init__(self, length: int = 21, alphabet: str = URL_SAFE) -> None:
        own = RandomGenerator(length, alphabet)
        super().__init__(own, own)

    @classmethod
    def over(cls, own: RandomGenerator) -> Self:
        """Return the face for tasks of a generator for threads."""
        made = object.__new__(cls)
        made._ids = made._own = own
        return made

    @property
    def bits(self) -> float:
        """How hard a string is to guess: the binary logarithm of their number."""
        return self._own.bits


class AsyncSnowflakeGenerator(_Twin[int, SnowflakeGenerator]):
    """Numbers of 63 bits: a time, a worker, a sequence, after Twitter's snowflake.

    Twin of `SnowflakeGenerator`. The worker number may come from an `AsyncRedisLease`,
    which is awaited; then `sync` has no worker number of its own.
    """

    __slots__ = ("_worker",)

    def __init__(
        self,
        worker: int | WorkerAPI | AsyncWorkerAPI | None = None,
        *,
        layout: Layout = TWITTER,
        policy: ClockPolicy = "borrow",
        max_ahead: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        source: WorkerAPI | AsyncWorkerAPI = make_worker(worker)
        own = SnowflakeGenerator(
            _Awaited() if is_awaited(source) else source,
            layout=layout,
            policy=policy,
            max_ahead=max_ahead,
            clock=clock,
        )
        super().__init__(own, own)
        self._worker: WorkerAPI | AsyncWorkerAPI = source

    @classmethod
    def over(cls, own: SnowflakeGenerator) -> Self:
        """Return the face for tasks of a generator for threads."""
        made = object.__new__(cls)
        made._ids = made._own = own
        made._worker = own.worker
        return made

    async def _wait(self, late: NotYet) -> None:
        if isinstance(late, SeatNeeded):
            seat = self._worker.seat(self._own.layout)
            self._own.sit(await seat if isinstance(seat, Coroutine) else seat)
        else:
            await super()._wait(late)

    @property
    def worker(self) -> WorkerAPI | AsyncWorkerAPI:
        """Where its worker number comes from."""
        return self._worker

    @property
    def layout(self) -> Layout:
        """How its numbers are made."""
        return self._own.layout

    @property
    def expires_at(self) -> datetime:
        """When the time bits of its layout are used up, in UTC."""
        return self._own.expires_at

    def text_of(self, number: int) -> str:
        """Return an id as 19 digits: text that sorts, and that JSON keeps."""
        return self._own.text_of(number)


class _Awaited:
    """Stands in for worker numbers that threads cannot wait for."""

    __slots__ = ()

    def seat(self, layout: Layout) -> NoReturn:
        raise NoWorkerId(
            "this generator's worker number is awaited, so a thread cannot get it "
            f"({layout.workers} there are): await AsyncSnowflakeGenerator.next_id"
        )


if TYPE_CHECKING:
    _counter: AsyncIDGenerator[int] = AsyncCounterGenerator()
    _name: AsyncIDGenerator[str] = AsyncNameGenerator()
    _uuid4: AsyncIDGenerator[uuid.UUID] = AsyncUUID4Generator()
    _uuid7: AsyncIDGenerator[uuid.UUID] = AsyncUUID7Generator()
    _ulid: AsyncIDGenerator[str] = AsyncULIDGenerator()
    _random: AsyncIDGenerator[str] = AsyncRandomGenerator()
    _snowflake: AsyncIDGenerator[int] = AsyncSnowflakeGenerator()
