"""Counters: numbers that go up, unique in a family of processes or for a file.

Numbers are taken from a `Ledger` in stretches; each process draws from its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cup._core import fork
from cup._core.fork import stamp
from cup.errors import EpochOver, InvalidType

from ._core_ids import check_int, number_in
from ._core_ledger import open_ledger, shared_ledger
from ._core_runs import Chain, Run
from .api import IDStats, ParsedID

if TYPE_CHECKING:
    from os import PathLike

    from ._core_ledger import Ledger

__all__ = ["CounterCore"]

_BITS: Final = 63
_STRETCH: Final = 65_536


class CounterCore(Chain[int]):
    """What counters do; all of it at once."""

    __slots__ = ("_ledger", "_on_disk", "_start", "_step")

    kind = "counter"

    def __init__(
        self, start: int, path: str | PathLike[str] | None, step: int | None
    ) -> None:
        most = 1 << (_BITS - 1)
        self._start: int = check_int("start", start, 0, most)
        default = _STRETCH if path is None else 1024
        self._step: int = check_int("step", default if step is None else step, 1, most)
        if path is not None and not _is_path(path):
            raise InvalidType(f"path is {path!r}; give the path of a file")

        self._on_disk: bool = path is not None
        self._ledger: Ledger = (
            shared_ledger() if path is None else open_ledger(path, durable=True)
        )
        self._begin()

    def _follow(self, run: Run | None) -> Run:  # noqa: ARG002 - the ledger knows
        limit = (1 << _BITS) - 1
        first = self._ledger.take(self._step, at_least=self._start, limit=limit)
        if first is None:
            raise EpochOver(f"the counter has reached {limit}, its greatest number")

        return Run(first, first + self._step)

    def next_id(self) -> int:
        """Return an identifier that nobody else gets."""
        run = self._run
        # A call less than `_draw`: these runs get a successor once they are used up.
        if stamp[0] and run.epoch == fork.epoch:
            number = next(run.numbers)
            if number < run.end:
                return run.first + number

        return self._draw()

    def waits_for_disk(self, n: int = 1) -> bool:
        """Tell whether `n` more numbers have to be taken from a file first."""
        run = self._run
        return self._on_disk and not (self._is_mine(run) and run.left() >= n)

    def attempt(self) -> int:
        """Return the next number of this process."""
        return self._draw()

    def attempt_some(self, n: int) -> list[int]:
        """Return some of the next numbers."""
        return self._draw_some(n)

    def parse(self, value: int | str) -> ParsedID:
        """Say what an identifier of this kind tells about itself.

        Args:
            value: A number, or its decimal digits.

        Raises:
            InvalidId: If it is none of 63 bits.
            InvalidType: If it is no integer and no text.
        """
        number = number_in(value, _BITS, self.kind)
        return ParsedID(
            kind=self.kind, text=str(number), number=number, sequence=number
        )

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        return IDStats(kind=self.kind, left=self._run.left())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._run.left()} of {self._step} left>"


def _is_path(path: object) -> bool:
    return isinstance(path, str | os.PathLike)
