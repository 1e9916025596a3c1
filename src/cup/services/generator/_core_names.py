"""Unique names: a prefix, when and where they were made, and a counter."""

from __future__ import annotations

import os
import re
import time
from typing import Final

from cup.errors import InvalidId

from ._core import checked_prefix
from ._core_ids import expect, utc
from ._core_runs import Chain, Run
from .api import IDStats, ParsedID

__all__ = ["NameCore"]

_DIGITS: Final = 12  # of the counter: 2**48 names in one life of a process
_STAMP: Final = 12  # of the milliseconds: until the year 10889
_TOKEN: Final = 16
_FORM: Final = re.compile(
    f"(.*)_([0-9a-f]{{{_STAMP}}})[0-9a-f]{{{_TOKEN}}}_([0-9]{{1,10}})_"
    f"([0-9a-f]{{{_DIGITS}}})",
    re.DOTALL,
)


class NameCore(Chain[str]):
    """What generators of names do; all of it at once."""

    __slots__ = ("_prefix",)

    kind = "name"

    def __init__(self, prefix: str) -> None:
        self._prefix: str = checked_prefix(prefix)
        self._begin()

    def _follow(self, run: Run | None) -> Run:  # noqa: ARG002 - each life begins anew
        # The token tells this process from others that had its pid, or have it on
        # another host of the same name; the time before it makes names sort by it.
        stamp = time.time_ns() // 1_000_000
        token = os.urandom(_TOKEN // 2).hex()
        stem = f"{self._prefix}_{stamp:0{_STAMP}x}{token}_{os.getpid()}_"
        return Run(0, 1 << 4 * _DIGITS, text=stem)

    def next_id(self) -> str:
        """Return an identifier that nobody else gets."""
        while True:
            run = self._run
            if self._is_mine(run) and not run.after:
                number = next(run.numbers)
                if number < run.end:
                    return f"{run.text}{number:012x}"

                run.full = True
            self._turn(run)

    def attempt(self) -> str:
        """Return a name that nobody else gets."""
        return self.next_id()

    def parse(self, value: str) -> ParsedID:
        """Say what an identifier of this kind tells about itself.

        Its time is when its process began to make names; its worker is the process.

        Args:
            value: A name.

        Raises:
            InvalidId: If it is none of this kind, with whatever prefix.
            InvalidType: If it is no text.
        """
        form = _FORM.fullmatch(expect(value, str, "is no name: give a text"))
        if form is None:
            raise InvalidId(f"{value!r} is no name of the form prefix_life_pid_counter")

        prefix, born, pid, counter = form.groups()
        return ParsedID(
            kind=self.kind,
            text=value,
            time=utc(int(born, 16) * 1000),
            worker=int(pid),
            sequence=int(counter, 16),
            origin=prefix,
        )

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        return IDStats(kind=self.kind, worker=os.getpid(), left=self._run.left())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._prefix!r} pid {os.getpid()}>"
