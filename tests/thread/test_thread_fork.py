"""Locks and threads in a forked child, with and without Python's hooks."""

import asyncio
import os
import threading

import pytest
from thread_tools import (
    PATIENCE,
    Stopped,
    World,
    fork_without_hooks,
    in_child,
    is_free,
    needs_fork,
    waiting,
)

from cup._core.gil import MUTEX_PATHS
from cup.errors import (
    LockBroken,
    LockDeadlock,
    LockNotHeld,
    LockTimeout,
    ThreadTermException,
)
from cup.thread import CupThread, RWLock, shield

pytestmark = [
    needs_fork,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@pytest.fixture(params=[None, fork_without_hooks], ids=["hooked", "unhooked"])
def fork(request):
    return request.param


@pytest.fixture
def others():
    world = World("thread")
    yield world
    world.close()


def test_readers_of_the_parent_are_gone_in_the_child(fork, others):
    lock = RWLock()
    reader = others.actor(lock)
    reader.do("acquire_readlock")

    def child():
        lock.acquire_writelock(0)
        lock.release_writelock()
        return is_free(lock)

    assert in_child(child, fork=fork) == "True"
    with pytest.raises(LockTimeout):
        lock.acquire_writelock(0)
    reader.do("release_readlock")
    assert is_free(lock)


def test_a_writer_that_vanished_breaks_the_lock_until_reset(fork, others):
    lock = RWLock(name="table")
    writer = others.actor(lock)
    writer.do("acquire_writelock")
    stamp = lock.stamp()

    def child():
        for acquire in (lock.acquire_readlock, lock.acquire_writelock):
            for wait_time in (None, 0, PATIENCE):
                with pytest.raises(LockBroken, match=r"'table'.*reset\(\)"):
                    acquire(wait_time)
        assert "a thread of the parent process writes" in repr(lock)
        assert lock.locked()
        with pytest.raises(LockNotHeld):
            lock.release_writelock()
        assert not lock.validate(lock.stamp())
        lock.reset()
        assert not lock.validate(stamp)
        assert lock.validate(lock.stamp())
        return is_free(lock)

    assert in_child(child, fork=fork) == "True"
    writer.do("release_writelock")
    assert is_free(lock)
    lock.reset()
    assert is_free(lock)


def test_a_lock_that_broke_is_broken_for_tasks_too(others):
    lock = RWLock()
    others.actor(lock).do("acquire_writelock")

    def child():
        async def main():
            for acquire in (lock.aio.acquire_readlock, lock.aio.acquire_writelock):
                with pytest.raises(LockBroken):
                    await acquire()
            lock.aio.reset()
            async with lock.aio.write():
                pass

        asyncio.run(main())
        return is_free(lock)

    assert in_child(child) == "True"


def test_a_thread_with_the_identifier_of_the_writer_does_not_own_its_lock(others):
    lock = RWLock()
    writer = others.actor(lock)
    writer.do("acquire_writelock")

    def child():
        outcomes = []

        def work():
            try:
                lock.acquire_readlock(0)
            except Exception as error:
                outcomes.append(type(error).__name__)
            try:
                lock.release_writelock()
            except Exception as error:
                outcomes.append(type(error).__name__)

        # Identifiers are addresses of stacks, which a child uses again.
        for _ in range(20):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        return set(outcomes) == {"LockBroken", "LockNotHeld"}

    assert in_child(child) == "True"


@pytest.mark.parametrize("kind", ["read", "write"])
def test_the_forking_thread_keeps_what_it_holds(fork, others, kind):
    lock = RWLock()
    if kind == "read":
        others.actor(lock).do("acquire_readlock")
    getattr(lock, f"acquire_{kind}lock")()

    def child():
        assert lock.locked()
        with pytest.raises(LockDeadlock):
            lock.acquire_writelock()
        getattr(lock, f"release_{kind}lock")()
        return is_free(lock)

    assert in_child(child, fork=fork) == "True"
    getattr(lock, f"release_{kind}lock")()


def test_in_the_child_others_wait_for_the_forking_thread():
    lock = RWLock()
    lock.acquire_writelock()

    def child():
        got = threading.Event()
        thread = threading.Thread(
            target=lambda: (
                lock.acquire_readlock(PATIENCE),
                got.set(),
                lock.release_readlock(),
            )
        )
        thread.start()
        waiting(lock, readers=1)
        assert not got.is_set()
        lock.release_writelock()
        thread.join(PATIENCE)
        return got.is_set() and is_free(lock)

    assert in_child(child) == "True"
    lock.release_writelock()


@pytest.mark.parametrize("kind", ["read", "write"])
def test_who_waits_in_the_parent_is_not_granted_anything_in_the_child(
    fork, others, kind
):
    lock = RWLock()
    getattr(lock, f"acquire_{kind}lock")()
    writer = others.actor(lock)
    call = writer.begin("acquire_writelock")
    waiting(lock, writers=1)

    def child():
        getattr(lock, f"release_{kind}lock")()
        return is_free(lock)

    assert in_child(child, fork=fork) == "True"
    assert not call.done()
    getattr(lock, f"release_{kind}lock")()
    call.result()
    writer.do("release_writelock")


@pytest.mark.parametrize("kind", ["", "read", "write"])
def test_a_mutex_held_at_the_fork_stops_nobody_in_the_child(fork, kind):
    lock = RWLock()
    if kind:
        getattr(lock, f"acquire_{kind}lock")()
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with lock.mutex:
            inside.set()
            leave.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(PATIENCE)

    def child():
        if kind:
            getattr(lock, f"release_{kind}lock")()
        lock.acquire_writelock(PATIENCE)
        lock.release_writelock()
        return is_free(lock)

    try:
        assert in_child(child, fork=fork) == "True"
    finally:
        leave.set()
        thread.join()
    if kind:
        getattr(lock, f"release_{kind}lock")()
    assert is_free(lock)


def test_a_task_of_the_parent_holds_nothing_in_the_child():
    lock = RWLock()

    async def main():
        async with lock.aio.read():
            return in_child(lambda: is_free(lock))

    assert asyncio.run(main()) == "True"
    assert is_free(lock)


# -- threads that can be interrupted -----------------------------------------------


def in_cup_thread(function):
    """Run a function in a `CupThread`, and return what it returned."""
    thread = CupThread(target=function)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    return thread.result


def test_what_a_cup_thread_holds_its_child_holds(fork):
    lock = RWLock()

    def child():
        with lock.read(0), shield():
            pass
        with pytest.raises(LockDeadlock):
            lock.acquire_writelock()
        lock.release_readlock()
        return is_free(lock)

    def parent():
        with lock.read():
            return in_child(child, fork=fork)

    assert in_cup_thread(parent) == "True"
    assert is_free(lock)


def test_a_cup_thread_stays_interruptible_in_its_child():
    lock = RWLock()

    def child():
        me = threading.current_thread()
        poster = threading.Thread(target=me.raise_exc, args=(Stopped,))
        poster.start()
        poster.join()
        with pytest.raises(Stopped):
            lock.release_readlock()  # the mask came along
        return is_free(lock)

    def parent():
        with lock.read():
            return in_child(child)

    assert in_cup_thread(parent) == "True"


def test_the_child_of_a_cup_thread_ends_as_a_thread_does(fork):
    def work():
        with shield():
            child = (fork or os.fork)()
        if child == 0:
            return "child"
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    class Thread(CupThread):
        def _run_guarded(self, run):
            try:
                super()._run_guarded(run)
            finally:
                if self.result == "child":
                    os._exit(7)

    thread = Thread(target=work)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert thread.result == 7


@pytest.mark.parametrize("moment", ["pending", "being posted"])
def test_an_interrupt_of_the_parent_does_not_reach_the_child(fork, moment):
    inside, go, forked = threading.Event(), threading.Event(), threading.Event()
    answers = []

    def child():
        with shield():
            pass
        thread._interrupts.unshield()  # nothing is raised here
        return "not interrupted"

    def work():
        with shield():
            inside.set()
            go.wait(PATIENCE)
            answers.append(in_child(child, fork=fork))
            forked.set()

    thread = CupThread(target=work)
    thread.start()
    inside.wait(PATIENCE)
    if moment == "pending":
        assert thread.raise_exc(ThreadTermException)
        go.set()
    else:
        with thread._interrupts._mutex:
            go.set()
            forked.wait(PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert answers == ["not interrupted"]
    assert isinstance(thread.exception, ThreadTermException) == (moment == "pending")


def test_other_threads_are_over_in_the_child():
    stop = threading.Event()
    thread = CupThread(target=stop.wait)
    thread.start()

    def child():
        return [thread.raise_exc(Stopped), thread.terminate(0), thread.get_my_tid()]

    assert in_child(child) == "[0, True, None]"
    stop.set()
    thread.join()


def test_a_reader_of_the_child_is_not_taken_for_one_of_the_parent(others):
    lock = RWLock()
    reader = others.actor(lock)
    reader.do("acquire_readlock")

    def child():
        reads, done = threading.Event(), threading.Event()

        def read():
            with lock.read():
                reads.set()
                done.wait(PATIENCE)

        thread = threading.Thread(target=read)
        thread.start()
        reads.wait(PATIENCE)
        try:
            lock.acquire_writelock(0)
        except LockTimeout:
            kept_out = True
        else:
            kept_out = False
        done.set()
        thread.join(PATIENCE)
        return kept_out and is_free(lock)

    assert in_child(child) == "True"
    reader.do("release_readlock")


def test_a_thread_of_the_child_inherits_nothing_with_an_identifier(fork, others):
    lock = RWLock()
    reader = others.actor(lock)
    reader.do("acquire_readlock")
    (ident,) = lock.readers

    def child():
        if lock.locked() or MUTEX_PATHS:  # there, nobody gets in without an ask
            return not lock.locked()
        return lock.enter_to_write(ident) and lock.exit_from_writing(ident)

    assert in_child(child, fork=fork) == "True"
    reader.do("release_readlock")
