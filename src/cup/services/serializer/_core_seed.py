"""What the two faces with the older names share: arguments, records, reading.

Not here: the faces (`seed`, `aio_seed`).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from cup._core.clock import check_timeout
from cup._core.disk import OS_DISK
from cup.errors import InvalidType, LogClosed, LogError, RecordGone

from ._core import LogCore
from ._core_cursor import Cursor
from ._core_folder import list_places
from ._core_reading import ReaderCore
from ._core_settings import (
    MAX_RECORD,
    Folder,
    Settings,
    check_id,
    check_kind,
    folder_of,
    is_a,
    to_bytes,
)
from ._core_skipping import Skipping
from .api_values import SYNC, Mode
from .codecs import BYTES

if TYPE_CHECKING:
    from ._core_format import Piece
    from .api_values import Finding, PurgeReport, Record

__all__ = [
    "LOGFILE_BAD_RECORD",
    "LOGFILE_EOF",
    "LOGFILE_GOOD",
    "LOG_MOD_ADD",
    "LOG_MOD_DEL",
    "LOG_MOD_SET",
    "LogRecord",
    "SeedCore",
]

LOGFILE_GOOD: Final = 0
LOGFILE_EOF: Final = 1
LOGFILE_BAD_RECORD: Final = 2

LOG_MOD_ADD: Final = int(Mode.ADD)
LOG_MOD_SET: Final = int(Mode.SET)
LOG_MOD_DEL: Final = int(Mode.DEL)

_ALL: Final = -1
_SMALLEST: Final = 4096


class LogRecord(NamedTuple):
    """One record, under the older names.

    Attributes:
        length: The bytes of its payload.
        log_id: Its id, the one that `add_log` has returned.
        log_type: A number from 0 to 65535.
        log_mode: A number from 0 to 255, `LOG_MOD_ADD` for one.
        log_binary: Its payload.
    """

    length: int
    log_id: int
    log_type: int
    log_mode: int
    log_binary: bytes


class SeedCore:
    """A directory, a log in it that is open for writing, and a place to read from."""

    __slots__ = (
        "_kept",
        "_place",
        "_reader",
        "_size",
        "folder",
        "log",
        "name",
        "seconds",
        "skip",
    )

    def __init__(
        self, directory: Folder, *, skip: bool, size: int, seconds: float
    ) -> None:
        if not is_a(size, int):
            raise InvalidType(f"max_logfile_size={size!r}: it is an int")
        age = check_timeout(seconds, "persist_after_sec")
        self.folder: str = folder_of(directory)
        self.name: str = ""
        self.skip: bool = bool(skip)
        self.log: LogCore | None = None
        self._size = max(_SMALLEST, size)
        self.seconds: float = inf if age is None else age
        self._place: Cursor | Skipping | None = None
        self._reader: ReaderCore | None = None
        self._kept: list[Record[bytes]] = []

    def settings(self, *, cut: bool) -> Settings:
        """Return how the log is written."""
        return Settings.of(
            segment_bytes=self._size,
            max_record=MAX_RECORD,
            durability=SYNC,
            checksum="auto",
            on_torn="cut" if cut else "error",
            preallocate=True,
            lock_timeout=0,
            disk=None,
        )

    def open_log(self, *, cut: bool) -> None:
        """Open the log for writing, unless it is."""
        if self.log is None:
            self.log = LogCore(self.folder, self.settings(cut=cut), BYTES.name)

    def prepare(self, kind: int, mode: int, payload: bytes) -> tuple[LogCore, Piece]:
        """Return the log, and a record that can be appended to it.

        Raises:
            LogError: If the log is not open.
            InvalidType: If something has the wrong type.
            InvalidValue: If a number is out of range.
            RecordTooLarge: If the payload is.
        """
        check_kind(kind, mode)
        payload = to_bytes(payload, MAX_RECORD)
        log = self.log
        if log is None:
            raise LogError(f"{self.folder}: call open4write() first")
        log.check_process()
        return log, log.piece(payload, kind, mode)

    def add(self, kind: int, mode: int, payload: bytes) -> int:
        """Append a record; return its id when it is durable; raises as `prepare`."""
        log, piece = self.prepare(kind, mode, payload)
        if log.is_older(self.seconds):
            log.rotate_if_older(self.seconds)
        return log.append([piece], 0.0, atomic=False)

    def close_log(self) -> None:
        """Close the log, if it is open."""
        log, self.log = self.log, None
        if log is not None:
            log.close()

    def need_log(self) -> LogCore:
        """Return the log that is open for writing.

        Raises:
            LogClosed: If it is not.
        """
        if self.log is None:
            raise LogClosed(f"{self.folder}: call open4write() first")
        return self.log

    def purge(self, before: int) -> PurgeReport:
        """Purge the log, whether it is open for writing or not."""
        check_id("before_logid", before)
        if self.log is not None:
            return self.log.purge(before)

        log = LogCore(self.folder, self.settings(cut=True), BYTES.name)
        try:
            return log.purge(before)
        finally:
            log.close()

    def start_reading(self, start: int) -> bool:
        """Go to a record; False if there is no log."""
        self.stop_reading()
        first = None if start == _ALL else check_id("start_logid", start)
        try:
            if not list_places(OS_DISK, self.folder):
                return False
        except FileNotFoundError:
            return False
        if self.skip:
            self._place = Skipping(
                self.extent,
                OS_DISK,
                self.folder,
                start=first,
                max_record=MAX_RECORD,
            )
        else:
            self._place = Cursor(
                OS_DISK, self.folder, start=first, max_record=MAX_RECORD
            )
        return True

    def read(self, count: int) -> list[LogRecord]:
        """Return so many records at most, the next ones."""
        if not is_a(count, int):
            raise InvalidType(f"record_num={count!r}: it is an int")
        place = self._place
        if place is None:
            raise LogClosed(f"{self.folder}: call open4read() first")
        records = self._kept
        while len(records) < count:
            if isinstance(place, Skipping):
                more = place.read()
            else:
                more = place.read(self.extent())
            if not more:
                break
            records += more
        self._kept = records[max(0, count) :]
        return [
            LogRecord(len(payload), number, kind, mode, payload)
            for number, payload, kind, mode in records[: max(0, count)]
        ]

    def extent(self) -> int:
        """Return the id behind the last record that may be read."""
        if self.log is not None:
            return self.log.extent()
        if self._reader is None:
            self._reader = ReaderCore(self.folder, OS_DISK, MAX_RECORD, BYTES.name)
        return self._reader.extent()

    def lost(self) -> tuple[Finding, ...]:
        """Return what reading had to skip."""
        return tuple(self._place.lost) if isinstance(self._place, Skipping) else ()

    def stop_reading(self) -> None:
        """Close what is read, if anything is."""
        place, self._place, self._kept = self._place, None, []
        if place is not None:
            place.close()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def close_all(self) -> None:
        """Close the log, and what is read."""
        self.stop_reading()
        self.close_log()

    def rename(self, name: str) -> None:
        """Have another name, which `describe` says.

        Raises:
            InvalidType: If it is no text.
        """
        if not is_a(name, str):
            raise InvalidType(f"name={name!r}: it is a text")
        self.name = name

    def describe(self) -> str:
        """Say what and where it is."""
        state = "open for writing" if self.log is not None else "not open for writing"
        return " ".join(filter(None, (self.name, repr(self.folder), state)))

    def is_empty(self) -> bool:
        """Tell whether there is no record."""
        try:
            with Cursor(OS_DISK, self.folder, start=None, max_record=MAX_RECORD) as at:
                return not at.read(self.extent())
        except (FileNotFoundError, RecordGone):
            return True
