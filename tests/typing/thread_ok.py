"""What type checkers must see in locks and threads. Checked, not run."""

from typing_extensions import assert_type

from cup.protocols import AsyncRWLockAPI, RWLockAPI
from cup.thread import AsyncRWLock, CupThread, LockStats, RWLock, WriteGuard


def threads(lock: RWLock) -> None:
    with lock.write(timeout=1.0) as guard:
        assert_type(guard, WriteGuard)
        guard.downgrade()
    assert_type(lock.stats(), LockStats)
    assert_type(lock.aio, AsyncRWLock)
    as_protocol: RWLockAPI = lock
    del as_protocol


async def tasks(lock: AsyncRWLock) -> None:
    async with lock.read():
        pass
    assert_type(await lock.acquire_writelock(0.5), None)
    assert_type(lock.sync, RWLock)
    as_protocol: AsyncRWLockAPI = lock
    del as_protocol


def interrupts(thread: CupThread) -> None:
    assert_type(thread.raise_exc(ValueError), int)
    assert_type(thread.raise_exc(ValueError("why")), int)
    assert_type(thread.terminate(times=3), bool)
    assert_type(thread.get_my_tid(), int | None)
