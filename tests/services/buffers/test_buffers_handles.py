"""Buffers are given back once, to their pool; faces, and blocks side by side."""

import os
import threading
import weakref

import pytest
from buffers_tools import settled

from cup.errors import (
    BufferReleased,
    BufferTooLarge,
    ForeignBuffer,
    InvalidType,
)
from cup.services.buffers import (
    Buffer,
    BufferPool,
)

SIZE = 10  # bytes of a block: everything below spans several


@pytest.fixture
def pool():
    pool = BufferPool(pool_size=40, block_size=SIZE)
    yield pool
    assert settled(pool)


@pytest.fixture
def buffer(pool):
    with pool.acquire(4) as buffer:
        buffer.set(b"?" * 40)  # what was here before
        buffer.clear()
        yield buffer


def test_a_second_release_is_an_error(pool):
    buffer = pool.acquire(2)
    other = pool.acquire(2)
    buffer.release()
    for again in (buffer.release, lambda: pool.release(buffer)):
        with pytest.raises(BufferReleased, match="released before"):
            again()
    with pytest.raises(ValueError, match="released before"):
        pool.deallocate(buffer)
    assert pool.stats().used == 2  # the other one's
    other.release()


def test_foreign_buffers_are_refused(pool):
    with BufferPool(4).acquire() as foreign:
        for give in (pool.release, pool.deallocate):
            with pytest.raises(ForeignBuffer):
                give(foreign)
        for wrong in (b"abc", 5, object()):
            with pytest.raises(InvalidType):
                pool.release(wrong)
        assert pool.deallocate(None) is False
        foreign.set("still good")
    assert pool.stats().free == 40


def test_use_after_release(pool):
    buffer = pool.acquire(2)
    buffer.set(b"secret")
    buffer.release()
    assert buffer.released
    r, w = os.pipe()
    uses = [
        lambda: buffer.set(b""), buffer.get, buffer.get_byte_arrays, buffer.maxsize,
        buffer.length, lambda: len(buffer), buffer.tobytes, lambda: bytes(buffer),
        buffer.clear, lambda: buffer.truncate(0), buffer.views, buffer.tell,
        lambda: buffer.seek(0), buffer.read, buffer.peek, lambda: buffer.write(b"x"),
        lambda: buffer.readinto(bytearray(5)), buffer.room, lambda: buffer.filled(1),
        lambda: buffer.readv(r), lambda: buffer.writev(w), buffer.__enter__,
        buffer.release, lambda: buffer.file().read(),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(BufferReleased):
            use()
    assert repr(buffer) == f"<Buffer {buffer.get_uniq_id()} released>"
    os.close(r)
    os.close(w)


def test_two_buffers_of_one_thread_live_side_by_side(pool):
    first, second = pool.allocate(2)[1], pool.allocate(3)[1]
    first.set(b"1" * 20)
    second.set(b"2" * 30)
    assert first.tobytes() == b"1" * 20
    pool.deallocate(first)
    third = pool.allocate(2)[1]
    third.set(b"3" * 20)
    assert second.tobytes() == b"2" * 30
    assert pool.deallocate(second) is pool.deallocate(third) is True


def test_one_thread_may_free_what_another_took(pool):
    buffers = [pool.acquire(4) for _ in range(10)]
    threads = [threading.Thread(target=buffer.release) for buffer in buffers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool.stats().free == 40


def test_blocks_never_alias(pool):
    buffers = [pool.acquire(n) for n in (1, 5, 2, 10, 3, 9, 10)]
    for number, buffer in enumerate(buffers):
        buffer.set(bytes([number]) * buffer.maxsize())
    for number, buffer in enumerate(buffers):
        assert buffer.tobytes() == bytes([number]) * buffer.maxsize()
        buffer.release()


def test_with_gives_back_also_after_an_error(pool):
    with pytest.raises(ZeroDivisionError), pool.acquire(3):
        _ = 1 / 0
    with pool.acquire(3) as buffer:
        buffer.release()  # earlier is fine
    assert pool.stats().free == 40


def test_handles_are_weakly_referable_and_slotted(buffer):
    assert weakref.ref(buffer)() is buffer
    assert isinstance(buffer, Buffer)
    with pytest.raises(AttributeError):
        buffer.anything = 1


# Faces


def test_faces_of_one_pool_are_equal(pool):
    assert pool.aio.sync == pool
    assert pool.aio == pool.aio
    assert hash(pool.aio.sync) == hash(pool)
    assert pool != pool.aio
    assert pool != BufferPool(40)
    assert pool.block_size == pool.aio.block_size == SIZE
    with pool.acquire(3):
        assert repr(pool) == "<BufferPool 3/40 blocks of 10 bytes used, 0 wait>"
        assert dict(pool.__rich_repr__())["used"] == 3
        assert pool._used_dict.keys() == {1}
    with pytest.raises(TypeError, match="cannot be pickled"):
        pool.__reduce__()


def test_contiguous(pool):
    with pool.acquire(5), pool.acquire(12, contiguous=True) as buffer:
        buffer.set(bytes(range(120)))
        [view] = buffer.views()
        assert bytes(view) == bytes(range(120)) == buffer.tobytes()
        [room] = (buffer.clear(), buffer.room())[1]
        assert room.nbytes == 120


def test_contiguous_waits_for_a_run_or_says_there_is_none(pool):
    buffers = [pool.acquire() for _ in range(40)]
    for buffer in buffers[::2]:
        buffer.release()
    with pytest.raises(TimeoutError):
        pool.acquire(2, 0, contiguous=True)
    with pool.acquire(20):
        pass
    for buffer in buffers[1::2]:
        buffer.release()
    with pool.acquire(40, 0, contiguous=True) as buffer:
        assert len(buffer.room()) == 1


def test_contiguous_blocks_come_from_growing_and_from_views_that_ended():
    pool = BufferPool(pool_size=4, block_size=16, max_blocks=9)
    buffers = [pool.acquire() for _ in range(4)]
    buffers[0].release()
    buffers[2].release()
    with pool.acquire(2, 0, contiguous=True) as grown:
        assert len(grown.room()) == 1
        assert pool.stats().total == 8
        grown.set(b"x" * 32)
        views = grown.views()
    others = [pool.acquire(2, 0, contiguous=True) for _ in range(1)]
    views.clear()
    others.append(pool.acquire(2, 0, contiguous=True))  # what the view showed
    assert pool.stats().total == 8
    with pytest.raises(TimeoutError):
        pool.acquire(2, 0, contiguous=True)
    assert pool.stats().total == 9
    for buffer in (*others, buffers[1], buffers[3]):
        buffer.release()


def test_more_than_can_lie_side_by_side_fails_at_once():
    pool = BufferPool(pool_size=4, block_size=16, extendable=True)
    with pytest.raises(BufferTooLarge, match="5 blocks side by side"):
        pool.acquire(5, contiguous=True)
    with pool.acquire(5) as apart, pool.acquire(4, 0, contiguous=True) as whole:
        assert (len(apart.room()), len(whole.room())) == (5, 1)
