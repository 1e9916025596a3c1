"""What a change of the clock does to runs: the policies, and the windows they leave.

Between two changes of its clock a zone is a constant offset: a stretch. A policy says
which local times run in each stretch, and whether those that a change skipped are made
up for at its beginning. Nothing here knows a zone.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DstPolicy", "Piece", "Stretch", "windows"]


class DstPolicy(Enum):
    """What happens to runs at local times that a zone skips, or has twice.

    ========== =========================== =========================================
    policy     the time is skipped         the time comes twice
    ========== =========================== =========================================
    `DEBIAN`   once, right after the gap   the first time
    `SKIP`     no run                      no run
    `BOTH`     once, right after the gap   both times
    `FIRST`    once, right after the gap   the first time
    `LAST`     once, right after the gap   the second time
    ========== =========================== =========================================

    `DEBIAN` follows cron(8) of Debian: the row above is for jobs that run at times of
    their own. A job that runs all the time (the field of its seconds, minutes or hours
    starts with `*`, or is `H/n`) runs whenever the local time matches: not in a gap,
    and twice where a time comes twice. Unlike there, a gap makes up for all that it
    skipped with one run, however long it is: a yearly job runs although Samoa had no
    30 December in 2011.

    Right after a gap is the first second after it that the seconds of the expression
    allow: with five fields, the first full minute.
    """

    DEBIAN = "debian"
    SKIP = "skip"
    BOTH = "both"
    FIRST = "first"
    LAST = "last"


class Piece(NamedTuple):
    """The instants from `begin` up to, without, `end`, and their offset, in seconds."""

    begin: int
    end: int
    offset: int


class Stretch(NamedTuple):
    """A piece, and the windows that a policy leaves of it.

    Attributes:
        begin: The first instant.
        end: The first instant after it.
        offset: Local time minus instant.
        low: The first local time that may run.
        high: The first local time after those.
        missed: The first local time that is made up for at `begin`.
        found: The first local time after those; not after `missed` if there are none.
    """

    begin: int
    end: int
    offset: int
    low: int
    high: int
    missed: int
    found: int


def windows(pieces: Sequence[Piece], policy: DstPolicy | None) -> list[Stretch]:
    """Give the stretches of a policy; None lets every local time run where it is.

    Args:
        pieces: Without holes between them, in order. What is before the first and
            after the last has no effect on them.
        policy: Not `DEBIAN`, which is None or `FIRST`, as the expression has it.
    """
    reached = _reached_before(pieces)
    ahead = _lowest_after(pieces)
    stretches: list[Stretch] = []
    before = pieces[0].begin + pieces[0].offset
    for piece, highest, lowest in zip(pieces, reached, ahead, strict=True):
        begin, end, offset = piece
        low, high = begin + offset, end + offset
        missed = found = low
        if policy is DstPolicy.FIRST:
            missed, low = highest, max(low, highest)
        elif policy is DstPolicy.LAST:
            missed, found, high = before, min(low, lowest), min(high, lowest)
        elif policy is DstPolicy.BOTH:
            missed = before
        elif policy is DstPolicy.SKIP:
            low, high = max(low, highest), min(high, lowest)
        stretches.append(Stretch(begin, end, offset, low, high, missed, found))
        before = end_of(piece)
    return stretches


def end_of(piece: Piece) -> int:
    """Give the local time at which a piece ends."""
    return piece.end + piece.offset


def _reached_before(pieces: Sequence[Piece]) -> list[int]:
    """Give for each piece the highest local time that was reached before it."""
    highest = pieces[0].begin + pieces[0].offset
    reached: list[int] = []
    for piece in pieces:
        reached.append(highest)
        highest = max(highest, end_of(piece))
    return reached


def _lowest_after(pieces: Sequence[Piece]) -> list[int]:
    """Give for each piece the lowest local time that comes after it."""
    lowest = end_of(pieces[-1])
    ahead: list[int] = []
    for piece in reversed(pieces):
        ahead.append(lowest)
        lowest = min(lowest, piece.begin + piece.offset)
    return ahead[::-1]
