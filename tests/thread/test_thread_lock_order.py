"""Who is let in after whom, who may give up, and that nobody starves."""

import asyncio
import itertools
import threading
import time

import anyio
import pytest
from thread_tools import Stopped, World, ended, is_free, switching_fast, waiting

from cup.errors import LockTimeout
from cup.thread import CupThread, RWLock


def line_up(lock, actors, kinds):
    """Have actors wait in the order given: 'r' to read, 'w' to write."""
    calls = []
    for actor, kind in zip(actors, kinds, strict=True):
        name = "acquire_readlock" if kind == "r" else "acquire_writelock"
        calls.append(actor.begin(name))
        seen = kinds[: len(calls)]
        waiting(lock, readers=seen.count("r"), writers=seen.count("w"))
    return calls


def release(actor, kind):
    actor.do("release_readlock" if kind == "r" else "release_writelock")


def order_of_entry(world, fairness, kinds):
    """Let a writer go, and tell in which groups those in line come in after it."""
    lock = RWLock(fairness)
    holder = world.actor(lock)
    holder.do("acquire_writelock")
    actors = [world.actor(lock) for _ in kinds]
    calls = dict(enumerate(line_up(lock, actors, kinds)))
    holder.do("release_writelock")
    groups = []
    while calls:
        left = [kinds[number] for number in calls]
        stats = lock.stats()
        group = len(left) - stats.waiting_readers - stats.waiting_writers
        assert group, "nobody was let in"
        came = []
        while len(came) < group:
            came += [n for n in calls if calls[n].done() and n not in came]
        for number in sorted(came):
            calls.pop(number).result()
        groups.append(sorted(came))
        for number in came:
            release(actors[number], kinds[number])
    assert is_free(lock)
    return groups


# -- the three policies ------------------------------------------------------------


def test_fair_alternates_between_all_readers_and_one_writer(world):
    groups = order_of_entry(world, "fair", "rwrwrw")
    assert groups == [[0, 2, 4], [1], [3], [5]]


def test_fair_lets_readers_that_come_later_in_between_writers(world):
    lock = RWLock()
    first, r1, w1, w2, r2, r3 = (world.actor(lock) for _ in range(6))
    first.do("acquire_writelock")
    reading, writing1, writing2 = line_up(lock, [r1, w1, w2], "rww")
    first.do("release_writelock")
    reading.result()
    # Comes while a reader holds and writers wait: it waits for one of them.
    late = r2.begin("acquire_readlock")
    waiting(lock, readers=1, writers=2)
    r1.do("release_readlock")
    writing1.result()
    later = r3.begin("acquire_readlock")
    waiting(lock, readers=2, writers=1)
    w1.do("release_writelock")
    late.result()
    later.result()
    assert not writing2.done()
    for reader in (r2, r3):
        reader.do("release_readlock")
    writing2.result()
    w2.do("release_writelock")
    assert is_free(lock)


def test_a_waiting_writer_stops_new_readers(world):
    for fairness in ("fair", "writers"):
        lock = RWLock(fairness)
        reader, writer, late = (world.actor(lock) for _ in range(3))
        reader.do("acquire_readlock")
        (writing,) = line_up(lock, [writer], "w")
        with pytest.raises(LockTimeout):
            late.do("acquire_readlock", 0)
        reading = late.begin("acquire_readlock")
        waiting(lock, readers=1, writers=1)
        reader.do("release_readlock")
        writing.result()
        assert not reading.done()
        writer.do("release_writelock")
        reading.result()
        late.do("release_readlock")
        assert is_free(lock)


def test_readers_first_lets_them_pass_a_waiting_writer_and_that_comes_last(world):
    lock = RWLock("readers")
    reader, writer, late = (world.actor(lock) for _ in range(3))
    reader.do("acquire_readlock")
    (writing,) = line_up(lock, [writer], "w")
    for _ in range(3):
        late.do("acquire_readlock", 0)
        reader.do("release_readlock")
        reader.do("acquire_readlock", 0)
        late.do("release_readlock")
        assert not writing.done()
    reader.do("release_readlock")
    writing.result()
    writer.do("release_writelock")
    assert is_free(lock)


def test_readers_first_serves_all_readers_before_any_writer(world):
    assert order_of_entry(world, "readers", "wrwrw") == [[1, 3], [0], [2], [4]]


def test_writers_first_serves_all_writers_before_any_reader(world):
    assert order_of_entry(world, "writers", "rwrww") == [[1], [3], [4], [0, 2]]


def test_worlds_share_one_line():
    names = ["thread", "asyncio", "cupthread", "trio"]
    worlds = [World(name) for name in names]
    try:
        lock = RWLock()
        holder = worlds[0].actor(lock)
        for turn in itertools.islice(itertools.permutations(worlds), 0, None, 6):
            holder.do("acquire_writelock")
            actors = [world.actor(lock) for world in turn]
            calls = line_up(lock, actors, "wwww")
            holder.do("release_writelock")
            for number, call in enumerate(calls):
                call.result()
                assert not any(later.done() for later in calls[number + 1 :])
                actors[number].do("release_writelock")
        assert is_free(lock)
    finally:
        for world in worlds:
            world.close()


# -- giving up ---------------------------------------------------------------------


def test_a_writer_that_times_out_frees_the_readers_behind_it(world):
    lock = RWLock()
    first, writer, *others = (world.actor(lock) for _ in range(5))
    first.do("acquire_readlock")
    writing = writer.begin("acquire_writelock", 0.15)
    waiting(lock, writers=1)
    calls = [other.begin("acquire_readlock") for other in others]
    waiting(lock, readers=3, writers=1)
    with pytest.raises(LockTimeout, match="read, 3 wait to read, 1 to write"):
        writing.result()
    for call in calls:
        call.result()
    for reader in (first, *others):
        reader.do("release_readlock")
    assert is_free(lock)


def test_a_writer_that_is_cancelled_frees_the_readers_behind_it(cancellable_world):
    world = cancellable_world
    lock = RWLock()
    first, writer, *others = (world.actor(lock) for _ in range(5))
    first.do("acquire_readlock")
    calls = line_up(lock, [writer, *others], "wrrr")
    calls[0].cancel()
    for call in calls[1:]:
        call.result()
    # And the lock is open again for those who come.
    writer.do("acquire_readlock", 0)
    for reader in (first, writer, *others):
        reader.do("release_readlock")
    assert is_free(lock)


def test_of_several_writers_the_last_to_give_up_frees_the_readers(cancellable_world):
    world = cancellable_world
    lock = RWLock()
    first, *actors = (world.actor(lock) for _ in range(5))
    first.do("acquire_readlock")
    calls = line_up(lock, actors, "wwrr")
    calls[1].cancel()
    assert not calls[2].done()
    calls[0].cancel()
    for call in calls[2:]:
        call.result()
    for reader in (first, *actors[2:]):
        reader.do("release_readlock")
    assert is_free(lock)


def test_whoever_gives_up_in_the_middle_is_passed_over(cancellable_world):
    world = cancellable_world
    lock = RWLock()
    first, *actors = (world.actor(lock) for _ in range(7))
    first.do("acquire_writelock")
    calls = line_up(lock, actors, "rrwwrw")
    for number in (1, 2):
        calls[number].cancel()
    first.do("release_writelock")
    calls[0].result()
    calls[4].result()
    assert not calls[3].done()
    for number in (0, 4):
        actors[number].do("release_readlock")
    for number in (3, 5):
        calls[number].result()
        actors[number].do("release_writelock")
    assert is_free(lock)


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_grant_and_a_time_out_at_the_same_moment(world, kind):
    lock = RWLock()
    holder, actor = world.actor(lock), world.actor(lock)
    outcomes = set()
    for number in range(25):
        holder.do("acquire_writelock")
        wait_time = 0.002 + number % 7 * 0.0003
        call = actor.begin(f"acquire_{kind}lock", wait_time)
        waiting_until = time.monotonic() + wait_time
        while time.monotonic() < waiting_until - 0.0005:
            pass
        holder.do("release_writelock")
        try:
            call.result()
        except LockTimeout:
            outcomes.add("late")
        else:
            outcomes.add("in time")
            actor.do(f"release_{kind}lock")
        assert is_free(lock)
    assert outcomes


@pytest.mark.parametrize("kind", ["r", "w"])
def test_a_grant_and_a_cancellation_at_the_same_moment(cancellable_world, kind):
    world = cancellable_world
    lock = RWLock()
    holder, actor, behind = (world.actor(lock) for _ in range(3))
    for number in range(25):
        holder.do("acquire_writelock")
        calls = line_up(lock, [actor, behind], kind + "w")
        releasing = holder.begin("release_writelock")
        if number % 3:
            time.sleep(number % 5 * 0.00005)
        actor.cancel(calls[0])
        releasing.result()
        try:
            calls[0].result()
        except Exception:
            pass
        else:
            # The thread was granted; the interrupt comes when the lock is released.
            call = actor.begin(
                "release_readlock" if kind == "r" else "release_writelock"
            )
            try:
                call.result()
            except Stopped:
                pass
        calls[1].result()
        behind.do("release_writelock")
        assert is_free(lock)
        try:
            actor.do(lambda: sum(range(10)))
        except Stopped:
            pass


async def test_a_task_cancelled_in_the_tick_of_its_grant_passes_it_on():
    lock = RWLock().aio
    for first in ("grant", "cancel"):
        entered = []
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def doomed(scope=scope, entered=entered):
                with scope:
                    async with lock.write():
                        entered.append("doomed")

            async def behind(entered=entered):
                async with lock.write():
                    entered.append("behind")

            await lock.acquire_writelock()
            tasks.start_soon(doomed)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(behind)
            await anyio.wait_all_tasks_blocked()
            if first == "cancel":
                scope.cancel()
            lock.release_writelock()
            scope.cancel()
        # A task that was granted the lock first has it, or passes it on.
        assert entered[-1] == "behind"
        assert first == "grant" or entered == ["behind"]
        assert is_free(lock.sync)


def test_an_asyncio_task_cancelled_after_its_grant_passes_it_on():
    async def main():
        lock = RWLock().aio
        for kind in ("read", "write"):
            await lock.acquire_writelock()
            guard = getattr(lock, kind)()
            doomed = asyncio.create_task(guard.__aenter__())
            behind = asyncio.create_task(lock.acquire_writelock())
            while lock.stats().waiting_writers < 1 + (kind == "write"):
                await asyncio.sleep(0)
            lock.release_writelock()
            doomed.cancel()  # its future is set already, but it has not run since
            with pytest.raises(asyncio.CancelledError):
                await doomed
            await behind
            assert lock.locked()
            lock.sync.exit_from_writing(behind)
            assert is_free(lock.sync)

    asyncio.run(main())


def held_mutex(lock):
    """Have another thread hold the mutex of a lock for a moment."""
    inside = threading.Event()

    def hold():
        with lock.mutex:
            inside.set()
            time.sleep(0.05)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    return thread


def test_who_was_interrupted_has_left_the_line_when_it_goes_on():
    """Else it would meet itself there: in its own way, or let in twice."""
    lock, left = RWLock(), []

    def work():
        try:
            lock.acquire_readlock()
        except Stopped:
            left.append(len(lock))

    lock.acquire_writelock()
    thread = CupThread(target=work)
    thread.start()
    waiting(lock, readers=1)
    holder = held_mutex(lock)
    assert thread.raise_exc(Stopped)
    assert ended(thread)
    assert ended(holder)
    lock.release_writelock()
    assert left == [0]
    assert is_free(lock)


async def test_who_was_cancelled_has_left_the_line_when_it_goes_on():
    lock = RWLock()
    left, scope = [], anyio.CancelScope()

    async def work():
        with scope:
            try:
                await lock.aio.acquire_writelock()
            finally:
                left.append(len(lock))

    await lock.aio.acquire_readlock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        holder = held_mutex(lock)
        scope.cancel()
    lock.aio.release_readlock()
    assert left == [0]
    assert ended(holder)
    assert is_free(lock)


# -- starvation --------------------------------------------------------------------


def longest_waits(lock, seconds, hold=0.003):
    """Let four readers overlap with four writers; return the longest waits."""
    stop = threading.Event()
    longest = {"read": 0.0, "write": 0.0}
    turns = {"read": 0, "write": 0}

    def work(kind):
        while not stop.is_set():
            begin = time.perf_counter()
            with getattr(lock, kind)():
                waited = time.perf_counter() - begin
                longest[kind] = max(longest[kind], waited)
                turns[kind] += 1
                time.sleep(hold)

    threads = [
        threading.Thread(target=work, args=(kind,))
        for kind in ("read", "write")
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    assert all(map(ended, threads))
    return longest, turns


def test_neither_readers_nor_writers_starve():
    longest, turns = longest_waits(RWLock(), 0.4)
    assert all(turns.values())
    assert max(longest.values()) < 0.5, longest  # four writers and a phase each: 30 ms


@pytest.mark.long
def test_waits_stay_bounded_for_longer():
    with switching_fast(0.0005):
        longest, turns = longest_waits(RWLock(), 4)
    assert min(turns.values()) > 100, turns
    assert max(longest.values()) < 0.5, longest


async def test_tasks_do_not_starve_either():
    lock = RWLock().aio
    turns = {"read": 0, "write": 0}

    async def work(kind):
        while min(turns.values()) < 10:
            async with getattr(lock, kind)():
                turns[kind] += 1
                await anyio.sleep(0.0005)

    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            for kind in ("read", "write"):
                for _ in range(4):
                    tasks.start_soon(work, kind)
    assert max(turns.values()) < 200, turns


def test_a_stream_of_readers_does_not_keep_a_writer_out():
    lock, stop = RWLock(), threading.Event()
    inside = threading.Semaphore(0)

    def read():
        while not stop.is_set():
            with lock.read():
                inside.release()
                time.sleep(0.001)

    threads = [CupThread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        inside.acquire()
        lock.acquire_writelock(10)
        lock.release_writelock()
    stop.set()
    assert all(map(ended, threads))
