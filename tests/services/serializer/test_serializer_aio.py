"""What only tasks can see: the loop goes on, cancellation, one wake-up per group."""

import anyio
import pytest
from serializer_tools import OPTIONS, PLACE, Gate, new_disk, payloads

from cup.errors import BlockingInLoop, BlockingInLoopWarning
from cup.services.serializer import (
    BUFFERED,
    AsyncLog,
    AsyncLogReader,
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
