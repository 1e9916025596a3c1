"""What type checkers must refuse in the buffers."""

from cup.services.buffers import MEDIUM_BLOCK_SIZE, AsyncBufferPool, Buffer, BufferPool


def pools(pool: BufferPool) -> None:
    BufferPool(MEDIUM_BLOCK_SIZE, 100, leaks="all")  # error: arg-type
    BufferPool("2")  # error: arg-type
    pool.acquire("2")  # error: arg-type
    pool.acquire(2, "1.5")  # error: arg-type
    pool.acquire(2, 1.5, True)  # error: call-arg
    pool.deallocate(b"")  # error: arg-type


def contents(buffer: Buffer) -> None:
    buffer.set(3)  # error: arg-type
    buffer.append("text")  # error: arg-type
    buffer.readinto(b"constant") + "1"  # error: operator


async def colours(pool: BufferPool, tasks: AsyncBufferPool) -> None:
    await pool.acquire()  # error: misc
    tasks.acquire().tobytes()  # error: attr-defined
