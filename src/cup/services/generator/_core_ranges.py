"""Numbers of a cluster, taken from a server in ranges (hi/lo).

A process draws from its range and has the next one ready before that is used up. Ranges
of one process go up; those of several interleave. Not here: asking the server
(`sync_redis`, `aio_redis`).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from cup.errors import IdError

from ._core_ids import NotYet, check_int, expect, number_in
from ._core_runs import Chain, Run
from .api import IDStats, ParsedID

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RANGE", "RangeCore", "RangeNeeded"]

_BITS: Final = 63
_MOST: Final = 1 << 40

RANGE: Final = """
local life = redis.call('HGET', KEYS[1], 'life')
if not life then
  life = ARGV[1]
  redis.call('HSET', KEYS[1], 'life', life, 'next', ARGV[3])
end
local after = redis.call('HINCRBY', KEYS[1], 'next', ARGV[2])
return {life, after}
"""
"""The next numbers, and the life of the data: another one if the server lost it."""


class RangeNeeded(NotYet):
    """This process has no range; its face gets one, and comes again."""


class RangeCore(Chain[int]):
    """What generators of a cluster's numbers do, without waiting."""

    __slots__ = ("_life", "_name", "_nudge", "_ready", "_start", "_step", "_top")

    kind = "range"

    def __init__(self, name: str, step: int, start: int) -> None:
        self._name: str = expect(name, str, "is no name: give a text")
        self._step: int = check_int("step", step, 1, _MOST)
        self._start: int = check_int("start", start, 0, 1 << 62)
        self._life: str = ""
        self._top: int = -1
        self._nudge: Callable[[], object] | None = None
        self._begin()

    def _begin(self) -> None:
        self._run: Run = Run(0, 0)  # which is used up
        self._ready: list[Run] = []

    def on_begun(self, nudge: Callable[[], object]) -> None:
        """Have `nudge` called when a range is begun, to fetch the next."""
        self._nudge = nudge

    def _follow(self, run: Run | None) -> Run:  # noqa: ARG002 - the server knows
        try:
            fresh = self._ready.pop(0)
        except IndexError:
            raise RangeNeeded("no range of numbers yet") from None

        if self._nudge is not None:
            self._nudge()
        return fresh

    def is_short(self) -> bool:
        """Tell whether a range is to be fetched."""
        if not self._is_mine(self._run):
            self._enter_child()
        return not self._ready

    def key(self) -> str:
        """Name what the server keeps."""
        return f"cup:ids:range:{self._name}"

    def to_ask(self) -> list[str | int]:
        """Return the arguments of `RANGE`."""
        return [secrets.token_hex(8), self._step, self._start]

    def take_in(self, reply: list[str]) -> None:
        """Take in what `RANGE` answered.

        Raises:
            IdError: If the server has lost its data, and begins anew.
        """
        life, end = reply[0], int(reply[1])
        first = end - self._step
        if (self._life and life != self._life) or first <= self._top:
            raise IdError(
                f"the server has lost the count of {self._name!r} and begins anew, so "
                "numbers would be issued twice; have it keep its data, and set in "
                f"{self.key()!r} 'next' above {self._top} and 'life' to {self._life!r}"
            )
        self._life = life
        self._top = end - 1
        self._ready.append(Run(first, end))

    def attempt(self) -> int:
        """Return the next number, or raise `NotYet`."""
        return self._draw()

    def attempt_some(self, n: int) -> list[int]:
        """Return some of the next numbers, or raise `NotYet`."""
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
            kind=self.kind,
            text=str(number),
            number=number,
            sequence=number,
            origin=self._name,
        )

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        ready = sum(run.left() for run in self._ready)
        return IDStats(kind=self.kind, left=self._run.left() + ready)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}, {self.stats().left} left>"
