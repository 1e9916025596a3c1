"""The files of a log as a table on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["print_table"]


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose cells are figures, most of them."""
    table = Table()
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        cells = (Text(cell, "bold red" if cell == "DAMAGED" else "") for cell in row)
        table.add_row(*cells)
    Console().print(table)
