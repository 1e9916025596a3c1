"""What the demo prints on a terminal that has the `cli` extra: colours and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ._demo_output import LEAST, headline, sentence, verdict

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ._demo_part import Part
    from ._demo_show import Outcome, Show

__all__ = ["RichReporter"]


class RichReporter:
    """Prints a line for each fact, and a table of all times at the end."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def begin(self, show: Show) -> None:
        """Print on what the demo runs."""
        self._console.print(headline(show))

    def chapter(self, where: str) -> None:
        """Print where the next parts run."""
        self._console.print(f"\n[bold]{escape(where)}[/bold]")

    def during(self, part: Part) -> AbstractContextManager[object]:
        """Show that a part is being performed."""
        return self._console.status(escape(part.title))

    def outcome(self, outcome: Outcome) -> None:
        """Print the title of a part and its facts, with their times."""
        self._console.print(
            f"  {escape(outcome.part.title)}  [dim]{outcome.seconds:.2f} s[/dim]"
        )
        for fact, seconds in outcome.laps():
            mark = "[green]ok[/green]     " if fact.kept else "[bold red]DIFFERS[/]"
            time = f"  [dim]{seconds:.2f} s[/dim]" if seconds >= LEAST else ""
            self._console.print(f"    {mark} {escape(sentence(fact))}{time}")
        if outcome.error:
            self._console.print(f"    [bold red]FAILED[/]  {escape(outcome.error)}")

    def finish(self, show: Show) -> None:
        """Print the table and the sum."""
        self._console.print()
        self._console.print(_table(show))
        colour = "green" if show.kept else "bold red"
        self._console.print(f"[{colour}]{escape(verdict(show))}[/]")


def _table(show: Show) -> Table:
    """Lay out the seconds: a line for each part, a column for each place."""
    places = list(dict.fromkeys(outcome.where for outcome in show.outcomes))
    lines: dict[str, dict[str, str]] = {}
    for outcome in show.outcomes:
        colour = "default" if outcome.kept else "bold red"
        cell = f"[{colour}]{outcome.seconds:.2f}[/]"
        lines.setdefault(outcome.part.name, {})[outcome.where] = cell
    table = Table("seconds")
    for place in places:
        table.add_column(place, justify="right")
    for name, cells in lines.items():
        table.add_row(name, *(cells.get(place, "") for place in places))
    return table
