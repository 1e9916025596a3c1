"""Taking records in: into the batch that is written next, without waiting.

Not here: who writes it, and waiting for it (`_core_committer`).
"""

from __future__ import annotations

from _thread import allocate_lock
from time import monotonic
from typing import TYPE_CHECKING

from cup._core.program import Program
from cup.errors import LogClosed, LogError, WriteFailed

from ._core_batch import NOW, Batch, Sheaf, Unit, raise_copy

if TYPE_CHECKING:
    from cup._core.loops import Loop

    from ._core_batch import Entries
    from ._core_writer import Writer

__all__ = ["Intake"]

_FLUSH = 1 << 20  # bytes of records nobody waits for that are kept in memory


class Intake(Program):
    """The batch that is written next, and the one that is written now.

    Attributes:
        writer: What writes.
    """

    __slots__ = (
        "_closed",
        "_current",
        "_leading",
        "_lost",
        "_mutex",
        "_open",
        "_sheaves",
        "writer",
    )

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.writer: Writer = writer
        self._mutex = allocate_lock()
        self._leading = False
        self._open: Batch = Batch(writer.written)
        self._current: Batch | None = None
        self._lost: LogError | None = None
        self._closed: str = ""
        self._sheaves: dict[Loop, Sheaf] = {}

    def _nudge(self, deadline: float) -> None:
        """Have the next batch written at `deadline` at the latest."""
        raise NotImplementedError

    @property
    def next_id(self) -> int:
        """The id that the next record will most likely have."""
        batch = self._open
        return batch.begins + batch.added()[0]

    def is_closed(self) -> bool:
        """Tell whether it takes nothing any more."""
        return bool(self._closed)

    def check(self) -> None:
        """Refuse what cannot be written.

        Raises:
            LogError: If the log is closed or poisoned.
        """
        with self._mutex:
            self._check()

    def renumber(self) -> None:
        """Count on from what the writer writes next; the caller has the lead."""
        with self._mutex:
            self._open.begins = self.writer.written
            if self._open.exposed:
                self._open.error = WriteFailed(
                    "ids were skipped, so the record cannot have its own"
                )

    def forget_lost(self) -> None:
        """Do not tell of lost records again: a barrier has told."""
        self._lost = None

    def _check(self) -> None:
        """Refuse what cannot be written; called under the mutex."""
        if self._closed:
            raise LogClosed(self._closed)
        raise_copy(self.writer.poison)
        if self._lost is not None:
            lost, self._lost = self._lost, None
            raise lost

    def put(
        self, entries: Entries, count: int, size: int, delay: float, *, watched: bool
    ) -> tuple[Batch, int]:
        """Have records written, without waiting.

        Args:
            entries: The records.
            count: How many.
            size: The bytes of their payloads.
            delay: Seconds that they may wait for others.
            watched: Whether somebody will ask whether they are durable.

        Returns:
            Their batch, and the id that the first one will have.
        """
        deadline = monotonic() + delay if delay else NOW
        unit = Unit(entries, count, size, deadline, watched=watched)
        with self._mutex:
            self._check()
            batch = self._open
            first = batch.begins + batch.added()[0]
            nudge = deadline < batch.background and not self._leading
            batch.exposed = True
            batch.deadline = min(batch.deadline, deadline)
            batch.background = min(batch.background, deadline)
            batch.units.append(unit)
        if nudge:
            self._nudge(deadline)
        return batch, first

    def is_full(self) -> bool:
        """Tell whether more is kept in memory than should be."""
        return self._open.added()[1] > _FLUSH

    def sheaf_of(self, loop: Loop) -> Sheaf:
        """Return what the tasks of a loop append in this turn; called on the loop."""
        sheaf = self._sheaves.get(loop)
        if sheaf is None:
            loop.defer(lambda: self._hand_in(loop))  # first: else it might never be
            sheaf = self._sheaves[loop] = Sheaf(loop)
        return sheaf

    def _hand_in(self, loop: Loop) -> None:
        sheaf = self._sheaves.pop(loop, None)
        if sheaf is None:
            return

        sheaf.bind()
        try:
            with self._mutex:
                self._check()
                batch = sheaf.batch = self._open
                batch.deadline = min(batch.deadline, sheaf.deadline)
                batch.background = min(batch.background, sheaf.deadline)
                batch.units.append(sheaf)
                nudge = not self._leading
        except LogError as error:
            sheaf.error = error
            sheaf.set()
            return
        if nudge:
            self._nudge(sheaf.deadline)
