"""What the future of a series knows of it, and how a series works off what happens."""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque
from typing import TYPE_CHECKING

from typing_extensions import override

from ._core_lane import Lane, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from cup._core.interrupt import Interrupt
    from cup.services.threadpool._core_record import Record, Sink

    from ._core_series import SeriesCore

__all__ = ["Notes", "SeriesStage"]


class Notes:
    """Calls that are made one after the other, by whoever finds nobody at it.

    Leaving one never waits, also in a signal handler that interrupted another.
    """

    __slots__ = ("_busy", "_notes", "_report", "_settled")

    def __init__(
        self,
        report: Callable[[BaseException], object],
        settled: Callable[[], object],
    ) -> None:
        """Make an empty list.

        Args:
            report: Is told what a call raises.
            settled: Is called when all calls were made.
        """
        self._report = report
        self._settled = settled
        self.renew()

    def renew(self) -> None:
        """Forget them all, in a forked child."""
        self._notes: deque[Callable[[], object]] = deque()
        self._busy = allocate_lock()

    def leave(self, note: Callable[[], object]) -> None:
        """Have a call made, now or by who makes calls now."""
        self._notes.append(note)
        # Left first, looked at second: who is at it sees the note, or we may.
        while self._notes and self._busy.acquire(blocking=False):
            try:
                self._work_off()
            finally:
                self._busy.release()
            self._settled()

    def _work_off(self) -> None:
        while self._notes:
            try:
                note = self._notes.popleft()
            except IndexError:
                return

            try:
                note()
            except Exception as error:  # noqa: BLE001 - the others are made, too
                self._report(error)

    def has_some(self) -> bool:
        """Tell whether a call is to be made, or is being made."""
        return bool(self._notes) or self._busy.locked()


class SeriesStage(Stage):
    """The owner of the future of a series."""

    __slots__ = ("_series",)

    def __init__(self, lane: Lane, series: SeriesCore) -> None:
        super().__init__(lane)
        self._series = series

    @override
    def withdrew(self, sink: Sink) -> None:
        """End the series: its future was cancelled."""
        self._lane.core.cancelled.add()
        self._series.end()

    @override
    def interrupt(self, sink: Sink, interrupt: Interrupt) -> bool:
        """Interrupt the runs that run now."""
        return self._series.interrupt(interrupt)

    @override
    def run_here(self, record: Record) -> bool:
        """Do nothing: a series is no call."""
        return False

    @override
    def may_starve(self, record: Record) -> bool:
        """Tell that no worker runs a series itself."""
        return False

    @override
    def relieve(self) -> None:
        """Do nothing: what is told of the end of a series is told by its crew."""
