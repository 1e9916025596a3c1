"""What the tests of the executor share: virtual time, gates, counting, children."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import anyio
import pytest

from cup.services.executor import ExecutionService
from cup.testing import VirtualDriver

PATIENCE = 20.0
SOURCE = Path(__file__).parents[3] / "src"

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def wait_for(predicate, timeout=PATIENCE):
    """Wait until a state is there; the time-out is only for what is broken."""
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, "the awaited state never came"
        time.sleep(0.001)


async def state(predicate):
    """Wait on a loop, as `wait_for` does on a thread."""
    with anyio.fail_after(PATIENCE):
        while not predicate():
            await anyio.sleep(0.001)


class InlineExecutor(Executor):
    """Runs a job inside of `submit`, in the thread of the test."""

    _max_workers = 1_000
    shares_memory = True

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        pass


class HandExecutor(Executor):
    """Keeps jobs until the test runs them, one by one."""

    shares_memory = True

    def __init__(self, workers=100):
        self._max_workers = workers
        self.held = []
        self.closed = False

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.held.append((future, fn, args, kwargs))
        return future

    def run_one(self):
        future, fn, args, kwargs = self.held.pop(0)
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.closed = True


class Virtual:
    """An executor in virtual time, whose jobs run inline."""

    def __init__(self, backend=None, *, start=True, **options):
        self.driver = VirtualDriver()
        self.clock = self.driver.clock
        self.reported = []
        self.service = ExecutionService(
            time_source=self.driver,
            backend=InlineExecutor() if backend is None else backend,
            on_unhandled=lambda error, what: self.reported.append((error, what)),
            **options,
        )
        if start:
            self.service.start()

    def advance(self, seconds):
        self.driver.advance(seconds)

    def now(self):
        return self.clock.monotonic()


def make_virtual():
    """Give an executor in virtual time, stopped afterwards: the body of a fixture."""
    setting = Virtual()
    yield setting
    setting.service.stop()


@contextlib.contextmanager
def service(*args, **options):
    """Give a running service, stopped afterwards."""
    made = ExecutionService(*args, **options)
    made.start()
    try:
        yield made
    finally:
        made.stop()


class Gate:
    """Holds jobs until it is opened, and knows how many stand before it."""

    def __init__(self):
        self._opened = threading.Event()
        self._inside = threading.Semaphore(0)

    def __call__(self, result=None):
        self._inside.release()
        assert self._opened.wait(PATIENCE), "the gate was never opened"
        return result

    def await_inside(self, number=1):
        """Wait until so many more jobs stand before the gate."""
        for _ in range(number):
            assert self._inside.acquire(timeout=PATIENCE), "no job came to the gate"

    def open(self):
        self._opened.set()


def balanced(report):
    """Tell whether a report accounts for everything."""
    return report.submitted == (
        report.done
        + report.failed
        + report.cancelled
        + report.persisted
        + report.refused
        + len(report.still_running)
    )


def run_python(code, timeout=50, **options):
    """Run a program of its own; return what it printed."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        **options,
    )
    assert run.returncode == 0, run.stderr
    return run


def in_child(body):
    """Run a function in a forked child; fail if it fails."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    deadline = time.monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        assert time.monotonic() < deadline, "the child hangs"
        time.sleep(0.005)
    assert os.waitstatus_to_exitcode(status) == 0
