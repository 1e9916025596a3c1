"""Which loop runs here, and what becomes of who blocks it."""

import asyncio
import sys
import threading
import types
import warnings
from contextvars import copy_context

import pytest
import sniffio
from core_tools import Permits, Thread, Want, run_python, take

from cup._core import running
from cup._core.context import job_context
from cup._core.latch import Latch, LatchAsk
from cup._core.running import guard_blocking, name_of_running_loop
from cup._core.wait import block
from cup.errors import BlockingInLoop, BlockingInLoopWarning, WaitTimeout
from cup.testing import strict_blocking

MESSAGE = r"Permits\.acquire blocks the \w+ loop .* await AsyncPermits\.acquire instead"


def full():
    """Return an ask of a line that has nothing left."""
    line = Permits(1)
    take(line)
    return Want(line)


# -- which loop ------------------------------------------------------------------------


def test_no_loop_runs_in_a_thread():
    assert name_of_running_loop() is None
    assert Thread(name_of_running_loop).result() is None


async def test_a_task_knows_its_loop(anyio_backend_name):
    assert name_of_running_loop() == anyio_backend_name


async def test_a_thread_beside_a_loop_has_none():
    assert Thread(name_of_running_loop).result() is None


def test_a_callback_of_a_loop_counts_as_well():
    loop = asyncio.new_event_loop()
    names = []
    loop.call_soon(lambda: names.append(name_of_running_loop()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert names == ["asyncio"]


@pytest.mark.parametrize("name", ["trio", "trio.lowlevel", "asyncio.events"])
def test_a_loop_that_is_being_imported_by_another_thread_does_not_run(
    monkeypatch, name
):
    """Its module is there already, and still empty."""
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    assert name_of_running_loop() is None


def test_nothing_is_imported_to_find_out():
    answer = run_python(
        """
import sys
from core_tools import Permits, Want
from cup._core.wait import block
from cup._core.running import name_of_running_loop
from cup.errors import WaitTimeout
for name in [m for m in sys.modules if m.partition(".")[0] in ("asyncio", "trio")]:
    raise SystemExit(name)
try:
    block(Want(Permits(0)), 0.01)
except WaitTimeout:
    print(name_of_running_loop(), {"asyncio", "trio", "anyio"} & set(sys.modules))
"""
    )
    assert answer == "None set()\n"


# -- warnings and errors ---------------------------------------------------------------


async def test_blocking_a_loop_warns():
    with pytest.warns(BlockingInLoopWarning, match=MESSAGE), pytest.raises(WaitTimeout):
        block(full(), 0.01)


async def test_the_warning_points_at_the_caller():
    with pytest.warns(BlockingInLoopWarning) as caught, pytest.raises(WaitTimeout):
        block(full(), 0.01)
    assert caught[0].filename == __file__


async def test_one_place_warns_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")  # as Python does
        for _ in range(3):
            with pytest.raises(WaitTimeout):
                block(full(), 0.001)
        with pytest.raises(WaitTimeout):
            block(full(), 0.001)
    assert [warning.category for warning in caught] == [BlockingInLoopWarning] * 2


async def test_what_does_not_block_does_not_warn():
    line = Permits(1)
    block(Want(line))
    for timeout in (0, -1):
        with pytest.raises(WaitTimeout):
            block(Want(line), timeout)


async def test_the_environment_silences_it(monkeypatch):
    monkeypatch.setenv("CUP_ALLOW_BLOCKING_IN_LOOP", "1")
    with pytest.raises(WaitTimeout):
        block(full(), 0.01)


async def test_where_blocking_is_the_contract_nothing_is_said():
    latch = Latch()
    assert not LatchAsk(latch).twin
    with strict_blocking(), pytest.raises(WaitTimeout):
        block(LatchAsk(latch), 0.01)


class Hopeless(Permits):
    """Only the loop of this thread could grant anything."""

    __slots__ = ()

    def hopeless(self):
        return True


async def test_a_certain_deadlock_is_an_error(monkeypatch):
    monkeypatch.setenv("CUP_ALLOW_BLOCKING_IN_LOOP", "1")
    line = Hopeless(0)
    with pytest.raises(BlockingInLoop, match=MESSAGE + ": nothing else can end"):
        block(Want(line))
    assert len(line) == 0


def test_outside_of_loops_nothing_is_hopeless():
    with pytest.raises(WaitTimeout):
        block(Want(Hopeless(0)), 0.01)


async def test_it_is_an_error_when_strict():
    line = Permits(0)
    with strict_blocking(), pytest.raises(BlockingInLoop, match=MESSAGE):
        block(Want(line), 5)
    assert len(line) == 0


def test_strictness_is_restored():
    assert running.set_strict(strict=False) is False
    with strict_blocking():
        assert running.set_strict(strict=True) is True
    assert running.set_strict(strict=False) is False


async def test_other_threads_may_block():
    def work():
        with pytest.raises(WaitTimeout):
            block(full(), 0.01)

    with strict_blocking():
        Thread(work).result()


def test_a_guard_outside_of_loops_is_silent():
    guard_blocking("this", "that", hopeless=True)
    guard_blocking("this", "")


def test_a_caller_within_the_library_is_found(monkeypatch):
    """Even if all frames are ours there is something to point at."""
    monkeypatch.setattr(running, "name_of_running_loop", lambda: "asyncio")
    scope = {"__name__": "cup.somewhere", "guard": guard_blocking}
    with pytest.warns(BlockingInLoopWarning) as caught:
        exec("guard('this', 'that')", scope)
    assert caught[0].filename == __file__
    thread = threading.Thread(target=running._callers_level)
    thread.start()
    thread.join()


# -- the context of jobs ---------------------------------------------------------------


async def test_jobs_do_not_inherit_the_mark_of_a_loop():
    with pytest.raises(sniffio.AsyncLibraryNotFoundError):
        Thread(job_context().run, sniffio.current_async_library).result()


def test_a_context_without_a_mark_is_a_copy():
    assert [*job_context().items()] == [*copy_context().items()]


def test_a_context_is_copied_while_another_thread_imports(monkeypatch):
    monkeypatch.setitem(sys.modules, "sniffio", types.ModuleType("sniffio"))
    assert [*job_context().items()] == [*copy_context().items()]
    monkeypatch.delitem(sys.modules, "sniffio")
    assert [*job_context().items()] == [*copy_context().items()]
