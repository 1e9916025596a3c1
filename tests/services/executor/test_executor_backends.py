"""One suite for every executor that can run the jobs; the traps of each are in it."""

import collections
import concurrent.futures
import contextlib
import gc
import itertools
import multiprocessing
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from importlib.util import find_spec
from pathlib import Path

import anyio
import backend_jobs as jobs
import pytest
from executor_tools import (
    SOURCE,
    Gate,
    HandExecutor,
    InlineExecutor,
    Virtual,
    balanced,
    service,
    wait_for,
)

from cup.errors import (
    InvalidType,
    InvalidValue,
    JobCancelled,
    QueueTimeout,
    RunTimeout,
    UnsendableResult,
)
from cup.services.executor import (
    AsyncExecutionService,
    ExecutionService,
    RunOutcome,
    Urgency,
)
from cup.services.threadpool import ThreadPool

HERE = Path(__file__).parent


def process_pool():
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(2, mp_context=context)


def loky_pool():
    from loky import ProcessPoolExecutor as LokyPool

    return LokyPool(2)


@contextlib.contextmanager
def made_by(factory):
    yield factory


@contextlib.contextmanager
def dask_cluster():
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with (
        LocalCluster(dashboard_address=None, **options) as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor()


def needs(package):
    return pytest.mark.skipif(not find_spec(package), reason=f"needs {package}")


noisy = pytest.mark.filterwarnings("default")  # others' warnings are not our subject

BACKENDS = {
    "inline": lambda: made_by(InlineExecutor()),
    "ThreadPool": lambda: made_by(lambda: ThreadPool(0, 2)),
    "ThreadPoolExecutor": lambda: made_by(lambda: ThreadPoolExecutor(2)),
    "ProcessPoolExecutor": lambda: made_by(process_pool),
    "loky": lambda: made_by(loky_pool),
    "dask": dask_cluster,
}
MARKS = {
    "ThreadPool": [pytest.mark.full],
    "ThreadPoolExecutor": [pytest.mark.full],
    "ProcessPoolExecutor": [],
    "loky": [needs("loky"), pytest.mark.full, noisy],
    "dask": [
        needs("distributed"),
        pytest.mark.full,
        noisy,
        pytest.mark.timeout(120),
    ],
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=MARKS.get(name, [])) for name in BACKENDS],
)
def backend(request):
    with BACKENDS[request.param]() as made:
        made_executor = ExecutionService(backend=made, name=request.param)
        made_executor.start()
        yield made_executor
        report = made_executor.stop()
        assert balanced(report), report
        assert report


@pytest.fixture
def remote(backend):
    if backend.core.crews[0].is_local:
        pytest.skip("runs in this process: nothing is pickled")
    return backend


# -- the suite -------------------------------------------------------------------------


def test_calls_and_results(backend):
    assert backend.submit(jobs.add, 1, b=2).result(30) == 3
    assert backend.after(0.01, jobs.add, 1, 2).result(30) == 3
    assert backend.submit(jobs.partial_add, 2).result(30) == 42
    assert backend.at(time.time(), jobs.add, 5).result(30) == 5


def test_no_keyword_is_swallowed(backend):
    words = dict.fromkeys(
        ["key", "priority", "workers", "retries", "resources", "pure", "fn", "self"], 7
    )
    assert backend.submit(jobs.echo, **words).result(30) == words


def test_exceptions_travel(backend):
    job = backend.submit(jobs.raises, KeyError, "mine")
    with pytest.raises(KeyError, match="mine"):
        job.result(30)


def test_thousand_delayed_jobs_run_once(backend, tmp_path):
    number = 1000
    handles = [
        backend.after(0.0005 * n, jobs.touch, str(tmp_path), n) for n in range(number)
    ]
    assert [job.result(60) for job in handles] == [*range(number)]
    marks = collections.Counter(path.stem for path in tmp_path.iterdir())
    assert set(marks.values()) == {1}
    assert len(marks) == number


def test_identical_jobs_run_once_each(backend, tmp_path):
    handles = [backend.after(0.01, jobs.identical, str(tmp_path)) for _ in range(50)]
    for job in handles:
        assert job.result(30) == "same"
    assert len([*tmp_path.iterdir()]) == 50


def test_series(backend):
    series = backend.options(max_runs=3).every(0.02, jobs.add, 1, b=1)
    assert series.result(30) == 2
    assert [record.outcome for record in series.history] == [RunOutcome.DONE] * 3


def test_cancelled_jobs_do_not_run(backend, tmp_path):
    handles = [backend.after(3600, jobs.touch, str(tmp_path), n) for n in range(20)]
    assert all(job.cancel() for job in handles)
    assert [*tmp_path.iterdir()] == []


def test_standard_wait(backend):
    handles = [backend.submit(jobs.add, n) for n in range(10)]
    done, left = concurrent.futures.wait([job.future for job in handles], timeout=30)
    assert {future.result() for future in done} == {*range(10)}
    assert not left


def test_tasks_await_foreign_jobs(backend):
    async def main():
        executor = backend.aio
        job = await executor.after(0.01, jobs.add, 1, 2)
        return await job

    assert anyio.run(main) == 3
    assert anyio.run(main, backend="trio") == 3


def test_result_that_cannot_be_pickled_is_an_error(remote):
    start = time.monotonic()
    with pytest.raises(UnsendableResult, match="lock"):
        remote.submit(jobs.unpicklable_result).result(30)
    assert time.monotonic() - start < 15


def test_result_that_cannot_be_read_is_an_error(remote):
    with pytest.raises(RuntimeError, match="cannot be read"):
        remote.submit(jobs.unreadable_result).result(30)


def test_exception_that_cannot_travel_is_described(remote):
    with pytest.raises(UnsendableResult, match="Picky, which cannot be sent back: 1"):
        remote.submit(jobs.raises_picky).result(30)
    with pytest.raises(UnsendableResult, match="holds a lock"):
        remote.submit(jobs.raises_unpicklable).result(30)


def test_argument_that_cannot_be_pickled_is_an_error(remote):
    with pytest.raises((TypeError, AttributeError, ValueError, Exception)) as caught:
        remote.submit(jobs.add, threading.Lock()).result(30)
    assert not isinstance(caught.value, TimeoutError)


# -- what breaks -----------------------------------------------------------------------


def test_broken_pool_is_replaced():
    with service(backend=process_pool) as executor:
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(jobs.die).result(30)
        assert executor.submit(jobs.add, 1).result(30) == 1
        assert executor.after(0.01, jobs.add, 2).result(30) == 2


class BreaksDown(Executor):
    """Breaks with its first job, and says so on a thread of its own."""

    def __init__(self):
        self.alive = []  # asked when the job's callbacks have returned
        self.thread = None

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.thread = threading.Thread(
            target=self.break_down, args=(future, weakref.ref(self), self.alive)
        )
        self.thread.start()
        return future

    @staticmethod
    def break_down(future, me, alive):
        future.set_exception(BrokenExecutor("gone"))
        alive.append(me() is not None)

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.thread.join()


def test_broken_pool_is_kept_until_its_own_thread_has_ended():
    """Process pools hold a lock there, which their collection would wait for."""
    alive = []
    known = []

    def make():
        made = BreaksDown()
        made.alive = alive
        known.append(weakref.ref(made))
        return made

    with service(backend=make) as executor:
        for _ in range(20):
            with pytest.raises(BrokenExecutor):
                executor.submit(jobs.add, 1).result(10)
        assert balanced(executor.stop())
    gc.collect()
    assert alive == [True] * 20
    assert [me() for me in known] == [None] * 20


def test_program_ends_after_its_pool_broke():
    program = """
        import os
        from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
        from multiprocessing import get_context
        from cup.services.executor import ExecutionService

        executor = ExecutionService(
            backend=lambda: ProcessPoolExecutor(2, mp_context=get_context("spawn"))
        )
        executor.start()
        for _ in range(3):
            try:
                executor.submit(os._exit, 1).result(30)
            except BrokenExecutor:
                print("broken")
        print(executor.submit(abs, -7).result(30))
        print(bool(executor.stop()))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )
    assert (ended.stdout, ended.stderr) == ("broken\n" * 3 + "7\nTrue\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_never_waits_for_the_lock_of_a_process_pool():
    with service(backend=process_pool) as executor:
        assert executor.submit(jobs.add, 1).result(30) == 1
        pool = executor.core.crews[0]._backing.executor
        with pool._shutdown_lock:  # as in its `submit`
            del pool
            time.sleep(0.05)  # until others have left the interpreter to us
            child = os.fork()
            if child == 0:
                gc.collect()
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.full
def test_lost_jobs_are_tried_again_when_asked(tmp_path):
    with service(backend=process_pool, on_broken="retry") as executor:
        job = executor.submit(jobs.die_once, str(tmp_path / "mark"))
        assert job.result(30) == "survived"
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(jobs.die).result(30)


@pytest.mark.full
@noisy
@needs("loky")
def test_broken_loky_is_replaced():
    with service(backend=loky_pool) as executor:
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(jobs.die).result(30)
        assert executor.submit(jobs.add, 1).result(30) == 1


def test_backend_that_was_given_is_not_shut_down():
    given = ThreadPoolExecutor(1)
    with service(backend=given) as executor:
        assert executor.submit(jobs.add, 1).result(10) == 1
    assert given.submit(jobs.add, 2).result(10) == 2
    given.shutdown()


def test_backend_that_was_made_is_shut_down():
    made = []

    def make():
        made.append(HandExecutor())
        return made[-1]

    with service(backend=make) as executor:
        executor.submit(jobs.add, 1)
        wait_for(lambda: made and made[0].held)
        made[0].run_one()
    assert made[0].closed
    executor.start()  # and made anew
    job = executor.submit(jobs.add, 1)
    wait_for(lambda: len(made) == 2 and made[1].held)
    made[1].run_one()
    assert job.result(10) == 1
    executor.stop()


def test_backend_that_cannot_be_made_fails_the_jobs():
    def make():
        raise OSError("no workers today")

    with service(backend=make) as executor:
        with pytest.raises(OSError, match="no workers"):
            executor.submit(jobs.add, 1).result(10)
        assert balanced(executor.stop())


def test_backend_that_refuses_fails_the_job():
    class Refuses(Executor):
        def submit(self, fn, /, *args, **kwargs):
            raise RuntimeError("cannot schedule new futures")

    with (
        service(backend=Refuses()) as executor,
        pytest.raises(RuntimeError, match="cannot schedule"),
    ):
        executor.submit(jobs.add, 1).result(10)


def test_future_that_is_cancelled_by_the_backend():
    backend = HandExecutor()
    with service(backend=backend) as executor:
        job = executor.submit(jobs.add, 1)
        wait_for(lambda: backend.held)
        backend.held[0][0].cancel()
        with pytest.raises(JobCancelled):
            job.result(10)


def test_cancel_that_lies_is_not_believed():
    # Dask says that it cancelled a running task, whose effect happens all the same.
    backend = HandExecutor()
    with service(backend=backend) as executor:
        job = executor.submit(jobs.add, 1)
        wait_for(lambda: backend.held)
        assert not job.cancel()
        backend.run_one()
        assert job.result(10) == 1


def test_bad_backends_are_refused():
    with pytest.raises(InvalidType):
        ExecutionService(backend=3)
    with pytest.raises(InvalidValue):
        ExecutionService(backend=InlineExecutor(), backend_workers=0)
    with pytest.raises(InvalidValue):
        ExecutionService(backend=InlineExecutor(), on_broken="sometimes")


# -- order, limits, load ---------------------------------------------------------------


def test_urgency_is_kept_before_a_fifo_backend():
    backend = HandExecutor(workers=2)
    with service(backend=backend) as executor:
        ran = []
        low = executor.options(urgency=Urgency.LOW)
        high = executor.options(urgency=Urgency.HIGH)
        for n in range(20):
            low.submit(ran.append, f"low {n}")
        wait_for(lambda: len(backend.held) == 3)  # not all: workers, and one
        for n in range(5):
            high.submit(ran.append, f"high {n}")
        for _ in range(25):
            wait_for(lambda: backend.held)
            backend.run_one()
        wait_for(lambda: len(ran) == 25)
        assert ran[3:8] == [f"high {n}" for n in range(5)]
        assert [name for name in ran if "low" in name] == [
            f"low {n}" for n in range(20)
        ]


def test_queue_timeout_before_a_backend():
    backend = HandExecutor(workers=1)
    with service(backend=backend) as executor:
        first = [executor.submit(jobs.add, n) for n in range(2)]
        wait_for(lambda: len(backend.held) == 2)
        job = executor.options(queue_timeout=0.02).submit(jobs.add, 3)
        with pytest.raises(QueueTimeout):
            job.result(10)
        for _ in first:
            backend.run_one()
        assert [job.result(10) for job in first] == [0, 1]
        assert balanced(executor.stop())


def test_run_timeout_of_a_backend():
    backend = HandExecutor(workers=1)
    with service(backend=backend) as executor:
        job = executor.options(run_timeout=0.02).submit(jobs.add, 3)
        with pytest.raises(RunTimeout):
            job.result(10)
        assert not job.interrupt()
        assert executor.stats().failed == 1
        if backend.held:
            backend.run_one()
        assert balanced(executor.stop())


def test_backend_that_blocks_does_not_delay_timers():
    class Slow(InlineExecutor):
        def submit(self, fn, /, *args, **kwargs):
            time.sleep(0.05)
            return super().submit(fn, *args, **kwargs)

    with service(backend=Slow()) as executor:
        handles = [executor.after(0.01 * n, int) for n in range(20)]
        for job in handles:
            job.result(20)
        # On the timers' thread, the last one would be 0.8 s late.
        assert executor.stats().lateness.longest < 0.4


def test_coroutines_stay_in_their_loop():
    async def here():
        await anyio.sleep(0)
        return threading.get_ident()

    async def main():
        async with AsyncExecutionService(backend=InlineExecutor()) as executor:
            return await (await executor.after(0.01, here))

    assert anyio.run(main) == threading.get_ident()


def test_context_travels_in_the_same_process():
    import contextvars

    variable = contextvars.ContextVar("variable")
    variable.set("mine")
    with service(backend=lambda: ThreadPoolExecutor(2)) as executor:
        assert executor.submit(variable.get).result(10) == "mine"


def test_callbacks_that_raise_end_nothing():
    reported = []
    with service(
        backend=InlineExecutor(), on_unhandled=lambda e, what: reported.append(e)
    ) as executor:

        def leaves(_):
            raise SystemExit

        job = executor.after(0.01, int)
        job.add_done_callback(leaves)
        job.result(10)
        assert executor.submit(jobs.add, 1).result(10) == 1
        wait_for(lambda: reported)


def test_stop_finishes_what_is_queued():
    executor = ExecutionService(backend=lambda: ThreadPoolExecutor(1))
    executor.start()
    ran = []
    for n in range(50):
        executor.queue_exec(ran.append, 1, n)
    report = executor.stop()
    assert ran == [*range(50)]
    assert (report.submitted, report.done) == (50, 50)
    assert balanced(report)


def test_stop_names_what_a_backend_still_runs():
    backend = HandExecutor()
    with service(backend=backend) as executor:
        executor.options(name="far away").submit(jobs.add, 1)
        wait_for(lambda: backend.held)
        report = executor.stop(wait_workerstop=False)
        assert report.still_running == ("far away",)
        assert balanced(report)
        backend.run_one()
        assert executor.stop()


def test_unhandled_exception_of_a_queued_job_is_reported():
    reported = []
    with service(
        backend=InlineExecutor(), on_unhandled=lambda e, what: reported.append(e)
    ) as executor:
        executor.queue_exec(jobs.raises, 1)
        wait_for(lambda: reported)
    assert isinstance(reported[0], ValueError)


def test_virtual_time_with_a_slow_backend():
    backend = HandExecutor(workers=1)
    virtual = Virtual(backend)
    handles = [virtual.service.after(10 * n, int) for n in range(4)]
    virtual.advance(100)
    assert len(backend.held) == 2
    for _ in handles:
        backend.run_one()
        virtual.advance(0)
    assert all(job.done() for job in handles)


def test_handed_over_jobs_of_many_threads():
    with service(backend=lambda: ThreadPoolExecutor(2)) as executor:
        ran = itertools.count()
        threads = [
            threading.Thread(
                target=lambda: [
                    executor.queue_exec(ran.__next__, 1) for _ in range(300)
                ]
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report = executor.stop()
        assert report.done == 1200
        assert next(ran) == 1200


def test_gate_keeps_a_thread_backend_busy():
    with service(backend=lambda: ThreadPoolExecutor(1)) as executor:
        gate = Gate()
        executor.submit(gate)
        gate.await_inside()
        queued = [executor.submit(int) for _ in range(5)]
        wait_for(lambda: executor.stats().queued == 4)
        assert queued[-1].cancel()
        gate.open()
        assert [job.result(10) for job in queued[:-1]] == [0] * 4


MPI = """
import sys
sys.path[:0] = {paths!r}
import backend_jobs as jobs
from mpi4py.futures import MPIPoolExecutor
from cup.errors import UnsendableResult
from cup.services.executor import ExecutionService

if __name__ == "__main__":
    executor = ExecutionService(backend=lambda: MPIPoolExecutor(2, path={paths!r}))
    executor.start()
    words = dict(key=1, priority=2)
    assert executor.submit(jobs.echo, **words).result(60) == words
    handles = [executor.after(0.0005 * n, jobs.add, n) for n in range(1000)]
    assert [job.result(60) for job in handles] == list(range(1000))
    try:
        executor.submit(jobs.unpicklable_result).result(60)
    except UnsendableResult:
        pass
    else:
        raise AssertionError("the result was sent")
    report = executor.stop()
    assert report and report.done == 1001 and report.failed == 1, report
    print("all is well")
"""


@pytest.mark.full
@needs("mpi4py")
@pytest.mark.timeout(120)
def test_mpi(tmp_path):
    script = tmp_path / "mpi.py"
    script.write_text(MPI.format(paths=[str(HERE), str(SOURCE)]))
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    mpiexec = shutil.which("mpiexec", path=tools)
    if mpiexec is None:
        pytest.skip("needs mpiexec")
    run = subprocess.run(
        [mpiexec, "-n", "1", sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PATH": tools},
    )
    assert "all is well" in run.stdout, run.stderr
