"""A forked child has copies, and what its parent had counts as it is."""

import ctypes
import gc
import os
import sys
import threading
import warnings

import pytest

from cup.services.buffers import (
    BufferPool,
)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="bare there")


def in_child(check, fork=None):
    """Run a check in a forked child, and tell its exit status."""
    pid = (fork or os.fork)()
    if pid == 0:
        status = 1
        try:
            check()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def bare_fork():
    """Fork as servers in C do: no hook of Python's runs."""
    return ctypes.PyDLL(None).fork()


pytest_forks = pytest.mark.parametrize(
    "fork", [None, pytest.param(bare_fork, marks=needs_linux)], ids=["fork", "bare"]
)


@needs_fork
@pytest_forks
def test_a_child_has_copies(fork):
    pool = BufferPool(pool_size=4, block_size=4096, leaks="full")
    buffer = pool.acquire(2)
    buffer.set(b"parent" * 100)

    def check():
        assert buffer.tobytes() == b"parent" * 100
        buffer.set(b"child" * 100)
        with pool.acquire(2) as other:
            other.set(b"other")
        assert pool.allocate(3)[0] is False
        buffer.release()
        pool.trim()
        assert pool.stats().free == 4

    assert in_child(check, fork) == 0
    assert buffer.tobytes() == b"parent" * 100
    assert pool.stats().used == 2
    buffer.release()


@needs_fork
@pytest_forks
def test_a_child_reports_no_loss_of_what_its_parent_has(fork):
    pool = BufferPool(pool_size=4, block_size=4096, leaks="full")
    kept = [pool.acquire(2)]

    def check():
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            kept.clear()
            gc.collect()
            assert not told
            assert (pool.stats().free, pool.stats().lost) == (4, 0)
            pool.acquire(1)
            gc.collect()
            assert len(told) == 1

    assert in_child(check, fork) == 0
    kept[0].release()


@needs_fork
@pytest_forks
@pytest.mark.parametrize("first", ["acquire", "release", "stats", "trim", "lose"])
def test_a_child_of_a_busy_parent(fork, first):
    """The fork comes while a thread is inside of the mutex and others wait."""
    pool = BufferPool(pool_size=4, block_size=4096, leaks="off")
    buffers = [pool.acquire(1), pool.acquire(1)]
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with pool._core.mutex:
            taken = pool._core.free.pop()  # is on its way to somebody
            entered.set()
            leave.wait()
            pool._core.free.append(taken)
        pool._core.settle()

    threads = [threading.Thread(target=lambda: pool.acquire(4, 20).release())]
    threads[0].start()
    while not pool._core._queue:
        pass
    threads.append(threading.Thread(target=hold))
    threads[1].start()
    entered.wait()

    def check():
        if first == "acquire":
            assert pool.allocate(2)[0]
        elif first == "release":
            buffers[0].release()
        elif first == "lose":
            buffers.pop()
        else:
            getattr(pool, first)()
        gc.collect()
        for buffer in buffers:
            if not buffer.released:
                buffer.release()
        buffers.clear()
        gc.collect()
        stats = pool.stats()
        assert (stats.free, stats.waiting) == (4, 0)
        with pool.acquire(4, 0) as whole:
            whole.set(b"x" * whole.maxsize())

    assert in_child(check, fork) == 0
    leave.set()
    for buffer in buffers:
        buffer.release()
    for thread in threads:
        thread.join()
    assert pool.stats().free == 4
