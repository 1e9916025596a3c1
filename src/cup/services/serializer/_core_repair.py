"""Mending a log: without loss if that is possible, with an exact report of it else.

What is damaged is copied into `quarantine` first. A damaged segment is written anew
under its name, with what is good in it, and skips what is not; a missing one is
replaced by one that skips all of it. Ids stay what they were, and none is used again.
Each step leaves a log that can be repaired.

Not here: finding what is wrong (`_core_verify`).
"""

from __future__ import annotations

from itertools import count, groupby, pairwise
from typing import TYPE_CHECKING, Final

from cup.errors import CorruptRecord

from ._core_checksum import CRC32, by_number
from ._core_folder import (
    Mark,
    list_places,
    make_folder,
    read_exactly,
    read_header,
    write_fully,
)
from ._core_format import Piece
from ._core_lock import WriterLock
from ._core_recovery import recover
from ._core_salvage import salvage
from ._core_segment import Segment, Unconfirmed, create_segment, publish_segment
from ._core_verify import inspect_log
from ._core_walk import NO_LIMIT, Walk
from .api_values import Finding, RepairReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from cup._core.disk import Disk

    from ._core_folder import Place
    from ._core_salvage import Part
    from .api_values import Record, VerifyReport

__all__ = ["repair_log"]

_QUARANTINE: Final = "quarantine"
_CHUNK: Final = 1 << 20


def repair_log(
    disk: Disk,
    folder: str,
    max_record: int,
    progress: Callable[[int, int], object] | None,
    *,
    salvaging: bool,
) -> RepairReport:
    """Mend a log that nobody writes to.

    Args:
        disk: Where it is.
        folder: Its directory, absolute.
        max_record: The largest record, in bytes.
        progress: Told the bytes that were checked, and all bytes.
        salvaging: Whether it may cost records that are damaged.

    Raises:
        CorruptRecord: If it would cost records, and must not.
        LogLocked: If somebody writes to it.
        UnsupportedFormat: If a later version wrote it.
        OSError: If the disk fails.
    """
    lock = WriterLock(disk, folder, 0)
    try:
        found = inspect_log(disk, folder, max_record, progress, alone=True)
        costly = [finding for finding in found.findings if finding.lost]
        if costly and not salvaging:
            worst = costly[0]
            raise CorruptRecord(
                f"{worst.path}: {found.lost} records are lost, the first is "
                f"{worst.first_id} at {worst.offset}; salvage=True saves the others",
                path=worst.path,
                offset=worst.offset,
                record_id=worst.first_id,
            )
        try:
            return _Repair(disk, folder, max_record, found).carry_out()
        except Unconfirmed as error:
            raise error.cause from error
    finally:
        lock.close()


class _Repair:
    """One repair, under the lock."""

    def __init__(
        self, disk: Disk, folder: str, max_record: int, found: VerifyReport
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._max_record = max_record
        self._found = found
        self._rebuilt: list[str] = []
        self._quarantined: list[str] = []
        self._codec = "bytes"
        self._checksum = CRC32

    def carry_out(self) -> RepairReport:
        """Mend everything, then open the log as a writer does."""
        found = self._found
        for finding in found.findings:
            if finding.kind in {"checkpoint", "mark"}:
                self._put_aside(finding.path)
                self._disk.unlink(finding.path)
                self._disk.sync_dir(self._folder)
        self._mend_segments()
        recovered = recover(
            self._disk,
            self._folder,
            durable=0,
            max_record=self._max_record,
            checksum=self._checksum,
            codec=self._codec,
            cut=True,
        )
        next_id = max(found.next_id, recovered.next_id)
        segment = recovered.segment
        try:
            if next_id > recovered.next_id:
                segment.skip(recovered.next_id, next_id)
                segment.sync()
        finally:
            segment.close()
        mark = Mark(self._disk, self._folder)
        mark.open_for_writing()
        mark.publish(next_id)
        mark.close()
        return RepairReport(
            directory=self._folder,
            findings=found.findings,
            rebuilt=(*self._rebuilt,),
            quarantined=(*self._quarantined,),
            first_id=list_places(self._disk, self._folder)[0].first_id,
            next_id=next_id,
        )

    def _mend_segments(self) -> None:
        disk, folder = self._disk, self._folder
        damaged = {
            finding.path
            for finding in self._found.findings
            if finding.kind in {"damage", "header", "index", "seal"}
        }
        for place in list_places(disk, folder, whole=False):
            if place.path in damaged:
                places = list_places(disk, folder, whole=False)
                at = places.index(place)
                self._put_aside(place.path)
                self._rebuild(places[at : at + 2])
        places = list_places(disk, folder, whole=False)
        for before, after in pairwise(places):
            self._fill(before, after)

    def _rebuild(self, places: list[Place]) -> None:
        """Write a segment anew, with what is good in it."""
        place = places[0]
        number, stop = place.first_id, None
        new: Segment | None = None
        rescued = salvage(self._disk, places, NO_LIMIT, self._max_record)
        try:
            for part, found in rescued:
                if part.place != place:
                    break
                new = new or self._new_segment(part)
                stop = part.stop
                if not isinstance(found, Finding):
                    number = _copy(found, new, number)
            if new is not None:
                self._finish(new, number, stop)
        except BaseException:
            if new is not None:
                new.discard(self._disk)
            raise
        finally:
            rescued.close()

    def _new_segment(self, part: Part) -> Segment:
        header = None if part.walk is None else part.walk.header
        if header is not None and header.codec.isascii():
            self._codec = header.codec
        return create_segment(
            self._disk,
            self._folder,
            serial=part.place.serial,
            first_id=part.place.first_id,
            follows=part.place.first_id if header is None else header.follows,
            checksum=CRC32 if header is None else header.checksum,
            codec=self._codec,
        )

    def _finish(self, new: Segment, number: int, stop: int | None) -> None:
        """Make a new segment durable, in the place of the old one.

        Args:
            new: The segment.
            number: The record that comes next.
            stop: That of its successor; None if it has none.
        """
        if stop is not None:
            if number < stop:
                new.skip(number, stop)
            new.seal(max(number, stop), index=True)
        new.sync()
        publish_segment(self._disk, self._folder, new)
        new.close()
        self._rebuilt.append(new.place.path)

    def _fill(self, before: Place, after: Place) -> None:
        """Put segments between two where some are missing, which skip their records."""
        number = self._end_of(before)
        file = self._disk.open(after.path)
        try:
            stop = read_header(file, after).follows
        finally:
            file.close()
        for serial in range(before.serial + 1, after.serial):
            new = create_segment(
                self._disk,
                self._folder,
                serial=serial,
                first_id=number,
                follows=number,
                checksum=CRC32,
                codec=self._codec,
            )
            self._finish(new, number, stop)
            number = stop

    def _end_of(self, place: Place) -> int:
        """Return the id that would have come next in a segment, which is in order."""
        file = self._disk.open(place.path)
        try:
            header = read_header(file, place)
            walk = Walk(file, place.path, header, max_record=self._max_record)
            while not walk.bad:
                walk.read(NO_LIMIT)
            return walk.next_id
        finally:
            file.close()

    def _put_aside(self, path: str) -> None:
        """Copy a file into the quarantine, under a name that is free there."""
        folder = f"{self._folder}/{_QUARANTINE}"
        make_folder(self._disk, folder)
        self._disk.sync_dir(self._folder)
        name = path.rpartition("/")[2]
        names = {*self._disk.listdir(folder)}
        free = next(n for n in count(1) if f"{name}.{n}" not in names)
        target = f"{folder}/{name}.{free}"
        old = self._disk.open(path)
        new = self._disk.open(target, create=True, write=True)
        try:
            offset = 0
            while content := read_exactly(old, _CHUNK, offset):
                write_fully(new, content, offset)
                offset += len(content)
            new.sync()
        finally:
            new.close()
            old.close()
        self._disk.sync_dir(folder)
        self._quarantined.append(target)


def _copy(records: list[Record[bytes]], new: Segment, number: int) -> int:
    """Write records into a segment; return the id that comes next."""
    crc = by_number(new.header.checksum)
    assert crc is not None, "it is that of a header which was checked"
    for _, run in groupby(enumerate(records), lambda item: item[1].id - item[0]):
        some = [record for _, record in run]
        first = some[0].id
        if first > number:
            new.skip(number, first)
        pieces = [
            Piece(record.payload, crc(record.payload), record.type, record.mode)
            for record in some
        ]
        new.advance(first, new.write([(pieces, False)], first, first))
        number = first + len(some)
    return number
