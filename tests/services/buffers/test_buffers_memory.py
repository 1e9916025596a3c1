"""The memory itself: lazy, private, given back, and grown."""

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from cup.errors import BufferPoolError
from cup.services.buffers import (
    MEDIUM_BLOCK_SIZE,
    BufferPool,
    _core_arena as arena_module,
)

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def resident():
    """Tell how many bytes of this process are real memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@needs_linux
@pytest.mark.full
def test_a_large_pool_costs_nothing_before_it_is_used():
    code = (
        "import time\n"
        "from cup.services.buffers import BufferPool, MEDIUM_BLOCK_SIZE\n"
        "import sys; sys.path.insert(0, 'HERE')\n"
        "from test_buffers_memory import resident\n"
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
    code = (
        "import sys; sys.path.insert(0, 'HERE')\n"
        "from cup.services.buffers import BufferPool\n"
        "from test_buffers_memory import resident\n"
        "pool = BufferPool(200); before = resident()\n"
        "with pool.acquire(200) as buffer:\n"
        "    buffer.set(b'x' * buffer.maxsize())\n"
        "used = resident() - before\n"
        "print(used, pool.trim(), resident() - before)\n"
    ).replace("HERE", str(Path(__file__).parent))
    output = subprocess.check_output([sys.executable, "-c", code])
    used, trimmed, left = map(int, output.split())
    assert used > 180 * MEDIUM_BLOCK_SIZE
    assert trimmed >= 200 * MEDIUM_BLOCK_SIZE - 2 * mmap.PAGESIZE
    assert left < used / 10


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
