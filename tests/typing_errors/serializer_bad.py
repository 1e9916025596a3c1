"""What type checkers must refuse in logs and stores of metadata."""

from dataclasses import dataclass
from pathlib import Path

from cup.services.serializer import (
    JSON,
    AsyncLog,
    Codec,
    Log,
    MetaStore,
    msgpack,
)


@dataclass
class Order:
    number: int


def logs(place: Path, orders: Codec[Order]) -> None:
    log = Log.open(place)
    log.append("text")  # error: arg-type
    log.append(b"x", durability="now")  # error: arg-type
    log.submit(b"x").wait("2")  # error: arg-type
    Log.open(place, codec=orders).append(b"x")  # error: arg-type
    Log.open(place, codec=JSON).append({1, 2})  # error: arg-type
    Log.open(place, segments=3)  # error: call-overload
    numbers: Codec[int] = msgpack(Order)  # error: arg-type
    del numbers


def stores(place: Path) -> None:
    store = MetaStore.open(place)
    store.set(5, "value")  # error: arg-type
    store.set("key", object())  # error: arg-type
    store.update({"a": b"bytes"})  # error: arg-type
    MetaStore.open(5)  # error: call-overload


async def colours(log: Log[bytes], tasks: AsyncLog[bytes]) -> None:
    await log.append(b"x")  # error: misc
    await tasks.append("x")  # error: arg-type
    for record in tasks.records():  # error: attr-defined
        del record
