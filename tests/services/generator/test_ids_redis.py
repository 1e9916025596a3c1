"""Leases of worker numbers and ranges of numbers, against a real server."""

import gc
import os
import signal
import subprocess
import sys
import time

import anyio
import pytest
from id_tools import FakeClock, count_distinct, fingerprints, in_children, needs_fork
from redis_tools import needs_server, redis_server

from cup.errors import IdError, MissingExtra, NoWorkerId, StoreUnreachable
from cup.services.generator import (
    TWITTER,
    AsyncRangeGenerator,
    AsyncRedisLease,
    AsyncSnowflakeGenerator,
    Layout,
    RangeGenerator,
    RedisLease,
    SnowflakeGenerator,
)

TTL = 0.6
TINY = Layout(epoch=TWITTER.epoch, worker_bits=1)

pytestmark = [
    needs_server,
    # coredis leaves the streams of connections that it lost to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def collect_here():
    """Have what coredis leaves behind collected where it is known."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def shared():
    with redis_server() as server:
        yield server


@pytest.fixture
def server():
    with redis_server() as server:
        yield server


def lease_at(server, **options):
    return RedisLease(server.url, **{"ttl": TTL, "wait": 10, **options})


def worker_of(ids):
    return ids.parse(ids.next_id()).worker


def wait_for(predicate, seconds=15):
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline, "the awaited state never came"
        time.sleep(0.01)


def is_refused(ids):
    try:
        ids.next_ids(5000)
    except (IdError, StoreUnreachable):
        return True
    return False


# Leases in threads


def test_holders_have_numbers_of_their_own(shared):
    with lease_at(shared, name="own") as one, lease_at(shared, name="own") as two:
        ids, others = SnowflakeGenerator(one), SnowflakeGenerator(two)
        assert worker_of(ids) != worker_of(others)
        made = ids.next_ids(9000) + others.next_ids(9000)
        assert len(set(made)) == 18_000
        assert repr(worker_of(ids)) in repr(one)
    with pytest.raises(IdError, match="closed"):
        one.seat(TWITTER)
    with pytest.raises(IdError):
        ids.next_ids(10_000)


def test_nothing_is_given_out_before_old_holders_are_gone(server):
    """A server that begins cannot know who holds what."""
    began = time.monotonic()
    with lease_at(server) as lease:
        worker_of(SnowflakeGenerator(lease))
        assert time.monotonic() - began >= TTL * 0.9


@pytest.mark.full
def test_lease_is_renewed(shared):
    with lease_at(shared, name="renewed") as lease:
        ids = SnowflakeGenerator(lease)
        first = worker_of(ids)
        end = time.monotonic() + 3 * TTL
        while time.monotonic() < end:
            assert worker_of(ids) == first
            time.sleep(0.01)


@pytest.mark.full
def test_all_taken_then_free_after_a_rest(shared):
    options = {"name": "full", "wait": 3 * TTL}
    with lease_at(shared, **options) as one, lease_at(shared, **options) as two:
        for lease in (one, two):
            worker_of(SnowflakeGenerator(lease, layout=TINY))
        with lease_at(shared, name="full", wait=0.3) as three:
            ids = SnowflakeGenerator(three, layout=TINY)
            with pytest.raises(NoWorkerId, match="all are taken"):
                ids.next_id()
            one.close()
    with lease_at(shared, **options) as four:
        worker_of(SnowflakeGenerator(four, layout=TINY))


@pytest.mark.full
def test_heir_of_a_number_begins_after_its_last_holder(shared):
    """By ticks: the clock of the heir may be behind."""
    one_worker = Layout(epoch=TWITTER.epoch, worker_bits=0)
    clock = FakeClock(time.time())
    first = lease_at(shared, name="heir", clock=clock)
    ids = SnowflakeGenerator(first, layout=one_worker, clock=clock)
    last = ids.next_ids(5000)[-1]
    first.close()
    clock.step(-1)
    with lease_at(shared, name="heir", clock=clock) as second:
        heir = SnowflakeGenerator(second, layout=one_worker, clock=clock, max_ahead=9)
        assert heir.next_id() > last


def test_clock_that_jumps_ahead_has_the_lease_extended(shared):
    clock = FakeClock(time.time())
    with lease_at(shared, name="jump", clock=clock) as lease:
        ids = SnowflakeGenerator(lease, clock=clock)
        first = ids.next_id()
        clock.step(3600)
        assert ids.parse(ids.next_id()).worker == ids.parse(first).worker
        clock.step(-3600)
        with pytest.raises(IdError):
            ids.next_ids(5000)


@pytest.mark.full
def test_killed_server_stops_the_holder_and_a_new_one_starts_it(server):
    with lease_at(server, wait=0.2) as lease:
        wait_for(lambda: not is_refused(SnowflakeGenerator(lease)))
        ids = SnowflakeGenerator(lease)
        made = ids.next_ids(5000)
        server.kill()
        killed = time.monotonic()
        refused = None
        while time.monotonic() < killed + 2 * TTL:
            try:
                made.append(ids.next_id())
                assert refused is None, "it went on after it had stopped"
                assert time.monotonic() < killed + TTL
            except (StoreUnreachable, NoWorkerId):
                refused = time.monotonic()
                break
        assert refused is not None
        server.start()
        with lease_at(server) as heir_lease:
            made += SnowflakeGenerator(heir_lease).next_ids(5000)
        wait_for(lambda: not is_refused(ids))
        made += ids.next_ids(5000)
        assert len(set(made)) == len(made)


@pytest.mark.full
def test_holder_keeps_its_number_over_a_quick_restart_of_the_server(server):
    """The server has lost all; the holder renews, others have to wait."""
    with lease_at(server, ttl=1.5) as lease:
        ids = SnowflakeGenerator(lease)
        first = worker_of(ids)
        server.kill()
        server.start()
        with lease_at(server, ttl=1.5) as other:
            others = SnowflakeGenerator(other)
            assert worker_of(others) != worker_of(ids) or worker_of(ids) != first
            made = ids.next_ids(9000) + others.next_ids(9000)
            assert len(set(made)) == len(made)


@pytest.mark.full
def test_paused_server_stops_the_holder(server):
    with lease_at(server, wait=0.2, timeout=0.1) as lease:
        ids = SnowflakeGenerator(lease)
        wait_for(lambda: not is_refused(ids))
        made = ids.next_ids(100)
        server.pause()
        try:
            time.sleep(TTL)
            assert is_refused(ids)
            assert is_refused(ids)
        finally:
            server.go_on()
        wait_for(lambda: not is_refused(ids))
        made += ids.next_ids(100)
        assert len(set(made)) == 200


HOLDER = """
import sys, time
from cup.errors import IdError, StoreUnreachable
from cup.services.generator import Layout, RedisLease, SnowflakeGenerator, TWITTER
layout = Layout(epoch=TWITTER.epoch, worker_bits=int(sys.argv[3]))
lease = RedisLease(sys.argv[1], ttl=float(sys.argv[2]), wait=20)
ids = SnowflakeGenerator(lease, layout=layout)
print("ready", ids.next_id(), flush=True)
end = time.monotonic() + float(sys.argv[4])
while time.monotonic() < end:
    try:
        print(*ids.next_ids(20), sep="\\n", flush=True)
    except (IdError, StoreUnreachable):
        pass
    time.sleep(0.0005)
lease.close()
"""


def holder(server, bits, seconds):
    command = [sys.executable, "-c", HOLDER, server.url, str(TTL), str(bits)]
    return subprocess.Popen(
        [*command, str(seconds)], stdout=subprocess.PIPE, text=True, bufsize=1
    )


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")
def test_holder_that_is_stopped_past_its_lease_repeats_nothing(server):
    """Only one number is there: whoever comes next gets the very same."""
    first = holder(server, 0, 4)
    made = [first.stdout.readline().split()[1]]
    first.send_signal(signal.SIGSTOP)
    second = holder(server, 0, 1.5)
    assert second.stdout.readline().startswith("ready")
    first.send_signal(signal.SIGCONT)  # both believe to hold number 0 now
    made += second.communicate()[0].split()
    made += first.communicate()[0].split()
    assert len(made) > 1000
    assert len(set(made)) == len(made)


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_number_of_a_killed_holder_is_free_after_its_ttl(server):
    first = holder(server, 0, 20)
    last = int(first.stdout.readline().split()[1])
    first.kill()
    last = max(last, *map(int, first.communicate()[0].split()[:-1] or [last]))
    layout = Layout(epoch=TWITTER.epoch, worker_bits=0)
    with lease_at(server) as lease:
        assert SnowflakeGenerator(lease, layout=layout, max_ahead=5).next_id() > last


@needs_fork
def test_children_lease_numbers_of_their_own(shared):
    with lease_at(shared, name="forks") as lease:
        ids = SnowflakeGenerator(lease)
        mine = worker_of(ids)

        def child(_):
            made = fingerprints(ids.next_ids(3000))
            assert worker_of(ids) != mine
            lease.close()
            return made

        made = [*in_children(4, child), fingerprints(ids.next_ids(3000))]
        drawn, distinct = count_distinct(made)
        assert drawn == distinct == 15_000


def test_server_that_is_not_there_is_named():
    lease = RedisLease("unix:///nowhere/s", wait=0.1)
    with pytest.raises(ConnectionError, match="unix:///nowhere/s"):
        SnowflakeGenerator(lease).next_id()
    lease.close()


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtra, match="pip install redis coredis"):
        RedisLease("redis://")
    monkeypatch.setitem(sys.modules, "coredis", None)
    with pytest.raises(MissingExtra, match="pip install redis coredis"):
        AsyncRedisLease("redis://")


@pytest.mark.parametrize(
    "options", [{"ttl": 0}, {"ttl": "3"}, {"wait": -1}, {"timeout": 0}, {"name": 5}]
)
def test_bad_lease_is_refused(options):
    for kind in (RedisLease, AsyncRedisLease):
        with pytest.raises((ValueError, TypeError)):
            kind("redis://", **options)


# Leases in tasks


@pytest.mark.full
async def test_lease_in_tasks(shared):
    options = {"name": "tasks", "ttl": TTL}
    async with AsyncRedisLease(shared.url, **options) as lease:
        ids = AsyncSnowflakeGenerator(lease)
        made = await ids.next_ids(5000)
        first = ids.parse(made[0]).worker
        async with AsyncRedisLease(shared.url, **options) as other:
            others = AsyncSnowflakeGenerator(other)
            made += await others.next_ids(5000)
            assert others.parse(made[-1]).worker != first
        with anyio.move_on_after(2 * TTL):
            async for id_ in ids:
                made.append(id_)
                assert ids.parse(id_).worker == first
                await anyio.sleep(0.005)
        assert len(set(made)) == len(made)
        assert repr(first) in repr(lease)
    with pytest.raises(IdError, match="async with"):
        await ids.next_ids(10_000)


@pytest.mark.full
async def test_lease_in_tasks_stops_and_comes_back(server):
    async with AsyncRedisLease(server.url, ttl=TTL, wait=0.2) as lease:
        ids = AsyncSnowflakeGenerator(lease)

        async def draws():
            try:
                return await ids.next_ids(5000)
            except (IdError, StoreUnreachable):
                return []

        made = []
        with anyio.fail_after(15):
            while not made:
                made = await draws()
            server.kill()
            await anyio.sleep(TTL)
            assert await draws() == []
            server.start()
            again = []
            while not again:
                again = await draws()
                await anyio.sleep(0.01)
        made += again
        assert len(set(made)) == len(made)


async def test_task_gets_a_number(shared):
    async with AsyncRedisLease(shared.url, name="one", ttl=TTL) as lease:
        ids = AsyncSnowflakeGenerator(lease)
        made = [await ids.next_id() for _ in range(100)]
        assert made == sorted(set(made))


async def test_waiting_for_a_number_is_cancelled(server):
    async with AsyncRedisLease(server.url, ttl=5) as lease:
        with anyio.move_on_after(0.1) as scope:
            await AsyncSnowflakeGenerator(lease).next_id()
        assert scope.cancelled_caught


# Ranges


def test_ranges_are_unique_and_start_where_asked(shared):
    options = {"name": "count", "step": 50, "start": 1000}
    with RangeGenerator(shared.url, **options) as one:
        first = one.next_ids(50)
        assert first == list(range(1000, 1050))
        with RangeGenerator(shared.url, **options) as two:
            made = first + [ids.next_id() for _ in range(300) for ids in (one, two)]
            assert len(set(made)) == len(made)
            mine = made[50::2]
            assert mine == sorted(mine)
            assert two.parse(str(made[-1])).origin == "count"


def test_next_range_is_there_before_it_is_needed(shared):
    with RangeGenerator(shared.url, name="ahead", step=10) as ids:
        ids.next_id()
        wait_for(lambda: ids.stats().left == 19)
        with RangeGenerator(shared.url, name="late", step=10, prefetch=False) as lazy:
            lazy.next_id()
            time.sleep(0.05)
            assert lazy.stats().left == 9


def test_range_waits_for_a_server_and_says_when_it_is_gone(server):
    with RangeGenerator(server.url, step=10, prefetch=False, wait=0.3) as ids:
        made = ids.next_ids(10)
        server.kill()
        with pytest.raises(StoreUnreachable):
            ids.next_id()
        server.start()
        with pytest.raises(IdError, match="lost the count"):
            ids.next_id()
        assert made == list(range(10))


def test_range_survives_a_server_that_keeps_its_data():
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as server:
        with RangeGenerator(server.url, step=10, prefetch=False) as ids:
            made = ids.next_ids(15)
            server.kill()
            server.start()
            made += ids.next_ids(30)
        with RangeGenerator(server.url, step=10) as ids:
            made += ids.next_ids(30)
        assert len(set(made)) == 75


@needs_fork
def test_children_take_ranges_of_their_own(shared):
    with RangeGenerator(shared.url, name="forks", step=500) as ids:
        ids.next_id()
        made = in_children(4, lambda _: fingerprints(ids.next_ids(20_000)))
        made.append(fingerprints(ids.next_ids(20_000)))
        drawn, distinct = count_distinct(made)
        assert drawn == distinct == 100_000


async def test_ranges_in_tasks(shared):
    name = f"tasks{os.urandom(4).hex()}"
    async with AsyncRangeGenerator(shared.url, name=name, step=20) as ids:
        made = [await ids.next_id() for _ in range(100)] + await ids.next_ids(100)
        assert made == list(range(200))
        await ids.next_id()
        with anyio.fail_after(10):
            while ids.stats().left < 20:
                await anyio.sleep(0.001)
        async with AsyncRangeGenerator(shared.url, name=name, step=20) as others:
            assert await others.next_id() > made[-1]
    fresh = AsyncRangeGenerator(shared.url, name=name)
    with pytest.raises(IdError, match="async with"):
        await fresh.next_id()
