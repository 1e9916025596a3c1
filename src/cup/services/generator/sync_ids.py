"""The kinds of identifiers, for threads; their twins for tasks are in `aio_ids`.

Not here: how they are made (the `_core` modules).
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from ._core_counter import CounterCore
from ._core_ids import NotYet, check_count
from ._core_layout import TWITTER, Layout
from ._core_names import NameCore
from ._core_random import URL_SAFE, RandomCore
from ._core_snowflake import SeatNeeded, SnowflakeCore
from ._core_ulid import ULIDCore
from ._core_uuid import UUID4Core, UUID7Core
from ._core_workers import make_worker
from .sync_base import SyncIds

if TYPE_CHECKING:
    from os import PathLike

    from .aio_ids import (
        AsyncCounterGenerator,
        AsyncNameGenerator,
        AsyncRandomGenerator,
        AsyncSnowflakeGenerator,
        AsyncULIDGenerator,
        AsyncUUID4Generator,
        AsyncUUID7Generator,
    )
    from .api import Clock, ClockPolicy, IDGenerator, WorkerAPI

__all__ = [
    "CounterGenerator",
    "NameGenerator",
    "RandomGenerator",
    "SnowflakeGenerator",
    "ULIDGenerator",
    "UUID4Generator",
    "UUID7Generator",
]


class CounterGenerator(CounterCore, SyncIds[int]):
    """Numbers that go up: 0, 1, 2 and so on.

    All threads of a process get them in order. Forked children and their parent never
    get the same, since each takes `step` numbers at a time from a place that they
    share; the numbers of one process have gaps then. With a path they also go on after
    a restart, and are shared by all processes of this host that use the file.

    Args:
        start: The first number, if the file does not hold a later one.
        path: A file that keeps the count.
        step: How many numbers a process takes at a time, and may leave unused when it
            ends; None for 65,536, or 1024 with a path, where each take waits for the
            disk.

    Raises:
        InvalidType: If an argument is of another type.
        InvalidValue: If a number is out of range, or the file cannot be used.
        EpochOver: When 2**63 - 1 is reached.
    """

    __slots__ = ()

    def __init__(
        self,
        start: int = 0,
        *,
        path: str | PathLike[str] | None = None,
        step: int | None = None,
    ) -> None:
        super().__init__(start, path, step)

    @property
    def aio(self) -> AsyncCounterGenerator:
        """The same generator, seen from an event loop."""
        from .aio_ids import AsyncCounterGenerator  # noqa: PLC0415 - loads loops

        return AsyncCounterGenerator.over(self)


class NameGenerator(NameCore, SyncIds[str]):
    """Unique names: `prefix_life_pid_counter`.

    The life is the time when the process began to make names and 64 random bits, as 28
    hexadecimal digits; the counter has 12. The names of a prefix sort by the begin of
    the process, then by the counter, which goes up for all threads in order. A forked
    child begins a life of its own.

    Args:
        prefix: What names begin with; "localhost" means the name of this host.

    Raises:
        InvalidType: If the prefix is no text.
    """

    __slots__ = ()

    def __init__(self, prefix: str = "localhost") -> None:
        super().__init__(prefix)

    @property
    def aio(self) -> AsyncNameGenerator:
        """The same generator, seen from an event loop."""
        from .aio_ids import AsyncNameGenerator  # noqa: PLC0415 - loads loops

        return AsyncNameGenerator.over(self)


class UUID4Generator(UUID4Core, SyncIds[uuid.UUID]):
    """Random UUIDs (RFC 9562, version 4), from the randomness of the system.

    They are drawn from a pool of 4 KiB that a forked child does not inherit. There is
    no order. Safe in threads and signal handlers.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()

    @property
    def aio(self) -> AsyncUUID4Generator:
        """The same generator, seen from an event loop."""
        from .aio_ids import AsyncUUID4Generator  # noqa: PLC0415 - loads loops

        return AsyncUUID4Generator.over(self)


class UUID7Generator(UUID7Core, SyncIds[uuid.UUID]):
    """UUIDs that sort by the time they were made at (RFC 9562, version 7).

    All threads of a process get them in strict order, whatever the clock does. 32 bits
    of each are random, and 41 more in each millisecond. Safe in threads and signal
    handlers; a forked child draws from randomness of its own.

    Args:
        policy: What happens when the clock steps back (`ClockPolicy`).
        max_ahead: Seconds by which ids may then be ahead of the clock, and that may be
            waited for it; None for no limit.
        clock: What tells the time; None for the clock of this machine.

    Raises:
        InvalidValue: If the policy is unknown, or `max_ahead` NaN.
        InvalidType: If the clock is none.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        policy: ClockPolicy = "hold",
        max_ahead: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(policy, max_ahead, clock)

    def next_int(self) -> int:
        """Return the next UUID as an integer, in a third of the time.

        Raises:
            ClockBehind: If the clock policy forbids it.
        """
        waited = 0.0
        while True:
            try:
                return self.attempt_int()
            except NotYet as late:
                waited = late.add_to(waited)
                self._wait(late)

    def next_ints(self, n: int) -> list[int]:
        """Return `n` UUIDs as integers, in order.

        Raises:
            ClockBehind: If the clock policy forbids it.
            InvalidType: If `n` is no integer.
            InvalidValue: If it is negative.
        """
        made: list[int] = []
        missing = check_count(n)
        waited = 0.0
        while missing:
            try:
                made += self.attempt_ints(missing)
                waited = 0.0
            except NotYet as late:
                waited = late.add_to(waited)
                self._wait(late)
            missing = n - len(made)
        return made

    @property
    def aio(self) -> AsyncUUID7Generator:
        """The same generator, seen from an event loop."""
        from .aio_ids import AsyncUUID7Generator  # noqa: PLC0415 - loads loops

        return AsyncUUID7Generator.over(self)


class ULIDGenerator(ULIDCore, SyncIds[str]):
    """ULIDs: 26 letters that sort by the time they were made at.

    All threads of a process get them in strict order, whatever the clock does. Within a
    millisecond they go up by one, as their specification says, so who knows one can
    guess the next: what must not be guessed is a `UUID4Generator`'s or a
    `RandomGenerator`'s. Safe in threads and signal handlers.

    Args:
        policy: What happens when the clock steps back (`ClockPolicy`).
        max_ahead: Seconds by which ids may then be ahead of the clock, and that may be
            waited for it; None for no limit.
        clock: What tells the time; None for the clock of this machine.

    Raises:
        InvalidValue: If the policy is unknown, or `max_ahead` NaN.
        InvalidType: If the clock is none.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        policy: ClockPolicy = "hold",
        max_ahead: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(policy, max_ahead, clock)

    @property
    def aio(self) -> AsyncULIDGenerator:
        """The same generator, seen from an event loop."""
        from .aio_ids import AsyncULIDGenerator  # noqa: PLC0415 - loads loops

        return AsyncULIDGenerator.over(self)


class RandomGenerator(RandomCore, SyncIds[str]):
    """Random strings for tokens, keys and short names, from `secrets`.

    21 letters of 64 are worth 126 bits, as a random UUID is. There is no order. Safe in
    threads and signal handlers; a forked child draws anew.

    Args:
        length: How many letters.
        alphabet: What letters; each is as likely as any other.

    Raises:
        InvalidType: If an argument is of another type.
        InvalidValue: If the length is below 1, or a letter stands twice.
    """

    __slots__ = ()

    def __init__(self, length: int = 21, alphabet: str = URL_SAFE) -> None:
        super().__init__(length, alphabet)

    @property
    def aio(self) -> AsyncRandomGenerator:
        """The same generator, seen from an event loop."""
        from .aio_ids import AsyncRandomGenerator  # noqa: PLC0415 - loads loops

        return AsyncRandomGenerator.over(self)


class SnowflakeGenerator(SnowflakeCore, SyncIds[int]):
    """Numbers of 63 bits: a time, a worker, a sequence, after Twitter's snowflake.

    All threads of a process get them in strict order. Who has a worker number claims
    each tick before issuing in it, in a place that forked children, other processes of
    this user and later starts on this host share: they repeat nothing. A claim costs
    about 3 microseconds.

    Args:
        worker: A number; or where it comes from: `StaticWorker`, `EnvWorker`,
            `FileSlots`, a `RedisLease`. None for `FileSlots()`.
        layout: How numbers are made: `TWITTER`, `SONY`, `INSTAGRAM`, `DISCORD`, or a
            `Layout` of your own.
        policy: What happens when the clock steps back, or more is asked for than a tick
            has room for (`ClockPolicy`).
        max_ahead: Seconds by which ids may be ahead of the clock, and that may be
            waited for it.
        clock: What tells the time; None for the clock of this machine.
            A file keeps what a worker number has issued: to a test that has a clock
            of its own, give a `StaticWorker` with a directory of its own.

    Raises:
        InvalidType: If an argument is of another type.
        InvalidValue: If the worker number does not fit, or the policy is unknown.
        NoWorkerId: If there is no worker number to be had.
        EpochOver: If the layout's time is over.
        WorkerIdLost: If a leased number was lost, and no new one can be had.
    """

    __slots__ = ("_worker",)

    def __init__(
        self,
        worker: int | WorkerAPI | None = None,
        *,
        layout: Layout = TWITTER,
        policy: ClockPolicy = "borrow",
        max_ahead: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        self._worker: WorkerAPI = make_worker(worker)
        super().__init__(layout, policy, max_ahead, clock)

    @property
    def worker(self) -> WorkerAPI:
        """Where its worker number comes from."""
        return self._worker

    def _wait(self, late: NotYet) -> None:
        if isinstance(late, SeatNeeded):
            self.sit(self._worker.seat(self._layout))
        else:
            super()._wait(late)

    @property
    def aio(self) -> AsyncSnowflakeGenerator:
        """The same generator, seen from an event loop."""
        from .aio_ids import AsyncSnowflakeGenerator  # noqa: PLC0415 - loads loops

        return AsyncSnowflakeGenerator.over(self)


if TYPE_CHECKING:
    _counter: IDGenerator[int] = CounterGenerator()
    _name: IDGenerator[str] = NameGenerator()
    _uuid4: IDGenerator[uuid.UUID] = UUID4Generator()
    _uuid7: IDGenerator[uuid.UUID] = UUID7Generator()
    _ulid: IDGenerator[str] = ULIDGenerator()
    _random: IDGenerator[str] = RandomGenerator()
    _snowflake: IDGenerator[int] = SnowflakeGenerator()
