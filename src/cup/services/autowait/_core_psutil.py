"""Who runs what, by psutil: for systems without /proc."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast

from typing_extensions import override

from cup.errors import MissingExtra

from ._core_proc import Likeness, ProcTable, Program, scripts
from .conditions import ProcessId

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PsutilTable"]

_ZOMBIE: Final = "zombie"


class _Process(Protocol):
    """What we use of a process of psutil, which has no types."""

    pid: int

    def exe(self) -> str: ...
    def cmdline(self) -> list[str]: ...
    def cwd(self) -> str: ...
    def create_time(self) -> float: ...
    def status(self) -> str: ...
    def name(self) -> str: ...


class _Psutil(Protocol):
    """What we use of psutil."""

    Error: type[Exception]
    AccessDenied: type[Exception]

    def pids(self) -> list[int]: ...
    def Process(self, pid: int) -> _Process: ...  # noqa: N802 - its name


@cache
def _psutil() -> _Psutil:
    try:
        return cast("_Psutil", import_module("psutil"))
    except ImportError:
        raise MissingExtra(
            "to look for processes this system needs psutil: pip install psutil",
            requirement="psutil",
        ) from None


class PsutilTable(ProcTable):
    """The processes of this machine, as psutil sees them."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("")
        _psutil()

    @override
    def find(self, program: Program) -> Iterator[tuple[int, Likeness]]:
        """Give the processes that run a program, or may run it; never the caller."""
        own = os.getpid()
        for process in _processes():
            if process.pid != own:
                likeness = _likeness(process, program)
                if likeness is not Likeness.NO:
                    yield process.pid, likeness

    @override
    def called(self, name: str) -> list[int]:
        """Return the processes of a name."""
        found: list[int] = []
        for process in _processes():
            try:
                if process.name() == name:
                    found.append(process.pid)
            except _psutil().Error:
                continue
        return found

    @override
    def identify(self, pid: int) -> ProcessId | None:
        """Return who has a number now; None if nobody has, or has ended."""
        psutil = _psutil()
        try:
            process = psutil.Process(pid)
            if process.status() == _ZOMBIE:
                return None
            return ProcessId(pid, process.create_time())
        except psutil.AccessDenied:
            return ProcessId(pid, 0.0)
        except psutil.Error:
            return None


def _processes() -> Iterator[_Process]:
    """Give all processes, as they are now.

    Those of `process_iter` remember what they ran before they became another program.
    """
    psutil = _psutil()
    for pid in psutil.pids():
        try:
            yield psutil.Process(pid)
        except psutil.Error:
            continue


def _likeness(process: _Process, program: Program) -> Likeness:
    psutil = _psutil()
    try:
        if not _runs(process, program) or process.status() == _ZOMBIE:
            return Likeness.NO
    except psutil.AccessDenied:
        try:
            called = program.is_called(process.name())
        except psutil.Error:
            return Likeness.NO
        return Likeness.MAYBE if called and not program.is_directory else Likeness.NO
    except (psutil.Error, OSError):
        return Likeness.NO
    return Likeness.YES


def _runs(process: _Process, program: Program) -> bool:
    executable = process.exe()
    if executable and program.is_at(executable):
        return True

    if not program.may_be_run_by(executable):
        return False

    places = [
        os.path.normpath(os.path.join(process.cwd(), word))  # noqa: PTH118
        for word in scripts(process.cmdline())
    ]
    return any(
        program.is_at(place) or program.is_at(os.path.realpath(place))
        for place in places
    )
