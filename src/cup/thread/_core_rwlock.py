"""The readers-writer lock itself: how owners acquire and release it.

Readers that meet no writer take no mutex: a reader publishes itself in `readers` and
then looks at `closed`; a writer sets `closed` and then looks at `readers`. One of the
two sees the other (Dekker's pattern, which a GIL makes safe). A release takes none,
either, if nobody waits. All else is decided under the mutex of the line.

Not here: waiting (the faces do that), masking of interrupts (`sync`), who is let in
next (`_core_state`).
"""

from __future__ import annotations

from _thread import get_ident

from cup._core import fork
from cup._core.fork import stamp
from cup._core.gil import MUTEX_PATHS
from cup._core.section import refuse_reentry, sections
from cup._core.wait import State
from cup.errors import LockDeadlock, LockNotHeld

from ._core_asks import WriteAsk
from ._core_owners import is_dead
from ._core_state import RWState

__all__ = ["RWCore"]


class RWCore(RWState):
    """Acquiring and releasing, by owners."""

    __slots__ = ()

    # Declared again: this class sets what its base declares.
    closed: bool
    version: int
    writer: object | None

    # -- reading -------------------------------------------------------------------

    def enter(self, owner: object) -> bool:
        """Let a reader in at once; False if it has to wait, with a `ReadAsk`.

        Raises:
            LockDeadlock: If the owner writes, and would wait for itself.
            LockBroken: If a writer vanished in a fork.
        """
        if not stamp[0] or self._generation != fork.epoch:
            self._check_fork()  # first: new threads get the identifiers of old ones
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
        me = get_ident()
        if self._holder == me:
            self._withdraw_reader(owner)
            refuse_reentry(self)
            self.readers[owner] = self.readers.get(owner, 0) + 1
        with self.mutex:
            self._holder = me
            self._withdraw_reader(owner)  # until it is decided
            self._work_off_notes()
            self._check_broken()
            own = self.writer == owner
            granted = own or (self.writer is None and not self._queue.writers)
            if self.fairness == "readers":
                granted = own or self.writer is None
            # Or it waits, was let in just now, and a finalizer runs in its thread.
            granted = granted or owner in self.readers
            if granted and not (own and not self.reentrant):
                self.readers[owner] = self.readers.get(owner, 0) + 1
            self._pump()  # a writer may have seen this reader, and be waiting for it
            self._holder = 0
        self.settle()
        if own and not self.reentrant:
            raise LockDeadlock(
                f"{self.describe()}: who writes cannot wait for a read lock; "
                "use downgrade(), or reentrant=True"
            )
        return granted

    def _withdraw_reader(self, owner: object) -> None:
        """Take a reader back that has published itself; what else it holds stays."""
        held = self.readers.pop(owner, 1) - 1
        if held > 0:
            self.readers[owner] = held

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
        if not stamp[0] or self._generation != fork.epoch:
            self._check_fork()
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

        if self._holder == get_ident():
            refuse_reentry(self)
        with self.mutex:  # nothing in there can be interrupted
            free = not self.closed and self.writer is None
            self.closed = True
            # Closed first, looked at second.
            if free and not self.readers:
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

        if MUTEX_PATHS:
            self._let_go_under_mutex()
            return True

        # Left first, looked at second: whoever waits has said so before it looked.
        self._let_go()
        if self.waited or self._notes:
            self.changed()
        return True

    def _let_go_under_mutex(self) -> None:
        self._check_fork()
        me = get_ident()
        with self.mutex:
            self._holder = me
            self._let_go()
            self._pump()
            self._holder = 0
        self.settle()

    def give_up(self, owner: object) -> None:
        """Give back what an owner holds for one block that is over for good.

        It takes no mutex, and forgives what is not held: a finalizer may call it, for
        a task of a loop that was closed.
        """
        if self.writer == owner and owner is not None:
            if self._depth > 1 or not (is_dead(owner) or MUTEX_PATHS):
                self.exit_from_writing(owner)
            else:
                ask = WriteAsk(self, owner)
                ask.state = State.SETTLED
                self.leave(ask)
        elif owner in self.readers:
            try:
                self.exit(owner)
            except (KeyError, LockNotHeld):
                pass  # somebody found its loop closed at this very moment

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
        me = get_ident()
        with self.mutex:
            self._holder = me
            self.readers[owner] = self.readers.get(owner, 0) + 1
            self._let_go()
            self._pump()
            self._holder = 0
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


sections(RWCore, "enter_closed", "_let_go_under_mutex", "turn_to_reading")
