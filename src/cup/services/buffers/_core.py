"""The pool itself: which blocks are free, who has which, and who waits for some.

Blocks are numbers; their memory is in `_core_arena`. What is out is kept by serial
number, apart from the `Buffer` objects: so a buffer that is lost is noticed, and a
serial number that is not out any more tells a double release. Taking the number out of
the table is one step, which one caller wins.

Releasing takes no mutex: blocks are handed in, and made free by who needs some next.
Who wants just as many takes them as they are; that is the fast path of both ways.

A released block that somebody's view still shows is held back until nobody does.

Not here: waiting (the faces do that), what is in a buffer (`_core_buffer`).
"""

from __future__ import annotations

from collections import deque
from itertools import chain, count as count_from
from typing import TYPE_CHECKING, Any

from cup._core import fork
from cup._core.fork import stamp
from cup._core.gil import MUTEX_PATHS
from cup._core.interrupt import targets as _targets
from cup._core.line import Line
from cup._core.wait import Ask
from cup.errors import (
    BufferReleased,
    ForeignBuffer,
    InvalidType,
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
        "_looks",
        "_lost",
        "_peak",
        "_reports",
        "_returned",
        "_serials",
        "_spare",
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
        self.free: list[int] = self.arena.numbers()
        self.out: dict[int, list[int]] = {}
        self._ceiling = ceiling
        self.leaks: LeakWatch = LeakWatch(leaks)
        self._watched = self.leaks.sites
        self._serials = count_from(1)
        self._looks = 0  # numbers that `stats` took, to see how many there were
        self._held: list[tuple[Shown, int]] = []
        # What was handed in and is not free yet. Of `_spare` anybody may take.
        self._spare: deque[list[int]] = deque()
        self._returned: deque[tuple[list[int], list[Shown | None]]] = deque()
        self._inherited = 0  # serials up to here are buffers of a parent's
        self._reports: deque[object] = deque()
        self._peak = 0
        self._fewest = count  # free blocks that were left when `_peak` was set
        self._lost = 0
        super().__init__()

    # -- taking --------------------------------------------------------------------

    @property
    def most(self) -> int:
        """How many blocks the pool may have."""
        return self.arena.count if self._ceiling is None else self._ceiling

    def try_acquire(self, count: int) -> Buffer | None:
        """Take a buffer, if that can be had now and nobody is in line for it."""
        if _targets and is_unmasked():
            return masked(self.try_acquire, count)

        if not stamp[0] or self._generation != fork.epoch:
            self._check_fork()
        if self._spare and not self._queue.asks and not MUTEX_PATHS:
            buffer = self._take_spare(count)
            if buffer is not None:
                return buffer

        buffer = None
        with self.mutex:
            if self._notes or self._spare or self._returned:
                self._work_off_notes()
            if not self._queue.asks:
                buffer = self._take(count)
        if self._notes or self._wakes or self._reports:
            self.settle()
        return buffer

    def _take_spare(self, count: int) -> Buffer | None:
        """Take the blocks that were handed in last, if they are so many."""
        try:
            blocks = self._spare.pop()
        except IndexError:
            return None

        if len(blocks) != count:
            self._hand_in(blocks, None)
            return None

        serial = next(self._serials)
        self.out[serial] = blocks
        return Buffer(self, serial, blocks, False)  # noqa: FBT003 - a name costs time

    def _take(self, count: int, contiguous: bool = False) -> Buffer | None:
        """Take blocks; under the mutex."""
        if len(self.free) < count:
            self._collect()
            missing = count - len(self.free)
            if missing > 0 and not self._grow(missing):
                return None

        free = self.free
        if count == 1:
            blocks = [free.pop()]
        elif contiguous:
            blocks = self._find_run(count) or self._make_run(count)
            if not blocks:
                return None
        else:
            blocks = free[-count:]
            del free[-count:]
        serial = next(self._serials)
        self.out[serial] = blocks
        if len(self.free) < self._fewest:
            self._fewest = len(self.free)
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
        """Take blocks side by side that came back meanwhile, or new ones; or none."""
        self._collect()
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

        try:
            self.free[:0] = range(count + more - 1, count - 1, -1)
        except MemoryError:
            return False
        self.arena.extend(more)
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
        if type(buffer) is not Buffer:
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
        self._hand_in(blocks, buffer.detach())

    def _hand_in(self, blocks: list[int], views: list[memoryview] | None) -> None:
        """Have blocks made free by who needs some next; never waits.

        It is said first that they are there, and looked second for who waits; who comes
        to wait does it the other way round (`_take`). So one of the two sees the other.
        """
        shown = release_views(views) if views else None
        if shown:
            self._returned.append((blocks, shown))
        else:
            self._spare.append(blocks)
        if self._queue.asks or MUTEX_PATHS:
            self.changed()

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

        if serial > self._inherited:
            self._lost += 1
            report = self.leaks.report(serial, len(blocks))
            if report is not None:
                self._reports.append(report)
        self._hand_in(blocks, views)
        if self._reports:
            self.settle()

    def _take_in(self) -> None:
        """Make free what was handed in, but for what is still shown."""
        while self._returned:  # nobody else takes of these
            blocks, shown = self._returned.popleft()
            for view, those in zip(shown, dealt(blocks, len(shown)), strict=True):
                if view is None:
                    self.free.extend(those)
                else:
                    self._held.extend((view, block) for block in those)
        while self._spare:
            try:
                self.free.extend(self._spare.pop())
            except IndexError:
                break

    def _collect(self) -> None:
        """Make all free that can be: also what nobody's view shows any more."""
        self._take_in()
        held = [pair for pair in self._held if pair[0].is_shown()]
        if len(held) < len(self._held):
            kept = {block for _, block in held}
            self.free.extend(block for _, block in self._held if block not in kept)
            self._held = held
            self._fewest = len(self.free)

    def trim(self) -> int:
        """Give the memory of free blocks back to the system; returns the bytes."""
        self._check_fork()
        with self.mutex:
            self._work_off_notes()
            self._collect()
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
            self.free.extend(blocks)

    def _work_off_notes(self) -> None:
        self._take_in()
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
        self._inherited = max(self.out, default=0)
        self.leaks.sites.clear()
        self._take_in()
        known = set(chain.from_iterable(self.out.values()))
        known.update(block for _, block in self._held)
        if len(known) + len(self.free) != self.arena.count:
            blocks = range(self.arena.count - 1, -1, -1)
            self.free = [block for block in blocks if block not in known]

    def revise(self) -> None:
        """Take back what stopped loops hold and nobody shows, and grant what can be."""
        with self.mutex:
            self._collect()
        super().revise()

    # -- looking -------------------------------------------------------------------

    def stats(self) -> BufferStats:
        """Return the figures of this moment."""
        self._check_fork()
        with self.mutex:
            self._work_off_notes()
            self._collect()
            total, free, held = self.arena.count, len(self.free), len(self._held)
            out = len(self.out)
            self._looks += 1
            acquired = next(self._serials) - self._looks
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
            acquired=acquired,
            lost=self._lost,
        )
