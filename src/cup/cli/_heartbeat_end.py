"""Running until Ctrl-C, SIGTERM, or the end of a time: each is a regular end."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

__all__ = ["End", "until_ended"]


class End:
    """Says whether it is time to end.

    Attributes:
        asked: Whether a signal asked for it.
    """

    def __init__(self, seconds: float | None) -> None:
        self.asked: bool = False
        self._deadline: float = inf if seconds is None else monotonic() + seconds

    def reached(self) -> bool:
        """Tell whether it is time to end."""
        return self.asked or self.left() <= 0

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._deadline - monotonic()


@contextmanager
def until_ended(seconds: float | None) -> Generator[End, None, None]:
    """Make signals that ask for the end be noted, for the length of a block."""
    end = End(seconds)

    def note(_number: int, _frame: FrameType | None) -> None:
        end.asked = True

    before = {each: signal.signal(each, note) for each in _SIGNALS}
    try:
        yield end
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
