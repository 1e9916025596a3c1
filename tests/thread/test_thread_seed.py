"""The old names of locks: the seed's own tests, and what its time-outs mean."""

import inspect
import math
import time
import warnings

import pytest
from thread_tools import is_free, waiting

from cup import thread
from cup.errors import InvalidType, InvalidValue, LockTimeout


def test_rw_rw_lock():
    lock = thread.RWLock()
    lock.acquire_writelock(None)
    try:
        lock.acquire_writelock(1)
    except RuntimeError as error:
        pass
    try:
        lock.acquire_readlock(1)
    except RuntimeError as error:
        pass
    lock.release_writelock()


def test_rd_rw_lock():
    lock = thread.RWLock()
    lock.acquire_readlock(None)
    lock.acquire_readlock(wait_time=1)
    lock.acquire_readlock(2)
    try:
        lock.acquire_writelock(1)
    except RuntimeError as error:
        pass
    lock.release_readlock()
    lock.release_readlock()
    lock.release_readlock()


def test_what_the_seeds_tests_expect_happens_at_once():
    lock = thread.RWLock()
    begin = time.monotonic()
    lock.acquire_writelock(None)
    for acquire in (lock.acquire_writelock, lock.acquire_readlock):
        with pytest.raises(RuntimeError, match="use"):
            acquire(30)
        with pytest.raises(RuntimeError, match="use"):
            acquire(None)
    lock.release_writelock()
    for _ in range(3):
        lock.acquire_readlock(30)
    for wait_time in (30, None):
        with pytest.raises(RuntimeError, match="release the read lock first"):
            lock.acquire_writelock(wait_time)
    for _ in range(3):
        lock.release_readlock()
    assert is_free(lock)
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize("name", ["acquire_readlock", "acquire_writelock"])
def test_the_signature_is_the_old_one(name):
    for kind in (thread.RWLock, thread.AsyncRWLock):
        parameters = inspect.signature(getattr(kind, name)).parameters
        assert list(parameters) == ["self", "wait_time"]
        assert parameters["wait_time"].default is None


@pytest.mark.parametrize("name", ["acquire_readlock", "acquire_writelock"])
@pytest.mark.parametrize("wait_time", [0, 0.0, -1, -math.inf, False, 0.01])
def test_a_time_out_is_two_errors(world, name, wait_time):
    lock = thread.RWLock(name="table")
    holder, other = world.actor(lock), world.actor(lock)
    holder.do("acquire_writelock")
    with pytest.raises(LockTimeout) as caught:
        other.do(name, wait_time)
    assert isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.timeout == max(0, wait_time)
    assert "writes" in str(caught.value)
    holder.do("release_writelock")
    assert is_free(lock)


@pytest.mark.parametrize("name", ["acquire_readlock", "acquire_writelock"])
@pytest.mark.parametrize("wait_time", [None, math.inf, 1e300, 10**10, 30])
def test_long_waits_end_with_the_lock(world, name, wait_time):
    lock = thread.RWLock()
    holder, other = world.actor(lock), world.actor(lock)
    holder.do("acquire_writelock")
    call = other.begin(name, wait_time)
    kind = "readers" if "read" in name else "writers"
    waiting(lock, **{kind: 1})
    holder.do("release_writelock")
    call.result()
    other.do(name.replace("acquire", "release"))
    assert is_free(lock)


@pytest.mark.parametrize("name", ["acquire_readlock", "acquire_writelock"])
@pytest.mark.parametrize("held", [False, True])
def test_bad_wait_times_are_refused_whether_the_lock_is_free_or_not(world, name, held):
    lock = thread.RWLock()
    holder, other = world.actor(lock), world.actor(lock)
    if held:
        holder.do("acquire_writelock")
    with pytest.raises(InvalidValue, match="NaN"):
        other.do(name, math.nan)
    with pytest.raises(InvalidType, match="seconds"):
        other.do(name, "soon")
    if held:
        holder.do("release_writelock")
    assert is_free(lock)


def test_a_try_is_granted_where_the_lock_is_free(world):
    lock = thread.RWLock()
    actor, other = world.actor(lock), world.actor(lock)
    for wait_time in (0, -5):
        actor.do("acquire_readlock", wait_time)
        other.do("acquire_readlock", wait_time)
        other.do("release_readlock")
        actor.do("release_readlock")
        actor.do("acquire_writelock", wait_time)
        actor.do("release_writelock")


def test_no_old_name_is_deprecated():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lock = thread.RWLock()
        lock.acquire_readlock()
        lock.release_readlock()
        lock.acquire_writelock(wait_time=1)
        lock.release_writelock()
