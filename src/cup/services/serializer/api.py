"""What a log is: its values, and the protocols of its faces.

`LogAPI` is the face for threads, `AsyncLogAPI` the one for tasks; `ReaderAPI` and
`AsyncReaderAPI` are what any process may do with a log that another one writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from .api_values import (
    BUFFERED,
    SYNC,
    Checkpoint,
    Codec,
    Durability,
    Entry,
    Finding,
    FindingKind,
    LogStats,
    Mode,
    PurgeReport,
    Record,
    RepairReport,
    VerifyReport,
    group,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from types import TracebackType

    from typing_extensions import Self

__all__ = [
    "BUFFERED",
    "SYNC",
    "AsyncLogAPI",
    "AsyncReaderAPI",
    "AsyncTicketAPI",
    "Checkpoint",
    "Codec",
    "Durability",
    "Entry",
    "Finding",
    "FindingKind",
    "LogAPI",
    "LogStats",
    "Mode",
    "PurgeReport",
    "ReaderAPI",
    "Record",
    "RepairReport",
    "TicketAPI",
    "VerifyReport",
    "group",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class TicketAPI(Protocol):
    """A record that is on its way to the disk."""

    @property
    def id(self) -> int:
        """The id that the record has once it is durable."""
        ...

    @property
    def durable(self) -> bool:
        """Whether the record is durable."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the record is durable, and return its id."""
        ...


class AsyncTicketAPI(Protocol):
    """A record that is on its way to the disk, for a task; may be awaited itself."""

    @property
    def id(self) -> int:
        """The id that the record has once it is durable."""
        ...

    @property
    def durable(self) -> bool:
        """Whether the record is durable."""
        ...

    async def wait(self, timeout: float | None = None) -> int:
        """Wait until the record is durable, and return its id."""
        ...


class ReaderAPI(Protocol[T_co]):
    """What threads read from a log."""

    @property
    def first_id(self) -> int:
        """The first record that the log has, or will have."""
        ...

    @property
    def durable_id(self) -> int:
        """The last record that is durable."""
        ...

    def records(
        self, start: int | None = None, stop: int | None = None
    ) -> Iterator[Record[T_co]]:
        """Read what is durable now, from `start` to before `stop`."""
        ...

    def follow(
        self, start: int | None = None, *, timeout: float | None = None
    ) -> Iterator[Record[T_co]]:
        """Read from `start` on, and wait for what comes."""
        ...

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the last state that was stored."""
        ...

    def close(self) -> None:
        """End."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class LogAPI(ReaderAPI[T], Protocol):
    """What threads do with a log that they write."""

    @property
    def next_id(self) -> int:
        """The id of the next record."""
        ...

    def append(
        self,
        payload: T,
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
        durability: Durability | None = None,
    ) -> int:
        """Append one record and return its id, when it is durable."""
        ...

    def append_many(
        self,
        payloads: Iterable[T],
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
        durability: Durability | None = None,
    ) -> range:
        """Append records, all or none of them, and return their ids."""
        ...

    def append_entries(
        self, entries: Iterable[Entry[T]], *, durability: Durability | None = None
    ) -> range:
        """Append records of several types and modes, all or none of them."""
        ...

    def submit(
        self,
        payload: T,
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
    ) -> TicketAPI:
        """Append one record without waiting for it."""
        ...

    def sync(self) -> int:
        """Wait until all that was appended is durable; return the next id."""
        ...

    def purge(self, before_id: int) -> PurgeReport:
        """Remove files whose records all lie before an id."""
        ...

    def skip_to(self, next_id: int) -> None:
        """Let the next record have a higher id."""
        ...

    def checkpoint(self, state: bytes, at_id: int | None = None) -> Checkpoint:
        """Store a state that stands for all records before an id."""
        ...

    def stats(self) -> LogStats:
        """Return its figures."""
        ...


class AsyncReaderAPI(Protocol[T_co]):
    """What tasks read from a log."""

    @property
    def first_id(self) -> int:
        """The first record that the log has, or will have."""
        ...

    @property
    def durable_id(self) -> int:
        """The last record that is durable."""
        ...

    def records(
        self, start: int | None = None, stop: int | None = None
    ) -> AsyncIterator[Record[T_co]]:
        """Read what is durable now, from `start` to before `stop`."""
        ...

    def follow(
        self, start: int | None = None, *, timeout: float | None = None
    ) -> AsyncIterator[Record[T_co]]:
        """Read from `start` on, and wait for what comes."""
        ...

    async def latest_checkpoint(self) -> Checkpoint | None:
        """Return the last state that was stored."""
        ...

    async def close(self) -> None:
        """End."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class AsyncLogAPI(AsyncReaderAPI[T], Protocol):
    """What tasks do with a log that they write."""

    @property
    def next_id(self) -> int:
        """The id of the next record."""
        ...

    async def append(
        self,
        payload: T,
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
        durability: Durability | None = None,
    ) -> int:
        """Append one record and return its id, when it is durable."""
        ...

    async def append_many(
        self,
        payloads: Iterable[T],
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
        durability: Durability | None = None,
    ) -> range:
        """Append records, all or none of them, and return their ids."""
        ...

    async def append_entries(
        self, entries: Iterable[Entry[T]], *, durability: Durability | None = None
    ) -> range:
        """Append records of several types and modes, all or none of them."""
        ...

    async def submit(
        self,
        payload: T,
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
    ) -> AsyncTicketAPI:
        """Append one record without waiting for it."""
        ...

    async def sync(self) -> int:
        """Wait until all that was appended is durable; return the next id."""
        ...

    async def purge(self, before_id: int) -> PurgeReport:
        """Remove files whose records all lie before an id."""
        ...

    async def skip_to(self, next_id: int) -> None:
        """Let the next record have a higher id."""
        ...

    async def checkpoint(self, state: bytes, at_id: int | None = None) -> Checkpoint:
        """Store a state that stands for all records before an id."""
        ...

    def stats(self) -> LogStats:
        """Return its figures."""
        ...
