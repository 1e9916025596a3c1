"""Faults that a test plans for a disk: which operation fails, when, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, get_args

from ._testing_crashdisk_image import DiskOperation
from .errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DiskFault", "FaultPlan", "Trouble"]

_FALLIBLE: Final = frozenset(get_args(DiskOperation)) - {"note"}


@dataclass(slots=True, kw_only=True)
class DiskFault:
    """A fault that waits for its operation; `CrashDisk.inject` makes them.

    Attributes:
        operation: What fails.
        error: The errno; 0 if it does not fail, and is only late or short.
        nth: Which one of the operations to come is the first to fail, from 1.
        times: How many fail in a row; None for all from then on.
        path: A pattern for the path, as in a shell.
        partial: The bytes that a read or write still transfers. With an error, that
            call returns short, and the next one fails.
        delay: The seconds that the operation takes.
        before: Called before the operation, in its thread, while no lock is held.
        seen: How many operations have matched.
        hits: How many were hit.
    """

    operation: DiskOperation
    error: int = 0
    nth: int = 1
    times: int | None = 1
    path: str = "*"
    partial: int = 0
    delay: float = 0.0
    before: Callable[[], object] | None = None
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)
    _short: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.operation not in _FALLIBLE:
            raise InvalidValue(
                f"operation={self.operation!r}: no disk does that, so nothing would "
                f"ever fail; give one of {', '.join(sorted(_FALLIBLE))}"
            )
        if self.times is not None and self.times < 1:
            raise InvalidValue(f"times={self.times}: nothing would ever fail")
        if self.nth < 1:
            raise InvalidValue(f"nth={self.nth}: operations are counted from 1")
        if not self.delay >= 0 or self.partial < 0 or self.error < 0:
            raise InvalidValue(f"{self}: give no negative numbers")

    def meet(self, operation: str, path: str) -> Trouble | None:
        """Count an operation, and return what becomes of it."""
        if operation != self.operation or not fnmatchcase(path, self.path):
            return None
        self.seen += 1
        over = self.times is not None and self.hits >= self.times
        if self.seen < self.nth or over:
            return None

        if self.partial and self.error and not self._short:
            self._short = True
            return Trouble(partial=self.partial, delay=self.delay, before=self.before)
        self._short = False
        self.hits += 1
        partial = None if self.error else self.partial or None
        return Trouble(
            error=self.error, partial=partial, delay=self.delay, before=self.before
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What one operation meets with."""

    error: int = 0
    partial: int | None = None
    delay: float = 0.0
    before: Callable[[], object] | None = None


class FaultPlan:
    """All faults of a disk."""

    __slots__ = ("_faults",)

    def __init__(self) -> None:
        self._faults: list[DiskFault] = []

    def add(self, fault: DiskFault) -> None:
        """Plan a fault."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Plan nothing any more."""
        self._faults.clear()

    def meet(self, operation: str, path: str) -> Trouble:
        """Count an operation, and return what becomes of it: the first fault wins."""
        met = [fault.meet(operation, path) for fault in self._faults]
        return next((one for one in met if one is not None), Trouble())
