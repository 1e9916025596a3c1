"""Where interrupts arrive: after locks, after shields, in waits, and never nowhere."""

import ctypes
import gc
import itertools
import sys
import threading
import time
import weakref

import pytest
from thread_tools import (
    PATIENCE,
    Stopped,
    ended,
    is_free,
    spin,
    switching_fast,
    wait_for,
    waiting,
)

from cup.errors import LockDeadlock, LockNotHeld, LockTimeout
from cup.services.threadpool import ThreadPool
from cup.thread import CupThread, RWLock, shield


class Victim:
    """A thread that can be interrupted, and whose every interrupt is looked at.

    `steps` is run in the thread; it gets the victim. What comes out of it is kept.
    """

    def __init__(self, steps):
        self.inside = threading.Event()
        self.go = threading.Event()
        self.log = []
        self.caught = None
        self.thread = CupThread(target=self._run, args=(steps,))
        self.thread.start()

    def _run(self, steps):
        try:
            steps(self)
        except BaseException as error:
            self.caught = error

    def pause(self):
        """Say that the point of the test is reached, and wait, uninterrupted."""
        self.inside.set()
        assert self.go.wait(PATIENCE)

    def spin(self):
        """Run plain Python code until interrupted."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            pass
        raise AssertionError("the interrupt never came")

    def interrupt(self, error=Stopped):
        assert self.inside.wait(PATIENCE)
        assert self.thread.raise_exc(error) == 1
        self.go.set()

    def join(self):
        assert ended(self.thread)
        return self.caught


# -- locks -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("timeout", [None, 5])
def test_an_interrupt_waits_for_the_end_of_a_block(kind, timeout):
    lock = RWLock()

    def steps(victim):
        with getattr(lock, kind)(timeout):
            victim.pause()
            for _ in range(10_000):
                pass
            victim.log.append("done inside")
        victim.log.append("never")

    victim = Victim(steps)
    victim.interrupt()
    assert type(victim.join()) is Stopped
    assert victim.log == ["done inside"]
    assert is_free(lock)


@pytest.mark.parametrize("kind", ["read", "write"])
def test_an_interrupt_comes_at_the_release(kind):
    lock = RWLock()

    def steps(victim):
        getattr(lock, f"acquire_{kind}lock")()
        victim.pause()
        victim.log.append("done inside")
        getattr(lock, f"release_{kind}lock")()
        victim.log.append("never")

    victim = Victim(steps)
    victim.interrupt()
    assert type(victim.join()) is Stopped
    assert victim.log == ["done inside"]
    assert is_free(lock)


def test_an_interrupt_waits_for_the_last_of_several_locks():
    first, second = RWLock(), RWLock(reentrant=True)

    def steps(victim):
        with first.read():
            with second.write(), second.write(), second.read(), first.read():
                victim.pause()
                victim.log.append(1)
            victim.log.append(2)
            with second.write() as guard:
                guard.downgrade()
                victim.log.append(3)
            victim.log.append(4)
        victim.log.append("never")

    victim = Victim(steps)
    victim.interrupt()
    assert type(victim.join()) is Stopped
    assert victim.log == [1, 2, 3, 4]
    assert is_free(first)
    assert is_free(second)


def test_a_lock_that_was_not_acquired_holds_nothing_back():
    lock, held = RWLock(), RWLock()
    held.acquire_writelock()

    def steps(victim):
        for acquire in (held.acquire_readlock, held.acquire_writelock):
            for wait_time in (0, 0.001):
                with pytest.raises(LockTimeout):
                    acquire(wait_time)
        with lock.read(), pytest.raises(LockDeadlock):
            lock.acquire_writelock()
        with lock.write(), pytest.raises(LockDeadlock):
            lock.acquire_readlock()
        with pytest.raises(LockNotHeld):
            lock.release_readlock()
        with pytest.raises(LockNotHeld):
            lock.release_writelock()
        assert victim.thread._interrupts.depth == 0
        victim.inside.set()
        victim.spin()

    victim = Victim(steps)
    victim.interrupt()
    assert type(victim.join()) is Stopped
    held.release_writelock()


def test_a_release_of_what_was_acquired_before_the_start_is_no_harm():
    lock = RWLock()

    def steps(victim):
        target = victim.thread._interrupts
        lock.acquire_readlock()
        target.depth = 0  # as if acquired before it was interruptible
        lock.release_readlock()
        assert target.depth == 0
        victim.inside.set()
        victim.spin()

    victim = Victim(steps)
    victim.interrupt()
    assert type(victim.join()) is Stopped


def test_a_thread_that_ends_with_a_lock_ends():
    lock = RWLock()

    def steps(victim):
        lock.acquire_readlock()
        victim.pause()

    victim = Victim(steps)
    victim.interrupt()
    assert victim.join() is None
    assert victim.thread.raise_exc(Stopped) == 0


# -- shields -----------------------------------------------------------------------


def test_a_shield_keeps_an_interrupt_out_until_its_end():
    def steps(victim):
        with shield():
            victim.pause()
            with shield():
                victim.log.append(1)
            victim.log.append(2)
        victim.log.append("never")

    victim = Victim(steps)
    victim.interrupt()
    assert type(victim.join()) is Stopped
    assert victim.log == [1, 2]


def test_waits_inside_of_a_shield_are_not_interrupted():
    lock = RWLock()
    lock.acquire_writelock()

    def steps(victim):
        with shield():
            victim.inside.set()
            with lock.read():
                victim.log.append("granted")
            victim.log.append("inside")
        victim.log.append("never")

    victim = Victim(steps)
    waiting(lock, readers=1)
    victim.interrupt()
    assert not ended(victim.thread, 0.05)
    assert lock.stats().waiting_readers == 1
    lock.release_writelock()
    assert type(victim.join()) is Stopped
    assert victim.log == ["granted", "inside"]
    assert is_free(lock)


def test_a_shield_left_by_another_exception_lets_that_pass():
    def steps(victim):
        try:
            with shield():
                victim.pause()
                raise KeyError("another")
        except KeyError as error:
            victim.log.append(error.args)
        victim.spin()

    victim = Victim(steps)
    victim.interrupt()
    assert type(victim.join()) is Stopped
    assert victim.log == [("another",)]


def test_a_lock_left_by_another_exception_delivers_all_the_same():
    lock = RWLock()

    def steps(victim):
        try:
            with lock.write():
                victim.pause()
                raise KeyError("another")
        except Stopped as error:
            victim.log.append(type(error.__context__))

    victim = Victim(steps)
    victim.interrupt()
    victim.join()
    assert victim.log == [KeyError]
    assert is_free(lock)


def test_locks_and_shields_may_overlap():
    lock = RWLock()

    def steps(victim):
        lock.acquire_readlock()
        with shield():
            victim.pause()
            lock.release_readlock()
            victim.log.append("shielded")
            lock.acquire_readlock()
        victim.log.append("masked")
        lock.release_readlock()
        victim.log.append("never")

    victim = Victim(steps)
    victim.interrupt()
    assert type(victim.join()) is Stopped
    assert victim.log == ["shielded", "masked"]
    assert is_free(lock)


@pytest.mark.parametrize("kind", [StopIteration, GeneratorExit, SystemExit, Stopped])
def test_whatever_is_raised_at_the_end_of_a_shield_is_what_was_posted(kind):
    def steps(victim):
        with shield():
            victim.pause()

    victim = Victim(steps)
    victim.interrupt(kind)
    assert type(victim.join()) is kind


def test_a_shield_does_nothing_where_nothing_can_be_interrupted():
    with shield(), shield():
        pass
    with pytest.raises(KeyError), shield():
        raise KeyError


def test_a_shield_may_be_used_again():
    guard = shield()

    def steps(victim):
        for _ in range(3):
            with guard:
                pass
        with guard:
            victim.pause()
            victim.log.append("inside")
        victim.log.append("never")

    victim = Victim(steps)
    victim.interrupt()
    assert type(victim.join()) is Stopped
    assert victim.log == ["inside"]


# -- waits -------------------------------------------------------------------------


@pytest.fixture
def full_pool():
    """Give a pool whose one worker is busy, and whose queue of one place is full."""
    gate, begun = threading.Event(), threading.Event()
    pool = ThreadPool(1, 1, queue_size=1)
    pool.start()
    busy = pool.submit(lambda: begun.set() or gate.wait(PATIENCE))
    assert begun.wait(PATIENCE)
    queued = pool.submit(int)
    yield pool, busy
    gate.set()
    assert queued.result(PATIENCE) == 0
    assert pool.submit(lambda: "still works").result(PATIENCE) == "still works"
    pool.stop()


def wait_for_lock(kind):
    def steps(pool, busy):
        getattr(held, f"acquire_{kind}lock")()

    held = RWLock()
    held.acquire_writelock()
    return steps


WAITS = {
    "read": wait_for_lock("read"),
    "write": wait_for_lock("write"),
    "result": lambda pool, busy: busy.result(),
    "exception": lambda pool, busy: busy.exception(PATIENCE),
    "submit": lambda pool, busy: pool.submit(int),
    "map": lambda pool, busy: list(pool.map(int, [1, 2, 3])),
    "each": lambda pool, busy: list(pool.each(int, [1, 2, 3])),
    "stop": lambda pool, busy: pool.stop(force_stop=False),
}


@pytest.mark.parametrize("wait", [name for name in WAITS if name != "stop"])
def test_every_wait_of_ours_is_interrupted_at_once(full_pool, wait):
    pool, busy = full_pool

    def steps(victim):
        victim.inside.set()
        WAITS[wait](pool, busy)
        raise AssertionError("it was not interrupted")

    victim = Victim(steps)
    target = victim.thread._interrupts
    wait_for(lambda: target._wake is not None)
    begin = time.monotonic()
    victim.interrupt()
    assert type(victim.join()) is Stopped
    assert time.monotonic() - begin < PATIENCE / 4
    assert not busy.done()


def test_stopping_a_pool_can_be_interrupted():
    gate, begun = threading.Event(), threading.Event()
    pool = ThreadPool(1, 1)
    pool.start()
    busy = pool.submit(lambda: begun.set() or gate.wait(PATIENCE))
    assert begun.wait(PATIENCE)

    def steps(victim):
        victim.inside.set()
        pool.stop(force_stop=False)

    victim = Victim(steps)
    wait_for(lambda: victim.thread._interrupts._wake is not None)
    victim.interrupt()
    assert type(victim.join()) is Stopped
    assert not busy.done()
    gate.set()
    assert busy.result(PATIENCE)
    pool.stop()


def test_an_interrupt_that_came_before_the_wait_ends_it():
    lock, free = RWLock(), RWLock()
    lock.acquire_writelock()

    def steps(victim):
        with free.read():
            victim.pause()
            victim.log.append("masked")
            lock.acquire_readlock()
        victim.log.append("never")

    victim = Victim(steps)
    victim.interrupt()
    assert type(victim.join()) is Stopped
    assert victim.log == ["masked"]
    assert is_free(free)
    lock.release_writelock()
    assert is_free(lock)


def test_an_interrupted_wait_gives_back_the_other_locks():
    lock, outer = RWLock(), RWLock()
    lock.acquire_writelock()

    def steps(victim):
        victim.inside.set()
        with outer.write(), lock.read():
            pass

    victim = Victim(steps)
    waiting(lock, readers=1)
    victim.interrupt()
    assert type(victim.join()) is Stopped
    lock.release_writelock()
    assert is_free(outer)
    assert is_free(lock)


def test_an_interrupt_in_a_wait_is_fast():
    lock, delays = RWLock(), []
    lock.acquire_writelock()

    def steps(victim):
        while True:
            try:
                lock.acquire_readlock()
            except Stopped:
                delays.append(time.perf_counter() - posted[0])

    posted = [0.0]
    victim = Victim(steps)
    victim.inside.set()
    for number in range(100):
        waiting(lock, readers=1)
        wait_for(lambda: victim.thread._interrupts._wake is not None)
        posted[0] = time.perf_counter()
        victim.interrupt()
        wait_for(lambda number=number: len(delays) == number + 1)
    victim.interrupt(SystemExit)
    assert type(victim.join()) is SystemExit
    assert sorted(delays)[50] < 0.05  # measured: 0.1 ms
    lock.release_writelock()


def test_jobs_are_shielded_as_threads_are():
    lock = RWLock()
    inside, go, log = threading.Event(), threading.Event(), []

    def job():
        with shield(), lock.write():
            inside.set()
            go.wait(PATIENCE)
            log.append("inside")
        log.append("never")

    with ThreadPool(1, 1) as pool:
        running = pool.submit(job)
        inside.wait(PATIENCE)
        assert running.interrupt(Stopped("why"))
        go.set()
        with pytest.raises(Stopped, match="why"):
            running.result(PATIENCE)
    assert log == ["inside"]
    assert is_free(lock)


# -- once, and not lost ------------------------------------------------------------


def rain(number, once, *, settle=0.06):
    """Interrupt a thread that runs `once` again and again; return what arrived."""
    caught, begun, stop = [], [], threading.Event()

    def until_stopped():  # not at the end of a `try`: 3.13.0 skips its handlers there
        while not stop.is_set():
            once()

    def work():
        interrupts = thread._interrupts
        while not stop.is_set():
            try:
                if interrupts.depth:
                    interrupts.unmask()
                begun.append(None)  # an event would keep its lock if left on its way
                until_stopped()
            except Stopped as error:
                interrupts.mask()  # the next may come only where it is caught
                caught.append(error.args[0])
        if interrupts.depth:
            interrupts.unmask()

    thread = CupThread(target=work)
    thread.start()
    wait_for(lambda: begun)
    try:
        for count in range(number):
            assert thread.raise_exc(Stopped(count)) == 1
            wait_for(lambda count=count: len(caught) > count)
        time.sleep(settle)  # whatever is sent twice comes by then
    finally:
        stop.set()
    assert ended(thread)
    assert thread.exception is None
    return caught


def test_each_interrupt_is_raised_once():
    with switching_fast():
        assert rain(300, lambda: sum(range(5))) == list(range(300))


def test_each_interrupt_is_raised_once_beside_locks():
    lock, shared = RWLock(), itertools.cycle(["read", "write"])

    def once():
        with getattr(lock, next(shared))():
            pass

    with switching_fast():
        assert rain(300, once) == list(range(300))
    assert is_free(lock)


def test_another_user_may_take_an_interrupt_away():
    take = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
    take.argtypes = (ctypes.c_ulong, ctypes.c_void_p)
    caught, begun, gate = [], threading.Event(), threading.Event()

    def work():
        try:
            begun.set()
            gate.wait(PATIENCE)  # in C: what is sent waits meanwhile
            spin(threading.Event())
        except Stopped:
            caught.append("caught")

    thread = CupThread(target=work)
    thread.start()
    begun.wait(PATIENCE)
    assert thread.raise_exc(Stopped)
    take(thread.ident, None)
    gate.set()
    assert ended(thread)
    assert caught == ["caught"]


class Noisy:
    """Runs code when it is thrown away, where exceptions go nowhere."""

    def __init__(self):
        self.me = self

    def __del__(self):
        for _ in range(20):
            pass


def make_noise():
    for _ in range(20):
        Noisy().me = None


def make_noise_with_weak_references():
    def forget(_):
        for _ in range(20):
            pass

    for _ in range(20):
        thing = Noisy()
        reference = weakref.ref(thing, forget)
        thing.me = None
        del thing, reference


@pytest.mark.parametrize("noise", [make_noise, make_noise_with_weak_references])
def test_finalizers_swallow_no_interrupt(noise):
    with switching_fast(0.0005):
        assert rain(60, noise) == list(range(60))


@pytest.mark.full
@pytest.mark.parametrize("noise", [make_noise, make_noise_with_weak_references])
def test_finalizers_swallow_none_of_many(noise):
    with switching_fast(0.00005):
        assert rain(600, noise) == list(range(600))


def test_others_may_set_the_hook_for_finalizers():
    seen, before = [], sys.unraisablehook

    def theirs(unraisable):
        seen.append(unraisable.exc_value)

    def change():
        sys.unraisablehook = theirs

    try:
        change()
        caught = []
        for _ in range(15):
            caught += rain(2, make_noise, settle=0)
            change()
        assert caught == [0, 1] * 15
        # What is not ours goes to theirs.
        rain(1, make_noise, settle=0)

        class Broken:
            def __del__(self):
                raise KeyError("theirs")

        Broken()
        gc.collect()
        assert [type(error) for error in seen] == [KeyError]
    finally:
        sys.unraisablehook = before


def test_what_code_catches_itself_is_not_raised_again():
    """A handler inside of a finalizer has seen the interrupt: that is an arrival."""
    seen = []

    class Catches:
        def __del__(self):
            try:
                for _ in range(2000):
                    pass
            except Stopped as error:
                seen.append(error.args[0])

    begun, stop = [], threading.Event()

    def catch_on():
        while not stop.is_set():
            Catches()

    def work():
        while not stop.is_set():
            try:
                begun.append(None)
                catch_on()
            except Stopped as error:
                seen.append(error.args[0])

    thread = CupThread(target=work)
    thread.start()
    wait_for(lambda: begun)
    for count in range(30):
        assert thread.raise_exc(Stopped(count))
        wait_for(lambda count=count: len(seen) > count)
    stop.set()
    assert ended(thread)
    assert seen == list(range(30))


def test_a_thread_keeps_nothing_of_an_interrupt_after_its_next_wait():
    class Load:
        pass

    lock, begun, go = RWLock(), threading.Event(), threading.Event()
    references = []

    def suffer():
        load = Load()
        references.append(weakref.ref(load))
        begun.set()
        spin(threading.Event())

    def steps(victim):
        try:
            suffer()
        except Stopped:
            victim.log.append("caught")
        victim.pause()
        lock.acquire_readlock()
        lock.release_readlock()
        go.wait(PATIENCE)

    lock.acquire_writelock()
    victim = Victim(steps)
    begun.wait(PATIENCE)
    assert victim.thread.raise_exc(Stopped)
    assert victim.inside.wait(PATIENCE)
    victim.go.set()
    waiting(lock, readers=1)
    gc.collect()
    assert references[0]() is None
    lock.release_writelock()
    go.set()
    assert victim.join() is None
