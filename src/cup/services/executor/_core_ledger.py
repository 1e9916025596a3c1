"""What an executor writes to its store, and when.

A job is stored before it is handed in: the call that hands it in returns when the store
has it. What follows (a run has ended, a job was cancelled) is collected and written in
groups by a thread of its own. So after a crash a job may run again whose end was not
written yet; none is lost.

What the store is to have stands in one table. A group takes only keys along, and looks
there when it is written: the end of a job never removes the one that was handed in
under the same key meanwhile. Who hands that one in waits for a group on its way.

Not here: what an entry looks like (`_core_stored`), and the store.
"""

from __future__ import annotations

import gc
import logging
from _thread import allocate_lock
from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from cup._core import lifecycle
from cup._core.program import Program
from cup.errors import UnknownJob

from ._core_stored import function_at, read_entry
from ._core_stored_job import StoredJob

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ._core_handle import Handle
    from ._core_stored import Entry
    from .api import JobStore, ProgramSeat
    from .api_values import RunRecord

__all__ = ["Ledger"]

_log = logging.getLogger("cup.executor")

_AT_ONCE = float("-inf")
_AGAIN = 1.0  # seconds after a store has failed


class Ledger(Program):
    """The stored jobs of one executor.

    Attributes:
        handles: The stored jobs that wait or run, by their keys.
        unknown: Why stored jobs mean nothing, by their keys; the store keeps them.
        seat: Who has this program called; None while the executor does not run.
    """

    __slots__ = (
        "__weakref__",
        "_attached",
        "_changes",
        "_entries",
        "_groups",
        "_store",
        "_turn",
        "_writing",
        "handles",
        "seat",
        "unknown",
    )

    stage = lifecycle.Stage.POOLS  # jobs that end at exit are still written

    def __init__(self, store: JobStore) -> None:
        super().__init__()
        self._store = store
        self._changes: deque[str] = deque()
        self._entries: dict[str, Entry] = {}  # what the store is to have
        self._attached: dict[str, Entry] = {}  # what the handles stand for
        self._writing: dict[str, None] = {}  # the keys of the group on its way
        self._groups = 0
        self._turn = allocate_lock()  # held while a group is written
        self.handles: dict[str, Handle[Any]] = {}
        self.unknown: dict[str, str] = {}
        self.seat: ProgramSeat | None = None
        lifecycle.at_exit(lifecycle.Stage.LOGS, self)

    def save(self, entry: Entry) -> None:
        """Store a new job; returns when the store has it. It may block."""
        key, groups = entry.key, self._groups
        former = self._entries.get(key)
        # Put in first, looked at second: a group sees the entry, or is seen here.
        self._entries[key] = entry
        if key in self._writing:
            with self._turn:
                pass
        try:
            self._store.write([(key, entry.text())], [])
        except BaseException:
            if former is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = former
            if groups != self._groups:  # one of them may have written it
                self._put(key)
            raise
        if self._entries.get(key) is not entry:  # refused, or replaced, meanwhile
            self._put(key)
        self.unknown.pop(key, None)

    def refuse(self, entry: Entry) -> None:
        """Take back what was saved and is not handed in after all; it may block."""
        key = entry.key
        if self._entries.get(key) is not entry:
            return  # another one was stored, or none at all

        former = self._attached.get(key)
        if former is None:
            self._entries.pop(key, None)
        else:
            self._entries[key] = former
        self._changes.append(key)
        self._write()

    def attach(self, entry: Entry, handle: Handle[Any]) -> None:
        """Follow a stored job to its end; one of the same key before it is replaced."""
        key = entry.key
        former = self.handles.get(key)
        self.handles[key] = handle
        self._entries[key] = self._attached[key] = entry
        if former is not None:
            former.cancel()
        if isinstance(handle, StoredJob):
            handle.follow(key, self)
        else:
            handle.add_done_callback(lambda _: self.ended(key, handle))

    def ended(self, key: str, handle: Handle[Any], /) -> None:
        """Note that a stored job has ended; twice does no harm."""
        if self.handles.get(key) is handle:  # else it was replaced, or is kept
            self.handles.pop(key, None)
            entry = self._attached.pop(key, None)
            if self._entries.get(key) is entry:  # else another one was stored
                self._entries.pop(key, None)
                self._put(key)

    def ran(self, key: str, run: RunRecord) -> None:
        """Note that a run of a stored series has ended; not called after its end."""
        entry = self._attached.get(key)
        if entry is None or self._entries.get(key) is not entry:
            return

        delayed = entry.rhythm is not None and entry.rhythm["kind"] == "delay"
        last = run.ended if delayed else run.due
        if entry.last is not None:  # runs that overlap end in any order
            last = max(last, entry.last)
        entry = replace(entry, last=last, runs=entry.runs + 1)
        self._entries[key] = self._attached[key] = entry
        self._put(key)

    def moved(self, key: str, handle: Handle[Any], due: float, /) -> None:
        """Note that a stored job is due at another time of the wall clock."""
        former = self._attached.get(key)
        if former is None or self._entries.get(key) is not former:
            return

        self._entries[key] = self._attached[key] = entry = replace(former, due=due)
        # Looked at last: who ends it meanwhile finds this entry, or is seen here.
        if self.handles.get(key) is not handle:
            for entries in (self._entries, self._attached):
                if entries.get(key) is entry:
                    entries.pop(key, None)
        self._put(key)

    def keep(self, key: str) -> bool:
        """Let the store keep a job whose handle ends now; False if it has none."""
        return self.handles.pop(key, None) is not None

    def forget(self, key: str) -> bool:
        """Remove what the store has under a key, also if that means nothing."""
        known = key in self.unknown or key in self.handles
        self.unknown.pop(key, None)
        handle = self.handles.get(key)
        if handle is not None:
            handle.cancel()
        else:
            self._put(key)
        return known

    def load(self, begin: Callable[[Entry, Callable[..., Any]], object]) -> None:
        """Begin what the store has kept; what means nothing is reported, and kept.

        Args:
            begin: What begins an entry, and attaches it.
        """
        functions: dict[str, Callable[..., Any]] = {}
        with collector_paused():
            for key, text in list(self._store.load()):
                if key in self.handles:
                    continue

                try:
                    entry = read_entry(text, key)
                    fn = functions.get(entry.function)
                    if fn is None:
                        fn = functions[entry.function] = function_at(entry.function)
                except UnknownJob as error:
                    self.unknown[key] = str(error)
                    _log.warning("stored job %r is left alone: %s", key, error)
                    continue

                begin(entry, fn)

    def open(self, seat: ProgramSeat) -> None:
        """Have what is collected written by a thread from now on."""
        self.seat = seat

    def close(self) -> None:
        """Write what was collected, in the calling thread; it may block."""
        seat, self.seat = self.seat, None
        if seat is not None:
            seat.stop()
        # Who waits for a job is woken before its callbacks are called, and may be here
        # before them.
        for key, handle in list(self.handles.items()):
            if handle.done():
                self.ended(key, handle)
        while self._changes:
            self._write()

    def end_at_exit(self) -> None:
        """Write what was collected: jobs have ended meanwhile."""
        self.close()

    def vanish(self) -> None:
        """Forget everything, in a forked child: the store is the parent's."""
        self.seat = None
        for followed in (self._changes, self.handles, self._entries, self._attached):
            followed.clear()

    def _put(self, key: str) -> None:
        self._changes.append(key)
        self._nudge(_AT_ONCE)

    def _nudge(self, deadline: float) -> None:
        seat = self.seat
        if seat is not None:
            seat.nudge(deadline)

    @override
    def step(self, now: float) -> None:
        """Have everything written that was collected, as one group."""
        if self._changes:
            self.effects.append(self._write)

    def _write(self) -> None:
        with self._turn:
            changes = [self._changes.popleft() for _ in range(len(self._changes))]
            self._writing = dict.fromkeys(changes)
            self._groups += 1
            try:
                self._write_group()
            except BaseException:
                self._changes.extendleft(reversed(self._writing))
                self._nudge(monotonic() + _AGAIN)
                raise
            finally:
                self._writing = {}

    def _write_group(self) -> None:
        entries = [(key, self._entries.get(key)) for key in self._writing]
        self._store.write(
            [(key, entry.text()) for key, entry in entries if entry is not None],
            [key for key, entry in entries if entry is None],
        )


@contextmanager
def collector_paused() -> Generator[None, None, None]:
    """Make many objects that all stay, without looking for garbage among them.

    The collector would go through all of them again and again: that was two thirds of
    the time it took to load 100,000 jobs.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
