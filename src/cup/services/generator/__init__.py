"""Identifiers: unique, in order, and readable, over threads, forks and restarts.

| for threads          | for tasks                 | identifiers                       |
|----------------------|---------------------------|-----------------------------------|
| `UUID7Generator`     | `AsyncUUID7Generator`     | UUIDs that sort by time           |
| `UUID4Generator`     | `AsyncUUID4Generator`     | random UUIDs                      |
| `ULIDGenerator`      | `AsyncULIDGenerator`      | 26 letters that sort by time      |
| `SnowflakeGenerator` | `AsyncSnowflakeGenerator` | 63-bit numbers that sort by time  |
| `CounterGenerator`   | `AsyncCounterGenerator`   | 0, 1, 2 ...; in a file, if asked  |
| `RangeGenerator`     | `AsyncRangeGenerator`     | numbers of a cluster, from Redis  |
| `NameGenerator`      | `AsyncNameGenerator`      | names with a prefix               |
| `RandomGenerator`    | `AsyncRandomGenerator`    | random strings                    |
| `CycleIDGenerator`   | `AsyncCycleIDGenerator`   | 128 bits: address, port, counter  |
| `CachedUUID`         | `AsyncCachedUUID`         | UUIDs as hexadecimal text         |
| `CGeneratorMan`      | `AsyncCGeneratorMan`      | names and numbers of this process |

All but the last have one interface, `IDGenerator` or `AsyncIDGenerator`::

    from cup.services.generator import SnowflakeGenerator

    ids = SnowflakeGenerator(worker=5)
    ids.next_id()              # 2125596028534018048
    ids.next_ids(1000)         # in one call
    ids.parse(2125596028534018048).time
    ids.bounds(some_datetime)  # the least and the greatest of a time, for queries

Worker numbers come from `StaticWorker`, `EnvWorker`, `FileSlots`, or from a server:
`RedisLease`, `AsyncRedisLease`.
"""

from typing import TYPE_CHECKING

from ._core_cached import UUID1, UUID4
from ._core_layout import DISCORD, INSTAGRAM, LAYOUTS, SONY, TWITTER, Capacity, Layout
from ._core_random import URL_SAFE
from ._core_workers import EnvWorker, FileSlots, StaticWorker
from .api import (
    AsyncGeneratorManAPI,
    AsyncIDGenerator,
    AsyncWorkerAPI,
    Clock,
    ClockPolicy,
    GeneratorManAPI,
    GeneratorStats,
    IDGenerator,
    IDStats,
    ParsedID,
    WorkerAPI,
    WorkerSeat,
)
from .sync import CGeneratorMan, CGeneratorManBase
from .sync_ids import (
    CounterGenerator,
    NameGenerator,
    RandomGenerator,
    SnowflakeGenerator,
    ULIDGenerator,
    UUID4Generator,
    UUID7Generator,
)
from .sync_seed import CachedUUID, CycleIDGenerator

__all__ = [
    "DISCORD",
    "INSTAGRAM",
    "LAYOUTS",
    "SONY",
    "TWITTER",
    "URL_SAFE",
    "UUID1",
    "UUID4",
    "AsyncCGeneratorMan",
    "AsyncCGeneratorManBase",
    "AsyncCachedUUID",
    "AsyncCounterGenerator",
    "AsyncCycleIDGenerator",
    "AsyncGeneratorManAPI",
    "AsyncIDGenerator",
    "AsyncNameGenerator",
    "AsyncRandomGenerator",
    "AsyncRangeGenerator",
    "AsyncRedisLease",
    "AsyncSnowflakeGenerator",
    "AsyncULIDGenerator",
    "AsyncUUID4Generator",
    "AsyncUUID7Generator",
    "AsyncWorkerAPI",
    "CGeneratorMan",
    "CGeneratorManBase",
    "CachedUUID",
    "Capacity",
    "Clock",
    "ClockPolicy",
    "CounterGenerator",
    "CycleIDGenerator",
    "EnvWorker",
    "FileSlots",
    "GeneratorManAPI",
    "GeneratorStats",
    "IDGenerator",
    "IDStats",
    "Layout",
    "NameGenerator",
    "ParsedID",
    "RandomGenerator",
    "RangeGenerator",
    "RedisLease",
    "SnowflakeGenerator",
    "StaticWorker",
    "ULIDGenerator",
    "UUID4Generator",
    "UUID7Generator",
    "WorkerAPI",
    "WorkerSeat",
    "awaited",
]

if TYPE_CHECKING:
    from .aio import AsyncCGeneratorMan, AsyncCGeneratorManBase
    from .aio_base import awaited
    from .aio_ids import (
        AsyncCounterGenerator,
        AsyncNameGenerator,
        AsyncRandomGenerator,
        AsyncSnowflakeGenerator,
        AsyncULIDGenerator,
        AsyncUUID4Generator,
        AsyncUUID7Generator,
    )
    from .aio_redis import AsyncRangeGenerator, AsyncRedisLease
    from .aio_seed import AsyncCachedUUID, AsyncCycleIDGenerator
    from .sync_redis import RangeGenerator, RedisLease
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        # Not `from . import`: that asks this very function again.
        if name in {"AsyncCGeneratorMan", "AsyncCGeneratorManBase"}:
            import cup.services.generator.aio as module
        elif name in {"AsyncCachedUUID", "AsyncCycleIDGenerator"}:
            import cup.services.generator.aio_seed as module
        elif name in {"AsyncRangeGenerator", "AsyncRedisLease"}:
            import cup.services.generator.aio_redis as module
        elif name in {"RangeGenerator", "RedisLease"}:
            import cup.services.generator.sync_redis as module
        elif name == "awaited":
            import cup.services.generator.aio_base as module
        elif name in __all__ and name.startswith("Async"):
            import cup.services.generator.aio_ids as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
