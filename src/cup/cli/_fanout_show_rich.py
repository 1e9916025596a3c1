"""How far a fan-out is, as bars on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ._fanout_outcome import State, printable
from ._fanout_show import ended_line, retry_line, share

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from ._fanout_outcome import Outcome, Retry
    from ._fanout_send import Courier
    from ._fanout_show import Show

__all__ = ["Bars", "print_table"]

_BARS = 10  # at most
_STYLES = {
    State.FAILED: "bold red",
    State.REFUSED: "bold red",
    State.INTERRUPTED: "yellow",
    State.DELIVERED: "green",
}


class Bars:
    """A bar for all destinations, and one for each that is under way."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._console = Console(stderr=True) if console is None else console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[share]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._total = total
        self._all = self._progress.add_task(
            "all destinations", total=total, share=f"0/{total}"
        )
        self._bars: dict[Courier, TaskID] = {}

    def ended(self, outcome: Outcome, done: int, /) -> None:
        """Show what became of a destination, and how many have ended."""
        self._progress.update(self._all, completed=done, share=f"{done}/{self._total}")
        if outcome.state is not State.DELIVERED:
            self._print(ended_line(outcome), _STYLES.get(outcome.state, ""))

    def retry(self, retry: Retry, /) -> None:
        """Show that an attempt has failed."""
        self._print(retry_line(retry), "yellow")

    def look(self, couriers: Sequence[Courier], /) -> None:
        """Show how far the attempts are that run."""
        shown = couriers[:_BARS]
        for courier in self._bars.keys() - {*shown}:
            self._progress.remove_task(self._bars.pop(courier))
        for courier in shown:
            bar = self._bars.get(courier)
            if bar is None:
                name = printable(courier.place.text)
                bar = self._progress.add_task(name, total=courier.size, share="")
                self._bars[courier] = bar
            self._progress.update(bar, completed=courier.sent, share=share(courier))

    def _print(self, line: str, style: str) -> None:
        self._console.print(Text(line, style))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()


def print_table(
    columns: Sequence[str], rows: Iterable[tuple[State, list[str]]]
) -> None:
    """Print what became of all destinations on a terminal.

    Args:
        columns: What the columns are called.
        rows: The cells of each destination, the state of it in front.
    """
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for state, cells in rows:
        table.add_row(*(Text(cell) for cell in cells), style=_STYLES.get(state, ""))
    Console().print(table)


if TYPE_CHECKING:
    _bars: Show = Bars(0)
