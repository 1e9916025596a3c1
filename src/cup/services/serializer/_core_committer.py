"""Who writes next, and who is told: group commit for threads and tasks together.

Whoever appends while nobody writes takes the lead and writes at once: alone, that costs
no hand-over. Whoever comes meanwhile fills the next batch, and it is written by the
first thread that waits for it, or by the log's own thread if only tasks wait, or
nobody. The next lead begins when the last thread of a batch has woken: by then most of
them have appended again, so that nearly all of them share each sync.

The lead itself is a lock that is entered by `with`. That somebody leads (`_leading`) is
a hint, which an exception at a bad moment may leave wrong: therefore nobody parks for
longer than `_SLICE` without looking whether the lead is free. No record depends on a
wake-up that might not come.

Not here: taking records in (`_core_intake`), writing itself (`_core_writer`).
"""

from __future__ import annotations

from _thread import allocate_lock
from copy import copy
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from cup._core.program import ThreadDriver
from cup._core.wait import park
from cup.errors import LogError, WriteFailed

from ._core_batch import NOW, Batch, Seat, raise_copy
from ._core_intake import Intake
from ._core_segment import Unconfirmed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_batch import Entries
    from ._core_writer import Writer

__all__ = ["Committer"]

R = TypeVar("R")

_SLICE = 0.1  # seconds


class Committer(Intake):
    """Takes records in, has them written, and tells who waits.

    Args:
        writer: What writes.
        name: The name of the thread that writes when no other does.
        settled: Called after each batch, by the thread that wrote it.
    """

    __slots__ = ("_driver", "_lead", "_name", "_settled")

    def __init__(
        self, writer: Writer, name: str, settled: Callable[[], object]
    ) -> None:
        super().__init__(writer)
        self._name = name
        self._settled = settled
        self._lead = allocate_lock()
        self._driver: ThreadDriver | None = None

    def append(self, entries: Entries, count: int, size: int, delay: float) -> int:
        """Have records written, and wait until they are durable.

        Args:
            entries: The records.
            count: How many; none waits for what was appended before.
            size: The bytes of their payloads.
            delay: Seconds that they may wait for others.

        Returns:
            The id of the first one.

        Raises:
            LogError: If it failed; then they are not stored.
        """
        seat = Seat(entries, count, size, monotonic() + delay if delay else NOW)
        with self._mutex:
            self._check()
            batch = seat.batch = self._open
            batch.deadline = min(batch.deadline, seat.deadline)
            batch.units.append(seat)
            lead = not delay and not self._leading
            if lead:
                self._leading = True
        self._wait(seat, lead=lead)
        raise_copy(batch.error)
        return batch.first + seat.index

    def flush(self) -> None:
        """Write what nobody waits for; what somebody waits for is synced, too."""
        self.commit(sync=False)

    # -- waiting -----------------------------------------------------------------------

    def _wait(self, seat: Seat, *, lead: bool) -> None:
        batch = seat.batch
        try:
            if lead:
                self.commit()
            while not batch.done:
                self._park(seat)
        except BaseException:
            seat.left = True
            if self._current is not None:
                self._nudge(NOW)
            raise
        finally:
            if seat.woken:
                self._wake_from(seat.next, batch)

    def _park(self, seat: Seat) -> None:
        now = monotonic()
        until = now + _SLICE
        if now < seat.deadline < until:
            until = seat.deadline
        park(seat.parker, until)
        if seat.batch.done:
            return

        if seat.promoted:
            seat.promoted = False
            self.commit()
        elif monotonic() >= max(seat.deadline, until) and not self._lead.locked():
            self._leading = True
            self.commit()

    def _wake_from(self, seat: Seat | None, batch: Batch) -> None:
        """Wake the next thread of a chain; behind the last one, let the lead go on."""
        while seat is not None:
            seat.woken = True
            if not seat.left:
                seat.parker.wake()
                if not seat.left:
                    return  # it wakes the next
            seat = seat.next
        if batch.baton:
            self._hand_over(batch)

    def _hand_over(self, batch: Batch) -> None:
        """Let the next batch be written, now or when it is time."""
        try:
            batch.baton.pop()
        except IndexError:
            return  # somebody else does

        with self._mutex:
            following = self._open
            self._leading = following.deadline <= monotonic()
            head = following.first_seat() if self._leading else None
            if self._leading and head is None:
                following.background = NOW
            deadline = following.background
        if head is not None:
            head.promoted = True
            head.parker.wake()
        elif deadline < inf:
            self._nudge(deadline)

    # -- writing -----------------------------------------------------------------------

    def commit(self, *, sync: bool = True) -> None:
        """Have the next batch written by this thread, and tell who waits for it.

        An exception from outside leaves the batch where it is: the next one to come
        carries it out again.

        Args:
            sync: False if a batch that nobody waits for is to be written only.
        """
        with self._lead:
            batch = self._work_off(sync=sync)
        self._wake_from(batch.head, batch)

    def _work_off(self, *, sync: bool) -> Batch:
        """Write the next batch; the caller has the lead."""
        batch = self._take()
        if not batch.done:
            self.writer.carry_out(batch, sync=sync or batch.waits)
        self._tell(batch)
        self._current = None
        return batch

    def _take(self) -> Batch:
        with self._mutex:
            batch = self._current
            if batch is None:
                batch = self._current = self._open
            if self._open is batch:
                self._open = Batch(batch.begins + batch.added()[0])
        if not batch.done:
            batch.close()
        return batch

    def _tell(self, batch: Batch) -> None:
        if batch.error is not None:
            with self._mutex:
                self._fail_with(batch, batch.error)
        for sheaf in batch.sheaves:
            sheaf.home.post(sheaf)
        self._settled()

    def _fail_with(self, batch: Batch, error: LogError) -> None:
        """Draw the consequences of a failure for what comes next."""
        if batch.unwatched:
            self._lost = error
        if self._open.exposed:  # its ids would not be what was promised
            self._open.error = error
        self._open.begins = self.writer.written

    def exclusively(self, action: Callable[[], R]) -> R:
        """Do something that changes files, while nobody writes.

        All that was appended before is durable then.

        Raises:
            LogError: If the log is closed or poisoned, or becomes so by that, or if it
                failed.
        """
        self.append([], 0, 0, 0.0)
        with self._lead:
            if self._current is not None:  # a thread was interrupted in it
                self._work_off(sync=True)
            self.check()
            return self._guarded(action)

    def _guarded(self, action: Callable[[], R]) -> R:
        try:
            return action()
        except Unconfirmed as error:
            raise copy(self.writer.poison_by(error.cause)) from error.cause
        except LogError:
            raise
        except OSError as error:
            raise WriteFailed(
                f"files could not be changed: {error}", errno=error.errno or 0
            ) from error

    def _nudge(self, deadline: float) -> None:
        """Have the log's own thread look at `deadline` at the latest."""
        driver = self._driver
        if driver is None:
            with self._mutex:
                driver = self._driver
                if driver is None:
                    driver = self._driver = ThreadDriver(self, self._name)
        driver.nudge(deadline)

    def step(self, now: float) -> float | None:
        """Write the next batch if it is time, and nobody else does."""
        with self._mutex:
            stuck = self._current is not None and not self._lead.locked()
            deadline = NOW if stuck else self._open.background
            if deadline > now:
                return None if deadline == inf else deadline
            self._leading = True
        self.effects.append(self.commit)
        return None

    # -- the end -----------------------------------------------------------------------

    def close(self, reason: str) -> LogError | None:
        """Write what is left, and end.

        Args:
            reason: What to say to who comes later.

        Returns:
            What went wrong with records that nobody waited for.
        """
        with self._mutex:
            if self._closed:
                return None
            self._closed = reason
        self.commit()
        while self._current is not None or self._open.units:
            self.commit()
        if self._driver is not None:
            self._driver.stop()
        with self._lead:
            self.writer.finish()
        return self._lost
