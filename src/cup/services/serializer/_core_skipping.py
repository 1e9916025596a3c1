"""Reading on past damage, and keeping account of what is lost by it.

For who has asked for it (`LocalFileSerilizer(..., skip_badlog=True)`): a log is read as
usual up to the first damage, and salvaged from there on.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from cup.errors import CorruptRecord

from ._core_cursor import Cursor
from ._core_folder import list_places
from ._core_salvage import salvage
from ._core_walk import NO_LIMIT
from .api_values import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cup._core.disk import Disk

    from ._core_salvage import Part, Rescued
    from .api_values import Record

__all__ = ["Skipping"]


class Skipping:
    """A place in a log, and the way forward from there, past damage. Not thread-safe.

    Args:
        extent: Tells the id behind the last record that may be read.
        disk: Where it is.
        folder: Its directory.
        start: The first record to read; None for the first there is.
        max_record: The largest record, in bytes.

    Attributes:
        lost: What could not be read, so far.
    """

    __slots__ = (
        "_cursor",
        "_disk",
        "_extent",
        "_folder",
        "_max_record",
        "_rescued",
        "lost",
    )

    def __init__(
        self,
        extent: Callable[[], int],
        disk: Disk,
        folder: str,
        *,
        start: int | None,
        max_record: int,
    ) -> None:
        self._extent: Callable[[], int] = extent
        self._disk = disk
        self._folder = folder
        self._max_record = max_record
        self._cursor: Cursor = Cursor(disk, folder, start=start, max_record=max_record)
        self._rescued: Generator[tuple[Part, Rescued]] | None = None
        self.lost: list[Finding] = []

    @property
    def next_id(self) -> int:
        """The record that is read next."""
        return self._cursor.next_id

    def read(self) -> list[Record[bytes]]:
        """Return some records, the next ones; none if there are none yet.

        Raises:
            RecordGone: If the next one was purged meanwhile.
            OSError: If files cannot be read.
        """
        if self._rescued is None:
            limit = self._limit()
            try:
                return self._cursor.read(limit)
            except CorruptRecord:
                self._rescued = self._salvage(limit)
        return self._read_rescued(self._rescued)

    def _limit(self) -> int:
        try:
            return self._extent()
        except CorruptRecord:  # at the end of a log that nobody writes
            return NO_LIMIT

    def _salvage(self, limit: int) -> Generator[tuple[Part, Rescued]]:
        places = list_places(self._disk, self._folder, whole=False)
        first = bisect_right([place.first_id for place in places], self.next_id) - 1
        return salvage(self._disk, places[max(0, first) :], limit, self._max_record)

    def _read_rescued(
        self, rescued: Generator[tuple[Part, Rescued]]
    ) -> list[Record[bytes]]:
        for _, found in rescued:
            if isinstance(found, Finding):
                if found.stop_id > self.next_id:
                    self.lost.append(found)
                    self._cursor.next_id = found.stop_id
                continue

            records = [record for record in found if record.id >= self.next_id]
            if records:
                self._cursor.next_id = records[-1].id + 1
                return records
        self._rescued = None
        self._cursor.close()
        return []

    def close(self) -> None:
        """Close its files."""
        self._cursor.close()
        if self._rescued is not None:
            self._rescued.close()
            self._rescued = None
