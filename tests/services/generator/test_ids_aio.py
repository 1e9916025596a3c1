"""The faces for tasks: on asyncio, uvloop and trio."""

import threading

import anyio
import anyio.lowlevel
import pytest
from id_tools import FakeClock

from cup.errors import ClockBehind, LoopGone, NoWorkerId
from cup.services import generator as g

PLAIN = [
    g.AsyncUUID7Generator,
    g.AsyncUUID4Generator,
    g.AsyncULIDGenerator,
    g.AsyncCounterGenerator,
    g.AsyncNameGenerator,
    g.AsyncRandomGenerator,
]


@pytest.mark.parametrize("kind", PLAIN)
async def test_ids_are_awaited_and_differ(kind):
    ids = kind()
    made = [await ids.next_id() for _ in range(200)] + await ids.next_ids(2500)
    async for id_ in ids:
        made.append(id_)
        if len(made) == 2750:
            break
    made += [*ids.sync.next_ids(50), await ids.sync.aio.next_id()]
    assert len(set(made)) == 2801
    assert ids.parse(made[0]).kind == ids.stats().kind
    assert kind.__name__ in repr(ids)


@pytest.mark.parametrize("kind", PLAIN)
async def test_generation_stays_on_the_thread_and_lets_others_run(kind):
    ids = kind()
    turns = 0
    done = False

    async def other():
        nonlocal turns
        while not done:
            turns += 1
            await anyio.lowlevel.checkpoint()

    before = threading.active_count()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(1000):
            await ids.next_id()
        await ids.next_ids(20_000)
        done = True
    assert turns > 5
    assert threading.active_count() == before


async def test_the_disk_is_waited_for_elsewhere(tmp_path, monkeypatch):
    """The loop goes on while a counter takes its next numbers from a slow disk."""
    ids = g.AsyncCounterGenerator(path=tmp_path / "count", step=4)
    loop_thread = threading.get_ident()
    takers = []
    real = type(ids.sync._ledger).take

    def take(self, *args, **kwargs):
        takers.append(threading.get_ident())
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(ids.sync._ledger), "take", take)
    made = [await ids.next_id() for _ in range(10)] + await ids.next_ids(20)
    assert made == sorted(set(made))
    assert len(made) == 30
    assert takers
    assert loop_thread not in takers


async def test_draws_are_cancelled():
    ids = g.AsyncUUID7Generator()
    drawn = 0
    with anyio.move_on_after(0.05) as scope:
        while True:
            await ids.next_id()
            drawn += 1
    assert scope.cancelled_caught
    assert drawn


async def test_snowflake_waits_for_the_clock_without_blocking(tmp_path):
    clock = FakeClock()
    ids = g.AsyncSnowflakeGenerator(
        g.StaticWorker(5, directory=tmp_path), clock=clock, policy="wait"
    )
    made = await ids.next_ids(4096)
    ticked = False

    async def tick():
        nonlocal ticked
        await anyio.sleep(0.02)
        ticked = True
        clock.step(0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        made.append(await ids.next_id())
    assert ticked
    assert made == sorted(set(made))
    clock.step(-50)
    with pytest.raises(ClockBehind):
        await ids.next_id()


async def test_snowflake_in_both_worlds(tmp_path):
    ids = g.AsyncSnowflakeGenerator(g.FileSlots(tmp_path), layout=g.SONY)
    made = [await ids.next_id(), ids.sync.next_id(), await ids.sync.aio.next_id()]
    assert made == sorted(set(made))
    assert ids.layout is g.SONY
    assert ids.expires_at == g.SONY.expires_at
    assert ids.parse(ids.text_of(made[0])).worker == ids.stats().worker == 0
    assert ids.bounds(1_800_000_000)[0] < ids.bounds(1_800_000_000)[1]
    assert ids.worker is ids.sync.worker


async def test_worker_number_is_awaited():
    class Waits:
        async def seat(self, layout):
            await anyio.sleep(0.001)
            return Seat()

    class Seat:
        number = 9
        deadline = None
        last = 0

        def claim(self, tick, limit):
            self.last = max(self.last + 1, tick)
            return self.last

    ids = g.AsyncSnowflakeGenerator(Waits())
    assert ids.parse(await ids.next_id()).worker == 9
    fresh = g.AsyncSnowflakeGenerator(Waits())
    with pytest.raises(NoWorkerId, match="await"):
        fresh.sync.next_id()


async def test_seed_kinds_are_plain_and_iterate():
    cycle = g.AsyncCycleIDGenerator("10.0.0.1", 80)
    assert cycle.sync.aio.next_id() == cycle.next_id() - 1
    assert await anext(cycle) < cycle.next_ids(2)[0]
    cached = g.AsyncCachedUUID()
    assert {await anext(cached) for _ in range(3)}.isdisjoint(cached.next_ids(3))
    assert cached.sync.aio.sync is cached.sync
    face = g.awaited(g.CycleIDGenerator("10.0.0.1", 80))
    assert await face.next_id() < (await face.next_ids(2))[1]


def test_no_loop_no_id():
    ids = g.AsyncUUID7Generator()
    with pytest.raises(LoopGone):
        ids.next_id().send(None)


async def test_numbers_of_uuid7_and_kin():
    ids = g.AsyncUUID7Generator()
    numbers = [await ids.next_int(), *await ids.next_ints(5)]
    assert numbers == sorted(set(numbers))
    assert g.AsyncUUID4Generator().next_int() >> 76 & 0xF == 4
    ulids = g.AsyncULIDGenerator()
    text = await ulids.next_id()
    assert ulids.from_uuid(ulids.to_uuid(text)) == text
    assert g.AsyncRandomGenerator(10, "ab").bits == 10
