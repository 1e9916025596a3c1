"""Forks, signals, finalizers, and the end of the interpreter."""

import gc
import os
import signal
import threading
import time

import pytest
from pool_tools import (
    PATIENCE,
    Gate,
    held,
    in_child,
    needs_fork,
    run_python,
    switching_fast,
    wait_for,
)

from cup.errors import JobCancelled, PoolBroken, PoolClosed
from cup.services.threadpool import PoolState, ThreadPool

needs_timer = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="needs setitimer"
)


@pytest.fixture
def pool():
    pool = ThreadPool(max_workers=2, name="process")
    yield pool
    pool.stop()


# -- forks -------------------------------------------------------------------------


@needs_fork
def test_a_child_has_the_pool_with_new_workers(pool):
    assert pool.run(lambda: 1) == 1

    def child():
        assert pool.stats().workers == 0
        assert pool.stats().done == 0
        assert pool.run(os.getpid) == os.getpid()
        assert list(pool.map(abs, range(100))) == list(range(100))
        assert pool.options(run_timeout=9, queue_timeout=9).run(lambda: 2) == 2
        assert pool.stop()
        pool.start()
        return pool.submit(lambda: "child").result(PATIENCE)

    assert in_child(child) == "child"
    assert pool.run(lambda: 2) == 2
    assert pool.stats().workers == 1


@needs_fork
def test_the_jobs_of_the_parent_are_cancelled_in_the_child_and_run_in_the_parent(pool):
    with held(pool, 2) as gate:
        queued = pool.submit(lambda: "queued")
        looked_at = pool.submit(int)
        assert looked_at._condition is not None
        running = next(iter(pool.core.running.values()))
        posted = []
        pool.post(posted.append, 1)

        def child():
            for job in (queued, looked_at, running):
                assert job.done()
                assert job.cancelled()
                with pytest.raises(JobCancelled):
                    job.result(PATIENCE)
            assert pool.stats().queued == 0
            assert pool.stop()
            return posted

        assert in_child(child) == "[]"
        gate.open()
        assert queued.result(PATIENCE) == "queued"
    pool.run(int)
    wait_for(lambda: posted == [1])


@needs_fork
@pytest.mark.parametrize(
    ("prepare", "state"),
    [
        (lambda pool: None, PoolState.NEW),
        (lambda pool: pool.start(), PoolState.RUNNING),
        (lambda pool: (pool.start(), pool.stop()), PoolState.STOPPED),
    ],
)
def test_a_child_finds_the_pool_in_the_state_it_had(prepare, state):
    pool = ThreadPool(1, 2)
    prepare(pool)

    def child():
        assert pool.stats().state is state
        if state is PoolState.STOPPED:
            with pytest.raises(PoolClosed):
                pool.submit(int)
        pool.start()
        return pool.submit(lambda: 5).result(PATIENCE)

    assert in_child(child) == "5"
    pool.stop()


@needs_fork
def test_a_bounded_pool_has_all_its_places_in_a_child():
    pool = ThreadPool(max_workers=1, queue_size=2, when_full="refuse")
    with held(pool):
        pool.post(int)
        pool.post(int)

        def child():
            with held(pool):
                pool.post(int)
                pool.post(int)
                with pytest.raises(RuntimeError):
                    pool.post(int)
            return pool.run(lambda: 3)

        assert in_child(child) == "3"
    pool.stop()


@needs_fork
def test_a_fork_while_others_submit_and_cancel(pool):
    ended = threading.Event()

    def storm():
        while not ended.is_set():
            jobs = [pool.submit(int) for _ in range(10)]
            for job in jobs[::2]:
                job.cancel()

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        with switching_fast():
            for number in range(8):
                answer = in_child(
                    lambda n=number: pool.submit(abs, -n).result(PATIENCE)
                )
                assert answer == str(number)
    finally:
        ended.set()
        thread.join()


@needs_fork
def test_a_job_may_fork_and_only_the_parent_gets_its_result():
    script = """
import os, sys
from cup.services.threadpool import ThreadPool

pool = ThreadPool(max_workers=1)

def job():
    child = os.fork()
    return child

child = pool.submit(job).result(20)
assert child, "the child never gets here: its copy of the worker has left"
assert os.waitpid(child, 0)[0] == child
print(pool.submit(lambda: 5).result(20))
pool.stop()
"""
    assert run_python(script, PYTHONWARNINGS="ignore") == "5\n"


@needs_fork
def test_a_job_may_fork_and_its_child_may_use_the_pool():
    script = """
import os
from cup.services.threadpool import ThreadPool

pool = ThreadPool(max_workers=1)

def job():
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(pool.submit(lambda: 7).result(20))

print(pool.submit(job).result(20))
"""
    assert run_python(script, PYTHONWARNINGS="ignore") == "7\n"


@needs_fork
def test_a_fork_that_runs_no_hooks():
    """As servers do that fork in C (uWSGI)."""
    script = """
import ctypes, os, threading, time
from cup.services.threadpool import ThreadPool

libc = ctypes.PyDLL(None)
pool = ThreadPool(max_workers=2)
bounded = ThreadPool(max_workers=1, queue_size=3)
stopped = ThreadPool(max_workers=1)
for one in (pool, bounded, stopped):
    assert one.run(int) == 0
gate = threading.Event()
inside = threading.Semaphore(0)
held = [pool.submit(lambda: (inside.release(), gate.wait())) for _ in range(2)]
inside.acquire()
inside.acquire()
queued = pool.submit(int)
# Such a fork copies the interpreter's own locks as they are: let nobody be at them.
time.sleep(0.05)
child = libc.fork()
if not child:
    code = 1
    try:
        assert stopped.stop()
        assert pool.submit(lambda: 4).result(20) == 4
        assert list(pool.map(abs, range(10))) == list(range(10))
        assert bounded.submit(lambda: 3).result(20) == 3
        assert bounded.options(run_timeout=9).submit(lambda: 3).result(20) == 3
        assert queued.cancelled()
        assert pool.stop()
        code = 0
    finally:
        os._exit(code)
assert os.waitpid(child, 0)[1] == 0
gate.set()
assert queued.result(20) == 0
for one in (pool, bounded, stopped):
    one.stop()
print("fine")
"""
    assert run_python(script, PYTHONWARNINGS="ignore") == "fine\n"


@needs_fork
def test_a_broken_pool_in_a_child_starts_anew():
    fails = [True]

    def initialise():
        if fails[0]:
            raise ValueError

    pool = ThreadPool(max_workers=1, initializer=initialise)
    assert isinstance(pool.submit(int).exception(PATIENCE), PoolBroken)

    def child():
        fails[0] = False
        with pytest.raises(RuntimeError):
            pool.submit(int)
        pool.start()
        return pool.run(lambda: 6)

    assert in_child(child) == "6"
    pool.stop()


# -- signals and finalizers --------------------------------------------------------


@needs_timer
@pytest.mark.parametrize("kind", ["unbounded", "drop_oldest", "refuse"])
def test_a_storm_of_signals_submits_and_cancels(kind):
    """Handlers run between any two steps of the main thread's own submits."""
    bound = {} if kind == "unbounded" else {"queue_size": 4, "when_full": kind}
    pool = ThreadPool(max_workers=2, **bound)
    counts = {"handled": 0, "refused": 0, "accepted": 0}
    ran = []

    def put(what):
        try:
            job = pool.submit(ran.append, what)
        except RuntimeError:
            counts["refused"] += 1
            return None
        counts["accepted"] += 1
        return job

    def handler(*_):
        counts["handled"] += 1
        job = put("signal")
        if job is not None and counts["handled"] % 2:
            job.cancel()
        try:
            pool.add_1job(ran.append, "post")
            counts["accepted"] += 1
        except RuntimeError:
            counts["refused"] += 1

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            job = put("main")
            if job is not None and len(ran) % 3 == 0:
                job.cancel()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0, 0)
        signal.signal(signal.SIGALRM, before)
    pool.stop()
    stats = pool.stats()
    assert counts["handled"] > 50
    assert stats.done == len(ran)
    assert stats.done + stats.cancelled == counts["accepted"]
    assert stats.refused == counts["refused"]
    assert stats.queued == 0


@needs_timer
def test_a_handler_may_submit_while_the_pool_is_made_started_and_stopped():
    jobs = []
    current = [None]

    def handler(*_):
        try:
            jobs.append(current[0].submit(int))
        except RuntimeError:
            pass

    before = signal.signal(signal.SIGALRM, handler)
    current[0] = ThreadPool(max_workers=1)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(150):
            current[0] = ThreadPool(1, 2)
            current[0].start()
            current[0].submit(int).result(PATIENCE)
            current[0].stop()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0, 0)
        signal.signal(signal.SIGALRM, before)
    for job in jobs:
        assert job.result(PATIENCE) == 0


@needs_timer
# That of `threading`, if the exception comes between two steps of `Thread.start`.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_exceptions_of_handlers_leave_a_pool_that_works():
    class Alarm(Exception):
        pass

    def handler(_, frame):
        while frame is not None:
            if frame.f_code is work.__code__:
                raise Alarm
            frame = frame.f_back

    def work():
        pool.submit(int).result(PATIENCE)
        jobs = [pool.submit(int) for _ in range(5)]
        jobs[-1].cancel()
        pool.post(int)

    pool = ThreadPool(max_workers=2, keep_alive=None)
    before = signal.signal(signal.SIGALRM, handler)
    alarms = 0
    signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
    try:
        while alarms < 150:
            try:
                work()
            except Alarm:
                alarms += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0, 0)
        signal.signal(signal.SIGALRM, before)
    assert pool.submit(lambda: 5).result(PATIENCE) == 5
    with held(pool, 2):
        pool.post(int)
    assert pool.stop()


def test_finalizers_may_submit_and_cancel(pool):
    ran = []

    class Finalized:
        def __init__(self):
            self.me = self  # only the collector frees it, wherever it happens to run
            self.job = None

        def __del__(self):
            pool.submit(ran.append, 1)
            pool.submit(ran.append, 1).cancel()
            pool.post(ran.append, 2)

    thresholds = gc.get_threshold()
    gc.set_threshold(20, 2, 2)
    try:
        for _ in range(300):
            Finalized()
            pool.submit(int).result(PATIENCE)
            list(pool.map(int, "12"))
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    wait_for(lambda: ran.count(2) == 300)
    pool.stop()
    assert ran.count(1) in range(300, 601)
    assert pool.stats().queued == 0


# -- the end of the interpreter ----------------------------------------------------


def test_at_exit_what_is_queued_is_finished():
    script = """
import time
from cup.services.threadpool import ThreadPool
pool = ThreadPool(max_workers=1)
pool.start()
for number in range(20):
    pool.post(print, number)
    pool.post(time.sleep, 0.002)
"""
    assert run_python(script).split() == [str(number) for number in range(20)]


def test_at_exit_a_parked_pool_does_not_hang():
    script = """
from cup.services.threadpool import ThreadPool, PoolExecutor
pools = [ThreadPool(5, 20), ThreadPool(max_workers=3), PoolExecutor(2)]
pools[0].start()
pools.append(ThreadPool(2, 4, keep_alive=None))
pools[-1].start()
print(pools[1].submit(int).result(), pools[2].submit(int).result())
pools[0].options(run_timeout=100, queue_timeout=100).run(int)
"""
    assert run_python(script) == "0 0\n"


def test_a_late_thread_may_still_submit():
    script = """
import threading, time
from cup.services.threadpool import ThreadPool
pool = ThreadPool(max_workers=2)
pool.run(int)
bounded = ThreadPool(max_workers=1, queue_size=1)
new = ThreadPool(3, 5)

def late():
    threading.main_thread().join()
    time.sleep(0.05)
    print(pool.submit(lambda: "late").result())
    print(list(pool.map(int, "123")))
    print(bounded.submit(lambda: "bounded").result())
    print(new.submit(lambda: "new").result())
    global made
    made = ThreadPool(2, 3)
    made.start()
    print(made.run(lambda: "made"))
    pool.post(print, "last")

threading.Thread(target=late).start()
"""
    assert run_python(script).splitlines() == [
        "late",
        "[1, 2, 3]",
        "bounded",
        "new",
        "made",
        "last",
    ]


def test_atexit_handlers_are_refused():
    script = """
import atexit
from cup.services.threadpool import ThreadPool
pool = ThreadPool(max_workers=1)
new = ThreadPool(max_workers=1)
pool.run(int)

def last():
    for one in (pool, new):
        for put in (one.submit, one.post, one.run, one.options(urgency=0).submit):
            try:
                put(int)
            except RuntimeError as error:
                print(type(error).__name__)
    print(bool(pool.stop()))

atexit.register(last)
"""
    assert run_python(script).split() == ["PoolClosed"] * 8 + ["True"]


def test_a_live_stock_executor_does_not_hang_the_exit():
    script = """
import time
from concurrent.futures import ThreadPoolExecutor
from cup.services.threadpool import ThreadPool
stock, pool = ThreadPoolExecutor(1), ThreadPool(max_workers=1)

def in_stock():
    time.sleep(0.05)
    print(pool.submit(lambda: "ours from theirs").result())

def in_ours():
    print(stock.submit(lambda: "theirs from ours").result())

pool.submit(in_ours).result()
stock.submit(in_stock)
"""
    assert sorted(run_python(script).splitlines()) == [
        "ours from theirs",
        "theirs from ours",
    ]


def test_daemon_threads_do_not_hold_up_the_exit():
    script = """
import threading
from cup.services.threadpool import ThreadPool
pool = ThreadPool(0, 2, None, True)
inside = threading.Event()
pool.submit(lambda: (inside.set(), threading.Event().wait()))
inside.wait()
pool.submit(int).result()
print("main ends")
"""
    assert run_python(script) == "main ends\n"


def test_a_job_that_exits_the_interpreter_does_not():
    script = """
import sys
from cup.services.threadpool import ThreadPool
with ThreadPool(max_workers=1, on_unhandled=lambda *_: None) as pool:
    pool.post(sys.exit, 3)
    try:
        pool.run(sys.exit, 4)
    except SystemExit as error:
        print("code", error.code)
"""
    assert run_python(script) == "code 4\n"


def test_ctrl_c_in_a_wait_leaves_the_pool_usable():
    script = """
import os, signal, threading, time
from cup.services.threadpool import ThreadPool

def interrupt_when(waits):
    while not waits():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)

pool = ThreadPool(max_workers=2)
gate = threading.Event()
job = pool.submit(gate.wait)
for _ in range(3):
    waits = lambda: vars(job).get("_parked")
    threading.Thread(target=interrupt_when, args=[waits]).start()
    try:
        job.result()
    except KeyboardInterrupt:
        print("interrupted")
    print(pool.run(int))
for _ in range(3):
    waits = lambda: len(pool.core.ended)
    threading.Thread(target=interrupt_when, args=[waits]).start()
    try:
        pool.stop()
    except KeyboardInterrupt:
        print("stop interrupted")
gate.set()
print(bool(pool.stop()))
"""
    assert run_python(script).splitlines() == [
        *(["interrupted", "0"] * 3),
        *(["stop interrupted"] * 3),
        "True",
    ]


def test_unretrieved_exceptions_at_exit_do_not_break_it():
    script = """
from cup.services.threadpool import ThreadPool
pool = ThreadPool(max_workers=1, on_unhandled=lambda error, what: print(repr(error)))
job = pool.submit(int, "x")
pool.run(int)
pool.post(int, "y")
"""
    out = run_python(script)
    assert "'y'" in out


def test_a_gate_of_these_tests_says_when_it_is_never_opened(monkeypatch):
    import pool_tools

    monkeypatch.setattr(pool_tools, "PATIENCE", 0.01)
    with pytest.raises(AssertionError, match="never opened"):
        Gate()()


@needs_timer
@pytest.mark.parametrize("change", ["start", "shutdown"])
def test_a_signal_handler_shuts_a_pool_down_that_is_being_changed(change):
    pool = ThreadPool(1, 2, name="handled")
    pool.post(int)
    name = "_begin" if change == "start" else "_close"
    step = getattr(pool.core, name)
    refused = []

    def handler(*_):
        pool.shutdown(wait=False)
        for inner in (pool.start, pool.stop1worker, lambda: pool.resize(1, 3)):
            with pytest.raises(PoolClosed) as error:
                inner()
            refused.append(str(error.value))

    def interrupted_step():
        del vars(pool.core)[name]
        signal.raise_signal(signal.SIGALRM)
        return step()

    setattr(pool.core, name, interrupted_step)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        getattr(pool, change)()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(refused) == 3
    assert "signal handler" in refused[0]
    with pytest.raises(PoolClosed):
        pool.submit(int)
    assert pool.stop().done == 1
    pool.start()
    assert pool.run(int) == 0
    pool.stop()
