"""What type checkers must see in identifiers. Checked, not run."""

import uuid
from datetime import datetime

from typing_extensions import assert_type

from cup.protocols import AsyncIDGenerator, IDGenerator
from cup.services.generator import (
    SONY,
    AsyncCounterGenerator,
    AsyncSnowflakeGenerator,
    AsyncUUID7Generator,
    CounterGenerator,
    CycleIDGenerator,
    NameGenerator,
    ParsedID,
    SnowflakeGenerator,
    ULIDGenerator,
    UUID7Generator,
    awaited,
)


def threads(ids: UUID7Generator, moment: datetime) -> None:
    assert_type(ids.next_id(), uuid.UUID)
    assert_type(ids.next_ids(3), list[uuid.UUID])
    assert_type(ids.next_int(), int)
    assert_type(ids.parse("..."), ParsedID)
    assert_type(ids.bounds(moment), tuple[uuid.UUID, uuid.UUID])
    assert_type(next(iter(ids)), uuid.UUID)
    assert_type(ids.aio, AsyncUUID7Generator)
    as_protocol: IDGenerator[uuid.UUID] = ids
    del as_protocol


async def tasks(ids: AsyncSnowflakeGenerator) -> None:
    assert_type(await ids.next_id(), int)
    assert_type(await ids.next_ids(3), list[int])
    async for made in ids:
        assert_type(made, int)
    as_protocol: AsyncIDGenerator[int] = ids
    counted: AsyncIDGenerator[int] = AsyncCounterGenerator(path="count")
    cycle = awaited(CycleIDGenerator("10.0.0.1", 80))
    assert_type(cycle, AsyncIDGenerator[int])
    del as_protocol, counted


def kinds() -> None:
    texts: list[IDGenerator[str]] = [ULIDGenerator(), NameGenerator("a")]
    numbers: list[IDGenerator[int]] = [
        CounterGenerator(5),
        SnowflakeGenerator(layout=SONY),
    ]
    del texts, numbers
