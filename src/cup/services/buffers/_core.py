"""The pool itself: which blocks are free, who has which, and who waits for some.

Blocks are numbers; their memory is in `_core_arena`. What is out is kept by serial
number, apart from the `Buffer` objects: so a buffer that is lost is noticed, and a
serial number that is not out any more tells a double release. Taking the number out of
the table is one step, which one caller wins.

A released block that somebody's view still shows is held back until nobody does.

Not here: waiting (the faces do that), what is in a buffer (`_core_buffer`).
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any

from cup._core import fork
from cup._core.fork import stamp
from cup._core.interrupt import targets as _targets
from cup._core.line import Line
from cup._core.wait import Ask
from cup.errors import (
    BufferReleased,
    BufferTooLarge,
    ForeignBuffer,
    InvalidType,
    InvalidValue,
)

from ._core_arena import Arena
from ._core_buffer import Buffer
from ._core_leaks import LeakWatch
from ._core_masked import is_unmasked, masked, masked_quietly
from ._core_views import Shown, dealt, release_views
from .api import BufferStats

if TYPE_CHECKING:
    from .api import Leaks

__all__ = ["BlocksAsk", "BufferCore"]


class BlocksAsk(Ask[Buffer]):
    """Asks for a buffer of so many blocks."""

    __slots__ = ("contiguous", "count")

    what = "BufferPool.acquire"
    twin = "AsyncBufferPool.acquire"

    def __init__(self, line: BufferCore, count: int, *, contiguous: bool) -> None:
        super().__init__(line)
        self.count: int = count
        self.contiguous: bool = contiguous


class BufferCore(Line):
    """The state of one pool."""

    __slots__ = (
        "_ceiling",
        "_fewest",
        "_held",
        "_inherited",
        "_lost",
        "_peak",
        "_reports",
        "_returned",
        "_serial",
        "_watched",
        "arena",
        "free",
        "leaks",
        "out",
    )

    def __init__(
        self, count: int, block_size: int, *, ceiling: int | None, leaks: Leaks
    ) -> None:
        self.arena: Arena = Arena(block_size, count)
        self.free: list[int] = list(range(count - 1, -1, -1))
        self.out: dict[int, list[int]] = {}
        self._ceiling = ceiling
        self.leaks: LeakWatch = LeakWatch(leaks)
        self._watched = self.leaks.sites
        self._serial = 0
        self._held: list[tuple[Shown, int]] = []
        self._returned: deque[tuple[list[int], list[Shown | None] | None]] = deque()
        self._inherited = 0  # serials up to here are buffers of a parent's
        self._reports: deque[object] = deque()
        self._peak = 0
        self._fewest = count  # free blocks that were left when `_peak` was set
        self._lost = 0
        super().__init__()

    # -- taking --------------------------------------------------------------------

    def check_count(self, count: int, *, contiguous: bool = False) -> None:
        """Refuse a number of blocks that the pool can never give.

        Raises:
            InvalidValue: If it is below 1.
            BufferTooLarge: If it is above what the pool may grow to, or above what can
                lie side by side.
        """
        if count < 1:
            raise InvalidValue(f"a buffer has 1 block or more, not {count}")

        most = self.arena.count if self._ceiling is None else self._ceiling
        if count > most:
            raise BufferTooLarge(
                f"a buffer of {count} blocks was asked for; the pool never has more "
                f"than {most}"
            )

        if contiguous and count > self.arena.longest_run:
            raise BufferTooLarge(
                f"{count} blocks side by side were asked for; there are never more "
                f"than {self.arena.longest_run}"
            )

    def try_acquire(self, count: int) -> Buffer | None:
        """Take a buffer, if that can be had now and nobody is in line for it."""
        if _targets and is_unmasked():
            return masked(self.try_acquire, count)

        if not stamp[0] or self._generation != fork.epoch:
            self._check_fork()
        buffer = None
        with self.mutex:
            if self._notes or self._returned:
                self._work_off_notes()
            if not self._queue.asks:
                buffer = self._take(count)
        if self._notes or self._wakes or self._reports:
            self.settle()
        return buffer

    def _take(self, count: int, contiguous: bool = False) -> Buffer | None:
        """Take blocks; under the mutex."""
        free = self.free
        if len(free) < count:
            self._reclaim_held()
            if len(free) < count and not self._grow(count - len(free)):
                return None

        if count == 1:
            blocks = [free.pop()]
        elif contiguous:
            blocks = self._find_run(count) or self._make_run(count)
            if not blocks:
                return None
            free = self.free
        else:
            blocks = free[-count:]
            del free[-count:]
        serial = self._serial = self._serial + 1
        self.out[serial] = blocks
        if len(free) < self._fewest:
            self._fewest = len(free)
            self._peak = max(
                self._peak, self.arena.count - self._fewest - len(self._held)
            )
        return Buffer(self, serial, blocks, contiguous)

    def _find_run(self, count: int) -> list[int]:
        """Take free blocks that lie side by side, the lowest there are; or none."""
        run: list[int] = []
        for block in sorted(self.free):
            if run and (
                block != run[-1] + 1 or not self.arena.same_mapping(run[0], block)
            ):
                run = []
            run.append(block)
            if len(run) == count:
                taken = set(run)
                self.free = [block for block in self.free if block not in taken]
                return run
        return []

    def _make_run(self, count: int) -> list[int]:
        """Take blocks side by side that nobody shows any more, or new ones; or none."""
        self._reclaim_held()
        blocks = self._find_run(count)
        while not blocks and self._grow(1):
            blocks = self._find_run(count)
        return blocks

    def _grow(self, missing: int) -> bool:
        """Have more blocks, up to the ceiling: as many again, or what is missing."""
        if self._ceiling is None:
            return False

        count = self.arena.count
        more = min(max(count, missing), self._ceiling - count)
        if more < missing:
            return False

        self.arena.extend(more)
        self.free[:0] = range(count + more - 1, count - 1, -1)
        self._fewest = len(self.free)
        return True

    # -- giving back ---------------------------------------------------------------

    def release(self, buffer: Buffer) -> None:
        """Give the blocks of a buffer back.

        Raises:
            ForeignBuffer: If it is from another pool.
            BufferReleased: If it was given back before.
            InvalidType: If it is no buffer.
        """
        if type(buffer) is not Buffer and not isinstance(buffer, Buffer):
            raise InvalidType(f"only buffers can be given back, not {buffer!r}")

        if buffer.pool is not self:
            raise ForeignBuffer(f"{buffer!r} is not from this pool")

        if _targets and is_unmasked():
            masked(self.release, buffer)
            return

        if not stamp[0] or self._generation != fork.epoch:
            self._check_fork()  # first: what a child counts anew is not on its way
        blocks = self.out.pop(buffer.serial, None)
        if blocks is None:
            raise BufferReleased(f"{buffer!r} was released before")

        if self._watched:
            self._watched.pop(buffer.serial, None)
        views = buffer.detach()
        shown = None if views is None else release_views(views)
        if self.mutex.locked():
            # Whoever holds the mutex takes it; this may be a signal handler over it.
            self._returned.append((blocks, shown))
            self.changed()
            return

        with self.mutex:
            if shown:
                self._put(blocks, shown)
            else:
                self.free.extend(blocks)
            if self._queue.asks or self._notes:
                self._work_off_notes()
                self._pump()
        if self._notes or self._wakes or self._reports:
            self.settle()

    def lose(self, serial: int, views: list[memoryview] | None) -> None:
        """Take back the blocks of a buffer that died; called by its finalizer."""
        if _targets:
            masked_quietly(self._lose, serial, views)
        else:
            self._lose(serial, views)

    def _lose(self, serial: int, views: list[memoryview] | None) -> None:
        self._check_fork()
        blocks = self.out.pop(serial, None)
        if blocks is None:
            return

        shown = None if views is None else release_views(views)
        self._returned.append((blocks, shown))
        if serial > self._inherited:
            self._lost += 1
            report = self.leaks.report(serial, len(blocks))
            if report is not None:
                self._reports.append(report)
        self.changed()

    def _put(self, blocks: list[int], shown: list[Shown | None] | None) -> None:
        """Make blocks free, but for what is still shown; under the mutex."""
        if not shown:
            self.free.extend(blocks)
            return

        for view, those in zip(shown, dealt(blocks, len(shown)), strict=True):
            if view is None:
                self.free.extend(those)
            else:
                self._held.extend((view, block) for block in those)

    def _reclaim_held(self) -> None:
        """Make the blocks free that nobody's view shows any more."""
        if not self._held:
            return

        held: list[tuple[Shown, int]] = []
        gone: list[int] = []
        for view, block in self._held:
            if view.is_shown():
                held.append((view, block))
            else:
                gone.append(block)
        if gone:
            self._held = held
            self.free.extend(gone)
            self._fewest = len(self.free)

    def trim(self) -> int:
        """Give the memory of free blocks back to the system; returns the bytes."""
        self._check_fork()
        with self.mutex:
            self._work_off_notes()
            self._reclaim_held()
            dropped = self.arena.drop(self.free)
        self.settle()
        return dropped

    # -- the line ------------------------------------------------------------------

    def take(self, ask: Ask[Any], /) -> bool:
        """Give an ask its buffer."""
        assert isinstance(ask, BlocksAsk), "only these are filed"
        buffer = self._take(ask.count, ask.contiguous)
        if buffer is None:
            return False

        ask.value = buffer
        return True

    def put_back(self, ask: Ask[Any], /) -> None:
        """Take the buffer back from an ask whose caller has gone."""
        assert isinstance(ask, BlocksAsk), "only these are filed"
        buffer = ask.value
        blocks = self.out.pop(buffer.serial, None)
        if blocks is not None:
            self._put(blocks, None)

    def _work_off_notes(self) -> None:
        while self._returned:
            try:
                blocks, shown = self._returned.popleft()
            except IndexError:
                break
            self._put(blocks, shown)
        super()._work_off_notes()

    def settle(self) -> None:
        """Wake who was granted something, then report what was lost.

        A warning runs code of the user: never under the mutex, which the finalizer
        that found the loss may have come upon.
        """
        super().settle()
        if self._reports and not self.mutex.locked():
            self._reports.clear()  # each warns when it goes, as any finalizer does

    def may_stall(self, home: object | None) -> bool:
        """Tell whether to look again now and then: views end without a word."""
        return bool(self._held) or super().may_stall(home)

    def vanished(self) -> None:
        """Report no loss of buffers that the parent has; they are copies here.

        Blocks that a thread of the parent was about to move come back.
        """
        self._inherited = self._serial
        self.leaks.sites.clear()
        known = set(chain.from_iterable(self.out.values()))
        known.update(block for _, block in self._held)
        known.update(*(blocks for blocks, _ in self._returned))
        if len(known) + len(self.free) != self.arena.count:
            blocks = range(self.arena.count - 1, -1, -1)
            self.free = [block for block in blocks if block not in known]

    def revise(self) -> None:
        """Take back what stopped loops hold and nobody shows, and grant what can be."""
        with self.mutex:
            self._reclaim_held()
        super().revise()

    # -- looking -------------------------------------------------------------------

    def stats(self) -> BufferStats:
        """Return the figures of this moment."""
        self._check_fork()
        with self.mutex:
            self._work_off_notes()
            self._reclaim_held()
            total, free, held = self.arena.count, len(self.free), len(self._held)
            out = len(self.out)
        self.settle()
        return BufferStats(
            block_size=self.arena.block_size,
            total=total,
            used=total - free - held,
            free=free,
            held=held,
            peak=self._peak,
            buffers=out,
            waiting=len(self),
            acquired=self._serial,
            lost=self._lost,
        )
