"""What the tests of locks and threads share: actors in five worlds, children, waits.

An actor is one owner of locks: a thread, a `CupThread`, or a task. Tests tell it what
to do and look at what comes of it, so one test serves all worlds.
"""

import contextlib
import ctypes
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
import warnings
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from cup.thread import CupThread

PATIENCE = 20.0
SOURCE = Path(__file__).parents[2] / "src"

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def wait_for(predicate, timeout=PATIENCE):
    """Wait until a state is there; the time-out is only for what is broken."""
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, "the awaited state never came"
        time.sleep(0.0005)


def spin(stop):
    """Run plain Python code until an event is set.

    A `try` body that ends in a loop is not the same: CPython 3.13.0 may miss its
    handlers when an interrupt comes between two rounds.
    """
    while not stop.is_set():
        pass


def ended(thread, timeout=PATIENCE):
    """Wait for a thread and tell whether it has ended."""
    thread.join(timeout)
    return not thread.is_alive()


class Stopped(Exception):
    """What interrupts an actor that is a `CupThread`."""


class Call:
    """One thing that an actor does, maybe still waiting."""

    def __init__(self, actor, function, args):
        self.actor = actor
        self.function = function
        self.args = args
        self.future = Future()
        self.scope = None

    def done(self):
        return self.future.done()

    def result(self, timeout=PATIENCE):
        return self.future.result(timeout)

    def cancel(self):
        """Have it end; wait until it has."""
        self.actor.cancel(self)
        with pytest.raises((Stopped, Cancelled)):
            self.result()


class Cancelled(Exception):
    """The result of a call whose task was cancelled."""


class ThreadActor:
    """An owner that is a thread."""

    def __init__(self, lock, kind):
        self.lock = lock
        self._calls = queue.SimpleQueue()
        self.thread = kind(target=self._main, daemon=True)
        self.thread.start()

    def _main(self):
        while (call := self._calls.get()) is not None:
            try:
                call.future.set_result(call.function(*call.args))
            except BaseException as error:
                call.future.set_exception(error)
            del call

    def face(self):
        return self.lock

    def begin(self, name, *args):
        """Have the actor call a method of its lock, and do not wait for it."""
        function = name if callable(name) else getattr(self.lock, name)
        call = Call(self, function, args)
        self._calls.put(call)
        return call

    def do(self, name, *args):
        return self.begin(name, *args).result()

    def cancel(self, call):
        assert self.thread.raise_exc(Stopped)

    def close(self):
        self._calls.put(None)
        assert ended(self.thread)


class TaskActor:
    """An owner that is a task of a loop in another thread."""

    def __init__(self, lock, portal):
        self.lock = lock
        self._portal = portal
        self._send, self._receive = portal.call(self._open)
        self._main_done = portal.start_task_soon(self._main)

    async def _open(self):
        return anyio.create_memory_object_stream(100)

    async def _main(self):
        async with self._receive:
            async for call in self._receive:
                with anyio.CancelScope() as call.scope:
                    try:
                        value = call.function(*call.args)
                        if hasattr(value, "__await__"):
                            value = await value
                    except Exception as error:
                        call.future.set_exception(error)
                    else:
                        call.future.set_result(value)
                if not call.future.done():
                    call.future.set_exception(Cancelled())

    def face(self):
        return self.lock.aio

    def begin(self, name, *args):
        function = name if callable(name) else getattr(self.lock.aio, name)
        call = Call(self, function, args)
        self._portal.call(self._send.send_nowait, call)
        return call

    def do(self, name, *args):
        return self.begin(name, *args).result()

    def cancel(self, call):
        self._portal.call(call.scope.cancel)

    def close(self):
        self._portal.call(self._send.close)
        self._main_done.result(PATIENCE)


class World:
    """Makes actors of one kind; closes them in the end."""

    LOOPS = {
        "asyncio": ("asyncio", {}),
        "uvloop": ("asyncio", {"use_uvloop": True}),
        "trio": ("trio", {}),
    }

    def __init__(self, name):
        self.name = name
        self._actors = []
        self._exit = contextlib.ExitStack()
        self._portal = None
        if name in self.LOOPS:
            backend, options = self.LOOPS[name]
            self._portal = self._exit.enter_context(
                start_blocking_portal(backend, options)
            )

    def actor(self, lock):
        if self._portal is not None:
            actor = TaskActor(lock, self._portal)
        else:
            kind = CupThread if self.name == "cupthread" else threading.Thread
            actor = ThreadActor(lock, kind)
        self._actors.append(actor)
        return actor

    def close(self):
        for actor in self._actors:
            actor.close()
        self._exit.close()


ALL_WORLDS = [
    "thread",
    "cupthread",
    "asyncio",
    pytest.param(
        "uvloop",
        marks=pytest.mark.skipif(not find_spec("uvloop"), reason="needs uvloop"),
    ),
    "trio",
]
CANCELLABLE_WORLDS = ALL_WORLDS[1:]


def waiting(lock, *, readers=0, writers=0):
    """Wait until exactly so many are in line for a lock."""

    def as_many():
        stats = lock.stats()
        return (stats.waiting_readers, stats.waiting_writers) == (readers, writers)

    wait_for(as_many)


def is_free(lock):
    """Tell whether nobody holds a lock and nobody waits: both kinds can be had."""
    lock.acquire_writelock(0)
    lock.release_writelock()
    lock.acquire_readlock(0)
    lock.release_readlock()
    stats = lock.stats()
    return not (stats.readers or stats.writer or stats.waiting_readers) and not (
        stats.waiting_writers
    )


def fork_without_hooks():
    """Fork as servers do that never tell Python (uWSGI).

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


@contextlib.contextmanager
def switching_fast(interval=1e-6):
    """Have threads preempted as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
