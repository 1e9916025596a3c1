"""Views that outlive their buffer hit nobody: their blocks are held back."""

import ctypes
import gc
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from cup.errors import BufferReleased
from cup.services.buffers import (
    BufferPool,
    _core_arena as arena_module,
)

COUNTS_EXACTLY = sys.implementation.name == "cpython"


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
