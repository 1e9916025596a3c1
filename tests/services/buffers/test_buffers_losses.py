"""Blocks are never lost: not with a buffer, in handlers, finalizers, interrupts."""

import gc
import signal
import subprocess
import sys
import threading
import warnings
from collections import deque

import pytest

from cup.services.buffers import (
    BufferPool,
)
from cup.thread import CupThread


def here():
    """Name the line of the caller."""
    frame = sys._getframe(1)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def lose(take, times=1):
    """Take buffers and drop them."""
    for _ in range(times):
        take()
    gc.collect()


def test_a_lost_buffer_comes_back_and_names_its_line():
    pool = BufferPool(4, leaks="full")
    place, lost = here(), [pool.acquire(3)]
    with pytest.warns(ResourceWarning, match="a buffer of 3 blocks") as told:
        lose(lost.clear)
    assert f"allocated at {place}," in str(told[0].message)
    stats = pool.stats()
    assert (stats.free, stats.buffers, stats.lost) == (4, 0, 1)


@pytest.mark.parametrize("take", ["acquire", "allocate"])
def test_each_lost_buffer_is_reported_when_full(take):
    pool = BufferPool(4, leaks="full")
    with pytest.warns(ResourceWarning) as told:
        lose(lambda: getattr(pool, take)(1), 50)
    assert len(told) == 50
    assert pool.stats().lost == 50


def test_every_128th_is_watched_when_sampled():
    pool = BufferPool(4)
    with pytest.warns(ResourceWarning) as told:
        lose(pool.acquire, 256)
    assert len(told) == 2
    assert pool.stats().lost == 256


def test_off_reports_none_and_still_gets_the_blocks_back():
    pool = BufferPool(4, leaks="off")
    for _ in range(300):
        pool.acquire(4)
    gc.collect()
    assert (pool.stats().free, pool.stats().lost) == (4, 300)


def test_what_is_released_is_no_leak():
    pool = BufferPool(4, leaks="full")
    for _ in range(300):
        pool.acquire(4).release()
    assert not pool._core.leaks.sites
    assert pool.stats().lost == 0


def test_a_cycle_is_found():
    pool = BufferPool(4, leaks="off")
    knot = [pool.acquire(4)]
    knot.append(knot)
    del knot
    gc.collect()
    assert pool.stats().free == 4


def test_a_lost_buffer_wakes_who_waits():
    pool = BufferPool(4, leaks="off")
    lost = [pool.acquire(4)]
    got = []
    thread = threading.Thread(target=lambda: got.append(pool.acquire(4, 20)))
    thread.start()
    while not pool.stats().waiting:
        pass
    lost.clear()
    thread.join()
    assert got
    got[0].release()


def test_warnings_made_errors_break_nobody():
    pool = BufferPool(4, leaks="full")
    hooked = []
    hook, sys.unraisablehook = sys.unraisablehook, hooked.append
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pool.acquire(2)
            gc.collect()
            assert pool.stats().free == 4
    finally:
        sys.unraisablehook = hook
    assert [type(args.exc_value) for args in hooked] == [ResourceWarning]


class Inside:
    """A mutex that does something while it is held."""

    def __init__(self, mutex, act):
        self._mutex = mutex
        self._act = act

    def __enter__(self):
        self._mutex.__enter__()
        act, self._act = self._act, lambda: None
        act()

    def __exit__(self, *error):
        self._mutex.__exit__(*error)

    def locked(self):
        return self._mutex.locked()


def inside(pool, act):
    pool._core.mutex = Inside(pool._core.mutex, act)


USES = [
    pytest.param(lambda pool: pool.acquire(1).release(), id="acquire"),
    pytest.param(lambda pool: pool.deallocate(pool.allocate(4)[1]), id="allocate"),
    pytest.param(lambda pool: pool.stats(), id="stats"),
    pytest.param(lambda pool: pool.trim(), id="trim"),
]


@pytest.mark.parametrize("use", USES)
def test_a_buffer_that_dies_inside_of_the_mutex(use):
    pool = BufferPool(4, leaks="full")
    lost = [pool.acquire(2)]
    inside(pool, lost.clear)  # as a collection does that starts there
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Code of the user: it may use the pool.
        warnings.showwarning = lambda *_: seen.append(pool.stats().free)
        use(pool)
    assert pool.stats().free == 4
    assert len(seen) == 1


@pytest.mark.parametrize("use", USES)
def test_a_release_inside_of_the_mutex(use):
    pool = BufferPool(4)
    inside(pool, pool.acquire(2).release)  # as a signal handler does that comes there
    use(pool)
    assert pool.stats().free == 4
    assert not pool._core._spare


def test_who_meets_a_busy_mutex_leaves_no_waiter_behind():
    pool = BufferPool(4)
    held = pool.acquire(4)
    got = []
    thread = threading.Thread(target=lambda: got.append(pool.acquire(4, 20)))
    thread.start()
    while not pool.stats().waiting:
        pass
    inside(pool, held.release)
    ok, _ = pool.allocate(1)
    assert not ok
    thread.join()
    assert got
    got[0].release()


class Raced(deque):
    """What was handed in: somebody else takes it in the last moment."""

    def pop(self):
        self.clear()
        return super().pop()


@pytest.mark.parametrize("use", [lambda pool: pool.allocate(1), BufferPool.stats])
def test_another_thread_is_faster(use):
    pool = BufferPool(4)
    pool._core._spare = Raced()
    pool.acquire(4).release()
    use(pool)
    assert pool.stats().free == 0
    assert pool.allocate(1)[0] is False


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_signal_handlers_release_and_allocate():
    pool = BufferPool(64, 4096)
    taken = []

    def handler(*_):
        if taken:
            taken.pop().release()

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(20000):
            ok, buffer = pool.allocate(1)
            if ok:
                taken.append(buffer)
            if len(taken) > 30:
                taken.pop().release()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    for buffer in taken:
        buffer.release()
    assert pool.stats().free == 64


@pytest.mark.parametrize("leaks", ["off", "full"])
def test_at_the_end_of_the_interpreter_nothing_breaks(leaks, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, threading\n"
        "from cup.services.buffers import BufferPool\n"
        f"pool = BufferPool(4, leaks={leaks!r})\n"
        "kept = pool.acquire(1); kept.set('abc')\n"
        "view = kept.views()[0]\n"
        "class Late:\n"
        "    def __init__(self): self.buffer = pool.acquire(1)\n"
        "    def __del__(self): self.buffer.release()\n"
        "late = Late(); late.me = late\n"
        "sys.modules['somewhere'] = pool.acquire(2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_interrupts_lose_no_block():
    pool = BufferPool(8, 4096, leaks="off")
    going = True

    def work():
        while going:
            try:
                for _ in range(50):
                    with pool.acquire(3):
                        pass
                    ok, buffer = pool.allocate(2)
                    if ok:
                        pool.deallocate(buffer)
            except ZeroDivisionError:
                pass

    threads = [CupThread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(150):
        for thread in threads:
            thread.raise_exc(ZeroDivisionError)
    going = False
    for thread in threads:
        while thread.is_alive():
            thread.join(0.01)
    gc.collect()
    assert pool.stats().free == 8
