"""Nothing is left behind: by ends, cancellations, forks, exits, thousands of waits."""

import asyncio
import contextlib
import gc
import os
import random
import resource
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import anyio
import pytest
from autowait_tools import LONG, happening, open_files, until, watched

from cup.errors import BlockingInLoop, BlockingInLoopWarning, ConditionTimeout, LoopGone
from cup.services.autowait import (
    FileExists,
    FileGone,
    Predicate,
    ProcessGone,
    RegexInFile,
    aio,
    sync,
    wait,
    wait_until_file_exist,
)
from cup.services.autowait._core_eyes import LinuxEyes
from cup.services.autowait._core_hub import HUB
from cup.services.autowait._core_lease import leases
from cup.testing import strict_blocking
from cup.thread import CupThread

NO_EVENTS = os.environ.get("CUP_TEST_NO_EVENTS") == "1"
EVENTS = pytest.mark.skipif(NO_EVENTS, reason="nothing is watched without events")


def run(code, *arguments):
    """Run a program in an interpreter of its own; give what it printed."""
    result = subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "error",
            "-c",
            textwrap.dedent(code),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    return result.stdout


async def test_cancelled_wait_leaves_nothing(tmp_path):
    for path in (tmp_path / "x", tmp_path / "a" / "b"):
        with anyio.move_on_after(0.02) as scope:
            await aio.wait(FileExists(path) | RegexInFile(path, "x") | ProcessGone(1))
        assert scope.cancelled_caught
    assert watched() == (0, 0)


async def test_wait_in_a_cancelled_scope(tmp_path):
    with anyio.CancelScope() as scope:
        scope.cancel()
        await aio.wait(FileExists("/"))
    assert scope.cancelled_caught


async def test_cancellation_at_every_moment(tmp_path):
    path = tmp_path / "x"
    path.write_text("no\n")
    for n in range(60):
        scope = anyio.CancelScope()
        with scope:
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_after, scope, n * 0.0001)
                await aio.wait(RegexInFile(path, "yes") | FileGone(path), LONG)
    assert watched() == (0, 0)


async def cancel_after(scope, seconds):
    await anyio.sleep(seconds)
    scope.cancel()


async def test_many_tasks_are_woken(tmp_path):
    path = tmp_path / "x"
    done = []

    async def one():
        await aio.wait(FileExists(path), LONG)
        done.append(1)

    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(one)
        await anyio.sleep(0.05)
        path.touch()
    assert len(done) == 200


async def test_loop_stays_alive_beside_a_flood(tmp_path):
    path = tmp_path / "x"
    path.write_bytes((b"no " * 30 + b"\n") * 110_000)
    turns = 0

    async def turn():
        nonlocal turns
        while True:
            await anyio.sleep(0)
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(turn)
        with pytest.raises(ConditionTimeout):
            await aio.wait(RegexInFile(path, "[y]es"), 0)
        group.cancel_scope.cancel()
    assert turns > 10


async def test_slow_file_system_is_looked_at_in_a_thread(tmp_path, monkeypatch):
    from cup.services.autowait import _core_files

    here = threading.get_ident()
    looked = []
    monkeypatch.setattr(_core_files, "is_remote", lambda _: True)
    really = _core_files.stat_at

    def stat_at(path):
        looked.append(threading.get_ident())
        return really(path)

    monkeypatch.setattr(_core_files, "stat_at", stat_at)
    with pytest.raises(ConditionTimeout):
        await aio.wait(FileExists(tmp_path / "x"), 0.02)
    assert here not in looked[:2]


async def test_dead_file_system_does_not_hold_a_task(tmp_path, monkeypatch):
    from cup.services.autowait import _core_regex

    monkeypatch.setattr(_core_regex, "is_remote", lambda _: True)
    gate, entered = threading.Event(), threading.Event()
    really = os.open

    def dead(path, *args, **kwargs):
        if str(path).endswith("dead.log"):
            entered.set()
            gate.wait()
        return really(path, *args, **kwargs)

    path = tmp_path / "dead.log"
    path.touch()
    monkeypatch.setattr(os, "open", dead)
    before = open_files()
    with anyio.move_on_after(0.05) as scope:
        await aio.wait(RegexInFile(path, "x"))
    assert scope.cancelled_caught
    assert entered.is_set()
    gate.set()
    until(lambda: open_files() <= before)  # closed by who opened it, after all


def test_loop_that_is_gone_disturbs_nobody(tmp_path):
    path = tmp_path / "x"

    async def begin():
        task = asyncio.ensure_future(aio.wait(FileExists(path)))
        await asyncio.sleep(0.02)
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(begin())
    loop.close()
    with happening(path.touch):
        wait(FileExists(path), LONG)
    task._log_destroy_pending = False
    task.get_coro().close()
    del task
    gc.collect()
    assert watched() == (0, 0)


def test_task_is_asked_for():
    coroutine = aio.wait(FileExists("/"))
    with pytest.raises(LoopGone):
        coroutine.send(None)


async def test_thread_of_a_loop_is_not_blocked(tmp_path):
    with strict_blocking(), pytest.raises(BlockingInLoop, match=r"autowait\.aio\.wait"):
        wait(FileExists(tmp_path / "x"), 5)
    with pytest.warns(BlockingInLoopWarning):
        assert not wait_until_file_exist(tmp_path, "x", 0.01)
    wait(FileExists("/"), 5)  # does not block
    assert watched() == (0, 0)


def test_interrupt_ends_a_wait(tmp_path):
    caught = []

    def work():
        try:
            wait(FileExists(tmp_path / "x"))
        except KeyError as error:
            caught.append(error)

    thread = CupThread(target=work)
    thread.start()
    until(lambda: watched() != (0, 0) or NO_EVENTS)
    time.sleep(0.02)
    thread.raise_exc(KeyError)
    thread.join(LONG)
    assert caught
    assert watched() == (0, 0)


def test_interrupt_ends_the_reading_of_what_has_no_end(tmp_path):
    path, caught, done = tmp_path / "x", [], threading.Event()

    def work():
        try:
            wait(RegexInFile(path, "^yes$"))
        except KeyError as error:
            caught.append(error)

    def flood():
        with path.open("ab", buffering=0) as file:
            while not done.is_set():
                file.write(b"no\n" * 20_000)
                if file.tell() > 100_000_000:
                    file.truncate(0)

    writer, thread = threading.Thread(target=flood), CupThread(target=work)
    writer.start()
    thread.start()
    time.sleep(0.1)
    thread.raise_exc(KeyError)
    thread.join(LONG)
    done.set()
    writer.join()
    assert caught


def test_signal_handler_may_raise(tmp_path):
    print_what = run(
        """
        import os, signal, sys, threading, time
        from cup.services.autowait import FileExists, wait
        from cup.services.autowait._core_hub import HUB

        def stop(*_):
            raise KeyError

        signal.signal(signal.SIGUSR1, stop)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        try:
            wait(FileExists(sys.argv[1] + "/x"))
        except KeyError:
            print(HUB.stats())
        """,
        str(tmp_path),
    )
    assert print_what == "(0, 0)\n"


def test_import_is_light():
    code = "import sys, cup.services.autowait; print('ctypes' in sys.modules)"
    assert run(code) == "False\n"


def test_exit_with_waits_under_way(tmp_path):
    """A thread that is no daemon still gets its file, a daemon is no hindrance."""
    printed = run(
        """
        import sys, threading, time
        from pathlib import Path
        from cup.services.autowait import FileExists, wait
        path = Path(sys.argv[1])

        def last():
            wait(FileExists(path / "y"), 30)
            print("got it", flush=True)

        def make():
            time.sleep(0.6)
            (path / "y").touch()

        never = FileExists(path / "x")
        threading.Thread(target=wait, args=(never,), daemon=True).start()
        threading.Thread(target=last).start()
        threading.Thread(target=make).start()
        time.sleep(0.2)
        """,
        str(tmp_path),
    )
    assert printed == "got it\n"


FORKS = """
    import os, sys, threading, time
    from pathlib import Path
    from cup.services.autowait import FileExists, ProcessGone, wait
    from cup.services.autowait._core_hub import HUB
    from cup.services.autowait._core_lease import leases
    path = Path(sys.argv[1])

    def watched():
        hubs = (HUB, *leases)
        return [sum(hub.stats()[n] for hub in hubs) for n in (0, 1)]

    def later(name):
        time.sleep(0.1)
        (path / name).touch()

    waits = threading.Thread(target=wait, args=(FileExists(path / "parent"), 30))
    waits.start()
    gone = threading.Thread(target=wait, args=(ProcessGone(os.getpid()),), daemon=True)
    gone.start()
    while 0 in watched():
        time.sleep(0.001)
    pid = os.fork()
    if not pid:
        ours = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                if os.path.lexists(f"/proc/self/fd/{n}")]
        assert not [name for name in ours if "inotify" in name or "pidfd" in name], ours
        assert watched() == [0, 0]
        threading.Thread(target=later, args=("child",)).start()
        wait(FileExists(path / "child"), 30)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    (path / "parent").touch()
    waits.join(30)
    print(waits.is_alive())
"""


@EVENTS
@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="-W error: fork with threads warns"
)
def test_fork_with_waits_under_way(tmp_path):
    assert run(FORKS, str(tmp_path)) == "False\n"


@EVENTS
def test_fork_inside_of_a_predicate(tmp_path):
    printed = run(
        """
        import os, sys, time, threading, warnings
        from pathlib import Path
        from cup.services.autowait import FileExists, Predicate, wait
        warnings.simplefilter("ignore")
        path = Path(sys.argv[1])
        pids = []

        def fork():
            if len(pids) < 1 and time.monotonic() > start + 0.1:
                pids.append(os.fork())
                if not pids[0]:
                    threading.Timer(0.1, (path / "child").touch).start()
            return False

        start = time.monotonic()
        condition = FileExists(path / "parent") | FileExists(path / "child")
        won = wait(condition | Predicate(fork, every=0.05), 30)
        if not pids[0]:
            os._exit(won.value.index)
        print(won.value.index, os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]))
        """,
        str(tmp_path),
    )
    assert printed == "1 1\n"


def listened():
    """Count who listens to a path."""
    hubs = (HUB, *leases)
    return sum(len(subs) for hub in hubs for subs in [*hub._subs.values()])


@EVENTS
def test_one_thread_and_few_descriptors(tmp_path):
    """500 threads and 200 tasks wait for different files."""
    before_threads, before_files = threading.active_count(), open_files()
    names = [tmp_path / str(n) for n in range(300)]
    results = []

    def one(path):
        wait(FileExists(path), LONG)
        results.append(path)

    async def all_tasks():
        async with anyio.create_task_group() as group:
            for path in names[200:]:
                group.start_soon(task, path)

    async def task(path):
        await aio.wait(FileExists(path), LONG)
        results.append(path)

    workers = [threading.Thread(target=one, args=(path,)) for path in names[:200]]
    workers += [threading.Thread(target=anyio.run, args=(all_tasks,))]
    for worker in workers:
        worker.start()
    until(lambda: listened() >= 300)
    assert threading.active_count() <= before_threads + len(workers) + 1
    targets = [
        str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()
    ]
    assert len([name for name in targets if "inotify" in name]) <= 8
    assert open_files() <= before_files + 40  # a loop has some
    for path in names:
        path.touch()
    for worker in workers:
        worker.join()
    assert {*results} == {*names}


@EVENTS
@pytest.mark.parametrize("helped", [False, True], ids=["alone", "helped"])
def test_no_wake_up_while_nothing_happens(tmp_path, monkeypatch, helped):
    for_nothing = []
    really = LinuxEyes.see

    def see(self, seconds):
        events, ended = really(self, seconds)
        # Other programs may make and remove files in the directories above.
        for_nothing.append(not events and not ended)
        return events, ended

    monkeypatch.setattr(LinuxEyes, "see", see)
    if helped:
        monkeypatch.setattr(sync, "borrow", lambda: None)
    with pytest.raises(ConditionTimeout, match=r"\(0 wake-ups"):
        wait(FileExists(tmp_path / "x"), 0.3)
    assert sum(for_nothing) <= 2


@EVENTS
def test_other_files_wake_nobody(tmp_path):
    def noise():
        for n in range(100):
            (tmp_path / f"other{n}").touch()

    with happening(noise), pytest.raises(ConditionTimeout, match=r"\(0 wake-ups"):
        wait(FileExists(tmp_path / "x"), 0.3)


def repeat(times, tmp_path):
    path = tmp_path / "x"
    path.write_text("no\n")
    conditions = [FileExists(tmp_path / "y"), RegexInFile(path, "yes"), FileGone(path)]
    for n in range(times):
        try:
            wait(conditions[n % 3], 0.0001)
        except ConditionTimeout:
            pass


@pytest.mark.parametrize(
    "times", [500, pytest.param(10_000, marks=pytest.mark.full)], ids=str
)
def test_waits_in_a_row_leak_nothing(tmp_path, times):
    repeat(200, tmp_path)
    gc.collect()
    files, threads = open_files(), threading.active_count()
    memory = resident()
    repeat(times, tmp_path)
    gc.collect()
    assert open_files() <= files
    assert threading.active_count() <= threads
    assert watched() == (0, 0)
    assert resident() - memory < 2 << 20


def resident():
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


async def test_tasks_in_a_row_leak_nothing(tmp_path):
    condition = Predicate(lambda: False, every=0.0001) & FileExists(tmp_path / "x")
    for _ in range(20):
        with pytest.raises(ConditionTimeout):
            await aio.wait(condition, 0.0001)
    files = open_files()
    for _ in range(300):
        with pytest.raises(ConditionTimeout):
            await aio.wait(condition, 0.0001)
    assert open_files() == files


@EVENTS
@pytest.mark.skipif(sys.platform != "linux", reason="inotify")
def test_queue_of_the_kernel_overflows(tmp_path, monkeypatch):
    """What came after the queue was full is found all the same."""
    monkeypatch.setattr(sync, "borrow", lambda: None)  # the helper thread listens
    path, one, other = tmp_path / "x", tmp_path / "one", tmp_path / "other"
    one.touch()
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())

    def overflow():
        until(lambda: watched()[0] > 0)
        with HUB._mutex:  # nobody listens meanwhile
            for _ in range(limit * 3 // 4):
                one.rename(other)  # two events
                other.rename(one)
            path.touch()

    with happening(overflow):
        started = time.monotonic()
        wait(FileExists(path), LONG)
    assert time.monotonic() - started < LONG - 1


@EVENTS
def test_waits_that_share_a_directory(tmp_path):
    """Watches of one directory are begun and ended by many at once."""
    late = []

    def work(number):
        draw = random.Random(number)
        for turn in range(60):
            path = tmp_path / f"{number}-{turn}"
            timer = threading.Timer(draw.random() * 0.003, path.touch)
            timer.start()
            with contextlib.suppress(ConditionTimeout):
                wait(FileExists(path), draw.random() * 0.002)
            started = time.monotonic()
            wait(FileExists(path), LONG)
            if time.monotonic() - started > LONG / 2:
                late.append(path)
            timer.join()
            path.unlink()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        workers = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(before)
    assert not late
