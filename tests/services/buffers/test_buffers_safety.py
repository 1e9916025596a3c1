"""Blocks are never lost, never shared, and nobody sees what is not his."""

import ctypes
import gc
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections import deque
from pathlib import Path

import pytest

from cup.errors import BufferPoolError, BufferReleased
from cup.services.buffers import (
    MEDIUM_BLOCK_SIZE,
    BufferPool,
    _core_arena as arena_module,
)
from cup.thread import CupThread

COUNTS_EXACTLY = sys.implementation.name == "cpython"
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def resident():
    """Tell how many bytes of this process are real memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def here():
    """Name the line of the caller."""
    frame = sys._getframe(1)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


# Lost buffers


def lose(take, times=1):
    """Take buffers and drop them."""
    for _ in range(times):
        take()
    gc.collect()


def test_a_lost_buffer_comes_back_and_names_its_line():
    pool = BufferPool(4, leaks="full")
    place, lost = here(), [pool.acquire(3)]
    with pytest.warns(ResourceWarning, match="a buffer of 3 blocks") as told:
        lose(lost.clear)
    assert f"allocated at {place}," in str(told[0].message)
    stats = pool.stats()
    assert (stats.free, stats.buffers, stats.lost) == (4, 0, 1)


@pytest.mark.parametrize("take", ["acquire", "allocate"])
def test_each_lost_buffer_is_reported_when_full(take):
    pool = BufferPool(4, leaks="full")
    with pytest.warns(ResourceWarning) as told:
        lose(lambda: getattr(pool, take)(1), 50)
    assert len(told) == 50
    assert pool.stats().lost == 50


def test_every_128th_is_watched_when_sampled():
    pool = BufferPool(4)
    with pytest.warns(ResourceWarning) as told:
        lose(pool.acquire, 256)
    assert len(told) == 2
    assert pool.stats().lost == 256


def test_off_reports_none_and_still_gets_the_blocks_back():
    pool = BufferPool(4, leaks="off")
    for _ in range(300):
        pool.acquire(4)
    gc.collect()
    assert (pool.stats().free, pool.stats().lost) == (4, 300)


def test_what_is_released_is_no_leak():
    pool = BufferPool(4, leaks="full")
    for _ in range(300):
        pool.acquire(4).release()
    assert not pool._core.leaks.sites
    assert pool.stats().lost == 0


def test_a_cycle_is_found():
    pool = BufferPool(4, leaks="off")
    knot = [pool.acquire(4)]
    knot.append(knot)
    del knot
    gc.collect()
    assert pool.stats().free == 4


def test_a_lost_buffer_wakes_who_waits():
    pool = BufferPool(4, leaks="off")
    lost = [pool.acquire(4)]
    got = []
    thread = threading.Thread(target=lambda: got.append(pool.acquire(4, 20)))
    thread.start()
    while not pool.stats().waiting:
        pass
    lost.clear()
    thread.join()
    assert got
    got[0].release()


def test_warnings_made_errors_break_nobody():
    pool = BufferPool(4, leaks="full")
    hooked = []
    hook, sys.unraisablehook = sys.unraisablehook, hooked.append
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pool.acquire(2)
            gc.collect()
            assert pool.stats().free == 4
    finally:
        sys.unraisablehook = hook
    assert [type(args.exc_value) for args in hooked] == [ResourceWarning]


class Inside:
    """A mutex that does something while it is held."""

    def __init__(self, mutex, act):
        self._mutex = mutex
        self._act = act

    def __enter__(self):
        self._mutex.__enter__()
        act, self._act = self._act, lambda: None
        act()

    def __exit__(self, *error):
        self._mutex.__exit__(*error)

    def locked(self):
        return self._mutex.locked()


def inside(pool, act):
    pool._core.mutex = Inside(pool._core.mutex, act)


USES = [
    pytest.param(lambda pool: pool.acquire(1).release(), id="acquire"),
    pytest.param(lambda pool: pool.deallocate(pool.allocate(4)[1]), id="allocate"),
    pytest.param(lambda pool: pool.stats(), id="stats"),
    pytest.param(lambda pool: pool.trim(), id="trim"),
]


@pytest.mark.parametrize("use", USES)
def test_a_buffer_that_dies_inside_of_the_mutex(use):
    pool = BufferPool(4, leaks="full")
    lost = [pool.acquire(2)]
    inside(pool, lost.clear)  # as a collection does that starts there
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Code of the user: it may use the pool.
        warnings.showwarning = lambda *_: seen.append(pool.stats().free)
        use(pool)
    assert pool.stats().free == 4
    assert len(seen) == 1


@pytest.mark.parametrize("use", USES)
def test_a_release_inside_of_the_mutex(use):
    pool = BufferPool(4)
    inside(pool, pool.acquire(2).release)  # as a signal handler does that comes there
    use(pool)
    assert pool.stats().free == 4
    assert not pool._core._spare


def test_who_meets_a_busy_mutex_leaves_no_waiter_behind():
    pool = BufferPool(4)
    held = pool.acquire(4)
    got = []
    thread = threading.Thread(target=lambda: got.append(pool.acquire(4, 20)))
    thread.start()
    while not pool.stats().waiting:
        pass
    inside(pool, held.release)
    ok, _ = pool.allocate(1)
    assert not ok
    thread.join()
    assert got
    got[0].release()


class Raced(deque):
    """What was handed in: somebody else takes it in the last moment."""

    def pop(self):
        self.clear()
        return super().pop()


@pytest.mark.parametrize("use", [lambda pool: pool.allocate(1), BufferPool.stats])
def test_another_thread_is_faster(use):
    pool = BufferPool(4)
    pool._core._spare = Raced()
    pool.acquire(4).release()
    use(pool)
    assert pool.stats().free == 0
    assert pool.allocate(1)[0] is False


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_signal_handlers_release_and_allocate():
    pool = BufferPool(64, 4096)
    taken = []

    def handler(*_):
        if taken:
            taken.pop().release()

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(20000):
            ok, buffer = pool.allocate(1)
            if ok:
                taken.append(buffer)
            if len(taken) > 30:
                taken.pop().release()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    for buffer in taken:
        buffer.release()
    assert pool.stats().free == 64


@pytest.mark.parametrize("leaks", ["off", "full"])
def test_at_the_end_of_the_interpreter_nothing_breaks(leaks, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, threading\n"
        "from cup.services.buffers import BufferPool\n"
        f"pool = BufferPool(4, leaks={leaks!r})\n"
        "kept = pool.acquire(1); kept.set('abc')\n"
        "view = kept.views()[0]\n"
        "class Late:\n"
        "    def __init__(self): self.buffer = pool.acquire(1)\n"
        "    def __del__(self): self.buffer.release()\n"
        "late = Late(); late.me = late\n"
        "sys.modules['somewhere'] = pool.acquire(2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_interrupts_lose_no_block():
    pool = BufferPool(8, 4096, leaks="off")
    going = True

    def work():
        while going:
            try:
                for _ in range(50):
                    with pool.acquire(3):
                        pass
                    ok, buffer = pool.allocate(2)
                    if ok:
                        pool.deallocate(buffer)
            except ZeroDivisionError:
                pass

    threads = [CupThread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(150):
        for thread in threads:
            thread.raise_exc(ZeroDivisionError)
    going = False
    for thread in threads:
        while thread.is_alive():
            thread.join(0.01)
    gc.collect()
    assert pool.stats().free == 8


# Views that live on


@pytest.mark.skipif(not COUNTS_EXACTLY, reason="counts references")
@pytest.mark.parametrize("contiguous", [False, True])
def test_a_view_holds_its_blocks_back(contiguous):
    pool = BufferPool(pool_size=4, block_size=4096)
    buffer = pool.acquire(2, contiguous=contiguous)
    buffer.set(b"a" * 8192)
    view = buffer.views()[0][10:20]
    buffer.release()
    held = 2 if contiguous else 1
    stats = pool.stats()
    assert (stats.held, stats.free, stats.used) == (held, 4 - held, 0)
    others = pool.acquire(4 - held)
    others.set(b"b" * others.maxsize())
    view[:] = b"#" * 10  # hits nobody
    assert others.tobytes() == b"b" * others.maxsize()
    assert pool.allocate(1)[0] is False
    del view
    assert pool.allocate(held)[0] is True
    others.release()


def exports(view):
    yield "slice", view[1:]
    yield "copy of the view", memoryview(view)
    yield "cast", view.cast("H")
    yield "ctypes", (ctypes.c_char * 8).from_buffer(view)
    try:
        import numpy as np
    except ImportError:
        return
    yield "numpy", np.frombuffer(view, "u1")[2:]


@pytest.mark.skipif(not COUNTS_EXACTLY, reason="counts references")
@pytest.mark.parametrize("number", range(5))
def test_whatever_shows_a_block_holds_it_back(number):
    pool = BufferPool(pool_size=1, block_size=4096)
    buffer = pool.acquire()
    buffer.set(b"x" * 4096)
    kinds = dict(exports(buffer.views()[0]))
    if len(kinds) <= number:
        pytest.skip("needs numpy")
    shown = [kinds[list(kinds)[number]]]
    kinds.clear()
    buffer.release()
    gc.collect()
    assert pool.stats().held == 1
    shown.clear()
    gc.collect()
    assert pool.stats().free == 1


@pytest.mark.skipif(not COUNTS_EXACTLY, reason="counts references")
def test_a_lost_buffer_leaves_its_views_alone():
    pool = BufferPool(pool_size=1, block_size=4096, leaks="off")
    buffer = pool.acquire()
    buffer.set(b"x" * 4096)
    [view] = buffer.views()
    del buffer
    gc.collect()
    assert (pool.stats().held, bytes(view[:2])) == (1, b"xx")
    del view
    assert pool.stats().free == 1


@pytest.mark.skipif(not COUNTS_EXACTLY, reason="counts references")
def test_who_waits_gets_a_block_when_its_last_view_goes():
    pool = BufferPool(pool_size=1, block_size=4096)
    buffer = pool.acquire()
    buffer.set(b"x")
    views = buffer.views()
    buffer.release()
    got = []
    thread = threading.Thread(target=lambda: got.append(pool.acquire(1, 20)))
    thread.start()
    while not pool._core._queue:
        pass
    views.clear()
    thread.join()
    got[0].release()


@pytest.mark.skipif(sys.platform == "win32", reason="needs recvmsg_into")
@pytest.mark.skipif(not COUNTS_EXACTLY, reason="counts references")
def test_a_system_call_under_way_holds_its_blocks_back():
    pool = BufferPool(pool_size=2, block_size=4096)
    buffer = pool.acquire()
    left, right = socket.socketpair()
    errors = []

    def receive():
        try:
            buffer.recvmsg_into(left)
        except BufferReleased as error:
            errors.append(type(error))

    thread = threading.Thread(target=receive)
    thread.start()
    while not _is_in_a_call(thread):
        pass
    buffer.release()
    assert pool.stats().held == 1
    other = pool.acquire()
    other.set(b"o" * 4096)
    right.sendall(b"late" * 1000)
    thread.join()
    assert other.tobytes() == b"o" * 4096
    assert errors == [BufferReleased]
    assert pool.stats().free == 1
    other.release()
    left.close()
    right.close()


def _is_in_a_call(thread):
    """Tell whether a thread sleeps in the kernel; if nobody can tell, wait a bit."""
    try:
        entry = Path(f"/proc/self/task/{thread.native_id}/syscall")
        number, *_ = entry.read_text().split()
        return number == {"x86_64": "47", "aarch64": "212"}[os.uname().machine]
    except (OSError, KeyError):
        thread.join(0.3)
        return True


class Meanwhile(list):
    """Views that somebody releases while they are looked at."""

    buffer = None

    def __getitem__(self, at):
        if not self.buffer.released:
            self.buffer.release()
        return super().__getitem__(at)


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda buffer: buffer.tobytes(), id="tobytes"),
        pytest.param(lambda buffer: buffer.views(), id="views"),
        pytest.param(lambda buffer: buffer.set(b"x" * 100), id="set"),
        pytest.param(lambda buffer: buffer.read(), id="read"),
        pytest.param(lambda buffer: buffer.readinto(bytearray(99)), id="readinto"),
        pytest.param(lambda buffer: buffer.truncate(120), id="truncate"),
        pytest.param(lambda buffer: buffer.room(), id="room"),
        pytest.param(lambda buffer: buffer.writev(1), id="writev"),
    ],
)
def test_a_release_by_another_thread_in_the_middle_is_an_error(use):
    pool = BufferPool(pool_size=8, block_size=16)
    buffer = pool.acquire(8)
    buffer.set(b"before" * 10)
    buffer._views = Meanwhile(buffer._views)
    buffer._views.buffer = buffer
    with pytest.raises(BufferReleased):
        use(buffer)
    buffer = None
    assert pool.stats().free == 8


def test_what_was_taken_before_a_release_cannot_be_used_after_it():
    pool = BufferPool(pool_size=8, block_size=16)
    buffer = pool.acquire(8)
    pieces = buffer._pieces(3, 128)
    buffer.release()
    assert pool.stats().held == 8
    for piece in pieces[1:]:
        with pytest.raises(ValueError, match="released"):
            piece[:] = b"x" * 16
    del piece, pieces
    assert pool.stats().free == 8


def test_a_release_while_views_are_made_is_an_error(monkeypatch):
    pool = BufferPool(pool_size=8, block_size=16)
    buffer = pool.acquire(2)
    views = pool._core.arena.views

    def meanwhile(_, blocks):
        buffer.release()
        return views(blocks)

    monkeypatch.setattr(arena_module.Arena, "views", meanwhile)
    with pytest.raises(BufferReleased):
        buffer.set(b"x" * 32)
    monkeypatch.undo()
    with pool.acquire(8) as other:
        other.truncate(128)
        assert other.tobytes() == bytes(128)


# The memory itself


@needs_linux
@pytest.mark.full
def test_a_large_pool_costs_nothing_before_it_is_used():
    code = (
        "import time\n"
        "from cup.services.buffers import BufferPool, MEDIUM_BLOCK_SIZE\n"
        "import sys; sys.path.insert(0, 'HERE')\n"
        "from test_buffers_safety import resident\n"
        "before = resident(); start = time.perf_counter()\n"
        "pool = BufferPool(102400, MEDIUM_BLOCK_SIZE)\n"
        "print(time.perf_counter() - start, resident() - before)\n"
    ).replace("HERE", str(Path(__file__).parent))
    seconds, memory = min(
        tuple(map(float, subprocess.check_output([sys.executable, "-c", code]).split()))
        for _ in range(3)
    )
    assert seconds < 0.1  # 3 to 8 ms on an idle machine
    assert memory < 16 * 2**20


@needs_linux
def test_trim_gives_memory_back():
    pool = BufferPool(200)
    before = resident()
    with pool.acquire(200) as buffer:
        buffer.set(b"x" * buffer.maxsize())
    used = resident() - before
    assert used > 180 * MEDIUM_BLOCK_SIZE
    assert pool.trim() >= 200 * MEDIUM_BLOCK_SIZE - 2 * mmap.PAGESIZE
    assert resident() - before < used / 10


@needs_linux
def test_trim_leaves_what_is_in_use_and_what_is_shown():
    pool = BufferPool(pool_size=30, block_size=1000)  # blocks share pages
    buffers = [pool.acquire() for _ in range(30)]
    for number, buffer in enumerate(buffers):
        buffer.set(bytes([number]) * 1000)
    shown = buffers[7].views()
    for buffer in buffers[::2]:
        buffer.release()
    buffers[7].release()
    pool.trim()
    for number, buffer in enumerate(buffers):
        if number % 2 and number != 7:
            assert buffer.tobytes() == bytes([number]) * 1000
    assert bytes(shown[0]) == b"\7" * 1000
    for buffer in buffers:
        if not buffer.released:
            buffer.release()


def test_trim_without_the_call_of_the_system(monkeypatch):
    pool = BufferPool(4)
    monkeypatch.setattr(sys, "platform", "win32")
    assert pool.trim() == 0
    with pool.acquire(4) as buffer:
        buffer.set("as before")


@pytest.mark.parametrize(("count", "missing"), [(4, 7), (1, 29), (4, 8), (7, 1)])
def test_a_pool_grows_to_its_ceiling(count, missing):
    pool = BufferPool(pool_size=count, block_size=4096, max_blocks=40)
    buffers = [pool.acquire(count), pool.acquire(missing)]
    buffers += [pool.acquire(40 - count - missing)]
    for number, buffer in enumerate(buffers):
        buffer.set(bytes([number]) * buffer.maxsize())
    for number, buffer in enumerate(buffers):
        assert buffer.tobytes() == bytes([number]) * buffer.maxsize()
    assert pool.stats().total == 40
    assert pool.allocate(1)[0] is False
    assert pool.allocate(41) == (
        False,
        "a buffer of 41 blocks was asked for; the pool never has more than 40",
    )
    for buffer in buffers:
        buffer.release()
    assert pool.trim() > 0
    with pool.acquire(40) as buffer:
        buffer.set(b"z" * 40 * 4096)
        assert buffer.tobytes() == b"z" * 40 * 4096


def test_extendable_has_no_ceiling_of_its_own():
    pool = BufferPool(2, 4096, True)
    buffers = [pool.acquire(3) for _ in range(50)]
    for number, buffer in enumerate(buffers):
        buffer.set(bytes([number]) * 3 * 4096)
    assert all(b.tobytes()[-1] == n for n, b in enumerate(buffers))
    for buffer in buffers:
        buffer.release()
    assert pool.stats().total >= 150


def test_a_contiguous_buffer_lies_in_one_mapping():
    pool = BufferPool(pool_size=4, block_size=4096, max_blocks=12)
    with pool.acquire(2), pool.acquire(4, contiguous=True) as buffer:
        buffer.set(bytes(range(256)) * 64)
        assert len(buffer.views()) == 1
        assert buffer.tobytes() == bytes(range(256)) * 64


class Refusing:
    """A system that maps so many bytes at once, and so many in all."""

    def __init__(self, at_once, in_all=None):
        self.at_once = at_once
        self.left = in_all
        self.sizes = []

    def __call__(self, size):
        if size > self.at_once or (self.left is not None and size > self.left):
            raise OSError(12, "Cannot allocate memory")
        if self.left is not None:
            self.left -= size
        self.sizes.append(size)
        return mmap.mmap(-1, size)


def test_a_system_that_refuses_much_at_once_gets_steps(monkeypatch):
    block = 1 << 20
    system = Refusing(10 * block)
    monkeypatch.setattr(arena_module, "_map", system)
    pool = BufferPool(pool_size=77, block_size=block)
    assert system.sizes == [9 * block]
    with pool.acquire(70) as buffer:
        for number in range(70):
            buffer.write(bytes([number]) * block)
        buffer.seek(0)
        assert all(buffer.read(block) == bytes([n]) * block for n in range(70))
    assert {*system.sizes} == {9 * block}
    pool.trim()


def test_a_system_without_memory_says_so(monkeypatch):
    monkeypatch.setattr(arena_module, "_map", Refusing(0))
    with pytest.raises(BufferPoolError, match="cannot map memory for 12 blocks"):
        BufferPool(100)


def test_a_system_that_runs_out_later_says_so(monkeypatch):
    block = 1 << 20
    monkeypatch.setattr(arena_module, "_map", Refusing(5 * block, 9 * block))
    pool = BufferPool(pool_size=20, block_size=block)
    with pool.acquire(20) as buffer, pytest.raises(BufferPoolError, match="cannot map"):
        buffer.set(b"x")
    assert pool.stats().free == 20


def test_the_map_of_windows(monkeypatch):
    monkeypatch.setattr(arena_module.sys, "platform", "win32")
    with BufferPool(pool_size=3, block_size=4096).acquire(3) as buffer:
        buffer.set(b"w" * 12288)
        assert buffer.tobytes() == b"w" * 12288


# Forks


def in_child(check, fork=None):
    """Run a check in a forked child, and tell its exit status."""
    pid = (fork or os.fork)()
    if pid == 0:
        status = 1
        try:
            check()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def bare_fork():
    """Fork as servers in C do: no hook of Python's runs."""
    return ctypes.PyDLL(None).fork()


pytest_forks = pytest.mark.parametrize(
    "fork", [None, pytest.param(bare_fork, marks=needs_linux)], ids=["fork", "bare"]
)


@needs_fork
@pytest_forks
def test_a_child_has_copies(fork):
    pool = BufferPool(pool_size=4, block_size=4096, leaks="full")
    buffer = pool.acquire(2)
    buffer.set(b"parent" * 100)

    def check():
        assert buffer.tobytes() == b"parent" * 100
        buffer.set(b"child" * 100)
        with pool.acquire(2) as other:
            other.set(b"other")
        assert pool.allocate(3)[0] is False
        buffer.release()
        pool.trim()
        assert pool.stats().free == 4

    assert in_child(check, fork) == 0
    assert buffer.tobytes() == b"parent" * 100
    assert pool.stats().used == 2
    buffer.release()


@needs_fork
@pytest_forks
def test_a_child_reports_no_loss_of_what_its_parent_has(fork):
    pool = BufferPool(pool_size=4, block_size=4096, leaks="full")
    kept = [pool.acquire(2)]

    def check():
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            kept.clear()
            gc.collect()
            assert not told
            assert (pool.stats().free, pool.stats().lost) == (4, 0)
            pool.acquire(1)
            gc.collect()
            assert len(told) == 1

    assert in_child(check, fork) == 0
    kept[0].release()


@needs_fork
@pytest_forks
@pytest.mark.parametrize("first", ["acquire", "release", "stats", "trim", "lose"])
def test_a_child_of_a_busy_parent(fork, first):
    """The fork comes while a thread is inside of the mutex and others wait."""
    pool = BufferPool(pool_size=4, block_size=4096, leaks="off")
    buffers = [pool.acquire(1), pool.acquire(1)]
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with pool._core.mutex:
            taken = pool._core.free.pop()  # is on its way to somebody
            entered.set()
            leave.wait()
            pool._core.free.append(taken)
        pool._core.settle()

    threads = [threading.Thread(target=lambda: pool.acquire(4, 20).release())]
    threads[0].start()
    while not pool._core._queue:
        pass
    threads.append(threading.Thread(target=hold))
    threads[1].start()
    entered.wait()

    def check():
        if first == "acquire":
            assert pool.allocate(2)[0]
        elif first == "release":
            buffers[0].release()
        elif first == "lose":
            buffers.pop()
        else:
            getattr(pool, first)()
        gc.collect()
        for buffer in buffers:
            if not buffer.released:
                buffer.release()
        buffers.clear()
        gc.collect()
        stats = pool.stats()
        assert (stats.free, stats.waiting) == (4, 0)
        with pool.acquire(4, 0) as whole:
            whole.set(b"x" * whole.maxsize())

    assert in_child(check, fork) == 0
    leave.set()
    for buffer in buffers:
        buffer.release()
    for thread in threads:
        thread.join()
    assert pool.stats().free == 4
