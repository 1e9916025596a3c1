"""How tasks append: in sheaves, one for each turn of their loop.

What the tasks of a loop append in one turn enters the log together, and they are woken
together, by one wake-up of the loop. That is what makes an append of a thousand tasks
cost less than five microseconds each.

A task that is cancelled before that leaves nothing; one that is cancelled later stops
waiting, and its record may become durable.
"""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from cup._core.loops import current_loop
from cup._core.pause_aio import pause
from cup.errors import LogLocked, WriteFailed

from .aio_records import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core import LogCore
    from ._core_batch import Sheaf
    from ._core_format import Piece
    from ._core_settings import Settings
    from .api import Durability

__all__ = ["append_one", "append_pieces", "drain", "open_when_free"]

_STEP: Final = 0.01  # seconds between two looks whether the lock is free


class Closable(Protocol):
    """What can be opened, and closed again."""

    def close(self) -> None:
        """Let others open it."""
        ...


C = TypeVar("C", bound=Closable)


async def open_when_free(make: Callable[[Settings], C], settings: Settings) -> C:
    """Open a log in a worker thread; if the task is cancelled, it is closed again.

    The lock is waited for out here, where a cancelled task leaves at once.
    """
    deadline = monotonic() + settings.lock_timeout
    at_once = replace(settings, lock_timeout=0.0)
    while True:
        try:
            return await _open(lambda: make(at_once))
        except LogLocked as error:
            no_locks = error.__cause__ is not None
            if no_locks or monotonic() >= deadline:
                raise
            await pause(_STEP)


async def _open(make: Callable[[], C]) -> C:
    opened: list[C] = []
    try:
        await in_thread(lambda: opened.append(make()))
        await current_loop().check_cancelled()  # it has waited all the same
    except BaseException:
        for core in opened:
            await in_thread(core.close, surely=True)
        raise
    return opened[0]


async def append_one(core: LogCore, piece: Piece, how: Durability) -> int:
    """Append one record; return its id."""
    if not how.waits:
        return await _put(core, [piece], how, atomic=False)

    loop = current_loop()
    sheaf = core.committer.sheaf_of(loop)
    waiter = loop.make_waiter()
    position = sheaf.add(piece, waiter)
    sheaf.hurry(how.max_delay)
    while not sheaf.settled:
        await waiter.parking()
    return sheaf.id_of(position)


async def append_pieces(core: LogCore, pieces: list[Piece], how: Durability) -> int:
    """Append records, all or none; return the first id."""
    if not pieces:
        core.committer.check()
        return core.committer.next_id

    if not how.waits:
        return await _put(core, pieces, how, atomic=True)

    sheaf, position = await _wait(core, pieces, how.max_delay)
    return sheaf.id_of(position)


async def _put(
    core: LogCore, pieces: list[Piece], how: Durability, *, atomic: bool
) -> int:
    loop = current_loop()
    await loop.check_cancelled()
    _, first = core.put(pieces, how.max_delay, atomic=atomic, watched=False)
    if core.committer.is_full():
        await drain(core)
    else:
        await loop.immediate()
    return first


async def drain(core: LogCore) -> None:
    """Wait until all that was appended before is durable."""
    sheaf, _ = await _wait(core, [], 0.0)
    try:
        sheaf.check()
    except WriteFailed:
        core.committer.forget_lost()
        raise


async def _wait(core: LogCore, pieces: list[Piece], delay: float) -> tuple[Sheaf, int]:
    loop = current_loop()
    sheaf = core.committer.sheaf_of(loop)
    waiter = loop.make_waiter()
    position = sheaf.add(pieces, waiter)
    sheaf.hurry(delay)
    while not sheaf.settled:
        await waiter.parking()
    return sheaf, position
