"""The readers-writer lock itself: who holds it, and who is let in next.

Readers that meet no writer take no mutex: a reader publishes itself in `readers` and
then looks at `closed`; a writer sets `closed` and then looks at `readers`. One of the
two sees the other (Dekker's pattern, which a GIL makes safe). All else is decided under
the mutex of the line.

The fair order is that of a phase-fair lock (Brandenburg and Anderson, "Reader-Writer
Synchronization for Shared-Memory Multiprocessor Real-Time Systems", ECRTS 2009): reader
phases and writers alternate as long as both wait.

Not here: waiting (the faces do that), masking of interrupts (`sync`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from time import monotonic
from typing import TYPE_CHECKING, Any

from cup._core import fork
from cup._core.fork import stamp
from cup._core.gil import MUTEX_PATHS
from cup._core.line import Fifo, Line
from cup._core.wait import Ask
from cup.errors import LockBroken, LockDeadlock, LockNotHeld, LockTimeout

from .api import LockStats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .api import Fairness

__all__ = ["HoldAsk", "RWCore", "ReadAsk", "WriteAsk"]


class HoldAsk(Ask[None]):
    """Asks for the lock, for one owner: a thread's identifier, or a task."""

    __slots__ = ("core", "owner", "since")

    value = None
    writes = False

    def __init__(self, line: RWCore, owner: object) -> None:
        super().__init__(line)
        self.core: RWCore = line
        self.owner: object = owner
        self.since: float = monotonic()

    def timed_out(self, timeout: float) -> LockTimeout:
        """Return the error of a wait that ended without the lock."""
        kind = "write" if self.writes else "read"
        return LockTimeout(
            f"{kind} lock not granted within {timeout} s: {self.core.describe()}",
            timeout=timeout,
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

    def __init__(self, core: RWCore) -> None:
        super().__init__()
        self._core = core
        self.readers: OrderedDict[Ask[Any], None] = OrderedDict()
        self.writers: OrderedDict[Ask[Any], None] = OrderedDict()

    def _of(self, ask: Ask[Any]) -> OrderedDict[Ask[Any], None]:
        return self.writers if isinstance(ask, WriteAsk) else self.readers

    def add(self, ask: Ask[Any]) -> None:
        """Add an ask at the end of its kind."""
        self._of(ask)[ask] = None

    def add_first(self, ask: Ask[Any]) -> None:
        """Add an ask before all others of its kind."""
        queue = self._of(ask)
        queue[ask] = None
        queue.move_to_end(ask, last=False)

    def remove(self, ask: Ask[Any]) -> None:
        """Take an ask out."""
        del self._of(ask)[ask]

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


class RWCore(Line):
    """The state of one lock.

    Attributes:
        readers: How often each owner reads.
        writer: Who writes, None if nobody does.
        closed: Whether readers have to look before they enter.
        readers_turn: Whether the readers that wait go before the next writer.
        version: Odd while somebody writes; grows with each write.
    """

    __slots__ = (
        "_broken",
        "_depth",
        "closed",
        "fairness",
        "name",
        "readers",
        "readers_turn",
        "reentrant",
        "version",
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
        self.readers_turn: bool = False
        self.version: int = 0
        self._depth = 0
        self._broken = False
        super().__init__()

    def make_queue(self) -> TwoQueues:
        """Return an empty pair of queues."""
        return TwoQueues(self)

    # -- reading -------------------------------------------------------------------

    def enter(self, owner: object) -> bool:
        """Let a reader in at once; False if it has to wait, with a `ReadAsk`.

        Raises:
            LockDeadlock: If the owner writes, and would wait for itself.
            LockBroken: If a writer vanished in a fork.
        """
        readers = self.readers
        if owner in readers:
            readers[owner] += 1
            return True

        readers[owner] = 1
        # Published first, looked at second.
        return not self.closed or self.enter_closed(owner)

    def enter_closed(self, owner: object) -> bool:
        """Decide under the mutex about a reader that has published itself."""
        self._check_fork()
        with self.mutex:
            self._work_off_notes()
            del self.readers[owner]  # until it is decided
            self._check_broken()
            own = self.writer == owner
            granted = own or (self.writer is None and not self._queue.writers)
            if self.fairness == "readers":
                granted = own or self.writer is None
            if granted and not (own and not self.reentrant):
                self.readers[owner] = 1
            self._pump()  # a writer may have seen this reader, and be waiting for it
        self.settle()
        if own and not self.reentrant:
            raise LockDeadlock(
                f"{self.describe()}: who writes cannot wait for a read lock; "
                "use downgrade(), or reentrant=True"
            )
        return granted

    def exit(self, owner: object) -> None:
        """Give one read lock back.

        Raises:
            LockNotHeld: If the owner does not read.
        """
        readers = self.readers
        count = readers.get(owner)
        if count is None:
            raise LockNotHeld(
                f"the caller holds no read lock to release: {self.describe()}"
            )

        if count > 1:
            readers[owner] = count - 1
            return

        del readers[owner]
        # Left first, looked at second: whoever waits has closed the lock.
        if self.closed and not readers:
            self.changed()

    # -- writing -------------------------------------------------------------------

    def enter_to_write(self, owner: object) -> bool:
        """Let a writer in at once; False if it has to wait, with a `WriteAsk`.

        Raises:
            LockDeadlock: If the owner holds the lock, and would wait for itself.
            LockBroken: If a writer vanished in a fork.
        """
        if self.writer == owner:
            if not self.reentrant:
                raise LockDeadlock(
                    f"{self.describe()}: who writes cannot wait for another write "
                    "lock; use reentrant=True"
                )
            self._depth += 1
            return True

        if owner in self.readers:
            raise LockDeadlock(
                f"{self.describe()}: who reads cannot wait for the write lock; "
                "release the read lock first"
            )

        if not stamp[0] or self._generation != fork.epoch:
            self._check_fork()
        with self.mutex:
            # An open lock has no writer, and in line for it there is at most who
            # waits for readers that are let in all the same (`fairness="readers"`).
            granted = not self.closed and not self._queue.writers
            self.closed = True
            # Closed first, looked at second.
            if granted and not self.readers:
                self.writer = owner
                self._depth = 1
                self.version += 1
                return True
        return False

    def exit_from_writing(self, owner: object) -> bool:
        """Give one write lock back; tells whether it was the last of the owner.

        Raises:
            LockNotHeld: If the owner does not write.
        """
        if self.writer != owner or owner is None:
            raise LockNotHeld(
                f"the caller holds no write lock to release: {self.describe()}"
            )

        if self._depth > 1:
            self._depth -= 1
            return False

        if not stamp[0] or self._generation != fork.epoch:
            self._check_fork()
        with self.mutex:
            self.version += 1
            self.writer = None
            queue = self._queue
            if not queue.writers and not queue.readers and not self._notes:
                self.closed = MUTEX_PATHS
                return True

            self.readers_turn = True
            self._pump()
        self.settle()
        return True

    def _let_go(self) -> None:
        self.version += 1
        self.writer = None
        self.readers_turn = True

    def turn_to_reading(self, owner: object) -> None:
        """Turn the write lock of the owner into a read lock, in one step.

        Raises:
            LockNotHeld: If the owner does not write.
            LockDeadlock: If it writes more than once.
        """
        if self.writer != owner or owner is None:
            raise LockNotHeld(
                f"the caller holds no write lock to downgrade: {self.describe()}"
            )

        if self._depth > 1:
            raise LockDeadlock(
                f"a write lock held {self._depth} times cannot be downgraded; "
                "release the inner ones first"
            )

        self._check_fork()
        with self.mutex:
            self.readers[owner] = self.readers.get(owner, 0) + 1
            self._let_go()
            self._pump()
        self.settle()

    # -- optimistic reading --------------------------------------------------------

    def stamp(self) -> int:
        """Begin an optimistic read: return what `validate` takes.

        It takes no lock and keeps no writer out. Read the data, then `validate`; if
        that says False, what was read may be torn: take a read lock and read again.
        """
        return self.version

    def validate(self, stamp: int) -> bool:
        """Tell whether nobody has written since `stamp`.

        Args:
            stamp: What `stamp()` returned before the data was read.
        """
        return self.version == stamp and not stamp & 1

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

    def put_back(self, ask: Ask[Any], /) -> None:
        """Take the lock back from an ask whose caller has gone."""
        assert isinstance(ask, HoldAsk), "only these are filed"
        if ask.writes:
            self._let_go()
        elif self.readers[ask.owner] > 1:
            self.readers[ask.owner] -= 1
        else:
            del self.readers[ask.owner]

    def _pump(self) -> None:
        queue = self._queue
        super()._pump()
        if not queue.readers:
            self.readers_turn = False
        writers_wait = bool(queue.writers) and self.fairness != "readers"
        self.closed = (
            self.writer is not None or writers_wait or self._broken or MUTEX_PATHS
        )

    def hopeless(self) -> bool:
        """Tell whether only the loop of this thread could grant anything."""
        return False

    # -- forks ---------------------------------------------------------------------

    def vanished(self) -> None:
        """Forget the readers of the parent; a writer of it breaks the lock."""
        me = threading.get_ident()
        self.readers = {me: self.readers[me]} if me in self.readers else {}
        if self.writer not in (None, me):
            self._broken = True
            self.closed = True

    def _check_broken(self) -> None:
        if self._broken:
            raise LockBroken(
                f"lock {self.name!r} was being written when the process forked: what "
                "it protects may be half changed; repair that, then call reset()"
            )

    def reset(self) -> None:
        """Make a broken lock usable again."""
        self._check_fork()
        with self.mutex:
            if self._broken:
                self._broken = False
                self._let_go()
                self._pump()
        self.settle()

    # -- looking -------------------------------------------------------------------

    def locked(self) -> bool:
        """Tell whether anybody reads or writes."""
        return self.writer is not None or bool(self.readers)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<{type(self).__name__}{name} {self.fairness}: {self.describe()}>"

    def __reduce__(self) -> str:
        raise TypeError("a lock cannot be pickled: it belongs to this process")

    def describe(self) -> str:
        """Say who holds the lock and how many wait."""
        stats = self.stats()
        if stats.writer is not None:
            holds = f"{stats.writer} writes"
        elif stats.readers:
            shown = ", ".join(stats.readers[:5])
            more = len(stats.readers) - 5
            holds = f"{shown}{f' and {more} more' if more > 0 else ''} read"
        else:
            holds = "free"
        return (
            f"{holds}, {stats.waiting_readers} wait to read, "
            f"{stats.waiting_writers} to write"
        )

    def stats(self) -> LockStats:
        """Return the state of this moment."""
        writer = self.writer
        now = monotonic()
        self._check_fork()
        with self.mutex:
            waits = [now - ask.since for ask in self._queue if isinstance(ask, HoldAsk)]
        return LockStats(
            readers=tuple(name_of(owner) for owner in list(self.readers)),
            writer=None if writer is None else name_of(writer),
            waiting_readers=len(self._queue.readers),
            waiting_writers=len(self._queue.writers),
            longest_wait=max(waits, default=0.0),
        )


def name_of(owner: object) -> str:
    """Return how people call a thread or a task."""
    if isinstance(owner, int):
        for thread in threading.enumerate():
            if thread.ident == owner:
                return thread.name
        return f"thread {owner}"

    for attribute in ("get_name", "name"):
        name = getattr(owner, attribute, None)
        if name is not None:
            return str(name() if callable(name) else name)
    return repr(owner)
