"""How a pool's workers come and go, and what it counts."""

import gc
import os
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from pool_tools import (
    PATIENCE,
    Gate,
    descriptors,
    held,
    in_thread,
    in_threads,
    raise_it,
    switching_fast,
    wait_for,
    workers_of,
)

from cup.errors import InvalidValue, PoolBroken, PoolClosed, PoolError
from cup.services.threadpool import PoolState, ThreadPool, _core_stats

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def no_more_threads(monkeypatch):
    """Give a switch: while it is on, no thread can be started."""
    start = threading.Thread.start
    refused = []

    def refuse(self):
        refused.append(self)
        raise RuntimeError("can't start new thread")

    class Switch:
        count = refused

        def __enter__(self):
            monkeypatch.setattr(threading.Thread, "start", refuse)

        def __exit__(self, *_):
            monkeypatch.setattr(threading.Thread, "start", start)

    return Switch()


# -- workers come as needed --------------------------------------------------------


def test_who_submits_one_after_the_other_needs_one_worker():
    """A worker is free before its result is delivered."""
    with ThreadPool(max_workers=8) as pool:
        for number in range(200):
            assert pool.submit(abs, number).result(PATIENCE) == number
        assert pool.stats().workers == 1


def test_a_burst_starts_workers_up_to_the_maximum():
    with ThreadPool(max_workers=4) as pool, held(pool, 4):
        for _ in range(20):
            pool.post(int)
        assert pool.stats().workers == 4
        assert pool.stats().queued == 20


def test_a_map_starts_workers_too():
    gate = Gate()
    with ThreadPool(max_workers=4) as pool:
        results = pool.map(gate, range(4))
        gate.await_inside(4)
        gate.open()
        assert list(results) == list(range(4))


def test_idle_workers_are_woken_last_first():
    with ThreadPool(4, 4, keep_alive=None) as pool:
        pool.start()
        wait_for(lambda: pool.stats().idle == 4)
        names = {pool.run(threading.current_thread).name for _ in range(50)}
        assert len(names) <= 2


def test_a_blocked_job_does_not_hold_up_the_others():
    """Also after workers were all woken to look around, as a resize does."""
    with ThreadPool(1, 3, keep_alive=None) as pool:
        pool.start()
        for _ in range(5):
            with held(pool):
                pool.resize(1, 3)
                assert pool.submit(int).result(PATIENCE) == 0
                with held(pool):
                    pool.resize(1, 3)
                    assert pool.submit(int).result(PATIENCE) == 0
            wait_for(lambda: pool.stats().running == 0)
            wait_for(lambda: pool.stats().idle == pool.stats().workers)


# -- and go ------------------------------------------------------------------------


def test_idle_workers_retire_down_to_the_exact_minimum():
    with ThreadPool(2, 8, keep_alive=0.01) as pool:
        pool.start()
        for _ in range(3):
            with held(pool, 8):
                assert pool.stats().workers == 8
            wait_for(lambda: pool.stats().workers == 2)
            time.sleep(0.03)
            assert pool.stats().workers == 2


def test_a_pool_without_a_minimum_goes_down_to_nothing_and_comes_back():
    with ThreadPool(max_workers=3, keep_alive=0.005) as pool:
        for _ in range(5):
            assert list(pool.map(abs, range(10))) == list(range(10))
            wait_for(lambda: pool.stats().workers == 0)
        assert pool.stats().done == 50


def test_a_job_that_comes_while_a_worker_retires_is_run():
    with ThreadPool(max_workers=2, keep_alive=0.001) as pool, switching_fast():
        for number in range(300):
            job = pool.submit(abs, number)
            assert job.result(PATIENCE) == number
            time.sleep(0.0009 + 0.0001 * (number % 3))
    assert pool.stats().done == 300


def test_keep_alive_of_none_keeps_and_of_zero_does_not():
    with ThreadPool(max_workers=2, keep_alive=None) as pool:
        pool.run(int)
        wait_for(lambda: pool.stats().idle == 1)
        assert pool.stats().workers == 1
    with ThreadPool(max_workers=2, keep_alive=0) as pool:
        pool.run(int)
        wait_for(lambda: pool.stats().workers == 0)
        pool.run(int)


def test_random_resizes_keep_the_bounds():
    """At rest there are between minimum and maximum workers, and each is of use."""
    pool = ThreadPool(1, 2, keep_alive=0.001)
    pool.start()
    done = []
    bounds = [(0, 1), (3, 6), (1, 1), (2, 4), (6, 6), (0, 2), (1, 8)]
    with switching_fast():
        for round_ in range(60):
            pool.resize(*bounds[round_ % len(bounds)])
            for _ in range(5):
                pool.post(done.append, None)
            if round_ % 4 == 0:
                pool.start1worker()
            if round_ % 5 == 0:
                pool.stop1worker()
    for minimum, maximum in bounds:
        pool.resize(minimum, maximum)
        with held(pool, maximum):
            pool.post(done.append, None)
            wait_for(lambda high=maximum: pool.stats().workers == high)
        wait_for(lambda low=minimum: pool.stats().workers == low)
    assert pool.stop()
    assert len(done) == 300 + len(bounds)


# -- a pool that nobody holds ------------------------------------------------------


@pytest.mark.parametrize("face", ["pool", "view", "aio"])
def test_a_pool_that_nobody_holds_ends_its_threads(face):
    pool = ThreadPool(3, 3)
    pool.start()
    threads = workers_of(pool)
    core = weakref.ref(pool.core)
    kept = {"pool": pool, "view": pool.options(urgency=0), "aio": pool.aio}[face]
    del pool
    gc.collect()
    assert all(thread.is_alive() for thread in threads), "a face keeps it alive"
    del kept
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    gc.collect()
    assert core() is None


def test_a_dropped_pool_finishes_what_it_took():
    ran = []
    gate = Gate()
    pool = ThreadPool(max_workers=1)
    pool.submit(gate)
    jobs = [pool.submit(ran.append, number) for number in range(10)]
    gate.await_inside()
    threads = workers_of(pool)
    del pool
    gc.collect()
    gate.open()
    for job in jobs:
        job.result(PATIENCE)
    assert ran == list(range(10))
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


def test_a_pool_dropped_inside_of_its_own_job():
    holder = [ThreadPool(max_workers=1)]
    job = holder[0].submit(holder.pop)
    job.result(PATIENCE)
    threads = [t for t in threading.enumerate() if t.name.startswith("ThreadPool-")]
    del job
    gc.collect()
    for thread in threads:
        thread.join(PATIENCE)


# -- initializers ------------------------------------------------------------------


def test_the_initializer_runs_in_each_worker_before_its_first_job():
    local = threading.local()
    started = []

    def initialise(value):
        local.value = value
        started.append(threading.current_thread())

    with ThreadPool(max_workers=3, initializer=initialise, initargs=(7,)) as pool:
        with held(pool, 3):
            pass
        assert pool.run(lambda: local.value) == 7
    assert len(started) == len(set(started)) == 3


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_initializer_that_fails_breaks_the_pool_until_it_starts_anew(kind, caplog):
    fails = [True]
    calls = []
    gate = Gate()

    def initialise():
        gate()
        if fails[0]:
            raise kind("on purpose")

    pool = ThreadPool(max_workers=2, initializer=initialise)
    pool.add_1job_with_callback(lambda *call: calls.append(call), int)
    job = pool.submit(int)
    gate.open()
    with pytest.raises(PoolBroken, match="initializer failed"):
        job.result(PATIENCE)
    wait_for(lambda: pool.stats().workers == 0)
    assert not calls[0][0]
    assert isinstance(calls[0][1], PoolBroken)
    assert pool.stats().state is PoolState.BROKEN
    for put in (pool.submit, pool.post, pool.run, pool.options(urgency=0).submit):
        with pytest.raises(PoolBroken):
            put(int)
    with pytest.raises(PoolBroken):
        pool.map(int, "12")
    assert "Exception in initializer" in caplog.text
    fails[0] = False
    pool.start()
    assert pool.run(lambda: 1) == 1
    assert pool.stop()


# -- threads that cannot be started ------------------------------------------------


def test_a_submit_without_a_thread_is_refused_and_leaves_nothing(no_more_threads):
    pool = ThreadPool(max_workers=2)
    ran = []
    with no_more_threads:
        for _ in range(3):
            for put in (pool.submit, pool.post, pool.options(urgency=0).submit):
                with pytest.raises(PoolError, match="can't start new thread"):
                    put(ran.append, 1)
        assert pool.stats().queued == 0
        assert pool.stats().workers == 0
        assert pool.try_stop(0) is True
        with pytest.raises(PoolClosed):
            pool.submit(int)
        pool.start()
    assert pool.run(lambda: 1) == 1
    with held(pool, 2):
        assert pool.stats().workers == 2
    assert pool.stop()
    assert ran == []


def test_a_map_without_a_thread_fails_and_leaves_nothing(no_more_threads):
    pool = ThreadPool(max_workers=2)
    with no_more_threads:
        with pytest.raises(PoolError):
            list(pool.map(int, "123"))
        with pytest.raises(PoolError):
            list(pool.each(int, "123"))
    assert pool.stats().queued == 0
    assert list(pool.map(int, "123")) == [1, 2, 3]
    assert pool.stop()


def test_a_pool_that_has_a_worker_goes_on_without_more(no_more_threads):
    pool = ThreadPool(max_workers=4, keep_alive=None)
    pool.run(int)
    with no_more_threads:
        with held(pool):
            jobs = [pool.submit(abs, number) for number in range(50)]
            streamed = pool.map(abs, range(50))
        assert [job.result(PATIENCE) for job in jobs] == list(range(50))
        assert list(streamed) == list(range(50))
        assert pool.stats().workers == 1
    assert no_more_threads.count
    with held(pool, 4):
        assert pool.stats().workers == 4
    assert pool.stop()


def test_a_start_without_a_thread_says_so_and_can_be_repeated(no_more_threads):
    pool = ThreadPool(2, 3)
    pool.post(int)
    with no_more_threads, pytest.raises(RuntimeError, match="can't start new thread"):
        pool.start()
    pool.start()
    pool.resize(2, 3)
    assert pool.run(lambda: 1) == 1
    with held(pool, 3):
        assert pool.stats().workers == 3
    assert pool.stop()
    assert pool.stats().done == 5


def test_a_late_thread_runs_its_jobs_itself_where_no_thread_starts_any_more(
    no_more_threads, monkeypatch
):
    """As on Python 3.12.1, once the main thread has ended."""
    from cup._core import lifecycle

    pool = ThreadPool(max_workers=1)
    bounded = ThreadPool(max_workers=1, queue_size=1)
    calls = []

    def late():
        begun.wait(PATIENCE)
        me = threading.current_thread()
        assert pool.submit(threading.current_thread).result(PATIENCE) is me
        assert pool.options(urgency=0).run(threading.current_thread) is me
        assert list(pool.map(abs, range(5))) == list(range(5))
        assert isinstance(pool.submit(raise_it, KeyError).exception(), KeyError)
        pool.add_1job_with_callback(lambda *call: calls.append(call), pow, 2, 3)
        for _ in range(3):
            assert bounded.run(threading.current_thread) is me

    begun = threading.Event()
    result = in_thread(late)
    monkeypatch.setattr(lifecycle, "_exiting", True)
    with no_more_threads:
        begun.set()
        result()
        with pytest.raises(PoolClosed):
            pool.submit(int)
    assert calls == [(True, 8)]
    assert pool.stats().done == 9
    assert pool.stats().failed == 1
    assert len(bounded.core.queue.room._places) == 1
    monkeypatch.setattr(lifecycle, "_exiting", False)
    assert pool.stop()


def test_nobody_is_left_behind_when_another_submitter_got_no_thread(monkeypatch):
    """One counts on the worker that another starts; then that cannot be started."""
    pool = ThreadPool(max_workers=1)
    pool.start()
    start = threading.Thread.start
    second = []

    def refuse(self):
        if not second and self.name.startswith(pool.name):
            second.append(None)
            second[0] = pool.submit(int)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(PoolError):
        pool.submit(int)
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(PoolError):
        second[0].result(PATIENCE)
    assert pool.stats().queued == 0
    assert pool.run(lambda: 1) == 1
    pool.stop()


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_exception_of_a_signal_handler_while_a_thread_starts(monkeypatch, when):
    pool = ThreadPool(max_workers=1)
    pool.start()
    start = threading.Thread.start

    def interrupted(self):
        if when == "after":
            start(self)
        raise KeyboardInterrupt

    for _ in range(3):
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.submit(int)
        monkeypatch.setattr(threading.Thread, "start", start)
        assert pool.run(lambda: 1) == 1
        with held(pool):
            pool.post(int)
            assert pool.stats().workers == 1
        pool.stop()
        pool.start()
    assert pool.stop()


# -- stop that is interrupted ------------------------------------------------------


def test_an_interrupted_stop_can_be_repeated(monkeypatch):
    from cup._core import wait

    pool = ThreadPool(max_workers=1)
    ran = []
    with held(pool) as gate:
        pool.post(ran.append, 1)
        park = wait._park

        def interrupted(*_):
            raise KeyboardInterrupt

        for _ in range(3):
            monkeypatch.setattr(wait, "_park", interrupted)
            with pytest.raises(KeyboardInterrupt):
                pool.stop()
            monkeypatch.setattr(wait, "_park", park)
            assert pool.stats().state is PoolState.STOPPING
        again = in_thread(pool.stop)
        gate.open()
        assert again()
    assert ran == [1]


# -- figures -----------------------------------------------------------------------


def test_every_job_is_counted_once():
    pool = ThreadPool(max_workers=3, keep_alive=0.001)

    def work(number):
        for round_ in range(100):
            if round_ % 10 == 0:
                job = pool.submit(raise_it, ValueError)
                assert job.exception(PATIENCE)
            else:
                pool.run(abs, round_)
            pool.submit(int).cancel()

    with switching_fast():
        in_threads(4, work)
    pool.stop()
    stats = pool.stats()
    assert stats.failed == 40
    assert stats.done + stats.cancelled == 800
    assert stats.run_times.sampled <= stats.done
    assert sum(stats.run_times.counts) == stats.run_times.sampled
    with pytest.raises(PoolClosed):
        pool.submit(int)
    assert pool.stats().refused == 1


def test_rare_events_are_counted_exactly_by_many_threads():
    tally = _core_stats.Tally()

    def work(_):
        for _ in range(2000):
            tally.add()

    with switching_fast():
        in_threads(6, work)
    assert tally.value == 12_000
    assert tally.value == 12_000, "reading takes nothing"


def test_the_queue_shows_its_age_and_the_wait_of_who_started():
    pool = ThreadPool(max_workers=1)
    assert pool.stats().queue_age == 0.0
    for _ in range(20):
        pool.run(int)
    with held(pool):
        pool.post(int)
        pool.post(int)
        time.sleep(0.02)
        assert pool.stats().queue_age >= 0.015
    pool.run(int)
    assert pool.stats().queue_age == 0.0
    with held(pool):
        pool.post(int)
        time.sleep(0.02)
        assert pool.stats().queue_age >= 0.015, "also the next time"
    pool.run(int)
    pool.run(int)
    assert pool.stats().queue_wait >= 0.0
    pool.stop()


def test_a_mark_that_came_too_late_does_not_stop_the_measuring():
    pool = ThreadPool(max_workers=1)
    pool.run(int)
    pool.core.marked = []  # the record was run before its submitter had marked it
    with held(pool):
        pool.post(int)
        assert pool.core.marked
        time.sleep(0.005)
        assert pool.stats().queue_age > 0
    pool.stop()


def test_run_times_fall_into_buckets():
    pool = ThreadPool(max_workers=1)
    for _ in range(16):
        pool.run(time.sleep, 0.001)
    times = pool.stats().run_times
    assert times.sampled >= 2
    assert times.longest >= 0.001
    assert times.total >= 0.002
    assert sum(times.counts[:10]) == 0, "below 512 us"
    pool.stop()
    totals = _core_stats.Totals()
    totals.sample(1e12)
    assert totals.run_counts[-1] == 1


def test_reading_figures_while_everything_moves():
    pool = ThreadPool(1, 4, keep_alive=0.001)
    pool.start()
    ended = threading.Event()

    def read(_):
        while not ended.is_set():
            stats = pool.stats()
            assert 0 <= stats.workers <= 8
            assert stats.queued >= 0
            assert repr(pool)

    readers = [in_thread(read, number) for number in range(2)]
    for _ in range(40):
        jobs = [pool.submit(int) for _ in range(20)]
        for job in jobs[::2]:
            job.cancel()
    ended.set()
    for reader in readers:
        reader()
    pool.stop()


# -- leaks -------------------------------------------------------------------------


@on_linux
@pytest.mark.full
def test_two_hundred_lives_leak_nothing():
    def life(number):
        pool = ThreadPool(2, 4)
        pool.start()
        jobs = [pool.submit(abs, item) for item in range(10)]
        if number % 3 == 0:
            jobs[-1].cancel()
        for job in jobs:
            job.exception(PATIENCE) if not job.cancelled() else None
        if number % 2:
            pool.stop(force_stop=bool(number % 5))
        else:
            pool.start1worker()

    for number in range(20):
        life(number)
    gc.collect()
    wait_for(lambda: not any(t.name.startswith("ThreadPool-") for t in workers()))
    before = descriptors(), threading.active_count()
    for number in range(200):
        life(number)
    gc.collect()
    wait_for(lambda: threading.active_count() <= before[1])
    wait_for(lambda: gc.collect() is not None and descriptors() <= before[0])


def workers():
    return threading.enumerate()


@on_linux
@pytest.mark.full
def test_many_jobs_leak_no_memory():
    def resident():
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    with ThreadPool(max_workers=2) as pool:

        def burst():
            for _ in range(10):
                for job in [pool.submit(abs, n) for n in range(1000)]:
                    job.result(PATIENCE)
                list(pool.map(abs, range(1000)))
                for _ in range(1000):
                    pool.post(int)
            pool.run(int)

        burst()
        gc.collect()
        before = resident()
        for _ in range(3):
            burst()
        gc.collect()
        assert resident() - before < 4 * 2**20


def test_names_are_numbered_and_used_again():
    with ThreadPool(1, 3, thread_name_prefix="io", keep_alive=0.001) as pool:
        pool.start()
        for _ in range(3):
            with held(pool, 3):
                names = {thread.name for thread in workers_of(pool)}
                assert names == {"io_0", "io_1", "io_2"}
            wait_for(lambda: pool.stats().workers == 1)


def test_a_limit_of_a_stream_must_make_sense():
    with ThreadPool(max_workers=1) as pool:
        for wrong in (
            lambda: pool.map(int, "1", chunksize=0),
            lambda: pool.map(int, "1", buffersize=0),
            lambda: pool.each(int, "1", limit=0),
        ):
            with pytest.raises(InvalidValue):
                wrong()
        taken = []

        def items():
            for number in range(100):
                taken.append(number)
                yield number

        results = pool.map(abs, items(), buffersize=3)
        assert len(taken) == 3
        assert next(results) == 0
        assert len(taken) == 4
        results.close()
        assert pool.stats().queued == 0


def test_a_map_is_late_where_one_result_is():
    gate = Gate()
    with ThreadPool(max_workers=1) as pool:
        results = pool.map(gate, range(3), timeout=0.01)
        with pytest.raises(TimeoutError):
            next(results)
        gate.open()
