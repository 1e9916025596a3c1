"""What an executor writes to its store, and when.

A job is stored before it is handed in: the call that hands it in returns when the store
has it. What follows (a run has ended, a job was cancelled) is collected and written in
groups by a thread of its own. So after a crash a job may run again whose end was not
written yet; none is lost.

Not here: what an entry looks like (`_core_stored`), and the store.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from cup._core import lifecycle
from cup._core.program import Program
from cup.errors import UnknownJob

from ._core_stored import function_at, read_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_handle import Handle
    from ._core_stored import Entry
    from .api import JobStore, ProgramSeat

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
        "_changes",
        "_entries",
        "_store",
        "handles",
        "seat",
        "unknown",
    )

    stage = lifecycle.Stage.POOLS  # jobs that end at exit are still written

    def __init__(self, store: JobStore) -> None:
        super().__init__()
        self._store = store
        self._changes: deque[Entry | str] = deque()
        self._entries: dict[str, Entry] = {}
        self.handles: dict[str, Handle[Any]] = {}
        self.unknown: dict[str, str] = {}
        self.seat: ProgramSeat | None = None
        lifecycle.at_exit(lifecycle.Stage.LOGS, self)

    def save(self, entry: Entry) -> None:
        """Store a new job; returns when the store has it. It may block."""
        self._store.write([(entry.key, entry.text())], [])
        self._entries[entry.key] = entry
        self.unknown.pop(entry.key, None)

    def attach(self, entry: Entry, handle: Handle[Any]) -> None:
        """Follow a stored job to its end; one of the same key before it is replaced."""
        former = self.handles.get(entry.key)
        self.handles[entry.key] = handle
        self._entries[entry.key] = entry
        if former is not None:
            former.cancel()
        handle.add_done_callback(lambda _: self._ended(entry.key, handle))

    def _ended(self, key: str, handle: Handle[Any]) -> None:
        if self.handles.get(key) is handle:  # else it was replaced, or is kept
            del self.handles[key]
            self._entries.pop(key, None)
            self._put(key)

    def ran(self, key: str, due: float) -> None:
        """Note that a run of a stored series has ended."""
        entry = self._entries.get(key)
        if entry is not None:
            entry = self._entries[key] = replace(entry, last=due)
            self._put(entry)

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

    def load(self, begin: Callable[[Entry, Callable[..., Any]], Handle[Any]]) -> None:
        """Begin what the store has kept; what means nothing is reported, and kept."""
        for key, text in list(self._store.load()):
            if key in self.handles:
                continue

            try:
                entry = read_entry(text)
                fn = function_at(entry.function)
            except UnknownJob as error:
                self.unknown[key] = str(error)
                _log.warning("stored job %r is left alone: %s", key, error)
                continue

            self.attach(entry, begin(entry, fn))

    def open(self, seat: ProgramSeat) -> None:
        """Have what is collected written by a thread from now on."""
        self.seat = seat

    def close(self) -> None:
        """Write what was collected, in the calling thread; it may block."""
        seat, self.seat = self.seat, None
        if seat is not None:
            seat.stop()
        while self._changes:
            self._write()

    def end_at_exit(self) -> None:
        """Write what was collected: jobs have ended meanwhile."""
        self.close()

    def _put(self, change: Entry | str) -> None:
        self._changes.append(change)
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
        changes = [self._changes.popleft() for _ in range(len(self._changes))]
        latest: dict[str, Entry | None] = {}
        for change in changes:
            if isinstance(change, str):
                latest[change] = None
            else:
                latest[change.key] = change
        saved = [(key, entry.text()) for key, entry in latest.items() if entry]
        removed = [key for key, entry in latest.items() if not entry]
        try:
            self._store.write(saved, removed)
        except BaseException:
            self._changes.extendleft(reversed(changes))
            self._nudge(monotonic() + _AGAIN)
            raise
