"""What type checkers must see in the serializer. Checked, not run."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import assert_type

from cup.protocols import (
    AsyncLogAPI,
    AsyncReaderAPI,
    AsyncTicketAPI,
    LogAPI,
    ReaderAPI,
    TicketAPI,
)
from cup.services.serializer import (
    BUFFERED,
    JSON,
    PICKLE,
    SYNC,
    AsyncLocalFileSerilizer,
    AsyncLog,
    AsyncLogReader,
    AsyncTicket,
    Checkpoint,
    Codec,
    Entry,
    JsonValue,
    LocalFileSerilizer,
    Log,
    LogReader,
    LogRecord,
    LogStats,
    Mode,
    PurgeReport,
    Record,
    RepairReport,
    Ticket,
    VerifyReport,
    aio,
    group,
    msgpack,
    repair,
    verify,
)
from cup.testing import CrashDisk


@dataclass
class Order:
    number: int


def threads(place: Path) -> None:
    with Log.open(place) as log:
        assert_type(log, Log[bytes])
        assert_type(log.append(b"x", type=1, mode=Mode.SET), int)
        assert_type(log.append_many([b"x"], durability=group(0.01)), range)
        assert_type(log.append_entries([Entry(b"x", 1)], durability=SYNC), range)
        assert_type(log.submit(b"x"), Ticket)
        assert_type(log.submit(b"x").wait(2), int)
        assert_type(log.sync(), int)
        assert_type(log.records(1, 5), Iterator[Record[bytes]])
        assert_type(log.follow(timeout=1), Iterator[Record[bytes]])
        assert_type(log.purge(3), PurgeReport)
        assert_type(log.checkpoint(b"state"), Checkpoint)
        assert_type(log.latest_checkpoint(), Checkpoint | None)
        assert_type(log.stats(), LogStats)
        assert_type(log.aio, AsyncLog[bytes])
        writes: LogAPI[bytes] = log
        reads: ReaderAPI[bytes] = log
        ticket: TicketAPI = log.submit(b"")
        del writes, reads, ticket
    for record in LogReader.open(place).records():
        assert_type(record, Record[bytes])
        number, payload, kind, mode = record
        assert_type(payload, bytes)
        del number, kind, mode
    assert_type(verify(place), VerifyReport)
    assert_type(repair(place, salvage=True), RepairReport)


def codecs(place: Path) -> None:
    assert_type(Log.open(place, codec=JSON), Log[JsonValue])
    assert_type(Log.open(place, codec=PICKLE), Log[object])
    orders: Codec[Order] = msgpack(Order)
    log = Log.open(place, codec=orders, disk=CrashDisk())
    log.append(Order(1), durability=BUFFERED)
    for record in log.records():
        assert_type(record.payload, Order)
    assert_type(LogReader.open(place, codec=orders), LogReader[Order])


async def tasks(place: Path) -> None:
    async with await AsyncLog.open(place) as log:
        assert_type(log, AsyncLog[bytes])
        assert_type(await log.append(b"x"), int)
        assert_type(await log.append_many([b"x"]), range)
        ticket = await log.submit(b"x")
        assert_type(ticket, AsyncTicket)
        assert_type(await ticket, int)
        assert_type(log.records(), AsyncIterator[Record[bytes]])
        async for record in log.follow(5):
            assert_type(record, Record[bytes])
        assert_type(log.threads, Log[bytes])
        writes: AsyncLogAPI[bytes] = log
        reads: AsyncReaderAPI[bytes] = log
        waits: AsyncTicketAPI = ticket
        del writes, reads, waits
    reader = await AsyncLogReader.open(place, codec=JSON)
    assert_type(reader, AsyncLogReader[JsonValue])
    assert_type(await aio.verify(place), VerifyReport)


def older(place: Path) -> None:
    log = LocalFileSerilizer(place, True)
    assert_type(log.add_log(1, 0, b""), tuple[bool, int | None])
    assert_type(log.read(), list[LogRecord])


async def older_tasks(place: Path) -> None:
    log = AsyncLocalFileSerilizer(place)
    assert_type(await log.add_log(1, 0, b""), tuple[bool, int | None])
    assert_type(await log.open4read(), bool)
