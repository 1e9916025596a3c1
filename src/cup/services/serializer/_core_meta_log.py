"""The log of a store of metadata: it folds what it has made durable.

Records are folded between the sync and the moment when those are told who wait for it,
by the thread that has the lead: so in their order, each once, and before any caller
goes on.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from ._core import LogCore
from ._core_committer import Committer
from ._core_meta_state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_batch import Batch
    from ._core_format import Piece
    from ._core_writer import Writer

__all__ = ["StoreLog"]


class FoldingCommitter(Committer):
    """Has records written, and folds them.

    Args:
        writer: What writes.
        name: The name of the thread that writes when no other does.
        settled: Called after each batch, when it is folded.
        state: What records are folded into.
    """

    __slots__ = ("_state",)

    def __init__(
        self,
        writer: Writer,
        name: str,
        settled: Callable[[], object],
        state: State,
    ) -> None:
        super().__init__(writer, name, settled)
        self._state = state

    def _tell(self, batch: Batch) -> None:
        if batch.error is None and batch.count:
            pieces = chain.from_iterable(part for part, _ in batch.entries)
            self._state.fold(enumerate(pieces, batch.first))
        super()._tell(batch)


class StoreLog(LogCore):
    """A log that folds what it has made durable.

    Attributes:
        state: What its records amount to.
    """

    __slots__ = ("state",)

    def _open(self, codec: str) -> None:
        super()._open(codec)
        self.state: State = State()
        self.committer: Committer = FoldingCommitter(
            self.writer,
            f"cup-meta-{self.folder.rpartition('/')[2]}",
            self.tide.rise,
            self.state,
        )

    def write(self, pieces: list[Piece], delay: float) -> int:
        """Write records, all or none, and wait until they are durable and folded.

        Returns:
            The id of the first one.
        """
        first = self.append(pieces, delay, atomic=len(pieces) > 1)
        while self.state.next_id < first + len(pieces):
            # Woke by the clock, a moment before it would have been told.
            self.committer.commit()
        return first


class Folded:
    """How far a store has got, for those who follow it.

    Args:
        log: Its log.
    """

    __slots__ = ("_log",)

    def __init__(self, log: StoreLog) -> None:
        self._log = log

    @property
    def durable(self) -> int:
        """The id behind the last record that was folded."""
        return self._log.state.next_id

    def is_over(self) -> bool:
        """Tell whether no record will ever come again."""
        return self._log.is_over()
