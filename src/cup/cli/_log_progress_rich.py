"""How far a long scan is, as a bar on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress as Bars,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ._log_progress import Progress

__all__ = ["BarProgress"]


class BarProgress:
    """A bar that disappears at the end."""

    def __init__(self, what: str, console: Console | None = None) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True) if console is None else console,
            transient=True,
        )
        self._bar = self._bars.add_task(what, total=None)

    def __call__(self, done: int, total: int, /) -> None:
        """Move the bar."""
        self._bars.update(self._bar, completed=done, total=total)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()


if TYPE_CHECKING:
    _bar: Progress = BarProgress("")
