"""How far a long scan is: a bar with rich on a terminal, else a line now and then.

It goes to stderr: what is found goes to stdout.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["LineProgress", "Progress", "make_progress"]

_EVERY: Final = 2.0  # seconds
_MB: Final = 1e6


class Progress(Protocol):
    """Is told how many bytes are done, and how many there are."""

    def __call__(self, done: int, total: int, /) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class LineProgress:
    """Prints a line every two seconds, so that short scans print nothing."""

    def __init__(self, what: str, every: float = _EVERY) -> None:
        self._what = what
        self._every = every
        self._due = monotonic() + every

    def __call__(self, done: int, total: int, /) -> None:
        """Print how far it is, if it is time."""
        if monotonic() >= self._due:
            self._due = monotonic() + self._every
            share = f"{done / _MB:.1f} of {total / _MB:.1f} MB"
            print(f"{self._what}: {share}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


def make_progress(what: str) -> Progress:
    """Choose how to show progress.

    Args:
        what: What is being done, in a word.
    """
    if sys.stderr.isatty() and find_spec("rich") is not None:
        from ._log_progress_rich import BarProgress  # noqa: PLC0415 - needs the extra

        return BarProgress(what)

    return LineProgress(what)


if TYPE_CHECKING:
    _line: Progress = LineProgress("")
