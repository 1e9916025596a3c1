"""Who waits for a readers-writer lock, and in which order they are let in.

Not here: who holds it (`_core_state`).
"""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic
from typing import TYPE_CHECKING, Any

from cup._core.line import Fifo
from cup._core.wait import Ask
from cup.errors import LockTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._core_state import RWState

__all__ = ["HoldAsk", "ReadAsk", "TwoQueues", "WriteAsk"]


class HoldAsk(Ask[None]):
    """Asks for the lock, for one owner: a thread's identifier, or a task.

    Attributes:
        in_the_way: Who held the lock when the wait was given up.
    """

    __slots__ = ("core", "in_the_way", "owner", "since")

    value = None
    writes = False

    def __init__(self, line: RWState, owner: object) -> None:
        super().__init__(line)
        self.core: RWState = line
        self.in_the_way: str = ""
        self.owner: object = owner
        self.since: float = monotonic()

    def timed_out(self, timeout: float) -> LockTimeout:
        """Return the error of a wait that ended without the lock."""
        kind = "write" if self.writes else "read"
        why = self.in_the_way or self.core.describe()
        return LockTimeout(
            f"{kind} lock not granted within {timeout} s: {why}", timeout=timeout
        )


class ReadAsk(HoldAsk):
    """Asks to read."""

    __slots__ = ()

    what = "RWLock.acquire_readlock"
    twin = "AsyncRWLock.acquire_readlock"


class WriteAsk(HoldAsk):
    """Asks to write."""

    __slots__ = ()

    what = "RWLock.acquire_writelock"
    twin = "AsyncRWLock.acquire_writelock"
    writes = True


class TwoQueues(Fifo):
    """Those who wait to read and those who wait to write, each in their order."""

    __slots__ = ("_core", "readers", "writers")

    def __init__(self, core: RWState) -> None:
        super().__init__()
        self._core = core
        self.readers: OrderedDict[Ask[Any], None] = OrderedDict()
        self.writers: OrderedDict[Ask[Any], None] = OrderedDict()

    def _of(self, ask: Ask[Any]) -> OrderedDict[Ask[Any], None]:
        return self.writers if isinstance(ask, WriteAsk) else self.readers

    def add(self, ask: Ask[Any]) -> None:
        """Add an ask at the end of its kind."""
        # Said first, before the lock is looked at: see `RWCore.exit_from_writing`.
        self._core.waited = True
        self._of(ask)[ask] = None

    def add_first(self, ask: Ask[Any]) -> None:
        """Add an ask before all others of its kind."""
        self._core.waited = True
        queue = self._of(ask)
        queue[ask] = None
        queue.move_to_end(ask, last=False)

    def remove(self, ask: Ask[Any]) -> None:
        """Take an ask out, if it is in."""
        self._of(ask).pop(ask, None)

    def head(self) -> Ask[Any] | None:
        """Return who may be let in next, None while they all have to wait."""
        core = self._core
        if core.writer is not None:
            return None

        reader = next(iter(self.readers), None)
        writer = next(iter(self.writers), None)
        if reader is None:
            return writer

        readers_first = core.fairness == "readers" or (
            core.fairness == "fair" and core.readers_turn
        )
        return reader if writer is None or readers_first else writer

    def __iter__(self) -> Iterator[Ask[Any]]:
        yield from self.writers
        yield from self.readers

    def __len__(self) -> int:
        return len(self.writers) + len(self.readers)
