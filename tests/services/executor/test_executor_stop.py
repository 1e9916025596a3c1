"""How an executor ends, called from everywhere, at exit, in forks: the accounts."""

import gc
import random
import sys
import threading
import time

import pytest
from executor_tools import (
    Gate,
    balanced,
    in_child,
    needs_fork,
    run_python,
    service,
    wait_for,
)

from cup.errors import ExecutorClosed
from cup.services.executor import ExecutionService, ExecutorState, FixedDelay


def test_stop_runs_what_is_due_and_cancels_what_is_not():
    executor = ExecutionService(1, 1)
    executor.start()
    gate, ran = Gate(), []
    executor.after(0, gate)
    gate.await_inside()
    due = [executor.after(0, ran.append, n) for n in range(5)]
    future = [executor.after(3600, ran.append, n) for n in range(7)]
    series = executor.every(3600, print)
    threading.Timer(0.05, gate.open).start()
    report = executor.stop()
    assert ran == [0, 1, 2, 3, 4]
    assert all(job.done() and not job.cancelled() for job in due)
    assert all(job.cancelled() for job in future)
    assert series.cancelled()
    assert (report.submitted, report.done, report.cancelled) == (14, 6, 8)
    assert balanced(report)
    assert executor.stats().state is ExecutorState.STOPPED


def test_stop_leaves_no_thread():
    before = set(threading.enumerate())
    executor = ExecutionService()
    executor.start()
    for n in range(50):
        executor.after(0.0001 * n, int)
        executor.submit(int)
    executor.stop()

    def left():
        return [
            thread.name
            for thread in set(threading.enumerate()) - before
            if thread.name.startswith(executor.name)
        ]

    wait_for(lambda: not left())  # some may have a last instruction to execute


def test_stop_without_waiting_names_what_runs():
    executor = ExecutionService(name="quick")
    executor.start()
    gate = Gate()
    executor.options(name="the slow one").after(0, gate)
    gate.await_inside()
    report = executor.stop(wait_workerstop=False)
    assert not report
    assert report.still_running == ("the slow one",)
    assert balanced(report)
    assert executor.stats().state is ExecutorState.STOPPING
    with pytest.raises(ExecutorClosed):
        executor.start()
    gate.open()
    report = executor.stop()
    assert report
    assert report.done == 1


def test_stop_twice_is_one_stop():
    executor = ExecutionService()
    executor.start()
    executor.submit(int).result()
    first = executor.stop()
    assert executor.stop() == first


def test_stop_by_many_threads():
    executor = ExecutionService()
    executor.start()
    for _ in range(100):
        executor.submit(time.sleep, 0.001)
    reports = []
    threads = [
        threading.Thread(target=lambda: reports.append(executor.stop()))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(reports) == 5
    assert all(balanced(report) and report.done == 100 for report in reports)


@pytest.mark.parametrize("how", ["submit", "after"])
def test_stop_inside_of_a_job(how):
    executor = ExecutionService(2, 2)
    executor.start()
    others = [executor.submit(time.sleep, 0.05) for _ in range(4)]

    def stops():
        return executor.stop()

    job = executor.submit(stops) if how == "submit" else executor.after(0.01, stops)
    report = job.result(20)
    assert all(other.done() for other in others)
    assert len(report.still_running) == 1
    assert balanced(report)
    assert executor.stop()


def test_stop_inside_of_jobs_of_both_groups():
    executor = ExecutionService(1, 1)
    executor.start()
    both = threading.Barrier(2)

    def stops():
        both.wait(10)
        return executor.stop()

    jobs = [executor.submit(stops), executor.after(0.001, stops)]
    for job in jobs:
        assert balanced(job.result(20))
    assert balanced(executor.stop())


def test_stop_inside_of_a_series():
    executor = ExecutionService(1, 1)
    executor.start()

    def stops():
        time.sleep(0.05)  # meanwhile another run comes to wait for this one
        return executor.stop()

    series = executor.every(0.02, stops)
    wait_for(lambda: series.history)
    assert series.cancelled()
    assert balanced(executor.stop())


def test_runs_that_wait_for_others_still_run():
    executor = ExecutionService(1, 1)
    executor.start()
    gate = Gate()
    series = executor.options(overlap="queue_all").every(0.01, gate)
    gate.await_inside()
    wait_for(series._series._runs.waits)
    threading.Timer(0.05, gate.open).start()
    report = executor.stop()
    assert series.runs >= 2
    assert len(series.history) == series.runs
    assert report.done == series.runs
    assert balanced(report)


def test_jobs_cannot_be_handed_in_while_it_drains():
    executor = ExecutionService(1, 1)
    executor.start()
    refused = []

    def late():
        time.sleep(0.05)
        try:
            executor.after(0.01, print)
        except ExecutorClosed:
            refused.append(True)

    executor.submit(late)
    report = executor.stop()
    assert refused == [True]
    assert report.refused == 1
    assert balanced(report)


def test_it_can_be_started_again():
    executor = ExecutionService(1, 1)
    executor.start()
    executor.every(3600, print)
    executor.stop()
    executor.start()
    assert executor.after(0.01, int).result(10) == 0
    assert executor.submit(int).result(10) == 0
    report = executor.stop()
    assert balanced(report)
    assert report.done == 2


def test_context_manager_stops():
    with ExecutionService() as executor:
        job = executor.submit(int)
    assert job.done()
    assert not executor.running()


def test_executor_that_nobody_holds_ends():
    before = threading.active_count()
    executor = ExecutionService()
    assert executor.submit(int).result(10) == 0
    del executor
    gc.collect()
    wait_for(lambda: threading.active_count() <= before)


def test_executor_that_nobody_holds_runs_its_timers_first():
    before = threading.active_count()
    ran = []
    ExecutionService().after(0.1, ran.append, 1)
    gc.collect()
    wait_for(lambda: ran == [1])
    wait_for(lambda: gc.collect() is not None and threading.active_count() <= before)


# -- the end of the interpreter --------------------------------------------------------


def test_exit_runs_what_is_queued():
    run = run_python(
        "import time\n"
        "from cup.services.executor import ExecutionService\n"
        "made = ExecutionService(1, 1); made.start()\n"
        "for n in range(5):\n"
        "    made.queue_exec(lambda n=n: (time.sleep(0.01), print(n, flush=True)), 1)\n"
        "made.delay_exec(0, lambda: print('due', flush=True), 1)\n"
    )
    assert sorted(run.stdout.split()) == ["0", "1", "2", "3", "4", "due"]
    assert run.stderr == ""


def test_exit_cancels_what_is_not_due_and_says_so():
    run = run_python(
        "from cup.services.executor import ExecutionService\n"
        "made = ExecutionService(1, 1, name='mine'); made.start()\n"
        "made.after(3600, print)\n"
        "made.every(0.01, int)\n"
    )
    assert "'mine'" in run.stderr
    assert "1 jobs" in run.stderr
    assert "Traceback" not in run.stderr


def test_exit_while_jobs_are_handed_in():
    run = run_python(
        "import threading, time\n"
        "from cup.errors import ExecutorClosed\n"
        "from cup.services.executor import ExecutionService\n"
        "made = ExecutionService(2, 2); made.start()\n"
        "def feed():\n"
        "    try:\n"
        "        while True:\n"
        "            made.submit(int); made.after(0.001, int); time.sleep(0.0005)\n"
        "    except ExecutorClosed:\n"
        "        pass\n"
        "threading.Thread(target=feed).start()\n"
        "time.sleep(0.05)\n"
    )
    assert "Traceback" not in run.stderr


def test_exit_with_another_executor_behind():
    run = run_python(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from cup.services.executor import ExecutionService\n"
        "made = ExecutionService(backend=lambda: ThreadPoolExecutor(2)); made.start()\n"
        "for n in range(20):\n"
        "    made.queue_exec(int, 1)\n"
        "print(made.submit(pow, 2, 3).result())\n"
    )
    assert run.stdout == "8\n"
    assert "Traceback" not in run.stderr


# -- forks -----------------------------------------------------------------------------


@needs_fork
def test_forked_child_has_an_empty_executor():
    with service(1, 1) as executor:
        ran = []
        job = executor.after(0.2, ran.append, "parent")
        series = executor.every(0.05, ran.append, "series")
        executor.submit(int).result(10)

        def child():
            assert job.cancelled()
            assert series.cancelled()
            del ran[:]
            assert executor.stats().submitted == 0
            assert executor.after(0.01, int).result(10) == 0
            assert executor.submit(int).result(10) == 0
            time.sleep(0.3)
            assert ran == []
            report = executor.stop()
            assert balanced(report)
            assert report.done == 2

        in_child(child)
        assert job.result(10) is None
        assert "parent" in ran


@pytest.mark.full
@needs_fork
def test_forks_while_timers_come_and_go():
    with service(2, 2) as executor:
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                executor.after(0.001, int)
                executor.after(0.01, int).cancel()

        threads = [threading.Thread(target=busy) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(4):
                in_child(lambda: executor.after(0.001, int).result(10))
        finally:
            stop.set()
            for thread in threads:
                thread.join()


# -- everything at once ----------------------------------------------------------------


def hand_in(executor, dice, job, number):
    """Hand in one job in one of the ways there are; return its handle, if any."""
    kind = dice.randrange(6)
    if kind == 0:
        return executor.submit(job, number)
    if kind == 1:
        return executor.queue_exec(job, dice.randrange(3), number)
    if kind == 2:
        view = executor.options(max_runs=1)
        return view.every(FixedDelay(0.001 + dice.random() * 0.01), job, number)
    return executor.after(dice.random() * 0.01, job, number)


def feed(executor, seed, job):
    """Hand in, cancel and move jobs at random, until it is closed."""
    dice = random.Random(seed)
    for n in range(30):
        try:
            handle = hand_in(executor, dice, job, (seed, n))
        except ExecutorClosed:
            continue
        if handle is not None and dice.random() < 0.3:
            handle.cancel()
        if handle is not None and dice.random() < 0.2:
            handle.reschedule(dice.random() * 0.01)


def play(seed):
    """Hand in, cancel, move and stop at random; then account for everything."""
    rng = random.Random(seed)
    executor = ExecutionService(rng.randint(1, 3), rng.randint(1, 3))
    if rng.random() < 0.8:
        executor.start()
    ran = []
    feeders = [
        threading.Thread(target=feed, args=(executor, 10 * seed + n, ran.append))
        for n in range(3)
    ]
    for feeder in feeders:
        feeder.start()
    time.sleep(rng.random() * 0.01)
    executor.stop()
    for feeder in feeders:
        feeder.join()
    report = executor.stop()
    assert report
    assert balanced(report), report
    assert len(ran) == len(set(ran)), "a job ran twice"
    stats = executor.stats()
    assert (stats.pending, stats.queued, stats.running) == (0, 0, 0)


@pytest.mark.parametrize(
    "seed", [n if n < 8 else pytest.param(n, marks=pytest.mark.full) for n in range(60)]
)
def test_random_lives_are_accounted_for(seed):
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6 if seed % 2 else before)
    try:
        play(seed)
    finally:
        sys.setswitchinterval(before)


@pytest.mark.long
def test_two_thousand_random_lives():
    sys.setswitchinterval(1e-6)
    try:
        for seed in range(1000, 3000):
            play(seed)
    finally:
        sys.setswitchinterval(0.005)


def test_report_is_false_while_something_runs():
    executor = ExecutionService()
    executor.start()
    gate = Gate()
    executor.queue_exec(gate, 1)
    gate.await_inside()
    assert not executor.stop(False)
    gate.open()
    assert executor.stop()
