"""What becomes of a destination, and what is told on the way."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._fanout_places import Place

__all__ = ["Outcome", "Retry", "State", "printable"]


class State(enum.Enum):
    """How it ended for a destination."""

    DELIVERED = "delivered"
    SKIPPED = "skipped"
    PLANNED = "planned"
    REFUSED = "refused"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_good(self) -> bool:
        """Whether nothing is left to be done."""
        return self in {State.DELIVERED, State.SKIPPED, State.PLANNED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a destination.

    Attributes:
        place: The destination.
        state: How it ended.
        attempts: How often it was tried.
        seconds: From the start of the first attempt to the end of the last.
        reason: Why it was not delivered, or a remark.
    """

    place: Place
    state: State
    attempts: int = 0
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """An attempt has failed, and there will be another.

    Attributes:
        place: The destination.
        attempt: The number of the next attempt.
        delay: Seconds until then.
        reason: Why this one failed.
    """

    place: Place
    attempt: int
    delay: float
    reason: str


def printable(text: str) -> str:
    """Return a text from elsewhere as it may be shown on a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
