"""What the tests of the waiting machinery share: a line, fake waiters, processes."""

import contextlib
import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections import Counter, deque
from pathlib import Path

import pytest

from cup._core.line import Line
from cup._core.wait import Ask, Reach

PATIENCE = 20.0
SOURCE = Path(__file__).parents[2] / "src"

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
needs_signals = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="needs signals"
)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


# -- a line ----------------------------------------------------------------------------


class Want(Ask[int]):
    """Asks for one permit of a semaphore; what it gets is the number of the grant."""

    __slots__ = ("name",)

    what = "Permits.acquire"
    twin = "AsyncPermits.acquire"

    def __init__(self, line, name=""):
        super().__init__(line)
        self.name = name

    def __repr__(self):
        return f"<Want {self.name} {self.state.name}>"


class Permits(Line):
    """A counting semaphore that keeps books: who was granted, who gave back."""

    __slots__ = ("_permits", "book", "total")

    def __init__(self, total=1):
        super().__init__()
        self.total = self.free = total
        self.book = []

    @property
    def free(self):
        return len(self._permits)

    @free.setter
    def free(self, number):
        self._permits = deque([None] * number)

    def take(self, ask):
        try:
            self._permits.pop()
        except IndexError:
            return False
        self.book.append(("take", ask))
        ask.value = len(self.book) or 1
        return True

    def put_back(self, ask):
        self._permits.append(None)
        self.book.append(("back", ask))

    def release(self):
        """Give back what a settled ask got; safe in signal handlers and finalizers."""
        self._permits.append(None)
        self.changed()

    def vanished(self):
        self.free = self.total

    def check(self, settled=()):
        """Check the books when all is quiet: each grant was settled exactly once."""
        balance = Counter()
        for what, ask in self.book:
            balance[ask] += 1 if what == "take" else -1
            assert balance[ask] in (0, 1), f"{ask}: granted or given back twice"
        assert {ask for ask, n in balance.items() if n} == set(settled)
        assert not self._offers
        assert not self._wakes
        assert not self._notes
        assert len(self) == 0
        assert not self._homes


class NoBook(list):
    """Books of a long race, or of one that must keep nothing alive."""

    def append(self, _):
        pass


class FakeWaiter:
    """A waiter without thread or task; a test says what becomes of it."""

    def __init__(self, home=None, *, reach=Reach.READY):
        self.home = home
        self.final = home is None
        self.state = reach
        self.wakes = 0

    def reach(self):
        return self.state

    def wake(self):
        self.wakes += 1
        return self.state is not Reach.GONE


def file(line, home=None, **options):
    """Put a new ask in line and return it with its waiter."""
    ask = Want(line)
    waiter = FakeWaiter(home, **options)
    assert not line.try_now(ask), "it was to wait"
    line.file(ask, waiter)
    return ask, waiter


def take(line):
    """Take a permit that is free."""
    ask = Want(line)
    assert line.try_now(ask)
    return ask


# -- threads ---------------------------------------------------------------------------


def wait_for(predicate, timeout=PATIENCE):
    """Wait until a state is there; the time-out is only for what is broken."""
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, "the awaited state never came"
        time.sleep(0.0005)


async def until(predicate):
    """Wait on a task until a state is there, of threads, too."""
    import anyio  # not above: some processes of these tests load no event loop

    with anyio.fail_after(PATIENCE):
        while not predicate():
            await anyio.sleep(0.0005)


class Thread(threading.Thread):
    """A thread whose outcome is asked for: `result()` raises what it raised."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self._function, self._args = function, args
        self.error = None
        self.start()

    def run(self):
        try:
            self.value = self._function(*self._args)
        except BaseException as error:
            self.error = error

    def result(self, timeout=PATIENCE):
        self.join(timeout)
        assert not self.is_alive(), "a thread of the test hangs"
        if self.error is not None:
            raise self.error
        return self.value


def disturb_main_thread(predicate):
    """Send signals to the main thread until a state is there.

    One would not do: it may come right before a system call, which does not notice.
    """
    main = threading.main_thread().ident
    while not predicate():
        signal.pthread_kill(main, signal.SIGUSR1)
        time.sleep(0.002)


@contextlib.contextmanager
def handling(handler):
    """Have a handler for the signals of `disturb_main_thread`."""
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@contextlib.contextmanager
def switching_fast(interval=1e-6):
    """Have threads preempted as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def collect():
    """Collect garbage until nothing more comes of it."""
    while gc.collect():
        pass


# -- processes -------------------------------------------------------------------------


def fork_without_hooks():
    """Fork as servers written in C do: Python's at-fork hooks do not run.

    Nobody else may be about to take the interpreter's lock then, or the child inherits
    a lock that others wait for, and its first thread hangs.
    """
    if threading.active_count() > 1:
        time.sleep(0.05)
    return ctypes.PyDLL(None).fork()


def in_child(function, *, fork=None, timeout=PATIENCE):
    """Run a function in a forked child and return what it returned, as text."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads
        child = (fork or os.fork)()
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
        time.sleep(0.001)
    with os.fdopen(reader) as answer:
        return answer.read()


def run_python(script, *, timeout=PATIENCE, expect=0, options=(), **environment):
    """Run a program in a new interpreter and return what it printed."""
    here = os.pathsep.join([str(SOURCE), str(Path(__file__).parent)])
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *options, "-c", script],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert done.returncode == expect, done.stderr
    return done.stdout


def descriptors():
    """Count the open descriptors of this process."""
    return len([*Path("/proc/self/fd").iterdir()])
