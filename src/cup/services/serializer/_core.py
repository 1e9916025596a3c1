"""A log that is open for writing: what its two faces share. It knows bytes only.

Not here: group commit (`_core_committer`), files (`_core_writer`, `_core_segment`),
reading (`_core_cursor`), codecs (the faces).
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock
from typing import TYPE_CHECKING, Final

from cup._core import fork, lifecycle
from cup.errors import (
    ForkedProcess,
    InvalidType,
    InvalidValue,
    WriteFailed,
)

from ._core_checkpoint import latest_checkpoint, store_checkpoint
from ._core_checksum import by_number
from ._core_committer import Committer
from ._core_cursor import Cursor
from ._core_folder import Mark, make_folder
from ._core_format import HEADER_SIZE, Piece
from ._core_lock import WriterLock
from ._core_rapid import maker_of
from ._core_recovery import check_empty, recover
from ._core_segment import Unconfirmed
from ._core_settings import check_id, check_kind, check_next_id, is_a, to_bytes
from ._core_tide import Tide
from ._core_writer import Writer
from .api import Checkpoint, LogStats, Mode, PurgeReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._core_batch import Batch
    from ._core_checksum import Checksum
    from ._core_recovery import Recovered
    from ._core_settings import Settings

__all__ = ["LogCore"]

_new: Final = maker_of(Piece)


_open_logs: set[LogCore] = set()
"""Logs that nobody has closed: they live on, and are closed at exit."""


class LogCore:
    """A log that is open for writing.

    Args:
        folder: Its directory, absolute; it is made if it is missing.
        settings: How it is written.
        codec: The name of its codec.

    Attributes:
        committer: What writes.
        tide: Who waits until records are durable.
        settings: The same as above.
        folder: The same.
    """

    __slots__ = (
        "__weakref__",
        "_checkpoints",
        "_crc",
        "_cut",
        "_generation",
        "_lock",
        "_mark",
        "_most",
        "_pid",
        "committer",
        "folder",
        "settings",
        "tide",
        "writer",
    )

    def __init__(self, folder: str, settings: Settings, codec: str) -> None:
        self.folder: str = folder
        self.settings: Settings = settings
        self.tide: Tide = Tide()
        self._checkpoints = allocate_lock()
        self._generation = fork.generation()
        self._pid = os.getpid()
        self._most = settings.max_record
        disk = settings.disk
        make_folder(disk, folder)
        self._lock = WriterLock(disk, folder, settings.lock_timeout)
        self._mark = Mark(disk, folder)
        try:
            self._open(codec)
        except BaseException:
            self._mark.close()
            self._lock.close()
            raise
        lifecycle.at_exit(lifecycle.Stage.LOGS, self)
        _open_logs.add(self)

    def _open(self, codec: str) -> None:
        settings, disk = self.settings, self.settings.disk
        found = recover(
            disk,
            self.folder,
            durable=self._mark.read(),
            max_record=settings.max_record,
            checksum=settings.checksum,
            codec=codec,
            cut=settings.cut,
        )
        self._cut = found.cut
        try:
            self._start(found, codec)
        except Unconfirmed as error:
            found.segment.close()
            raise error.cause from error
        except BaseException:
            found.segment.close()
            raise
        crc = by_number(settings.checksum)
        assert crc is not None, "settings were checked"
        self._crc: Checksum = crc
        name = f"cup-log-{self.folder.rpartition('/')[2]}"
        self.committer: Committer = Committer(self.writer, name, self.tide.rise)

    def _start(self, found: Recovered, codec: str) -> None:
        settings, header = self.settings, found.segment.header
        if header.codec != codec:
            check_empty(self.folder, found, codec)
        self._mark.close()
        self._mark.open_for_writing()
        self.writer: Writer = Writer(
            settings.disk,
            self.folder,
            found,
            self._mark,
            segment_bytes=settings.segment_bytes,
            checksum=settings.checksum,
            codec=codec,
            preallocate=settings.preallocate,
        )
        self._mark.publish(found.next_id)
        if (header.checksum, header.codec) != (settings.checksum, codec):
            self.writer.rotate()

    # -- what it knows -----------------------------------------------------------------

    @property
    def durable(self) -> int:
        """The id behind the last durable record."""
        return self.writer.durable

    def extent(self) -> int:
        """Return the same: what may be read."""
        return self.writer.durable

    @property
    def first_id(self) -> int:
        """The first record that there is, or will be."""
        return self.writer.places[0].first_id

    def is_over(self) -> bool:
        """Tell whether no record will ever come again."""
        return self.committer.is_closed() or self.writer.poison is not None

    def check_process(self) -> None:
        """Refuse to work in a forked child.

        Raises:
            ForkedProcess: If this is one.
        """
        if self._generation != fork.generation():
            raise ForkedProcess(
                f"{self.folder}: process {self._pid} has this log open, and this is a "
                f"child that it forked; let one process write, or close the log there "
                f"and open it here"
            )

    def stats(self) -> LogStats:
        """Return its figures."""
        writer, committer = self.writer, self.committer
        figures, places, next_id = writer.figures, writer.places, committer.next_id
        sealed = 0
        for place in places[:-1]:
            try:
                sealed += self.settings.disk.size(place.path) - HEADER_SIZE
            except FileNotFoundError:
                pass  # purged meanwhile
        poison = writer.poison
        return LogStats(
            first_id=places[0].first_id,
            next_id=next_id,
            durable_id=writer.durable - 1,
            pending=max(0, next_id - writer.durable),
            segments=len(places),
            size=sealed + writer.segment.end - HEADER_SIZE,
            records=figures.records,
            groups=figures.groups,
            largest_group=figures.largest,
            sync_seconds=figures.seconds,
            slowest_sync=figures.slowest,
            sync_histogram=tuple(figures.histogram),
            failed_writes=figures.failed_writes,
            cut_bytes=self._cut,
            poisoned=None if poison is None else str(poison),
            closed=committer.is_closed(),
        )

    # -- what is done with it ----------------------------------------------------------

    def piece(self, payload: bytes, kind: int, mode: int) -> Piece:
        """Return a record that can be written.

        Raises:
            InvalidType: If something has the wrong type.
            InvalidValue: If `kind` or `mode` is out of range.
            RecordTooLarge: If the payload is.
        """
        if kind.__class__ is not int or mode.__class__ is not Mode or kind >> 16:
            check_kind(kind, mode)
        if payload.__class__ is not bytes or len(payload) > self._most:
            payload = to_bytes(payload, self._most)
        return _new(Piece, (payload, self._crc(payload), kind, mode))

    def pieces(self, payloads: Iterable[bytes], kind: int, mode: int) -> list[Piece]:
        """Return records that can be written; raises as `piece` does."""
        check_kind(kind, mode)
        crc, most = self._crc, self.settings.max_record
        pieces: list[Piece] = []
        add = pieces.append
        for payload in payloads:
            if payload.__class__ is not bytes or len(payload) > most:
                payload = to_bytes(payload, most)  # noqa: PLW2901 - the same, as bytes
            add(_new(Piece, (payload, crc(payload), kind, mode)))
        return pieces

    def append(self, pieces: list[Piece], delay: float, *, atomic: bool) -> int:
        """Write records and wait until they are durable; return the first id."""
        if not pieces:
            self.committer.check()
            return self.committer.next_id
        size = sum([len(piece[0]) for piece in pieces])
        return self.committer.append([(pieces, atomic)], len(pieces), size, delay)

    def put(
        self, pieces: list[Piece], delay: float, *, atomic: bool, watched: bool
    ) -> tuple[Batch, int]:
        """Have records written; return their batch, and the first id."""
        size = sum([len(piece[0]) for piece in pieces])
        return self.committer.put(
            [(pieces, atomic)], len(pieces), size, delay, watched=watched
        )

    def sync(self) -> int:
        """Wait until all that was appended is durable; return the next id."""
        self.committer.check()
        if self.committer.next_id > self.durable:
            try:
                self.committer.append([], 0, 0, 0.0)
            except WriteFailed:
                self.committer.forget_lost()
                raise
        return self.durable

    def describe(self) -> str:
        """Say what and where it is."""
        state = "closed" if self.committer.is_closed() else "open"
        if self.writer.poison is not None:
            state = "poisoned"
        ids = f"records {self.first_id} to {self.durable - 1}"
        return f"{self.folder!r} {ids}, {state}"

    def cursor(self, start: int | None) -> Cursor:
        """Return a place to read from."""
        self.check_process()
        if start is not None:
            check_id("start", start)
        segment = self.writer.segment
        return Cursor(
            self.settings.disk,
            self.folder,
            start=start,
            max_record=self.settings.max_record,
            active=(segment.place.path, segment.index),
        )

    def purge(self, before_id: int) -> PurgeReport:
        """Remove segments whose records all lie before an id."""
        self.check_process()
        check_id("before_id", before_id)
        return self.committer.exclusively(lambda: self._purge(before_id))

    def _purge(self, before_id: int) -> PurgeReport:
        writer, disk = self.writer, self.settings.disk
        if before_id >= writer.written and writer.segment.end > HEADER_SIZE:
            writer.rotate()
        segments = records = size = 0
        while len(writer.places) > 1 and writer.places[1].first_id <= before_id:
            oldest, following = writer.places[:2]
            length = disk.size(oldest.path)
            disk.unlink(oldest.path)
            writer.places = writer.places[1:]
            writer.sync_folder()  # a hole must be impossible
            segments += 1
            records += following.first_id - oldest.first_id
            size += length
        return PurgeReport(segments, records, size, writer.places[0].first_id)

    def is_older(self, seconds: float) -> bool:
        """Tell whether the last segment is so old, and has records."""
        segment = self.writer.segment
        age = time.time_ns() - segment.header.created
        return age > seconds * 1e9 and segment.end > HEADER_SIZE

    def rotate_if_older(self, seconds: float) -> None:
        """Begin a new segment if the last one is so old."""

        def rotate() -> None:
            if self.is_older(seconds):  # nobody else has done it meanwhile
                self.writer.rotate()

        self.committer.exclusively(rotate)

    def skip_to(self, next_id: int) -> None:
        """Let the next record have a higher id."""
        self.check_process()
        check_next_id(next_id)
        self.committer.exclusively(lambda: self._skip_to(next_id))

    def _skip_to(self, next_id: int) -> None:
        writer = self.writer
        if next_id < writer.written:
            raise InvalidValue(
                f"next_id={next_id}: ids never repeat, and the next one is "
                f"{writer.written}"
            )
        if next_id > writer.written:
            writer.rotate(next_id)
            writer.publish()
            self.committer.renumber()

    def checkpoint(self, state: bytes, at_id: int | None) -> Checkpoint:
        """Store a state that stands for all records before an id."""
        self.check_process()
        if not is_a(state, bytes, bytearray, memoryview):
            raise InvalidType(f"a state is bytes, not {type(state).__name__}")
        number = self.durable if at_id is None else check_id("at_id", at_id, 1)
        if number > self.durable:
            raise InvalidValue(
                f"at_id={number}: records before it are not durable yet (up to "
                f"{self.durable - 1} they are); call sync() first"
            )
        self.committer.check()
        checkpoint = Checkpoint(number, bytes(state))
        with self._checkpoints:
            try:
                store_checkpoint(self.settings.disk, self.folder, checkpoint)
            except OSError as error:
                raise WriteFailed(
                    f"{self.folder}: the checkpoint was not stored: {error}",
                    errno=error.errno or 0,
                ) from error
        return checkpoint

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the last state that was stored."""
        self.check_process()
        return latest_checkpoint(self.settings.disk, self.folder)

    # -- the end -----------------------------------------------------------------------

    def close(self) -> None:
        """Make durable what was appended, and let others write to the log."""
        _open_logs.discard(self)
        if self._generation != fork.generation():
            return  # all of it is the parent's

        try:
            lost = self.committer.close(f"{self.folder}: the log is closed")
        finally:
            self._mark.close()
            self._lock.close()
            self.tide.rise()
        if lost is not None:
            raise lost

    def end_at_exit(self) -> None:
        """Close it at the end of the interpreter."""
        self.close()
