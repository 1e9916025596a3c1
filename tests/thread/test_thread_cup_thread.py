"""`CupThread` as a thread: results, the old names, honest answers about its end."""

import contextlib
import functools
import gc
import inspect
import threading
import time
import weakref

import pytest
from thread_tools import (
    PATIENCE,
    Stopped,
    ended,
    run_python,
    spin,
    wait_for,
)

import cup.err
from cup._core.interrupt import targets
from cup.errors import (
    InvalidType,
    InvalidValue,
    LockTimeout,
    ThreadNotStarted,
    ThreadTermException,
)
from cup.thread import CupThread, RWLock, async_raise, shield, thread_alive


@contextlib.contextmanager
def failures_kept():
    """Keep what threads die of, instead of reporting it."""
    seen = []
    before, threading.excepthook = threading.excepthook, seen.append
    try:
        yield seen
    finally:
        threading.excepthook = before


def running(target, *args, **options):
    """Start a `CupThread` and wait until its target has begun."""
    begun = threading.Event()

    def work():
        begun.set()
        return target(*args)

    thread = CupThread(target=work, **options)
    thread.start()
    assert begun.wait(PATIENCE)
    return thread


def finished(target, *args, **options):
    thread = CupThread(target=target, args=args, **options)
    thread.start()
    assert ended(thread)
    return thread


# -- results -----------------------------------------------------------------------


def test_it_is_a_thread_that_keeps_what_its_target_returned():
    thread = finished(lambda *args, **kwargs: (args, kwargs), 1, kwargs={"key": 2})
    assert isinstance(thread, threading.Thread)
    assert thread.result == ((1,), {"key": 2})
    assert thread.exception is None


def test_it_keeps_what_its_target_raised_and_reports_it():
    error = ValueError("from a target")

    def fail():
        raise error

    with failures_kept() as seen:
        thread = finished(fail)
    assert thread.exception is error
    assert thread.result is None
    assert [args.exc_value for args in seen] == [error]
    assert seen[0].thread is thread


def test_the_constructor_is_that_of_a_thread():
    ours = inspect.signature(CupThread).parameters
    theirs = inspect.signature(threading.Thread).parameters
    assert list(ours) == [name for name in theirs if name != "context"]
    thread = CupThread(None, spin, "worker", (1,), {}, daemon=True)
    assert thread.name == "worker"
    assert thread.daemon
    with pytest.raises(AssertionError):
        CupThread("group")


def test_without_a_target_it_does_nothing():
    thread = finished(None)
    assert thread.result is None
    assert thread.exception is None


def test_a_subclass_may_override_run():
    class Worker(CupThread):
        def run(self):
            self.result = "by run"
            raise KeyError

    with failures_kept() as seen:
        thread = Worker()
        thread.start()
        assert ended(thread)
    assert thread.result == "by run"
    assert isinstance(thread.exception, KeyError)
    assert len(seen) == 1


def test_run_may_be_set_on_the_instance():
    thread = CupThread()
    thread.run = functools.partial(setattr, thread, "result", "by the instance")
    thread.start()
    assert ended(thread)
    assert thread.result == "by the instance"


def test_an_overridden_run_is_interrupted_as_a_target_is():
    class Worker(CupThread):
        def __init__(self):
            super().__init__()
            self.begun = threading.Event()
            self.stop = threading.Event()

        def run(self):
            self.begun.set()
            spin(self.stop)

    thread = Worker()
    thread.start()
    assert thread.begun.wait(PATIENCE)
    assert thread.terminate()
    assert isinstance(thread.exception, ThreadTermException)


def test_it_starts_once():
    thread = finished(int)
    with pytest.raises(RuntimeError, match="once"):
        thread.start()
    assert thread.result == 0


def test_a_start_that_fails_can_be_repeated(monkeypatch):
    def fail(self):
        raise RuntimeError("can't start new thread")

    thread = CupThread(target=int)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="new thread"):
            thread.start()
        with pytest.raises(ThreadNotStarted):
            thread.raise_exc(Stopped)
    thread.start()
    assert ended(thread)
    assert thread.result == 0


def test_it_keeps_nothing_of_its_target_once_it_has_ended():
    class Thing:
        def work(self, other):
            pass

    thing, other = Thing(), Thing()
    references = [weakref.ref(thing), weakref.ref(other)]
    thread = finished(thing.work, other)
    del thing, other
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert not thread.is_alive()


# -- the old names -----------------------------------------------------------------


def test_get_my_tid_is_the_identifier_while_it_lives():
    stop = threading.Event()
    thread = CupThread(target=stop.wait)
    assert thread.get_my_tid() is None
    thread.start()
    assert thread.get_my_tid() == thread.ident
    stop.set()
    assert ended(thread)
    assert thread.get_my_tid() is None
    inside = finished(lambda: threading.current_thread().get_my_tid())
    assert inside.result == inside.ident


def test_raise_exc_of_a_thread_that_was_not_started():
    thread = CupThread(target=int)
    with pytest.raises(ThreadNotStarted, match="not started") as caught:
        thread.raise_exc(Stopped)
    assert isinstance(caught.value, RuntimeError)
    with pytest.raises(RuntimeError):
        thread.terminate()
    thread.start()
    assert ended(thread)
    assert thread.result == 0


def test_raise_exc_tells_whether_it_will_be_raised():
    stop = threading.Event()
    with failures_kept():
        thread = running(spin, stop)
        assert thread.raise_exc(Stopped) == 1
        assert ended(thread)
    assert type(thread.exception) is Stopped
    assert thread.raise_exc(Stopped) == 0
    assert thread.raise_exc(ThreadTermException) == 0


def test_raise_exc_takes_instances():
    error, stop = Stopped("why", 7), threading.Event()
    with failures_kept():
        thread = running(spin, stop)
        assert thread.raise_exc(error) == 1
        assert ended(thread)
    assert thread.exception is error
    assert error.args == ("why", 7)


@pytest.mark.parametrize("wrong", [None, 7, "ValueError", int, object(), [ValueError]])
def test_raise_exc_refuses_what_is_no_exception(wrong):
    stop = threading.Event()
    thread = running(spin, stop)
    with pytest.raises(InvalidType, match="exception"):
        thread.raise_exc(wrong)
    stop.set()
    assert ended(thread)
    assert thread.exception is None


def test_a_class_that_needs_arguments_fails_in_the_thread():
    class Particular(Exception):
        def __init__(self, reason):
            super().__init__(reason)

    stop = threading.Event()
    with failures_kept():
        thread = running(spin, stop)
        assert thread.raise_exc(Particular)
        assert ended(thread)
    assert isinstance(thread.exception, TypeError)


def test_what_is_raised_is_caught_as_what_it_is():
    class Base(Exception):
        pass

    class Special(Base):
        __slots__ = ()

    stop, caught = threading.Event(), []

    def work():
        try:
            spin(stop)
        except Base as error:
            caught.append((type(error), error.args))

    thread = running(work)
    assert thread.raise_exc(Special)
    assert ended(thread)
    assert caught == [(Special, ())]


def test_the_later_of_two_that_did_not_arrive_is_raised():
    inside, stop = threading.Event(), threading.Event()

    def work():
        with shield():
            inside.set()
            stop.wait(PATIENCE)

    with failures_kept():
        thread = CupThread(target=work)
        thread.start()
        inside.wait(PATIENCE)
        assert thread.raise_exc(ValueError)
        assert thread.raise_exc(Stopped)
        stop.set()
        assert ended(thread)
    assert type(thread.exception) is Stopped


def test_none_takes_the_place_of_the_end():
    inside, stop = threading.Event(), threading.Event()

    def work():
        with shield():
            inside.set()
            stop.wait(PATIENCE)

    thread = CupThread(target=work)
    thread.start()
    inside.wait(PATIENCE)
    assert thread.raise_exc(ThreadTermException)
    assert thread.raise_exc(Stopped)
    stop.set()
    assert ended(thread)
    assert type(thread.exception) is ThreadTermException


def test_an_interrupt_while_a_thread_starts_or_ends_is_raised_or_refused():
    for _ in range(200):
        began = []
        thread = CupThread(target=began.append, args=(1,))
        with failures_kept():
            thread.start()
            posted = thread.raise_exc(Stopped)
            assert ended(thread)
        if not posted:
            assert began
            assert thread.exception is None
        elif not began:
            assert type(thread.exception) is Stopped


def test_an_interrupt_before_the_first_step_keeps_the_target_from_running():
    began = []

    class Late(CupThread):
        def _run_guarded(self, run):
            assert self.raise_exc(Stopped) == 1  # started, and not yet running
            super()._run_guarded(run)

    with failures_kept():
        thread = Late(target=began.append, args=(1,))
        thread.start()
        assert ended(thread)
    assert not began
    assert type(thread.exception) is Stopped


@pytest.fixture
def short_rounds(monkeypatch):
    """Have each try of `terminate` take a tenth of a second, not one."""
    import cup.thread.cup_thread as module

    join = module.join_within
    monkeypatch.setattr(module, "join_within", lambda t, seconds: join(t, seconds / 10))


# -- terminate ---------------------------------------------------------------------


def test_the_exception_of_terminate_is_the_old_one():
    assert cup.err.ThreadTermException is ThreadTermException
    assert issubclass(ThreadTermException, BaseException)
    assert not issubclass(ThreadTermException, Exception)


def test_terminate_ends_plain_code_silently():
    stop = threading.Event()
    with failures_kept() as seen:
        thread = running(spin, stop)
        assert thread.terminate() is True
    assert not thread.is_alive()
    assert type(thread.exception) is ThreadTermException
    assert not seen


def test_terminate_ends_a_wait_of_ours():
    lock = RWLock()
    with lock.write():
        thread = CupThread(target=lock.acquire_readlock)
        thread.start()
        wait_for(lambda: lock.stats().waiting_readers)
        assert thread.terminate(0) is True


def test_terminate_of_what_has_ended_is_true():
    thread = finished(int)
    assert thread.terminate() is True
    assert thread.terminate(times=0) is True
    assert thread.exception is None
    assert thread.result == 0


def test_each_try_of_terminate_takes_a_second():
    gate = threading.Lock()
    gate.acquire()
    thread = running(gate.acquire)
    begin = time.monotonic()
    assert thread.terminate(0) is False
    assert 0.9 < time.monotonic() - begin < PATIENCE
    gate.release()
    assert ended(thread)


def test_terminate_ends_at_once_when_the_thread_does():
    stop = threading.Event()
    thread = running(spin, stop)
    begin = time.monotonic()
    assert thread.terminate(100)
    assert time.monotonic() - begin < PATIENCE


@pytest.mark.usefixtures("short_rounds")
def test_terminate_is_honest_about_c_code():
    gate = threading.Lock()
    gate.acquire()
    thread = running(gate.acquire)
    assert thread.terminate(0) is False
    assert thread.is_alive()
    gate.release()
    assert ended(thread)
    # It arrives when the C code returns, or comes too late for the target.
    assert thread.exception is None or isinstance(thread.exception, ThreadTermException)


@pytest.mark.usefixtures("short_rounds")
def test_terminate_is_honest_about_a_shield():
    inside, stop = threading.Event(), threading.Event()

    def work():
        with shield():
            inside.set()
            spin(stop)

    thread = CupThread(target=work)
    thread.start()
    inside.wait(PATIENCE)
    assert thread.terminate(times=0) is False
    stop.set()
    assert thread.terminate(20) is True
    assert type(thread.exception) is ThreadTermException


@pytest.mark.usefixtures("short_rounds")
def test_terminate_is_honest_about_a_target_that_goes_on():
    swallowed, stop = [], threading.Event()

    def work():
        while not stop.is_set():
            try:
                spin(stop)
            except ThreadTermException as error:
                swallowed.append(error)

    thread = running(work)
    assert thread.terminate(times=1) is False
    assert thread.is_alive()
    assert len(swallowed) == 2  # one a round
    stop.set()
    assert ended(thread)
    assert thread.exception is None


@pytest.mark.usefixtures("short_rounds")
def test_terminate_tries_again_until_the_target_gives_in():
    swallowed, stop = [], threading.Event()

    def work():
        try:
            spin(stop)
        except ThreadTermException as error:
            swallowed.append(error)
        spin(stop)

    thread = running(work)
    assert thread.terminate() is True
    assert len(swallowed) == 1


def test_terminate_by_the_thread_itself_is_raised_right_there():
    after = []

    def work():
        try:
            threading.current_thread().terminate()
        finally:
            after.append("cleaned up")
        after.append("never")

    thread = finished(work)
    assert type(thread.exception) is ThreadTermException
    assert after == ["cleaned up"]


def test_terminate_by_the_thread_itself_inside_of_a_shield_comes_later():
    answers = []

    def work():
        with shield():
            answers.append(threading.current_thread().terminate())
        answers.append("never")

    thread = finished(work)
    assert answers == [False]
    assert type(thread.exception) is ThreadTermException


def test_terminate_by_the_thread_itself_under_a_lock_gives_the_lock_back():
    lock = RWLock()

    def work():
        with lock.write():
            threading.current_thread().terminate()

    thread = finished(work)
    assert type(thread.exception) is ThreadTermException
    lock.acquire_writelock(0)
    lock.release_writelock()


@pytest.mark.usefixtures("short_rounds")
def test_terminate_does_not_wait_for_who_reports_the_end():
    """A thread that has ended its target may take its time to say so."""
    stop, reporting = threading.Event(), threading.Event()

    def report(args):
        reporting.set()
        stop.wait(PATIENCE)

    before, threading.excepthook = threading.excepthook, report
    try:
        thread = CupThread(target=lambda: 1 / 0)
        thread.start()
        assert reporting.wait(PATIENCE)
        assert thread.raise_exc(Stopped) == 0
        assert thread.terminate(times=0) is False
        stop.set()
        assert thread.terminate() is True
    finally:
        threading.excepthook = before
    assert isinstance(thread.exception, ZeroDivisionError)


@pytest.mark.parametrize("times", [-1, -100])
def test_terminate_refuses_less_than_one_try(times):
    thread = finished(int)
    with pytest.raises(InvalidValue, match="negative"):
        thread.terminate(times)


def test_terminate_has_the_old_signature():
    parameters = inspect.signature(CupThread.terminate).parameters
    assert list(parameters) == ["self", "times"]
    assert parameters["times"].default == 15


# -- single acts -------------------------------------------------------------------


def test_thread_alive():
    stop = threading.Event()
    thread = running(stop.wait)
    assert thread_alive(thread)
    stop.set()
    assert ended(thread)
    assert not thread_alive(thread)
    assert not thread_alive(threading.Thread())


@pytest.mark.parametrize("kind", [threading.Thread, CupThread])
def test_async_raise_reaches_any_thread(kind):
    stop, caught, begun = threading.Event(), [], threading.Event()

    def work():
        try:
            begun.set()
            spin(stop)
        except Stopped as error:
            caught.append(type(error))

    thread = kind(target=work)
    thread.start()
    begun.wait(PATIENCE)
    assert async_raise(thread.ident, Stopped) == 1
    assert ended(thread)
    assert caught == [Stopped]


def test_async_raise_of_a_cup_thread_waits_for_its_locks():
    lock, inside, go = RWLock(), threading.Event(), threading.Event()

    def work():
        with lock.write():
            inside.set()
            go.wait(PATIENCE)

    with failures_kept():
        thread = CupThread(target=work)
        thread.start()
        inside.wait(PATIENCE)
        assert async_raise(thread.ident, Stopped) == 1
        with pytest.raises(LockTimeout):
            lock.acquire_readlock(0)
        go.set()
        assert ended(thread)
    assert type(thread.exception) is Stopped
    lock.acquire_writelock(0)
    lock.release_writelock()


def test_async_raise_errors():
    thread = finished(int)
    with pytest.raises(InvalidValue, match="no thread"):
        async_raise(2**40 + 7, Stopped)
    stop = threading.Event()
    other = running(spin, stop)
    for wrong in (Stopped("an instance"), None, int, "Stopped"):
        with pytest.raises(InvalidType):
            async_raise(other.ident, wrong)
    stop.set()
    assert ended(other)
    assert other.exception is None
    assert thread.exception is None


def test_async_raise_does_not_reach_the_epilogue_of_a_thread():
    stop, reporting = threading.Event(), threading.Event()

    def report(args):
        reporting.set()
        stop.wait(PATIENCE)

    before, threading.excepthook = threading.excepthook, report
    try:
        thread = CupThread(target=lambda: 1 / 0)
        thread.start()
        assert reporting.wait(PATIENCE)
        with pytest.raises(InvalidValue, match="any more"):
            async_raise(thread.ident, Stopped)
    finally:
        stop.set()
        assert ended(thread)
        threading.excepthook = before


# -- processes ---------------------------------------------------------------------


def test_a_clean_process_reaches_threads_with_long_identifiers():
    """ctypes passes a C int unless told otherwise: most identifiers are longer."""
    out = run_python(
        """
import sys
assert "ctypes" not in sys.modules
import threading
from cup.thread import CupThread, async_raise
assert "ctypes" not in sys.modules, "loaded before the first interrupt"
begun = threading.Event()
def work():
    begun.set()
    while True: pass
def by_ident(t):
    async_raise(t.ident, SystemExit)
    t.join()
    return True
for act in (CupThread.terminate, by_ident):
    begun.clear()
    t = CupThread(target=work)
    t.start()
    begun.wait()
    print(t.ident > 2**32, act(t))
"""
    )
    assert out == "True True\nTrue True\n"


def test_others_may_change_the_shared_function_object():
    out = run_python(
        """
import ctypes, threading
theirs = ctypes.pythonapi.PyThreadState_SetAsyncExc
theirs.argtypes = (ctypes.c_int, ctypes.py_object)
theirs.restype = ctypes.c_void_p
from cup.thread import CupThread, RWLock
lock = RWLock()
def work():
    while True:
        with lock.write():
            begun.set()
for _ in range(50):
    begun = threading.Event()
    t = CupThread(target=work)
    t.start()
    begun.wait()
    theirs.argtypes = (ctypes.py_object, ctypes.c_ulong)
    assert t.terminate(), t
    lock.acquire_writelock(5)
    lock.release_writelock()
print("ended")
"""
    )
    assert out == "ended\n"


def test_a_key_interrupt_in_a_wait_leaves_the_lock_as_it_was():
    out = run_python(
        """
import _thread, threading, time
from cup.thread import RWLock
lock = RWLock()
held, leave = threading.Event(), threading.Event()
def hold():
    with lock.read():
        held.set()
        leave.wait()
holder = threading.Thread(target=hold)
holder.start()
held.wait()
read = threading.Event()
def late():
    with lock.read():
        read.set()
for wait_time in (None, 60):
    read.clear()
    def interrupt():
        while not lock.stats().waiting_writers: time.sleep(0.001)
        reader = threading.Thread(target=late); reader.start()
        while not lock.stats().waiting_readers: time.sleep(0.001)
        _thread.interrupt_main()
        # C code is not woken by that; a signal is.
        import os, signal
        os.kill(os.getpid(), signal.SIGINT)
    poster = threading.Thread(target=interrupt)
    poster.start()
    try:
        lock.acquire_writelock(wait_time)
    except KeyboardInterrupt:
        pass
    try:
        poster.join()
    except KeyboardInterrupt:
        poster.join()
    assert read.wait(10), lock
leave.set()
holder.join()
lock.acquire_writelock(0)
lock.release_writelock()
print(lock)
"""
    )
    assert out == "<RWLock fair: free, 0 wait to read, 0 to write>\n"


def test_a_program_ends_while_an_interrupt_is_on_its_way():
    out = run_python(
        """
import threading, time
from cup.thread import CupThread
begun = threading.Event()
def work():
    begun.set()
    time.sleep(0.2)
t = CupThread(target=work)
t.start()
begun.wait()
assert t.raise_exc(SystemExit) == 1
print("main ends")
"""
    )
    assert out == "main ends\n"


@pytest.mark.parametrize("tid", [None, "1", 1.5])
def test_an_identifier_of_another_type_is_refused(tid):
    with pytest.raises(InvalidType, match="identifier of a thread"):
        async_raise(tid, Stopped)


def test_a_second_start_takes_no_guard_from_the_first(monkeypatch):
    """It comes before the first one has got as far as the thread."""
    real, starts = threading.Thread.start, []

    def start(thread):
        starts.append(thread)
        if len(starts) > 1:
            raise RuntimeError("threads can only be started once")
        with pytest.raises(RuntimeError, match="only be started once"):
            thread.start()
        real(thread)

    thread = CupThread(target=lambda: thread.ident in targets)
    monkeypatch.setattr(threading.Thread, "start", start)
    thread.start()
    thread.join()
    assert thread.result is True
