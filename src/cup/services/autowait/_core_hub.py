"""One thread that listens for all waits that cannot listen themselves.

Those are the waits of tasks, and of threads once a few are waiting (`_core_lease`). It
starts with the first of them that has something to listen to, sleeps in the kernel, and
wakes whose business it is: names are compared here, so that other files of a busy
directory wake nobody. A forked child starts its own. At exit it ends; waits that go on
then are told, and poll.

Not here: what is listened to (`_core_watch` and the probes), and how (`_core_eyes`).
"""

from __future__ import annotations

import logging
from _thread import allocate_lock
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from cup._core import fork, lifecycle
from cup._core.threads import OwnThread, join_all

from . import _core_eyes
from ._core_eyes import Unwatchable, unwatchable
from ._core_inotify import CLOSE_WRITE, IGNORED, MODIFY, OVERFLOW, UNMOUNT

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from ._core_eyes import Eyes
    from ._core_inotify import Record

__all__ = ["HUB", "Bell", "Hub", "Sub", "Wakeable"]

_log = logging.getLogger("cup.autowait")

_ALWAYS: Final = IGNORED | UNMOUNT
_WRITING: Final = MODIFY | CLOSE_WRITE


class Wakeable(Protocol):
    """A parked thread or task."""

    def wake(self) -> bool:
        """Wake it."""
        ...


class Bell:
    """Wakes one wait.

    Attributes:
        rung: Whether something was heard; the wait itself sets it back, before it
            looks.
    """

    __slots__ = ("_waiter", "rung")

    def __init__(self, waiter: Wakeable) -> None:
        self._waiter = waiter
        self.rung: bool = False

    def is_rung(self) -> bool:
        """Tell whether something was heard."""
        return self.rung

    def ring(self) -> None:
        """Wake the wait: thread-safe, never blocks or raises."""
        if self.rung:
            return

        self.rung = True
        try:
            self._waiter.wake()
        except Exception:  # noqa: BLE001 - one wait's loop must not end all others
            _log.exception("a wait could not be woken")


class Sub:
    """What one wait listens to.

    Attributes:
        bell: Who is woken.
        key: Of the watch, or of the process; `None` once it is over.
        mask: Which events; 0 for a process.
        matches: Which names of a directory; None is all.
        last: The last event that tells whether somebody writes; 0 if there was none.
    """

    __slots__ = ("bell", "key", "last", "mask", "matches")

    def __init__(
        self, bell: Bell, mask: int, matches: Callable[[bytes], bool] | None
    ) -> None:
        self.bell: Bell = bell
        self.mask: int = mask
        self.matches: Callable[[bytes], bool] | None = matches
        self.key: int | None = None
        self.last: int = 0

    def hears(self, mask: int, name: bytes) -> bool:
        """Tell whether an event is its business."""
        if not mask & (self.mask | _ALWAYS):
            return False
        return not name or self.matches is None or self.matches(name)


class Hub:
    """Knows who listens to what. All methods are thread-safe.

    Attributes:
        eyes: What it listens with; None before there is something to listen to.
    """

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._generation = fork.generation()
        self._mutex = allocate_lock()
        self.eyes: Eyes | None = None
        self._thread: threading.Thread | None = None
        self._ended = False
        self._subs: dict[int, dict[Sub, None]] = {}
        self._pids: dict[int, int] = {}  # process -> key
        self._processes: dict[int, tuple[int, dict[Sub, None]]] = {}  # key -> process
        self._left: deque[Sub] = deque()

    def check_fork(self) -> None:
        """Start anew in a forked child."""
        if self._generation == fork.generation():
            return

        with fork.renewal:
            if self._generation != fork.generation():
                eyes, keys = self.eyes, [*self._processes]
                self._renew()
                if eyes is not None:
                    eyes.abandon(keys)

    def enter_child(self) -> None:
        """Give the parent's descriptors back, in a forked child."""
        self.check_fork()

    @property
    def generation(self) -> int:
        """The process whose waits it knows."""
        self.check_fork()
        return self._generation

    def stats(self) -> tuple[int, int]:
        """Return how many paths and how many processes are watched."""
        self.check_fork()
        return len(self._subs), len(self._processes)

    # -- listening -----------------------------------------------------------------

    def watch_path(
        self,
        bell: Bell,
        path: bytes,
        mask: int,
        matches: Callable[[bytes], bool] | None = None,
        known: Sub | None = None,
    ) -> Sub:
        """Listen to a path, from the return of this call on.

        Args:
            bell: Who is woken.
            path: The path.
            mask: Which events.
            matches: Which names of a directory; None is all.
            known: What listens to this already, if the path is still the same file.

        Raises:
            Unwatchable: If it cannot be listened to.
            FileNotFoundError: If it is not there.
            NotADirectoryError: If a part of it is no directory.
        """
        sub = Sub(bell, mask, matches)
        self.check_fork()
        try:
            with self._mutex:
                eyes = self.open()
                key = eyes.add_path(path, mask)
                if known is not None and known.key == key:
                    return known
                sub.key = key
                self._subs.setdefault(key, {})[sub] = None
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            raise unwatchable(error) from None
        finally:
            self._settle()
        return sub

    def watch_process(self, bell: Bell, pid: int) -> Sub:
        """Listen for the end of a process.

        Raises:
            Unwatchable: If it cannot be listened to.
            ProcessLookupError: If there is none.
        """
        sub = Sub(bell, 0, None)
        self.check_fork()
        try:
            with self._mutex:
                eyes = self.open()
                key = self._pids.get(pid)
                if key is None:
                    key = eyes.add_process(pid)
                    self._pids[pid] = key
                    self._processes[key] = (pid, {})
                sub.key = key
                self._processes[key][1][sub] = None
        except ProcessLookupError:
            raise
        except OSError as error:
            raise unwatchable(error) from None
        finally:
            self._settle()
        return sub

    def drop(self, subs: Iterable[Sub]) -> None:
        """Listen no more; it never waits, for finalizers come here, too.

        Whoever holds the mutex does it for who cannot have it.
        """
        self.check_fork()
        self._left.extend(subs)
        self._settle()

    def _settle(self) -> None:
        while self._left and not self._mutex.locked():
            with self._mutex:
                self._drop_left()

    def _drop_left(self) -> None:
        eyes = self.eyes
        while self._left:
            sub = self._left.popleft()
            key, sub.key = sub.key, None
            if key is None or eyes is None:
                continue
            if sub.mask:
                self._drop_path(sub, key, eyes)
            else:
                self._drop_process(sub, key, eyes)

    def _drop_path(self, sub: Sub, key: int, eyes: Eyes) -> None:
        subs = self._subs.get(key, {})
        if sub in subs:
            del subs[sub]
            if not subs:
                del self._subs[key]
                eyes.remove_path(key)

    def _drop_process(self, sub: Sub, key: int, eyes: Eyes) -> None:
        pid, subs = self._processes.get(key, (0, {}))
        if sub in subs:
            del subs[sub]
            if not subs:
                self._forget_process(key, pid, eyes)

    def _forget_process(self, key: int, pid: int, eyes: Eyes) -> None:
        del self._processes[key]
        del self._pids[pid]
        eyes.remove_process(key)

    # -- the thread ----------------------------------------------------------------

    def open(self) -> Eyes:
        """Return the open eyes, and see to it that the thread runs."""
        if self._ended:
            raise Unwatchable("the interpreter is about to exit")

        if self.eyes is None:
            self.eyes = _core_eyes.open_eyes()
        if self._thread is None:
            eyes = self.eyes
            thread = OwnThread(
                lambda: self._listen(eyes), name="cup-autowait", daemon=False
            )
            self._thread = thread
            lifecycle.at_exit(lifecycle.Stage.TIMERS, self)
            try:
                thread.start()
            except BaseException as error:
                # It may have started: the exception may be that of a signal handler.
                if thread.call_off():
                    self._thread = None
                if isinstance(error, RuntimeError):
                    raise Unwatchable(f"no thread to listen: {error}") from None
                raise
        return self.eyes

    def _listen(self, eyes: Eyes) -> None:
        while not self._ended:
            self.listen_once(eyes, None)

    def listen_once(self, eyes: Eyes, seconds: float | None) -> None:
        """Sleep until something happens, and wake whose business it is."""
        events, ended = eyes.see(seconds)
        rung: set[Bell] = set()
        with self._mutex:
            for event in events:
                self._hear(event, rung)
            for key in ended:
                self._hear_end(key, eyes, rung)
            self._drop_left()
        for bell in rung:
            bell.ring()
        self._settle()

    def _hear(self, event: Record, rung: set[Bell]) -> None:
        key, mask, name = event
        if mask & OVERFLOW:
            for subs in self._subs.values():
                for sub in subs:
                    sub.last = 0
                    rung.add(sub.bell)
            return

        for sub in self._subs.get(key, ()):
            if sub.hears(mask, name):
                if mask & _WRITING:
                    sub.last = mask
                rung.add(sub.bell)
        if mask & IGNORED:
            for sub in self._subs.pop(key, ()):
                sub.key = None

    def _hear_end(self, key: int, eyes: Eyes, rung: set[Bell]) -> None:
        known = self._processes.get(key)
        if known is None:
            return

        pid, subs = known
        for sub in subs:
            sub.key = None
            rung.add(sub.bell)
        self._forget_process(key, pid, eyes)

    def end_at_exit(self) -> None:
        """End the thread; waits that go on are told to poll."""
        self.check_fork()
        with self._mutex:
            self._ended = True
            eyes, thread = self.eyes, self._thread
            bells = {sub.bell for subs in self._subs.values() for sub in subs}
            for _, listeners in self._processes.values():
                bells.update(sub.bell for sub in listeners)
        if eyes is not None:
            eyes.wake()
        if thread is not None:
            join_all([thread])
        for bell in bells:
            bell.ring()


HUB: Final = Hub()
"""The one of this process."""

# At once: later, their numbers may be those of other files.
fork.on_fork(HUB.enter_child)
