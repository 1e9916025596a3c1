"""What type checkers must refuse in locks and threads."""

from cup.thread import AsyncRWLock, CupThread, RWLock


def locks(lock: RWLock) -> None:
    RWLock("random")  # error: arg-type
    lock.write(timeout="1")  # error: arg-type
    lock.acquire_readlock("soon")  # error: arg-type
    with lock.read() as guard:
        guard.downgrade()  # error: attr-defined


def interrupts(thread: CupThread) -> None:
    thread.raise_exc("ValueError")  # error: arg-type
    thread.raise_exc(int)  # error: arg-type
    thread.terminate(times="3")  # error: arg-type


async def colours(lock: RWLock, tasks: AsyncRWLock) -> None:
    async with lock.read():  # error: attr-defined
        pass
    with tasks.write():  # error: attr-defined
        pass
    await tasks.acquire_writelock("0.5")  # error: arg-type
