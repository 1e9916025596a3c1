"""The values of logs: records, durability, checkpoints, reports.

Not here: the protocols (`api`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from typing_extensions import NamedTuple

from cup._core.clock import check_timeout

__all__ = [
    "BUFFERED",
    "SYNC",
    "Checkpoint",
    "Codec",
    "Durability",
    "Entry",
    "Finding",
    "FindingKind",
    "LogStats",
    "Mode",
    "PurgeReport",
    "Record",
    "RepairReport",
    "VerifyReport",
    "group",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Mode(enum.IntEnum):
    """What a record does to the state that a log stands for; the log does not care."""

    ADD = 0
    SET = 1
    DEL = 3


class Record(NamedTuple, Generic[T_co]):
    """One record, as it is read back.

    Attributes:
        id: Its number: 1 for the first of a log, one more for each next.
        payload: What was appended.
        type: A number from 0 to 65535 that the writer chose.
        mode: A number from 0 to 255, see `Mode`.
    """

    id: int
    payload: T_co
    type: int
    mode: int


class Entry(NamedTuple, Generic[T_co]):
    """One record to be appended among others that have another type or mode.

    Attributes:
        payload: What to append.
        type: A number from 0 to 65535.
        mode: A number from 0 to 255.
    """

    payload: T_co
    type: int = 0
    mode: int = Mode.ADD


@dataclass(frozen=True, slots=True)
class Durability:
    """When an append returns, and how long its record may wait for others.

    Use `SYNC`, `BUFFERED` and `group(seconds)`.

    Attributes:
        waits: Whether the append returns when the record is durable; if not, at once.
        max_delay: Seconds that the record may wait for others to share a sync with.
    """

    waits: bool
    max_delay: float

    def __repr__(self) -> str:
        if self.waits:
            return f"group({self.max_delay})" if self.max_delay else "SYNC"
        return "BUFFERED"


SYNC = Durability(waits=True, max_delay=0.0)
"""An append returns when its record is durable. Who comes meanwhile shares a sync."""

BUFFERED = Durability(waits=False, max_delay=1.0)
"""An append returns at once.

The record is made durable within a second, or with the next one that is synced, or by
`sync()`. If that fails, the next call says so.
"""


def group(max_delay: float) -> Durability:
    """Return a durability that waits for others, to need fewer syncs.

    Args:
        max_delay: Seconds that the record may wait for more to come.

    Raises:
        InvalidValue: If it is NaN.
    """
    return Durability(waits=True, max_delay=check_timeout(max_delay) or 0.0)


class Codec(Protocol[T]):
    """Makes bytes of what is appended, and the other way round."""

    @property
    def name(self) -> str:
        """What files call it: at most 16 characters of ASCII."""
        ...

    def encode(self, value: T, /) -> bytes:
        """Make bytes of a value."""
        ...

    def decode(self, payload: bytes, /) -> T:
        """Make a value of bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state that stands for all records before an id.

    Attributes:
        at_id: The first record that is not part of it.
        state: The state.
    """

    at_id: int
    state: bytes


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What a purge has removed.

    Attributes:
        segments: How many files.
        records: How many records; ids that were skipped count.
        size: How many bytes.
        first_id: The first record that the log still has, or will have.
    """

    segments: int
    records: int
    size: int
    first_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStats:
    """The figures of a log at one moment.

    Attributes:
        first_id: The first record that it has, or will have.
        next_id: The id of the next record to be appended.
        durable_id: The last record that is durable; `first_id - 1` if none is.
        pending: Records that are not durable yet.
        segments: Files of records.
        size: Bytes of the records in them.
        records: Records made durable since the log was opened.
        groups: Syncs that made them durable.
        largest_group: The most records that shared one sync.
        sync_seconds: Seconds that syncs took, in all.
        slowest_sync: Seconds that the slowest took.
        sync_histogram: How many syncs took up to 64, 128, 256 ... microseconds; the
            last one counts all slower ones.
        failed_writes: Groups that could not be written.
        cut_bytes: Bytes of a torn tail that were cut away when it was opened.
        poisoned: Why it accepts nothing any more; None while it does.
        closed: Whether it is closed.
    """

    first_id: int
    next_id: int
    durable_id: int
    pending: int
    segments: int
    size: int
    records: int
    groups: int
    largest_group: int
    sync_seconds: float
    slowest_sync: float
    sync_histogram: tuple[int, ...]
    failed_writes: int
    cut_bytes: int
    poisoned: str | None
    closed: bool


FindingKind: TypeAlias = Literal[
    "checkpoint", "damage", "header", "index", "mark", "missing", "seal", "torn"
]
"""What is wrong.

`torn` is what a crash has left of a write that was never acknowledged: opening the log
cuts it off. `damage`, `header` and `missing` mean that records are lost, if ids are
named. The others are lost helpers: the records are there.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something in the files of a log that is not as it should be.

    Attributes:
        kind: What it is.
        path: The file.
        offset: Where in it, in bytes.
        size: How many bytes are concerned.
        first_id: The first record that is lost by it.
        stop_id: The record behind the last one that is; `first_id` if none is.
        reason: In words.
    """

    kind: FindingKind
    path: str
    offset: int
    size: int
    first_id: int
    stop_id: int
    reason: str

    @property
    def lost(self) -> int:
        """How many records are lost by it."""
        return self.stop_id - self.first_id


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was found in the files of a log.

    Attributes:
        directory: Where it is.
        live: Whether somebody writes to it: then what is not durable was not looked at.
        segments: How many files of records there are.
        records: How many good records.
        size: The bytes of their payloads.
        first_id: The first record.
        next_id: The id behind the last one.
        checkpoints: How many good states there are.
        findings: What is not as it should be, in the order of files and offsets.
    """

    directory: str
    live: bool
    segments: int
    records: int
    size: int
    first_id: int
    next_id: int
    checkpoints: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether all is as it should be."""
        return not self.findings

    @property
    def lost(self) -> int:
        """How many records are lost."""
        return sum(finding.lost for finding in self.findings)

    @property
    def torn_bytes(self) -> int:
        """The bytes of a tail that a crash has torn."""
        return sum(found.size for found in self.findings if found.kind == "torn")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What was done to a log, and what it has cost.

    Attributes:
        directory: Where it is.
        findings: What was wrong; `lost` tells for each how many records it has cost.
        rebuilt: The files that were written anew, without what was damaged.
        quarantined: Where the damaged files are now.
        first_id: The first record of the log.
        next_id: The id of its next record.
    """

    directory: str
    findings: tuple[Finding, ...]
    rebuilt: tuple[str, ...]
    quarantined: tuple[str, ...]
    first_id: int
    next_id: int

    @property
    def lost(self) -> int:
        """How many records are lost."""
        return sum(finding.lost for finding in self.findings)
