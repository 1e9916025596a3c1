"""What a log does, in four colours: ids, groups, durability, failures."""

import contextlib
import errno

import anyio
import pytest
from serializer_tools import OPTIONS, PLACE, Gate, new_disk, payloads

from cup.errors import (
    CorruptRecord,
    InvalidType,
    InvalidValue,
    LogClosed,
    LogError,
    LogPoisoned,
    RecordGone,
    RecordTooLarge,
    WriteFailed,
)
from cup.services.serializer import BUFFERED, SYNC, Durability, Entry, Log, Mode, group
from cup.testing import CallCancelled, available_colours


@pytest.fixture(params=available_colours(), ids=str)
def colour(request):
    return request.param


@pytest.fixture
def disk():
    return new_disk()


@contextlib.asynccontextmanager
async def stage(colour, log, *names):
    async with colour.actors(log, log.aio) as actors:
        yield [actors.hire(name) for name in names]


def open_log(disk, **options):
    return Log.open(PLACE, disk=disk, **{**OPTIONS, **options})


def close_quietly(log):
    """Close a log from the thread of a test, which may run a loop."""
    log._core.close()


def test_ids_count_up_and_are_read_back(colour, disk):
    async def play():
        log = open_log(disk)
        async with stage(colour, log, "a") as (a,):
            assert await a.call("append", b"one", type=7, mode=Mode.SET) == 1
            assert await a.call("append_many", [b"two", b"three"]) == range(2, 4)
            entries = [Entry(b"four", 1), Entry(b"five", 65535, 255)]
            assert await a.call("append_entries", entries) == range(4, 6)
            assert await a.call("append_many", []) == range(6, 6)
            assert await a.call("append_entries", []) == range(6, 6)
            assert await a.call("append", b"", durability=group(0.001)) == 6
            assert (log.first_id, log.next_id, log.durable_id) == (1, 7, 6)
            found = [(r.id, r.payload, r.type, r.mode) for r in log.records()]
            assert found == [
                (1, b"one", 7, 1),
                (2, b"two", 0, 0),
                (3, b"three", 0, 0),
                (4, b"four", 1, 0),
                (5, b"five", 65535, 255),
                (6, b"", 0, 0),
            ]
        close_quietly(log)

    colour.run(play)


def test_who_comes_during_a_sync_shares_the_next_one(colour, disk):
    async def play():
        log = open_log(disk)
        gate = Gate(disk, times=1)
        names = [f"a{n}" for n in range(8)]
        async with stage(colour, log, *names) as actors:
            first = actors[0].start("append", b"first")
            await colour.until(gate.held)
            others = [actor.start("append", b"x") for actor in actors[1:]]
            await colour.until(lambda: log.next_id == 9)
            gate.open()
            ids = [await call.result() for call in [first, *others]]
            assert sorted(ids) == [*range(1, 9)]
            assert (log.stats().groups, log.stats().largest_group) == (2, 7)
        close_quietly(log)

    colour.run(play)


def test_nothing_is_acknowledged_before_its_sync(colour, disk):
    async def play():
        log = open_log(disk)
        gate = Gate(disk, times=1)
        async with stage(colour, log, "a", "b") as (a, b):
            one = a.start("append", b"x")
            await colour.until(gate.held)
            assert (log.durable_id, log.next_id, payloads(log)) == (0, 2, [])
            assert not one.done
            follower = b.start("sync")
            await colour.until(lambda: not follower.done)
            gate.open()
            assert await one.result() == 1
            assert await follower.result() == 2
        close_quietly(log)

    colour.run(play)


def test_cancelled_append_leaves_the_others_alone(colour, disk):
    async def play():
        log = open_log(disk)
        gate = Gate(disk, times=1)
        async with stage(colour, log, "a", "b", "c", "d") as (a, b, c, d):
            first = a.start("append", b"first")
            await colour.until(gate.held)
            calls = []
            for number, actor in enumerate((b, c, d)):
                calls.append(actor.start("append", b"%d" % number))
                await colour.until(lambda n=number: log.next_id == n + 3)
            calls[1].cancel()
            with pytest.raises(CallCancelled):
                await calls[1].result()
            gate.open()
            assert await first.result() == 1
            assert [await calls[0].result(), await calls[2].result()] == [2, 4]
            # What was on its way is not taken back.
            assert payloads(log) == [b"first", b"0", b"1", b"2"]
            assert await b.call("append", b"more") == 5
        close_quietly(log)

    colour.run(play)


def test_cancelled_leader_leaves_its_group_to_others(colour, disk):
    async def play():
        log = open_log(disk)
        gate = Gate(disk, times=1)
        async with stage(colour, log, "a", "b") as (a, b):
            first = a.start("append", b"first")
            await colour.until(gate.held)
            second = b.start("append", b"second")
            await colour.until(lambda: log.next_id == 3)
            first.cancel()
            gate.open()
            assert await second.result() == 2
            with contextlib.suppress(CallCancelled):
                assert await first.result() == 1
            assert payloads(log) == [b"first", b"second"]
        close_quietly(log)

    colour.run(play)


def test_grouped_append_waits_for_company_and_not_for_ever(colour, disk):
    async def play():
        log = open_log(disk)
        async with stage(colour, log, "a", "b") as (a, b):
            patient = a.start("append", b"patient", durability=group(30))
            await colour.until(lambda: log.next_id == 2)
            assert await b.call("append", b"urgent") == 2
            assert await patient.result() == 1
            assert log.stats().groups == 1
            assert await a.call("append", b"alone", durability=group(0.02)) == 3
        close_quietly(log)

    colour.run(play)


def test_buffered_append_returns_at_once_and_sync_waits(colour, disk):
    async def play():
        log = open_log(disk)
        async with stage(colour, log, "a") as (a,):
            for number in range(1, 11):
                got = await a.call("append", b"x", durability=BUFFERED)
                assert got == number
            assert (log.durable_id, log.next_id, payloads(log)) == (0, 11, [])
            assert log.stats().pending == 10
            assert await a.call("sync") == 11
            assert (log.durable_id, log.stats().groups) == (10, 1)
            assert await a.call("sync") == 11
            assert log.stats().groups == 1
        close_quietly(log)

    colour.run(play)


def test_buffered_records_become_durable_by_themselves(colour, disk):
    async def play():
        log = open_log(disk)
        async with stage(colour, log, "a") as (a,):
            soon = Durability(waits=False, max_delay=0.02)
            await a.call("append_many", [b"x", b"y"], durability=soon)
            await colour.until(lambda: log.durable_id == 2)
        close_quietly(log)

    colour.run(play)


def test_much_that_is_buffered_is_written_without_a_sync(colour, disk):
    async def play():
        log = open_log(disk, segment_bytes=1 << 26)
        async with stage(colour, log, "a") as (a,):
            for _ in range(40):
                await a.call("append", bytes(1 << 16), durability=BUFFERED)
            written = sum(len(c) for p, c in disk.files().items() if p.endswith("seg"))
            assert written > 1 << 20
            assert await a.call("sync") == 41
        close_quietly(log)

    colour.run(play)


def test_ticket_says_when(colour, disk):
    async def play():
        log = open_log(disk)
        gate = Gate(disk, times=1)
        async with stage(colour, log, "a", "b") as (a, b):
            ticket = await a.call("submit", b"x", type=3)
            assert ticket.id == 1
            await colour.until(gate.held)
            assert not ticket.durable
            assert "waits" in repr(ticket)
            waiting = b.of(ticket, ticket).start("wait")
            await colour.until(lambda: not waiting.done)
            gate.open()
            assert await waiting.result() == 1
            assert ticket.durable
            assert await b.of(ticket, ticket).call("wait", 0) == 1
        close_quietly(log)

    colour.run(play)


def test_full_disk_fails_the_group_and_the_log_goes_on(colour, disk):
    async def play():
        log = open_log(disk)
        async with stage(colour, log, "a", "b") as (a, b):
            assert await a.call("append", b"before") == 1
            fault = disk.inject("write", error=errno.ENOSPC, path="*.seg*", partial=40)
            with pytest.raises(WriteFailed, match="No space") as caught:
                await a.call("append", bytes(500))
            assert caught.value.errno == errno.ENOSPC
            assert isinstance(caught.value, OSError)
            assert fault.hits
            assert await b.call("append", b"after") == 2
            assert payloads(log) == [b"before", b"after"]
            assert log.stats().failed_writes == 1
            assert log.stats().poisoned is None
        close_quietly(log)
        log = open_log(disk)
        assert payloads(log) == [b"before", b"after"]
        close_quietly(log)

    colour.run(play)


def test_lost_buffered_records_are_told_by_the_next_call(colour, disk):
    async def play():
        log = open_log(disk)
        async with stage(colour, log, "a") as (a,):
            disk.inject("write", error=errno.ENOSPC, path="*.seg*")
            assert await a.call("append", b"lost", durability=BUFFERED) == 1
            with pytest.raises(WriteFailed):
                await a.call("sync")
            assert log.next_id == 1
            with contextlib.suppress(WriteFailed):  # told once more, to the others
                await a.call("sync")
            assert await a.call("append", b"stays") == 1
            assert payloads(log) == [b"stays"]
        close_quietly(log)

    colour.run(play)


def test_failed_sync_poisons_the_log_and_its_whole_group(colour, disk):
    async def play():
        log = open_log(disk)
        async with stage(colour, log, "a", "b", "c") as (a, b, c):
            assert await a.call("append", b"durable") == 1
            gate = Gate(disk, times=1)
            first = a.start("append", b"1")
            await colour.until(gate.held)
            disk.inject("sync", error=errno.EIO, path="*.seg*")
            others = [b.start("append", b"2"), c.start("append", b"3")]
            await colour.until(lambda: log.next_id == 5)
            gate.open()
            assert await first.result() == 2
            for call in others:
                with pytest.raises(LogPoisoned, match="open it again") as caught:
                    await call.result()
                assert caught.value.errno == errno.EIO
                assert isinstance(caught.value.__cause__, OSError)
            with pytest.raises(LogPoisoned):
                await a.call("append", b"4")
            with pytest.raises(LogPoisoned):
                await a.call("sync")
            with pytest.raises(LogPoisoned):
                await a.call("purge", 1)
            assert "confirm" in log.stats().poisoned
            assert payloads(log) == [b"durable", b"1"]
            assert "poisoned" in repr(log)
        close_quietly(log)

    colour.run(play)
    log = open_log(disk)  # nobody knew; now it is known
    assert payloads(log)[:2] == [b"durable", b"1"]
    log.append(b"goes on")
    log.close()


def test_purge_keeps_what_is_asked_for_and_the_ids(colour, disk):
    async def play():
        log = open_log(disk, segment_bytes=400)
        async with stage(colour, log, "a") as (a,):
            for number in range(20):
                await a.call("append", b"%d" % number * 30)
            before = log.stats().segments
            report = await a.call("purge", 10)
            assert report.first_id <= 10
            assert report.segments == before - log.stats().segments > 0
            assert report.records == log.first_id - 1
            assert [r.id for r in log.records()] == [*range(log.first_id, 21)]
            with pytest.raises(RecordGone, match="begins with"):
                log.records(1)
            report = await a.call("purge", 1000)
            assert (report.first_id, payloads(log)) == (21, [])
            assert await a.call("append", b"next") == 21
        close_quietly(log)
        log = open_log(disk, segment_bytes=400)
        assert (log.first_id, log.next_id) == (21, 22)
        close_quietly(log)

    colour.run(play)


def test_purge_that_is_not_confirmed_poisons(disk):
    log = open_log(disk, segment_bytes=300)
    for _ in range(9):
        log.append(bytes(100))
    disk.inject("sync_dir", error=errno.EIO)
    with pytest.raises(LogPoisoned):
        log.purge(9)
    with pytest.raises(LogPoisoned):
        log.purge(9)  # else the next hole could be durable, and this one not
    log.close()


def test_ids_can_be_skipped_and_not_repeated(colour, disk):
    async def play():
        log = open_log(disk)
        async with stage(colour, log, "a") as (a,):
            await a.call("append", b"one")
            await a.call("skip_to", 100)
            assert (log.next_id, log.durable_id) == (100, 99)
            assert await a.call("append", b"hundred") == 100
            with pytest.raises(InvalidValue, match="never repeat"):
                await a.call("skip_to", 50)
            await a.call("skip_to", 101)
            await a.call("append_many", [b"x", b"y"])
            assert [r.id for r in log.records()] == [1, 100, 101, 102]
            assert [r.id for r in log.records(50)] == [100, 101, 102]
        close_quietly(log)
        log = open_log(disk)
        assert [r.id for r in log.records()] == [1, 100, 101, 102]
        close_quietly(log)

    colour.run(play)


def test_checkpoints_are_kept_in_pairs(colour, disk):
    async def play():
        log = open_log(disk)
        async with stage(colour, log, "a") as (a,):
            assert await a.call("latest_checkpoint") is None
            for number in range(1, 5):
                await a.call("append", b"x")
                stored = await a.call("checkpoint", b"state %d" % number)
                assert (stored.at_id, stored.state) == (
                    number + 1,
                    b"state %d" % number,
                )
            assert await a.call("latest_checkpoint") == stored
            names = [n for n in disk.listdir(PLACE) if n.endswith(".checkpoint")]
            assert len(names) == 2
            with pytest.raises(InvalidValue, match="sync"):
                await a.call("checkpoint", b"", 6)
            with pytest.raises(InvalidType):
                await a.call("checkpoint", "text")
            disk.inject("sync", error=errno.EIO, path="*.checkpoint.tmp")
            with pytest.raises(WriteFailed):
                await a.call("checkpoint", b"fails", 3)
            assert await a.call("latest_checkpoint") == stored
            path = f"{PLACE}/{stored.at_id:020d}.checkpoint"
            disk.damage(path, disk.size(path) - 1)
            with pytest.raises(CorruptRecord, match="checkpoint"):
                await a.call("latest_checkpoint")
        close_quietly(log)

    colour.run(play)


def test_wrong_arguments_are_refused_before_anything_is_written(colour, disk):
    async def play():
        log = open_log(disk, max_record=100)
        async with stage(colour, log, "a") as (a,):
            before = disk.files()
            for wrong in ("text", None, 5, [b"x"]):
                with pytest.raises(InvalidType):
                    await a.call("append", wrong)
            for kind in (-1, 65536):
                with pytest.raises(InvalidValue, match="65535"):
                    await a.call("append", b"", type=kind)
                with pytest.raises(InvalidValue):
                    await a.call("append_many", [b""], type=kind)
            for mode in (-1, 256):
                with pytest.raises(InvalidValue, match="255"):
                    await a.call("append", b"", mode=mode)
            with pytest.raises(InvalidType):
                await a.call("append", b"", type="7")
            with pytest.raises(RecordTooLarge, match="max_record"):
                await a.call("append", bytes(101))
            with pytest.raises(RecordTooLarge):
                await a.call("append_many", [b"fits", bytes(101)])
            with pytest.raises(InvalidType):
                await a.call("purge", "1")
            with pytest.raises(InvalidValue):
                await a.call("purge", -1)
            with pytest.raises(InvalidValue):
                log.records(-1)
            with pytest.raises(InvalidValue):
                group(float("nan"))
            assert disk.files() == before
            assert await a.call("append", bytearray(b"array")) == 1
            assert await a.call("append", memoryview(b"view")) == 2
            assert payloads(log) == [b"array", b"view"]
        close_quietly(log)

    colour.run(play)


def test_closed_log_says_so(colour, disk):
    async def play():
        log = open_log(disk)
        async with stage(colour, log, "a") as (a,):
            await a.call("append", b"x", durability=BUFFERED)
            await a.call("close")
            await a.call("close")
            assert payloads(log) == [b"x"]
            for call in [("append", b""), ("sync",), ("submit", b""), ("purge", 1)]:
                with pytest.raises(LogClosed, match="closed"):
                    await a.call(*call)
            with pytest.raises(ValueError):
                await a.call("append_many", [])
            assert "closed" in repr(log)
            assert log.stats().closed

    colour.run(play)


def test_close_lets_nobody_wait(colour, disk):
    async def play():
        log = open_log(disk)
        gate = Gate(disk, times=1)
        async with stage(colour, log, "a", "b", "c") as (a, b, c):
            first = a.start("append", b"1")
            await colour.until(gate.held)
            second = b.start("append", b"2")
            await colour.until(lambda: log.next_id == 3)
            closing = c.start("close")
            await colour.until(lambda: log.stats().closed)
            gate.open()
            await closing.result()
            assert [await first.result(), await second.result()] == [1, 2]

    colour.run(play)


def test_payload_may_change_after_the_call(colour, disk):
    async def play():
        log = open_log(disk)
        async with stage(colour, log, "a") as (a,):
            payload = bytearray(b"before")
            await a.call("append", payload, durability=BUFFERED)
            payload[:] = b"behind"
            await a.call("sync")
            assert payloads(log) == [b"before"]
        close_quietly(log)

    colour.run(play)


def test_segments_are_cut_and_a_large_batch_stays_whole(colour, disk):
    async def play():
        log = open_log(disk, segment_bytes=1000)
        async with stage(colour, log, "a") as (a,):
            for _ in range(10):
                await a.call("append", bytes(150))
            assert log.stats().segments == 3
            ids = await a.call("append_many", [bytes(200)] * 20)
            assert log.stats().segments == 4
            assert [r.id for r in log.records()] == [*range(1, ids.stop)]
            await a.call("append", b"")
            assert log.stats().segments == 5
        close_quietly(log)
        log = open_log(disk, segment_bytes=1000)
        assert log.next_id == ids.stop + 1
        assert [r.id for r in log.records(ids.start, ids.stop)] == [*ids]
        close_quietly(log)

    colour.run(play)


async def test_log_is_shared_by_threads_and_tasks(anyio_backend):
    disk = new_disk()
    log = await anyio.to_thread.run_sync(lambda: open_log(disk))
    seen = []

    async def task():
        seen.extend([await log.aio.append(b"task") for _ in range(20)])

    def thread():
        seen.extend([log.append(b"thread") for _ in range(20)])

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(task)
            tasks.start_soon(anyio.to_thread.run_sync, thread)
    assert sorted(seen) == [*range(1, 161)]
    await log.aio.close()


async def test_cancelled_scope_ends_an_append_before_it_begins(anyio_backend):
    disk = new_disk()
    log = await anyio.to_thread.run_sync(lambda: open_log(disk))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await log.aio.append(b"never")
    assert scope.cancelled_caught
    assert log.next_id == 1
    await log.aio.close()


def test_error_of_a_group_is_raised_anew_for_each(disk):
    log = open_log(disk)
    disk.inject("sync", error=errno.EIO, path="*.seg*")
    with pytest.raises(LogPoisoned) as first:
        log.append(b"x", durability=SYNC)
    with pytest.raises(LogError) as second:
        log.append(b"x")
    assert first.value is not second.value
    log.close()
