"""What a lock allows, refuses and tells; the same for threads and for tasks."""

import copy
import gc
import pickle
import textwrap
import threading
import weakref

import anyio
import pytest
from thread_tools import is_free, run_python, wait_for, waiting

from cup.errors import (
    BlockingInLoop,
    InvalidValue,
    LockDeadlock,
    LockError,
    LockNotHeld,
    LockTimeout,
    LoopGone,
)
from cup.thread import (
    AsyncRWLock,
    CupThread,
    LockStats,
    ReadGuard,
    RWLock,
    WriteGuard,
)

# -- own locks ---------------------------------------------------------------------


def test_own_write_then_anything_raises_at_once(world):
    lock = RWLock()
    actor = world.actor(lock)
    actor.do("acquire_writelock")
    for name in ("acquire_writelock", "acquire_readlock"):
        with pytest.raises(LockDeadlock):
            actor.do(name)
        with pytest.raises(LockDeadlock):
            actor.do(name, 30)
    actor.do("release_writelock")
    assert is_free(lock)


def test_own_read_then_write_raises_at_once(world):
    lock = RWLock()
    actor, other = world.actor(lock), world.actor(lock)
    actor.do("acquire_readlock")
    with pytest.raises(LockDeadlock, match="release the read lock first"):
        actor.do("acquire_writelock")
    other.do("acquire_readlock")
    with pytest.raises(LockDeadlock):
        actor.do("acquire_writelock", 30)
    other.do("release_readlock")
    actor.do("release_readlock")
    assert is_free(lock)


def test_reading_is_re_entrant_while_a_writer_waits(world):
    lock = RWLock()
    reader, writer = world.actor(lock), world.actor(lock)
    reader.do("acquire_readlock")
    call = writer.begin("acquire_writelock")
    waiting(lock, writers=1)
    for _ in range(3):
        reader.do("acquire_readlock", 0)
    for _ in range(4):
        assert not call.done()
        reader.do("release_readlock")
    call.result()
    writer.do("release_writelock")
    assert is_free(lock)


def test_a_re_entrant_lock_is_written_and_read_again_by_its_writer(world):
    lock = RWLock(reentrant=True)
    actor, other = world.actor(lock), world.actor(lock)
    actor.do("acquire_writelock")
    actor.do("acquire_writelock", 0)
    actor.do("acquire_readlock", 0)
    actor.do("release_writelock")
    with pytest.raises(LockTimeout):
        other.do("acquire_readlock", 0)
    with pytest.raises(LockDeadlock, match="release the inner ones first"):
        actor.do("acquire_writelock")
        actor.do("downgrade")
    actor.do("release_writelock")
    actor.do("release_writelock")
    # What it read inside, it reads still.
    with pytest.raises(LockTimeout):
        other.do("acquire_writelock", 0)
    other.do("acquire_readlock", 0)
    other.do("release_readlock")
    actor.do("release_readlock")
    assert is_free(lock)


def test_an_upgrade_raises_in_a_re_entrant_lock_too(world):
    lock = RWLock(reentrant=True)
    actor = world.actor(lock)
    actor.do("acquire_readlock")
    with pytest.raises(LockDeadlock):
        actor.do("acquire_writelock", 0)
    actor.do("release_readlock")


# -- foreign locks -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_foreign_release_raises_and_changes_nothing(world, kind):
    lock = RWLock()
    actor, other = world.actor(lock), world.actor(lock)
    actor.do(f"acquire_{kind}lock")
    for name in ("release_readlock", "release_writelock", "downgrade"):
        with pytest.raises(LockNotHeld) as caught:
            other.do(name)
        assert isinstance(caught.value, RuntimeError)
        assert f"{kind}s" in str(caught.value) or "read" in str(caught.value)
    assert lock.locked()
    actor.do(f"release_{kind}lock")
    with pytest.raises(LockNotHeld, match="free"):
        actor.do(f"release_{kind}lock")
    assert is_free(lock)


def test_a_release_of_the_other_kind_raises(world):
    lock = RWLock()
    actor = world.actor(lock)
    actor.do("acquire_readlock")
    with pytest.raises(LockNotHeld):
        actor.do("release_writelock")
    actor.do("release_readlock")
    actor.do("acquire_writelock")
    with pytest.raises(LockNotHeld):
        actor.do("release_readlock")
    actor.do("release_writelock")
    assert is_free(lock)


async def test_a_thread_does_not_own_what_its_task_holds():
    lock = RWLock()
    await lock.aio.acquire_writelock()
    with pytest.raises(LockNotHeld):
        lock.release_writelock()
    with pytest.raises(LockTimeout):
        lock.acquire_readlock(0)
    lock.aio.release_writelock()
    lock.acquire_writelock()
    with pytest.raises(LockNotHeld):
        lock.aio.release_writelock()
    lock.release_writelock()
    assert is_free(lock)


async def test_a_task_does_not_own_what_another_task_holds():
    lock = AsyncRWLock()
    await lock.acquire_readlock()

    async def other():
        with pytest.raises(LockNotHeld):
            lock.release_readlock()
        with pytest.raises(LockTimeout):
            await lock.acquire_writelock(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
    lock.release_readlock()
    assert is_free(lock.sync)


def test_what_a_task_holds_needs_a_task():
    lock = AsyncRWLock()
    for release in (lock.release_readlock, lock.release_writelock, lock.downgrade):
        with pytest.raises(LoopGone):
            release()
    acquire = lock.acquire_readlock()
    with pytest.raises(LoopGone):
        acquire.send(None)


# -- blocks ------------------------------------------------------------------------


def test_guards_hold_for_a_block():
    lock = RWLock()
    with lock.read() as reading:
        assert isinstance(reading, ReadGuard)
        with lock.read(timeout=1):
            assert len(lock.stats().readers) == 1
    with lock.write(timeout=1) as writing:
        assert isinstance(writing, WriteGuard)
        assert lock.stats().writer == threading.current_thread().name
    with pytest.raises(KeyError), lock.write():
        raise KeyError
    assert is_free(lock)


def test_guards_time_out():
    lock = RWLock()
    holder = threading.Thread(target=lock.acquire_writelock)
    holder.start()
    holder.join()
    for guard in (lock.read(timeout=0), lock.write(timeout=0)):
        with pytest.raises(LockTimeout), guard:
            pytest.fail("it was let in")
    assert lock.read() is lock.read()  # it keeps no state
    assert lock.read(1) is not lock.read(1)


async def test_guards_hold_for_a_block_of_a_task():
    lock = AsyncRWLock()
    async with lock.read(), lock.read(timeout=1):
        assert len(lock.stats().readers) == 1
    async with lock.write(timeout=1):
        with pytest.raises(LockDeadlock):
            async with lock.read():
                pytest.fail("it was let in")
    with pytest.raises(KeyError):
        async with lock.write():
            raise KeyError
    assert is_free(lock.sync)


async def test_a_guard_owns_the_hold_whatever_task_ends_the_block():
    lock = AsyncRWLock()
    guards = [lock.read(), lock.write()]
    for guard in guards:

        async def enter(guard=guard):
            await guard.__aenter__()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter)
        assert lock.locked()
        await guard.__aexit__(None, None, None)
        assert is_free(lock.sync)


# -- downgrade ---------------------------------------------------------------------


def test_a_downgrade_lets_readers_in_and_keeps_writers_out(world):
    lock = RWLock()
    actor, reader, writer = (world.actor(lock) for _ in range(3))
    actor.do("acquire_writelock")
    reading = reader.begin("acquire_readlock")
    waiting(lock, readers=1)
    writing = writer.begin("acquire_writelock")
    waiting(lock, readers=1, writers=1)
    actor.do("downgrade")
    reading.result()
    assert not writing.done()
    with pytest.raises(LockNotHeld):
        actor.do("release_writelock")
    actor.do("release_readlock")
    assert not writing.done()
    reader.do("release_readlock")
    writing.result()
    writer.do("release_writelock")
    assert is_free(lock)


def test_a_guard_can_be_downgraded():
    lock = RWLock()
    for timeout in (None, 1):
        with lock.write(timeout) as guard:
            guard.downgrade()
            assert lock.stats().writer is None
            assert len(lock.stats().readers) == 1
            with pytest.raises(LockNotHeld):
                guard.downgrade()
        assert is_free(lock)
        with lock.write(timeout):
            assert lock.stats().writer is not None
        assert is_free(lock)


async def test_a_guard_of_a_task_can_be_downgraded():
    lock = AsyncRWLock()
    guard = lock.write()
    for _ in range(2):
        async with guard:
            guard.downgrade()
            assert lock.stats().writer is None
            assert len(lock.stats().readers) == 1
        assert is_free(lock.sync)
        async with guard:
            assert lock.stats().writer is not None
        assert is_free(lock.sync)


# -- optimistic reading ------------------------------------------------------------


def test_a_stamp_holds_until_somebody_writes(world):
    lock = RWLock()
    face = world.actor(lock).face()
    actor = world.actor(lock)
    stamp = face.stamp()
    assert face.validate(stamp)
    actor.do("acquire_readlock")
    assert face.validate(stamp)
    actor.do("release_readlock")
    actor.do("acquire_writelock")
    assert not face.validate(stamp)
    assert not face.validate(face.stamp())
    actor.do("downgrade")
    assert not face.validate(stamp)
    assert face.validate(face.stamp())
    actor.do("release_readlock")
    assert face.validate(face.stamp())


def test_an_optimistic_reader_never_believes_a_torn_pair():
    lock, pair, stop = RWLock(), [0, 0], threading.Event()

    def write():
        while not stop.is_set():
            with lock.write():
                pair[0] += 1
                pair[1] += 1

    writer = CupThread(target=write)
    writer.start()
    valid = 0
    while valid < 2000:
        stamp = lock.stamp()
        seen = tuple(pair)
        if lock.validate(stamp):
            valid += 1
            assert seen[0] == seen[1]
    stop.set()
    writer.join()


# -- looking -----------------------------------------------------------------------


def test_stats_and_repr_tell_who_holds_and_who_waits():
    lock = RWLock("writers", name="table")
    assert repr(lock) == ("<RWLock 'table' writers: free, 0 wait to read, 0 to write>")
    assert lock.stats() == LockStats(
        readers=(), writer=None, waiting_readers=0, waiting_writers=0, longest_wait=0.0
    )
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with lock.write():
            inside.set()
            leave.wait()

    threads = [threading.Thread(target=hold, name="holder")]
    threads[0].start()
    inside.wait()
    for name in ("acquire_readlock", "acquire_writelock"):
        thread = CupThread(target=getattr(lock, name))
        threads.append(thread)
        thread.start()
    waiting(lock, readers=1, writers=1)
    stats = lock.stats()
    assert stats.writer == "holder"
    assert stats.longest_wait > 0
    wait_for(lambda: lock.stats().longest_wait > stats.longest_wait)
    assert "holder writes, 1 wait to read, 1 to write" in repr(lock)
    assert repr(lock) in repr(lock.aio)
    for thread in threads[1:]:
        assert thread.terminate()
    leave.set()
    threads[0].join()
    assert is_free(lock)


def test_many_readers_are_named_in_part():
    lock = RWLock()
    barrier = threading.Barrier(8)

    def read():
        with lock.read():
            barrier.wait()
            barrier.wait()

    threads = [threading.Thread(target=read, name=f"reader {n}") for n in range(7)]
    for thread in threads:
        thread.start()
    barrier.wait()
    assert "and 2 more read" in repr(lock)
    assert sorted(lock.stats().readers) == [f"reader {n}" for n in range(7)]
    barrier.wait()
    for thread in threads:
        thread.join()


async def test_tasks_are_called_by_their_names():
    lock = AsyncRWLock(name="table")
    inside, leave = anyio.Event(), anyio.Event()

    async def hold():
        async with lock.read():
            inside.set()
            await leave.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold, name="the holder")
        await inside.wait()
        assert lock.stats().readers == ("the holder",)
        assert "the holder read" in repr(lock)
        leave.set()


def test_a_holder_that_has_ended_is_called_by_its_number():
    lock = RWLock()
    thread = threading.Thread(target=lock.acquire_writelock, name="gone")
    thread.start()
    thread.join()
    assert lock.stats().writer == f"thread {thread.ident}"
    assert f"thread {thread.ident} writes" in repr(lock)


def test_the_policy_is_checked():
    with pytest.raises(InvalidValue, match="fair, readers, writers"):
        RWLock("random")
    with pytest.raises(ValueError, match="random"):
        AsyncRWLock("random")


# -- identity ----------------------------------------------------------------------


@pytest.mark.parametrize("make", [RWLock, AsyncRWLock])
def test_a_lock_cannot_be_pickled_or_copied(make):
    lock = make()
    for attempt in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="a lock cannot be pickled"):
            attempt(lock)
    with pytest.raises(TypeError, match="a lock cannot be pickled"):
        copy.copy(RWLock())


def test_faces_of_one_lock_are_equal():
    lock = RWLock()
    assert lock.aio == lock.aio
    assert hash(lock.aio) == hash(lock.aio)
    assert lock.aio.sync is lock
    assert lock.aio != RWLock().aio
    assert lock.aio != lock
    face = AsyncRWLock()
    assert face.sync.aio == face
    assert {face: 1}[face.sync.aio] == 1


def test_a_lock_can_be_referred_to_weakly_and_is_freed():
    lock = RWLock()
    with lock.read(), pytest.raises(LockError):
        lock.acquire_writelock()
    face = AsyncRWLock()
    references = [weakref.ref(lock), weakref.ref(face)]
    del lock, face
    gc.collect()
    assert [reference() for reference in references] == [None, None]


async def test_blocking_a_loop_for_a_lock_raises_under_the_strict_rule():
    from cup._core.running import set_strict

    lock = RWLock()
    async with lock.aio.write():
        before = set_strict(strict=True)
        try:
            with pytest.raises(BlockingInLoop, match="AsyncRWLock.acquire_readlock"):
                lock.acquire_readlock(5)
            with pytest.raises(LockTimeout):
                lock.acquire_readlock(0)
        finally:
            set_strict(strict=before)
    assert is_free(lock)


# -- finalizers and signal handlers ----------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda lock: lock.acquire_readlock(0),
        lambda lock: lock.acquire_readlock(),
        lambda lock: lock.acquire_writelock(0),
        lambda lock: lock.acquire_writelock(),
        lambda lock: lock.stats(),
    ],
)
def test_who_interrupts_the_lock_in_its_own_thread_is_refused(call, monkeypatch):
    lock = RWLock()
    caught = []
    original = RWLock._work_off_notes

    def interrupted(self):
        if not caught:  # as a finalizer would, in the middle of the section
            with pytest.raises(LockDeadlock, match="finalizer"):
                call(lock)
            caught.append(call)
        original(self)

    monkeypatch.setattr(RWLock, "_work_off_notes", interrupted)
    with lock.write():
        thread = threading.Thread(target=lock.acquire_readlock, args=[20])
        thread.start()
        wait_for(lambda: caught)
    thread.join()
    assert len(lock.stats().readers) == 1


def test_a_holder_that_an_exception_left_behind_is_none():
    lock = RWLock()
    lock._holder = threading.get_ident()
    with lock.read():
        pass
    with lock.write():
        assert not lock.stats().readers


@pytest.mark.full
def test_finalizers_may_try_the_lock_they_interrupt():
    program = """
        import gc, threading, time
        from cup.thread import RWLock

        gc.set_threshold(1, 1, 1)
        lock, tries, end = RWLock(), [], time.monotonic() + 2

        class Finalized:
            def __init__(self):
                self.me = self

            def __del__(self):
                try:
                    lock.acquire_readlock(0)
                except RuntimeError:
                    pass
                else:
                    lock.release_readlock()
                    tries.append(1)

        def work(turn):
            while time.monotonic() < end:
                turn += 1
                Finalized()
                try:
                    with lock.write(0.002) if turn % 3 else lock.read(0.002):
                        Finalized()
                except TimeoutError:
                    pass

        threads = [threading.Thread(target=work, args=[turn]) for turn in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gc.set_threshold(700, 10, 10)
        gc.collect()
        print(len(tries) > 100, lock.locked())
    """
    assert run_python(textwrap.dedent(program)).strip() == "True False"
