"""The state of a readers-writer lock: who holds it, who is let in next, who is gone.

The fair order is that of a phase-fair lock (Brandenburg and Anderson, "Reader-Writer
Synchronization for Shared-Memory Multiprocessor Real-Time Systems", ECRTS 2009): reader
phases and writers alternate as long as both wait.

Not here: acquiring and releasing (`_core_rwlock`).
"""

from __future__ import annotations

from _thread import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any

from cup._core import fork
from cup._core.gil import MUTEX_PATHS
from cup._core.line import Line
from cup._core.section import refuse_reentry, sections
from cup.errors import LockBroken

from ._core_asks import HoldAsk, TwoQueues
from ._core_owners import VANISHED, is_dead, loop_of, name_of, names_of_threads
from .api import LockStats

if TYPE_CHECKING:
    from cup._core.wait import Ask

    from .api import Fairness

__all__ = ["RWState"]

_SHOWN = 5  # names of readers in messages


class RWState(Line):
    """The state of one lock.

    Attributes:
        readers: How often each owner reads.
        writer: Who writes, None if nobody does.
        closed: Whether readers have to look before they enter. If not, nobody writes
            (or a writer is just leaving), and nobody waits to write.
        waited: Whether anybody is in line.
        readers_turn: Whether the readers that wait go before the next writer.
        version: Odd while somebody writes; grows with each write.
        epoch: That of the process which last looked whether it is a forked child.
    """

    __slots__ = (
        "_broken",
        "_depth",
        "closed",
        "epoch",
        "fairness",
        "name",
        "readers",
        "readers_turn",
        "reentrant",
        "version",
        "waited",
        "writer",
    )

    _queue: TwoQueues

    def __init__(self, fairness: Fairness, *, reentrant: bool, name: str) -> None:
        self.fairness: Fairness = fairness
        self.reentrant: bool = reentrant
        self.name: str = name
        self.readers: dict[object, int] = {}
        self.writer: object | None = None
        self.closed: bool = MUTEX_PATHS
        self.waited: bool = False
        self.readers_turn: bool = False
        self.version: int = 0
        self.epoch: int = fork.generation()
        self._depth = 0
        self._broken = False
        super().__init__()

    def make_queue(self) -> TwoQueues:
        """Return an empty pair of queues."""
        return TwoQueues(self)

    # -- the line ------------------------------------------------------------------

    def take(self, ask: Ask[Any], /) -> bool:
        """Let an ask in, if nobody is in the way."""
        assert isinstance(ask, HoldAsk), "only these are filed"
        self._check_broken()
        if self.writer is not None:
            return False

        if not ask.writes:
            self.readers[ask.owner] = self.readers.get(ask.owner, 0) + 1
            return True

        self.closed = True
        # Closed first, looked at second.
        if self.readers:
            return False

        self.writer = ask.owner
        self._depth = 1
        self.version += 1
        return True

    def leave_unless_granted(self, ask: Ask[Any]) -> bool:
        """Leave the line; False if a grant came first, which is then the caller's."""
        assert isinstance(ask, HoldAsk), "only these are filed"
        ask.in_the_way = self.describe()  # others may get in as soon as it has left
        return super().leave_unless_granted(ask)

    def put_back(self, ask: Ask[Any], /) -> None:
        """Take the lock back from an ask whose caller has gone."""
        assert isinstance(ask, HoldAsk), "only these are filed"
        if ask.writes:
            if self.writer == ask.owner:  # else its loop was found closed before
                self._let_go()
        else:
            left = self.readers.pop(ask.owner, 1) - 1
            if left:
                self.readers[ask.owner] = left

    def _pump(self) -> None:
        queue = self._queue
        free = self.writer is None
        super()._pump()
        if free:
            self.readers_turn = False  # all who could be let in, are
        self.waited = bool(queue.writers or queue.readers)
        self.closed = (
            self.writer is not None
            or bool(queue.writers)
            or self._broken
            or MUTEX_PATHS
        )

    def _let_go(self) -> None:
        """End the writing, in an order that needs no mutex.

        Readers may enter at once. A writer may not before the last step; who finds
        the lock held until then is in line, and is seen by who calls this.
        """
        self.readers_turn = True
        self.version += 1
        self.closed = MUTEX_PATHS
        self.writer = None

    # -- owners that are gone ------------------------------------------------------

    def may_stall(self, home: object | None) -> bool:
        """Tell whether a task of another loop than `home` is in line, or holds it.

        Its loop may be closed without a word: who waits then looks now and then.
        """
        if super().may_stall(home):
            return True

        here = getattr(home, "native", None)
        loops = map(loop_of, self._owners())
        return any(loop is not None and loop is not here for loop in loops)

    def revise(self) -> None:
        """Take the lock back from loops that stopped, and grant what can be granted."""
        self._drop_dead()
        super().revise()

    def _owners(self) -> list[object]:
        owners: list[object] = [*list(self.readers), self.writer]
        return [owner for owner in owners if owner.__class__ is not int]

    def _drop_dead(self) -> bool:
        """Drop the owners whose loops are closed; tell whether there were any."""
        dead = [owner for owner in self._owners() if is_dead(owner)]
        if not dead:
            return False

        me = get_ident()
        with self.mutex:
            self._holder = me
            for owner in dead:
                self.readers.pop(owner, None)
                if self.writer is owner:
                    self._let_go()
            self._pump()
            self._holder = 0
        self.settle()
        return True

    # -- forks ---------------------------------------------------------------------

    def look_for_fork(self) -> None:
        """Forget what the parent held, if this is a child that has not done so yet."""
        self._check_fork()

    def vanished(self) -> None:
        """Forget the readers of the parent; a writer of it breaks the lock."""
        self.epoch = fork.epoch
        me = fork.survivor
        self.readers = {me: self.readers[me]} if me in self.readers else {}
        self.readers_turn = self.waited = False
        if self.writer not in (None, me):
            self.writer = VANISHED  # a new thread may get the identifier
            self._broken = True
            self.closed = True

    def _check_broken(self) -> None:
        if self._broken:
            raise LockBroken(
                f"lock {self.name!r} was being written when the process forked: what "
                "it protects may be half changed; repair that, then call reset()"
            )

    def reset(self) -> None:
        """Make a lock usable that broke by a fork."""
        self._check_fork()
        me = get_ident()
        with self.mutex:
            self._holder = me
            if self._broken:
                self._broken = False
                self._let_go()
                self._pump()
            self._holder = 0
        self.settle()

    # -- looking -------------------------------------------------------------------

    def locked(self) -> bool:
        """Tell whether anybody reads or writes."""
        self._check_fork()
        return self.writer is not None or bool(self.readers)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<{type(self).__name__}{name} {self.fairness}: {self.describe()}>"

    def __reduce__(self) -> str:
        raise TypeError("a lock cannot be pickled: it belongs to this process")

    def describe(self) -> str:
        """Say who holds the lock and how many wait."""
        readers = list(self.readers)
        writer = self.writer
        names = names_of_threads()
        if writer is not None:
            holds = f"{name_of(writer, names)} writes"
        elif readers:
            shown = ", ".join(name_of(reader, names) for reader in readers[:_SHOWN])
            more = len(readers) - _SHOWN
            holds = f"{shown}{f' and {more} more' if more > 0 else ''} read"
        else:
            holds = "free"
        return (
            f"{holds}, {len(self._queue.readers)} wait to read, "
            f"{len(self._queue.writers)} to write"
        )

    def stats(self) -> LockStats:
        """Return the state of this moment."""
        self._check_fork()
        now = monotonic()
        me = get_ident()
        if self._holder == me:
            refuse_reentry(self)
        with self.mutex:
            self._holder = me
            waits = [now - ask.since for ask in self._queue if isinstance(ask, HoldAsk)]
            waiting_readers = len(self._queue.readers)
            writer = self.writer
            readers = list(self.readers)
            self._holder = 0
        if writer is not None:  # who is about to find the lock closed is not in
            readers = [owner for owner in readers if owner == writer]
        names = names_of_threads()
        return LockStats(
            readers=tuple(name_of(owner, names) for owner in readers),
            writer=None if writer is None else name_of(writer, names),
            waiting_readers=waiting_readers,
            waiting_writers=len(waits) - waiting_readers,
            longest_wait=max(waits, default=0.0),
        )


sections(RWState, "_drop_dead", "reset", "stats")
