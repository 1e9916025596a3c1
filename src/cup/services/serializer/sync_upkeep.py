"""What threads do with a log besides appending and reading; twin of `aio_upkeep`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cup._core.running import guard_blocking

from ._core import LogCore
from .sync_base import Readable

if TYPE_CHECKING:
    from .api import Checkpoint, LogStats, PurgeReport

__all__ = ["Upkeep"]

T = TypeVar("T")


class Upkeep(Readable[T, LogCore]):
    """What a log that is written offers besides reading and appending."""

    __slots__ = ()

    @property
    def next_id(self) -> int:
        """The id of the next record."""
        return self._core.committer.next_id

    def purge(self, before_id: int) -> PurgeReport:
        """Remove files whose records all lie before an id.

        Records that share a file with later ones stay. Ids are not used again, even if
        all records are purged.

        Args:
            before_id: The first record that is still needed.

        Raises:
            LogError: If a file could not be removed, or the log is closed or poisoned.
            InvalidType: If the id is no int.
            InvalidValue: If it is negative.
        """
        guard_blocking("Log.purge()", "AsyncLog.purge()")
        return self._core.purge(before_id)

    def skip_to(self, next_id: int) -> None:
        """Let the next record have a higher id.

        The records between do not exist, and readers go past them.

        Args:
            next_id: The id of the next record.

        Raises:
            LogError: If that could not be written, or the log is closed or poisoned.
            InvalidType: If the id is no int.
            InvalidValue: If it is lower than that of the next record.
        """
        guard_blocking("Log.skip_to()", "AsyncLog.skip_to()")
        self._core.skip_to(next_id)

    def checkpoint(self, state: bytes, at_id: int | None = None) -> Checkpoint:
        """Store a state that stands for all records before an id.

        Whoever opens the log starts from the state, and reads the records from that id
        on. Those before it can be purged then. The last two states are kept.

        Args:
            state: The state, which is stored as it is.
            at_id: The first record that is not part of it; None for the next one that
                is not durable yet.

        Raises:
            LogError: If it could not be stored, or the log is closed or poisoned.
            InvalidType: If an argument has the wrong type.
            InvalidValue: If a record before `at_id` is not durable.
        """
        guard_blocking("Log.checkpoint()", "AsyncLog.checkpoint()")
        return self._core.checkpoint(state, at_id)

    def stats(self) -> LogStats:
        """Return its figures."""
        return self._core.stats()
