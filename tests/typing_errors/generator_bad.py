"""What type checkers must refuse in identifiers."""

import uuid

from cup.protocols import IDGenerator
from cup.services.generator import (
    AsyncSnowflakeGenerator,
    CounterGenerator,
    SnowflakeGenerator,
    ULIDGenerator,
    UUID7Generator,
)


def making() -> None:
    ULIDGenerator(policy="hope")  # error: arg-type
    SnowflakeGenerator(worker="five")  # error: arg-type
    CounterGenerator("5")  # error: arg-type
    numbers: IDGenerator[int] = ULIDGenerator()  # error: assignment
    del numbers


def using(ids: UUID7Generator) -> None:
    ids.next_ids("3")  # error: arg-type
    text: str = ids.next_id()  # error: assignment
    ids.bounds("noon")  # error: arg-type
    del text


async def colours(ids: UUID7Generator, tasks: AsyncSnowflakeGenerator) -> None:
    await ids.next_id()  # error: misc
    made: uuid.UUID = await tasks.next_id()  # error: assignment
    for _ in tasks:  # error: attr-defined
        pass
    del made
