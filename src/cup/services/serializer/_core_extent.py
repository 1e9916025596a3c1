"""How far a log can be read by who does not write it.

- While somebody writes it: up to the durable mark, which is never beyond what is
  durable.
- While nobody does: as far as its records are whole. A tail that was torn is not looked
  at; whoever opens the log for writing next cuts it off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cup.errors import CorruptRecord

from ._core_cursor import damage, read_seal
from ._core_folder import Mark, list_places, read_header
from ._core_lock import is_written
from ._core_walk import NO_LIMIT, Tail, Walk, judge

if TYPE_CHECKING:
    from cup._core.disk import Disk

    from ._core_folder import Place

__all__ = ["Extent"]


class Extent:
    """Finds out how far a log can be read. Not thread-safe.

    Attributes:
        live: Whether somebody wrote to it when it was last asked.
    """

    __slots__ = ("_disk", "_folder", "_known", "_mark", "_max_record", "live")

    def __init__(self, disk: Disk, folder: str, max_record: int) -> None:
        self._disk = disk
        self._folder = folder
        self._mark = Mark(disk, folder)
        self._max_record = max_record
        self._known: tuple[tuple[Place, int, int], int] | None = None
        self.live: bool = False

    def glance(self) -> int:
        """Return what the mark says: cheap, and no more than is durable."""
        return self._mark.read()

    def measure(self) -> int:
        """Return the id behind the last record that may be read.

        Raises:
            CorruptRecord: If the last segment is damaged, or misses records.
            OSError: If it cannot be read.
        """
        self.live = is_written(self._disk, self._folder)
        if self.live:
            return self._mark.read()

        durable = self._mark.read()
        end = self._end_of_last(durable)
        self.live = is_written(self._disk, self._folder)
        if self.live:  # since a moment ago: what was read may be of now
            return durable

        if end < durable:
            raise CorruptRecord(
                f"{self._folder}: it ends before record {end}, but record "
                f"{durable - 1} was durable; repair() saves what can be saved",
                path=self._folder,
                record_id=end,
            )
        return end

    def _end_of_last(self, durable: int) -> int:
        """Walk to the end of the last segment, unless it is as it was."""
        places = list_places(self._disk, self._folder)
        if not places:
            return 1

        place = places[-1]
        state = place, self._disk.size(place.path), durable
        if self._known is None or self._known[0] != state:
            self._known = state, self._walk_to_end(place)
        return self._known[1]

    def _walk_to_end(self, place: Place) -> int:
        file = self._disk.open(place.path)
        try:
            header = read_header(file, place)
            walk = Walk(file, place.path, header, max_record=self._max_record)
            seal = read_seal(walk)
            if seal is not None:
                return seal[0]
            while not walk.bad:
                walk.read(NO_LIMIT)
            if judge(walk) is Tail.DAMAGED:
                raise damage(walk)
            return walk.whole[0]
        finally:
            file.close()

    def close(self) -> None:
        """Close its files."""
        self._mark.close()
