"""What the tests of the thread pool share: gates, actors, children, processes."""

import contextlib
import os
import subprocess
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

import anyio
import pytest

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


@contextlib.contextmanager
def held(pool, number=1):
    """Keep so many workers of a pool busy inside of the block."""
    gate = Gate()
    jobs = [pool.submit(gate) for _ in range(number)]
    try:
        gate.await_inside(number)
        yield gate
    finally:
        gate.open()
        for job in jobs:
            if not job.cancelled():
                job.exception(PATIENCE)  # a forced stop interrupts it


def in_threads(number, function, *args):
    """Run a function in threads that start together; return what each returned."""
    results = [None] * number
    errors = []
    start = threading.Barrier(number)

    def work(index):
        try:
            start.wait(PATIENCE)
            results[index] = function(index, *args)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
        assert not thread.is_alive(), "a thread of the test hangs"
    if errors:
        raise errors[0]
    return results


def in_thread(function, *args):
    """Start a function in a thread; call what is returned to get its result."""
    outcome = []

    def work():
        try:
            outcome.append((True, function(*args)))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=work)
    thread.start()

    def result():
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread of the test hangs"
        good, value = outcome[0]
        if not good:
            raise value
        return value

    result.thread = thread
    return result


def in_child(function, timeout=PATIENCE):
    """Run a function in a forked child and return what it wrote back, as text."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads
        child = os.fork()
    if not child:
        try:
            answer = str(function())
        except BaseException:
            answer = traceback.format_exc()
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    deadline = time.monotonic() + timeout
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the forked child hangs")
        time.sleep(0.002)
    with os.fdopen(reader) as answer:
        return answer.read()


def run_python(script, *, timeout=PATIENCE, expect=0, **environment):
    """Run a program in a new interpreter and return what it printed."""
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


class Storm(BaseException):
    """A user's exception that is no Exception."""


STORM = [
    ValueError,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    StopIteration,
    StopAsyncIteration,
    RecursionError,
    Storm,
]


def raise_it(kind):
    raise kind("from a job")


@contextlib.contextmanager
def switching_fast(interval=1e-6):
    """Have threads preempted as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def descriptors():
    """Count the open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def workers_of(pool):
    """Give the worker threads of a pool."""
    return [worker.thread for worker in list(pool.core.workers)]
