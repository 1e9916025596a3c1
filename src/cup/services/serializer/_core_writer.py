"""Writing batches: into the segment, onto the medium, and what failures mean.

A `Writer` is used by one thread at a time, the one that has the lead. An exception may
come into it from outside at any step (an interrupt of a thread, Ctrl-C): the batch is
then carried out again from its beginning, at the same place. So a sync whose answer was
lost proves nothing, and is not needed to.

- A write that fails is taken back; the batch fails, and the log goes on.
- A sync that fails poisons the writer: what is on the disk is not known, and another
  sync would not tell.

Not here: who writes, and who waits (`_core_committer`).
"""

from __future__ import annotations

import errno
from time import perf_counter
from typing import TYPE_CHECKING, Final

from cup.errors import LogError, LogPoisoned, WriteFailed

from ._core_figures import Figures
from ._core_folder import rewrite
from ._core_format import HEADER_SIZE
from ._core_segment import Segment, Unconfirmed, create_segment, publish_segment
from ._core_settings import LAST_ID

if TYPE_CHECKING:
    from cup._core.disk import Disk

    from ._core_batch import Batch
    from ._core_folder import Mark, Place
    from ._core_recovery import Recovered

__all__ = ["Writer"]

_FEW: Final = 4  # entries of an index; with fewer, a reader is there without it


class Writer:
    """Writes what it is given to the last segment, and makes new ones.

    Attributes:
        places: The segments, the oldest first.
        segment: The last one.
        written: The id of the record that is written next.
        durable: The id behind the last durable record.
        poison: Why nothing is accepted any more.
        figures: What it has done.
    """

    __slots__ = (
        "_checksum",
        "_codec",
        "_disk",
        "_folder",
        "_mark",
        "_preallocate",
        "_segment_bytes",
        "_unsynced",
        "durable",
        "figures",
        "places",
        "poison",
        "segment",
        "written",
    )

    def __init__(
        self,
        disk: Disk,
        folder: str,
        found: Recovered,
        mark: Mark,
        *,
        segment_bytes: int,
        checksum: int,
        codec: str,
        preallocate: bool,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._mark = mark
        self._segment_bytes = segment_bytes
        self._checksum = checksum
        self._codec = codec
        self._preallocate = preallocate
        self.places: list[Place] = found.places
        self.segment: Segment = found.segment
        self.written: int = found.next_id
        self.durable: int = found.next_id
        self._unsynced: int = found.segment.end
        self.poison: LogPoisoned | None = None
        self.figures: Figures = Figures()

    def carry_out(self, batch: Batch, *, sync: bool) -> None:
        """Write a batch and make it durable; says in it how that went.

        Args:
            batch: Records, or none: then what was written before is made durable.
            sync: False if the batch may be written only, since nobody waits for it.
        """
        try:
            if self._may_write(batch):
                self._write(batch)
            if self.poison is None and sync and self.durable < self.written:
                self._sync()
        except Unconfirmed as error:
            self.poison_by(error.cause)
        except OSError as error:
            batch.error = self._take_back(batch, error)
        if self.poison is not None:
            batch.error = self.poison
        batch.done = True

    def _may_write(self, batch: Batch) -> bool:
        return bool(batch.count) and batch.error is None and self.poison is None

    def _write(self, batch: Batch) -> None:
        if batch.at < 0:
            if self.written + batch.count > LAST_ID:
                raise OSError(errno.EOVERFLOW, "the ids of 64 bits are used up")
            self._make_room(batch)
            batch.first, batch.group = self.written, self.durable
            batch.at = self.segment.end
        else:  # again: what a sync was asked for may be held for stored, and not be
            rewrite(self.segment.file, self._unsynced, batch.at)
        segment = self.segment
        segment.end = batch.at
        size = segment.write(batch.entries, batch.first, batch.group)
        segment.advance(batch.first, size)
        self.written = batch.first + batch.count

    def _make_room(self, batch: Batch) -> None:
        """See that the batch goes into one segment, even if it alone fills it."""
        size = batch.frames_size()
        segment = self.segment
        used = segment.end > HEADER_SIZE
        if used and segment.end + size > self._segment_bytes:
            self.rotate()
        if self._preallocate:
            self.segment.allocate(size, self._segment_bytes)

    def rotate(self, first_id: int = 0) -> None:
        """Begin a new segment.

        Args:
            first_id: The id of its first record; 0 for the next one.

        Raises:
            OSError: If there is no room for it; the old one goes on then.
            Unconfirmed: If it is not known what is on the disk.
        """
        if self.durable < self.written:
            self._sync()
        old = self.segment
        new = create_segment(
            self._disk,
            self._folder,
            serial=old.header.serial + 1,
            first_id=first_id or self.written,
            follows=self.written,
            checksum=self._checksum,
            codec=self._codec,
        )
        try:
            old.seal(self.written, index=True)
        except OSError:
            new.discard(self._disk)
            old.roll_back()
            raise
        publish_segment(self._disk, self._folder, new)
        known = old.header.serial - self.places[0].serial + 1
        self.places = [*self.places[:known], new.place]
        self.segment = new
        self.written = self.durable = new.header.first_id
        self._unsynced = new.end
        old.close()

    def sync_folder(self) -> None:
        """Make durable which segments there are.

        Raises:
            Unconfirmed: If that failed.
        """
        try:
            self._disk.sync_dir(self._folder)
        except OSError as error:
            raise Unconfirmed(error) from error

    def _sync(self) -> None:
        start = perf_counter()
        self.segment.sync()
        written = self.written
        self.figures.count_sync(written - self.durable, perf_counter() - start)
        self.durable = written
        self._unsynced = self.segment.end
        self.publish()

    def publish(self) -> None:
        """Tell readers elsewhere how far records are durable."""
        try:
            self._mark.publish(self.durable)
        except OSError:
            pass  # they see the records later, after the next sync

    def _take_back(self, batch: Batch, error: OSError) -> LogError:
        """Undo a write that failed."""
        self.figures.failed_writes += 1
        if batch.at >= 0:
            self.segment.end = batch.at
            self.written = batch.first
            try:
                self.segment.roll_back()
            except Unconfirmed as failure:
                self.poison_by(failure.cause)
        failed = WriteFailed(
            f"{batch.count} records were not written to {self.segment.place.path!r}, "
            f"nothing of them is stored: {error}",
            errno=error.errno or 0,
        )
        failed.__cause__ = error
        return failed

    def poison_by(self, cause: OSError) -> LogPoisoned:
        """Accept nothing any more; return why."""
        poison = LogPoisoned(
            f"{self._folder}: the disk did not confirm a write ({cause}), so nobody "
            f"knows what is stored; close the log and open it again, which finds out",
            errno=cause.errno or 0,
        )
        poison.__cause__ = cause
        self.poison = poison
        return poison

    def finish(self) -> None:
        """Seal the log, if all is well, and close its files."""
        try:
            if self.poison is None and self.durable == self.written:
                large = len(self.segment.index) > _FEW
                self.segment.seal(self.written, index=large)
        except (OSError, Unconfirmed):
            pass  # the seal is one more proof; all records are durable without it
        finally:
            self.segment.close()
