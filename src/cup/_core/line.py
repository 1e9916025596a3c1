"""A line of asks: who waits for what, in FIFO order, and who is granted next.

The mutex of a line guards its own state and that of the service over it. It is a plain
lock, entered by `with` alone: an exception at any moment cannot leave it held. Nothing
under it waits, calls user code, logs, or wakes anybody; waiters are woken after it.

Who may not wait for the mutex (a signal handler, a finalizer) leaves a note and looks
whether the mutex is free; the holder works the notes off after releasing it.

Not here: waiting itself (`wait`, `loops`), and what is granted (the subclasses).
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from . import fork
from .section import refuse_reentry, sections
from .wait import Ask, Reach, State, Waiter

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Iterator

    AnyAsk = Ask[Any]  # a line does not look at what it grants

__all__ = ["Fifo", "Line"]

_PURGE_FROM = 64


class Fifo:
    """The asks of a line, in the order in which they came."""

    __slots__ = ("asks",)

    def __init__(self) -> None:
        self.asks: OrderedDict[AnyAsk, None] = OrderedDict()  # truth is cheap here

    def add(self, ask: AnyAsk) -> None:
        """Add an ask at the end."""
        self.asks[ask] = None

    def add_first(self, ask: AnyAsk) -> None:
        """Add an ask before all others."""
        self.asks[ask] = None
        self.asks.move_to_end(ask, last=False)

    def remove(self, ask: AnyAsk) -> None:
        """Take an ask out, if it is in: a signal may have kept it from coming in."""
        self.asks.pop(ask, None)

    def head(self) -> AnyAsk | None:
        """Return the ask that is to be granted next, None if none is."""
        return next(iter(self.asks), None)

    def __iter__(self) -> Iterator[AnyAsk]:
        return iter(self.asks)

    def __len__(self) -> int:
        return len(self.asks)


class Line:
    """Base of everything that is waited for.

    A subclass says in `take` whether an ask can have what it wants, and takes it; in
    `put_back` it undoes that. Both are called under the mutex and must not fail.
    """

    __slots__ = (
        "_generation",
        "_holder",
        "_homes",
        "_notes",
        "_offers",
        "_purge_at",
        "_queue",
        "_wakes",
        "mutex",
    )

    _holder: int

    def __init__(self) -> None:
        self._renew()
        self._generation = fork.generation()

    def make_queue(self) -> Fifo:
        """Return an empty queue; subclasses may serve in another order."""
        return Fifo()

    def take(self, ask: AnyAsk, /) -> bool:
        """Give the ask what it wants, if that can be had now."""
        raise NotImplementedError

    def put_back(self, ask: AnyAsk, /) -> None:
        """Take back what the ask was granted."""
        raise NotImplementedError

    def vanished(self) -> None:
        """Forget what threads and tasks of the parent held: this is a forked child."""

    # -- what the faces do ---------------------------------------------------------

    def try_now(self, ask: AnyAsk) -> bool:
        """Grant the ask at once, if nobody is in line before it."""
        self._check_fork()
        me = get_ident()
        if self._holder == me:
            refuse_reentry(self)
        with self.mutex:
            self._holder = me
            self._work_off_notes()
            granted = not any(map(_is_ready, self._queue)) and self.take(ask)
            if granted:
                ask.state = State.SETTLED
            self._holder = 0
        self.settle()
        return granted

    def try_again(self, ask: AnyAsk, home: object | None = None) -> bool:
        """Grant the ask once more at once: what a stopped loop was offered may do."""
        if not self.may_stall(home):
            return False

        self.revise()
        return self.try_now(ask)

    def file(self, ask: AnyAsk, waiter: Waiter) -> None:
        """Put the ask at the end of the line; the waiter is woken once granted."""
        self._check_fork()
        me = get_ident()
        if self._holder == me:
            refuse_reentry(self)
        with self.mutex:
            self._holder = me
            self._work_off_notes()
            ask.waiter = waiter
            ask.state = State.WAITING
            self._queue.add(ask)
            self._count(ask, +1)
            if len(self._queue) > self._purge_at:
                self._purge()
            self._pump()
            self._holder = 0
        self.settle()

    def claim(self, ask: AnyAsk) -> bool:
        """Make an offer final, on the loop of its task; False if there is none."""
        me = get_ident()
        with self.mutex:
            self._holder = me
            self._work_off_notes()
            if ask.state is State.WAITING:
                self._pump()
            ask.told = False
            claimed = ask.state is State.OFFERED
            if claimed:
                del self._offers[ask]
                self._count(ask, -1)
                ask.state = State.SETTLED
            self._holder = 0
        self.settle()
        return claimed

    def leave_unless_granted(self, ask: AnyAsk) -> bool:
        """Leave the line; False if a grant came first, which is then the caller's."""
        me = get_ident()
        with self.mutex:
            self._holder = me
            self._work_off_notes()
            if ask.state is State.WAITING:
                self._drop(ask)
                self._pump()
            elif ask.state is State.OFFERED:
                del self._offers[ask]
                self._count(ask, -1)
                ask.state = State.SETTLED
            self._holder = 0
        self.settle()
        return ask.state is State.GONE

    def leave(self, ask: AnyAsk) -> None:
        """Leave the line for good; what was granted goes to the next.

        Never waits for the mutex: it is also reached by finalizers, which may run while
        this very thread holds it.
        """
        self._check_fork()
        self._notes.append(ask)
        self.settle()

    def leave_at_once(self, ask: AnyAsk) -> None:
        """Leave the line for good, as `leave` does, and have left on return.

        A caller that goes on would else meet its own ask in the line. It waits for the
        mutex: not for finalizers.
        """
        self._check_fork()
        self._notes.append(ask)
        me = get_ident()
        with self.mutex:
            self._holder = me
            self._work_off_notes()
            self._holder = 0
        self.settle()

    def changed(self) -> None:
        """Say that something may be grantable now; never waits for the mutex."""
        self._check_fork()
        self._notes.append(None)
        self.settle()

    def revise(self) -> None:
        """Take offers back from loops that stopped, and grant what can be granted."""
        me = get_ident()
        with self.mutex:
            self._holder = me
            self._work_off_notes()
            self._revoke_lost_offers()
            self._pump()
            self._holder = 0
        self.settle()

    def settle(self) -> None:
        """Work off what others left to the holder of the mutex, then wake.

        Called after every release of the mutex. A note is left before the mutex is
        looked at, and looked for after it is released: one of the two sees it.
        """
        me = get_ident()
        while self._notes or self._wakes:
            while self._notes and not self.mutex.locked():
                with self.mutex:
                    self._holder = me
                    self._work_off_notes()
                    self._holder = 0
            try:
                waiter = self._wakes.popleft()
            except IndexError:
                return  # what notes there are, the holder of the mutex works off
            if not waiter.wake():
                self._notes.append(None)

    # -- what the faces look at ----------------------------------------------------

    def may_stall(self, home: object | None) -> bool:
        """Tell whether a task of another loop than `home` is in line.

        Its loop may stop without a word: who waits then looks again now and then.
        """
        homes = self._homes
        return bool(homes) and (len(homes) > 1 or home not in homes)

    def hopeless(self) -> bool:
        """Tell whether only the loop of this thread could grant anything."""
        return False

    def __len__(self) -> int:
        """Return the number of asks in line."""
        return len(self._queue)

    # -- under the mutex -----------------------------------------------------------

    def _pump(self) -> None:
        """Grant from the head on, until one cannot have what it wants."""
        paused: list[AnyAsk] = []
        while (ask := self._queue.head()) is not None:
            waiter = ask.waiter
            assert waiter is not None, "an ask is filed with its waiter"
            reach = waiter.reach()
            if reach is Reach.GONE:
                self._drop(ask)
            elif reach is Reach.PAUSED:
                self._queue.remove(ask)
                paused.append(ask)
                if not ask.told:
                    ask.told = True
                    self._wakes.append(waiter)  # it asks again once its loop runs again
            elif self.take(ask):
                self._grant(ask, waiter)
            else:
                break
        self._put_first(paused)

    def _grant(self, ask: AnyAsk, waiter: Waiter) -> None:
        self._queue.remove(ask)
        if waiter.final:
            ask.state = State.SETTLED
            self._count(ask, -1)
        else:
            ask.state = State.OFFERED
            self._offers[ask] = None
        self._wakes.append(waiter)

    def _work_off_notes(self) -> None:
        while self._notes:
            try:
                ask = self._notes.popleft()
            except IndexError:
                break
            if ask is not None:
                self._withdraw(ask)
            else:
                self._revoke_lost_offers()
            self._pump()

    def _withdraw(self, ask: AnyAsk) -> None:
        if ask.state is State.WAITING:
            self._drop(ask)
        elif ask.state is State.OFFERED:
            del self._offers[ask]
            self._count(ask, -1)
            self.put_back(ask)
        elif ask.state is State.SETTLED:
            self.put_back(ask)
        ask.state = State.GONE

    def _revoke_lost_offers(self) -> None:
        """Take back what stopped loops did not claim; they are first in line again."""
        lost = [ask for ask in self._offers if not _is_ready(ask)]
        for ask in lost:
            del self._offers[ask]
            self.put_back(ask)
            ask.state = State.WAITING
        self._put_first(lost)

    def _put_first(self, asks: list[AnyAsk]) -> None:
        for ask in reversed(asks):
            self._queue.add_first(ask)

    def _drop(self, ask: AnyAsk) -> None:
        self._queue.remove(ask)
        self._count(ask, -1)
        ask.state = State.GONE

    def _count(self, ask: AnyAsk, step: int) -> None:
        """Keep the number of asks in line for each loop (see `may_stall`)."""
        home = None if ask.waiter is None else ask.waiter.home
        if home is not None:
            count = self._homes.get(home, 0) + step
            if count > 0:
                self._homes[home] = count
            else:
                self._homes.pop(home, None)

    def _purge(self) -> None:
        """Drop the asks of closed loops; done when the line has doubled."""
        for ask in list(self._queue):
            if ask.waiter is not None and ask.waiter.reach() is Reach.GONE:
                self._drop(ask)
        self._purge_at = max(_PURGE_FROM, 2 * len(self._queue))

    # -- forks ---------------------------------------------------------------------

    def _check_fork(self) -> None:
        if self._generation != fork.generation():
            self._enter_child()

    def _enter_child(self) -> None:
        """Start anew: whoever waits or was granted something stayed in the parent."""
        with fork.renewal:
            if self._generation == fork.generation():
                return

            for ask in (*self._queue, *self._offers):
                ask.state = State.GONE
            self._renew()
            self.vanished()
            self._generation = fork.generation()

    def _renew(self) -> None:
        self.mutex: LockType = allocate_lock()
        self._holder = 0  # the thread that is in a section; see `section.py`
        self._queue = self.make_queue()
        self._offers: dict[AnyAsk, None] = {}
        self._homes: dict[object, int] = {}
        self._notes: deque[AnyAsk | None] = deque()
        self._wakes: deque[Waiter] = deque()
        self._purge_at = _PURGE_FROM


sections(
    Line,
    "try_now",
    "file",
    "claim",
    "leave_unless_granted",
    "leave_at_once",
    "revise",
    "settle",
)


def _is_ready(ask: AnyAsk) -> bool:
    return ask.waiter is not None and ask.waiter.reach() is Reach.READY
