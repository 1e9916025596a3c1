"""What tasks do with a log besides appending and reading; twin of `sync_upkeep`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ._core import LogCore
from .aio_base import AsyncReadable
from .aio_records import in_thread

if TYPE_CHECKING:
    from .api import Checkpoint, LogStats, PurgeReport

__all__ = ["AsyncUpkeep"]

T = TypeVar("T")


class AsyncUpkeep(AsyncReadable[T, LogCore]):
    """What a log that is written offers besides reading and appending."""

    __slots__ = ()

    @property
    def next_id(self) -> int:
        """The id of the next record."""
        return self._core.committer.next_id

    async def purge(self, before_id: int) -> PurgeReport:
        """Remove files whose records all lie before an id.

        Twin of `Log.purge`.

        Args:
            before_id: The first record that is still needed.

        Raises:
            LogError: If a file could not be removed, or the log is closed or poisoned.
            InvalidType: If the id is no int.
            InvalidValue: If it is negative.
        """
        return await in_thread(lambda: self._core.purge(before_id))

    async def skip_to(self, next_id: int) -> None:
        """Let the next record have a higher id.

        Twin of `Log.skip_to`.

        Args:
            next_id: The id of the next record.

        Raises:
            LogError: If that could not be written, or the log is closed or poisoned.
            InvalidType: If the id is no int.
            InvalidValue: If it is lower than that of the next record.
        """
        await in_thread(lambda: self._core.skip_to(next_id))

    async def checkpoint(self, state: bytes, at_id: int | None = None) -> Checkpoint:
        """Store a state that stands for all records before an id.

        Twin of `Log.checkpoint`.

        Args:
            state: The state, which is stored as it is.
            at_id: The first record that is not part of it; None for the next one that
                is not durable yet.

        Raises:
            LogError: If it could not be stored, or the log is closed or poisoned.
            InvalidType: If an argument has the wrong type.
            InvalidValue: If a record before `at_id` is not durable.
        """
        return await in_thread(lambda: self._core.checkpoint(state, at_id))

    def stats(self) -> LogStats:
        """Return its figures."""
        return self._core.stats()
