"""How things are measured: side by side, interleaved, in rounds.

Machines are noisy and small: a figure means something only beside the figures of the
same run. So every round measures each contender once, in an order that changes, and
what counts is the best round and the median.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypedDict

    class RowFigures(TypedDict):
        """What a row looks like in JSON."""

        title: str
        unit: str
        figures: dict[str, list[float]]

    class Figures(TypedDict):
        """What a run looks like in JSON."""

        name: str
        rows: list[RowFigures]
        verdicts: list[str]
        missing: list[str]


OURS = "cup"


@dataclass
class Row:
    """One thing to measure, with everybody who can do it.

    Attributes:
        title: What is done.
        contenders: Name -> a function that does it and returns the figure of one
            operation.
        unit: Of the figure.
        goals: Peer -> the ratio that ours is to stay below.
        limit: What our own figure is to stay below, if that is the goal.
    """

    title: str
    contenders: dict[str, Callable[[], float]]
    unit: str = "us"
    goals: dict[str, float] = field(default_factory=dict)
    limit: float | None = None
    figures: dict[str, list[float]] = field(default_factory=dict)


class Report:
    """Runs rows and prints their table."""

    def __init__(self, name: str, rounds: int) -> None:
        self.name = name
        self.rounds = rounds
        self.rows: list[Row] = []
        self.missing: list[str] = []
        self.verdicts: list[str] = []

    def needs(self, package: str) -> bool:
        """Tell whether a peer is installed; name it if it is not."""
        if find_spec(package) is not None:
            return True
        if package not in self.missing:
            self.missing.append(package)
        return False

    def run(self, rows: Iterable[Row]) -> None:
        """Measure and print each row."""
        order = random.Random(1)
        print(f"{self.name}: best and median of {self.rounds} interleaved rounds")
        for row in rows:
            for _ in range(self.rounds):
                names = list(row.contenders)
                order.shuffle(names)
                for name in names:
                    row.figures.setdefault(name, []).append(row.contenders[name]())
            self.rows.append(row)
            self._print(row)
        self._close()

    def _print(self, row: Row) -> None:
        print(f"\n{row.title}")
        ours = min(row.figures[OURS])
        for name in row.contenders:
            best = min(row.figures[name])
            median = statistics.median(row.figures[name])
            ratio = "" if name == OURS or not best else f"  cup is {ours / best:5.2f} x"
            print(f"  {name:34} {best:10.2f} {median:10.2f} {row.unit}{ratio}")
        for peer, goal in row.goals.items():
            if peer in row.figures:
                ratio = ours / min(row.figures[peer])
                self._judge(row.title, peer, ratio, goal)
        if row.limit is not None:
            self._judge(row.title, row.unit, ours, row.limit)

    def _judge(self, title: str, against: str, found: float, goal: float) -> None:
        word = "holds" if found <= goal else "MISSED"
        text = f"{title} / {against}: goal <= {goal:g}, measured {found:.2f}: {word}"
        print(f"    {text}")
        self.verdicts.append(text)

    def _close(self) -> None:
        if self.missing:
            print(f"\nnot installed, left out: {', '.join(self.missing)}")
        print(f"\n{sum_up(self.verdicts)}")

    def figures(self) -> Figures:
        """Return all figures."""
        rows: list[RowFigures] = [
            {"title": row.title, "unit": row.unit, "figures": row.figures}
            for row in self.rows
        ]
        return {
            "name": self.name,
            "rows": rows,
            "verdicts": self.verdicts,
            "missing": self.missing,
        }


def sum_up(verdicts: list[str]) -> str:
    """Say how many goals hold, and which do not."""
    missed = [verdict for verdict in verdicts if verdict.endswith("MISSED")]
    held = f"{len(verdicts) - len(missed)} of {len(verdicts)} goals hold"
    return "\n".join([held, *(f"  {verdict}" for verdict in missed)])
