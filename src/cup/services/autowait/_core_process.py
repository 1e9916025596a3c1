"""The probe of processes that run, or do not.

A process that ends is heard of through its descriptor (pidfd), one that starts or
turns into another program through its executable being opened and left, which needs no
rights. Between that event and the new program being visible lies the call that starts
it, so for a moment after an event it looks again and again.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from ._core_paths import follow
from ._core_proc import Likeness, ProcTable, Program
from ._core_verdicts import NOT_YET, Met, Probe
from .conditions import ProcessGone, ProcessId, ProcessRunning

if TYPE_CHECKING:
    from ._core_verdicts import Look, Verdict, Watching

__all__ = ["ProcessProbe"]

_AFTER_EVENT: Final = 2.0  # seconds in which a program that was opened has started
_FIRST_GAP: Final = 0.0003
_SHARE: Final = 0.5  # of the time since the event: the gap grows with it
_BELOW_GAP: Final = 0.1  # programs deep in a directory open without a word


class ProcessProbe(Probe["ProcessId | None"]):
    """Looks who runs a program, or whether a process is still there."""

    __slots__ = (
        "_event",
        "_gone",
        "_identity",
        "_likely",
        "_program",
        "_running",
        "_table",
    )

    def __init__(self, condition: ProcessRunning | ProcessGone) -> None:
        super().__init__(condition)
        self._gone = isinstance(condition, ProcessGone)
        self._table = _open_table()
        self._program: Program | None = None
        self._identity: ProcessId | None = None
        target = condition.target
        if isinstance(target, str):
            self._program = Program(target)
        elif isinstance(target, ProcessId):
            self._identity = target
        else:  # None: nobody has this number, and whoever gets it is another
            self._identity = self._table.identify(target) or ProcessId(target, -1.0)
        self._running: list[int] = []
        self._likely: list[int] = []
        self._event: float | None = None

    @override
    def arm(self, watching: Watching) -> None:
        """Watch who runs it now, and its executable for who will."""
        if sys.platform != "linux":
            watching.poll("psutil tells of no changes", _BELOW_GAP)
        for pid in (*self._running, *self._likely):
            watching.process(pid)
        program = self._program
        if program is None:
            if not self._gone and not self._running:
                watching.by("a number that ended does not come back")
            return

        trail = follow(program.path, watching)
        if trail.status is None or sys.platform != "linux":
            return

        if stat.S_ISDIR(trail.status.st_mode):
            watching.execution(trail.place, below=True)
            watching.poll("programs deeper in a directory start unheard", _BELOW_GAP)
        else:
            watching.execution(trail.place)

    @override
    def check(self, look: Look) -> Verdict[ProcessId | None]:
        """Look who runs."""
        if self._program is not None:
            self._scan(self._program, look)
        else:
            assert self._identity is not None, "there is no other kind of target"
            now = self._table.identify(self._identity.pid)
            self._running = [self._identity.pid] if now == self._identity else []
        self.unsure = bool(self._likely) and not self._running
        if self._gone:
            return NOT_YET if self._running or self._likely else Met(None)

        for pid in self._running:
            identity = self._table.identify(pid)
            if identity is not None:
                return Met(identity)
        return NOT_YET

    def _scan(self, program: Program, look: Look) -> None:
        if look.rung or self._event is None:  # it may just be starting, unheard
            program.refresh()
            self._event = look.now
        since = look.now - self._event
        self.due = None
        if since < _AFTER_EVENT:
            self.due = look.now + max(_FIRST_GAP, _SHARE * since)
        self._running, self._likely = [], []
        for pid, likeness in self._table.find(program):
            yes = likeness is Likeness.YES
            (self._running if yes else self._likely).append(pid)

    @override
    def seen(self) -> str:
        """Say who runs, or that nobody does."""
        if not self._running and not self._likely:
            return "no such process"
        text = f"running: {_listed(self._running)}" if self._running else ""
        if self._likely:
            text += f" perhaps, of another user: {_listed(self._likely)}"
        return text.strip()

    @override
    def nearest(self) -> str:
        """Name processes of the same name elsewhere."""
        if self._gone or self._program is None or sys.platform != "linux":
            return ""
        name = os.path.basename(self._program.path)  # noqa: PTH119 - text alone
        return _listed(self._table.called(name))


def _listed(pids: list[int]) -> str:
    shown = ", ".join(map(str, pids[:5]))
    return f"{shown} and {len(pids) - 5} more" if len(pids) > 5 else shown  # noqa: PLR2004


def _open_table() -> ProcTable:
    if sys.platform == "linux":
        return ProcTable()

    from ._core_psutil import PsutilTable  # noqa: PLC0415 - an extra

    return PsutilTable()
