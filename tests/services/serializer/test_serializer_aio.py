"""What only tasks can see: the loop goes on, cancellation, one wake-up per group."""

import asyncio
import copy
import pickle

import anyio
import pytest
from serializer_tools import OPTIONS, PLACE, Gate, new_disk, payloads

from cup.errors import (
    BlockingInLoop,
    BlockingInLoopWarning,
    InvalidType,
    LogLocked,
)
from cup.services.serializer import (
    BUFFERED,
    AsyncLog,
    AsyncLogReader,
    AsyncMetaStore,
    Durability,
    LogReader,
    group,
)
from cup.testing import strict_blocking

COMMANDS = {
    "append": lambda log: log.append(b"x"),
    "large append": lambda log: log.append(bytes(1 << 20)),
    "append_many": lambda log: log.append_many([b"x"] * 10),
    "sync": lambda log: log.sync(),
    "purge": lambda log: log.purge(log.next_id),
    "skip_to": lambda log: log.skip_to(log.next_id + 5),
    "checkpoint": lambda log: log.checkpoint(b"state", 1),
    "close": lambda log: log.close(),
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_loop_goes_on_while_the_disk_takes_its_time(command, anyio_backend):
    disk = new_disk()
    log = await AsyncLog.open(PLACE, disk=disk, **OPTIONS)
    await log.append(b"first")
    await log.append(b"buffered", durability=BUFFERED)
    gate = Gate(disk, times=1)
    gate.fault.path = "*"
    done = False

    async def run():
        nonlocal done
        await COMMANDS[command](log)
        done = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        while not gate.held():
            await anyio.sleep(0.001)
        for _ in range(20):
            await anyio.sleep(0)
        assert not done
        gate.open()
    assert done
    await log.close()


async def test_cancelled_task_leaves_nothing_before_its_turn(anyio_backend):
    """Who is cancelled in the very turn of its append has appended nothing."""
    async with await AsyncLog.open(PLACE, disk=new_disk(), **OPTIONS) as log:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await log.append(b"never")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await log.append_many([b"never", b"never"])
        ids = []

        async def append(payload):
            ids.append(await log.append(payload))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append, b"one")
            with anyio.CancelScope() as scope:
                scope.cancel()
                await log.append(b"never")
            tasks.start_soon(append, b"two")
        assert sorted(ids) == [1, 2]
        assert sorted([r.payload async for r in log.records()]) == [b"one", b"two"]


async def test_cancelled_task_whose_record_is_under_way(anyio_backend):
    disk = new_disk()
    async with await AsyncLog.open(PLACE, disk=disk, **OPTIONS) as log:
        gate = Gate(disk, times=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log.append, b"under way")
            while not gate.held():
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        gate.open()
        assert await log.append(b"next") == 2
        assert [r.payload async for r in log.records()] == [b"under way", b"next"]


async def test_open_that_is_cancelled_leaves_no_lock(anyio_backend):
    disk = new_disk()
    gate = Gate(disk, times=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: AsyncLog.open(PLACE, disk=disk, **OPTIONS))
        while not gate.held():
            await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()
        gate.open()
    await (await AsyncLog.open(PLACE, disk=disk, **OPTIONS)).close()


async def test_closing_is_not_cancelled(anyio_backend):
    disk = new_disk()
    with anyio.CancelScope() as scope:
        async with await AsyncLog.open(PLACE, disk=disk, **OPTIONS) as log:
            await log.append(b"x", durability=BUFFERED)
            scope.cancel()
    async with await AsyncLog.open(PLACE, disk=disk, **OPTIONS) as log:
        assert [r.payload async for r in log.records()] == [b"x"]


async def test_iteration_that_was_cancelled_goes_on_where_it_was(anyio_backend):
    async with await AsyncLog.open(PLACE, disk=new_disk(), **OPTIONS) as log:
        follower = log.follow()
        seen = []
        for number in range(5):
            with anyio.move_on_after(0.005):
                async for record in follower:
                    seen += [record.id]
            await log.append(b"%d" % number)
        with anyio.fail_after(5):
            async for record in follower:
                seen.append(record.id)
                if record.id == 5:
                    break
        assert seen == [1, 2, 3, 4, 5]


async def test_many_tasks_share_a_sync_and_a_wake_up(anyio_backend):
    async with await AsyncLog.open(PLACE, disk=new_disk(), **OPTIONS) as log:
        ids = []

        async def append(number):
            if number % 3:
                ids.append(await log.append(b"%d" % number))
            else:
                ids.extend(await log.append_many([b"a", b"b"]))

        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(append, number)
        assert sorted(ids) == [*range(1, 401)]
        assert log.stats().groups <= 3


async def test_threads_are_named_when_they_would_block_the_loop(anyio_backend):
    disk = new_disk()
    async with await AsyncLog.open(PLACE, disk=disk, **OPTIONS) as log:
        with pytest.warns(BlockingInLoopWarning, match=r"await AsyncLog\.append"):
            log.threads.append(b"x")
        with strict_blocking():
            for use in [
                lambda: log.threads.append(b"y"),
                log.threads.sync,
                lambda: log.threads.purge(1),
            ]:
                with pytest.raises(BlockingInLoop):
                    use()
        assert payloads(log.threads) == [b"x"]
        assert log.threads.append(b"z", durability=BUFFERED) == 2  # does not wait


async def test_both_faces_lead_to_each_other(anyio_backend):
    disk = new_disk()
    async with await AsyncLog.open(PLACE, disk=disk, **OPTIONS) as log:
        assert (await log.threads.aio.append(b"x")) == 1
        async with await AsyncLogReader.open(PLACE, disk=disk) as reader:
            assert payloads(reader.threads) == [b"x"]
            twin = LogReader.open(PLACE, disk=disk).aio
            assert [r.payload async for r in twin.records()] == [b"x"]
            assert "AsyncLogReader" in repr(reader)
        assert "AsyncLog " in repr(log)


async def test_tickets_are_awaited(anyio_backend):
    async with await AsyncLog.open(PLACE, disk=new_disk(), **OPTIONS) as log:
        tickets = [await log.submit(b"%d" % n) for n in range(10)]
        assert [ticket.id for ticket in tickets] == [*range(1, 11)]
        assert [await ticket for ticket in tickets] == [*range(1, 11)]
        assert all(ticket.durable for ticket in tickets)
        assert await tickets[0].wait(0) == 1
        assert "durable" in repr(tickets[0])


async def test_group_of_tasks_waits_for_company(anyio_backend):
    async with await AsyncLog.open(PLACE, disk=new_disk(), **OPTIONS) as log:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(lambda: log.append(b"x", durability=group(0.05)))
                await anyio.sleep(0.001)
        assert log.stats().groups <= 2
        eventually = Durability(waits=False, max_delay=0.01)
        await log.append(b"later", durability=eventually)
        while log.durable_id < 6:
            await anyio.sleep(0.001)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("steps", range(1, 10))
async def test_a_cancelled_close_closes(tmp_path, anyio_backend, steps):
    log = await AsyncLog.open(tmp_path)
    await log.append(b"x", durability=BUFFERED)
    closing = asyncio.create_task(log.close())
    for _ in range(steps):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert log.stats().closed
    async with await AsyncLog.open(tmp_path) as again:  # it is unlocked
        assert [record.payload async for record in again.records()] == [b"x"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("steps", range(1, 10))
async def test_a_cancelled_open_leaves_no_lock(tmp_path, anyio_backend, steps):
    opening = asyncio.create_task(AsyncLog.open(tmp_path))
    for _ in range(steps):
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    if not opening.cancelled():
        await opening.result().close()
    await (await AsyncLog.open(tmp_path)).close()


@pytest.mark.parametrize("kind", [AsyncLog, AsyncMetaStore])
async def test_who_waits_for_the_lock_can_be_cancelled(kind, tmp_path, anyio_backend):
    async with await kind.open(tmp_path):
        with anyio.fail_after(5), anyio.move_on_after(0.1) as scope:
            await kind.open(tmp_path, lock_timeout=None)
        assert scope.cancelled_caught
        with pytest.raises(LogLocked):
            await kind.open(tmp_path, lock_timeout=0.02)
        async with anyio.create_task_group() as tasks:

            async def wait():
                await (await kind.open(tmp_path / "b", lock_timeout=5)).close()

            other = await kind.open(tmp_path / "b")
            tasks.start_soon(wait)
            await anyio.sleep(0.1)
            await other.close()


async def test_a_durability_is_one(tmp_path, anyio_backend):
    async with await AsyncLog.open(tmp_path) as log:
        for bad in ("SYNC", 0, 1.0):
            with pytest.raises(InvalidType, match="durability"):
                await log.append(b"x", durability=bad)
            with pytest.raises(InvalidType, match="durability"):
                await log.append_many([b"x"], durability=bad)
            with pytest.raises(InvalidType, match="durability"):
                log.threads.append(b"x", durability=bad)
        assert log.next_id == 1


async def test_a_log_stays_in_its_process(tmp_path, anyio_backend):
    async with await AsyncLog.open(tmp_path) as log:
        reader = LogReader.open(tmp_path)
        for face in (log, log.threads, reader, reader.aio):
            for use in (pickle.dumps, copy.copy):
                with pytest.raises(InvalidType, match="open it where"):
                    use(face)
        reader.close()
