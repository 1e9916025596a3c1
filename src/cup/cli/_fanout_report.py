"""What a fan-out says at its end: a table and a sentence, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from ._fanout_outcome import State, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._fanout_outcome import Outcome
    from ._fanout_pack import Pack

__all__ = ["Report", "print_json", "print_report"]

_COLUMNS: Final = ("destination", "state", "attempts", "seconds", "remark")
_MB: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of everything.

    Attributes:
        pack: What was packed.
        outcomes: What became of each destination, in the order they were given in.
        seconds: How long it all took.
        dry_run: Whether nothing was to be sent.
    """

    pack: Pack
    outcomes: Sequence[Outcome]
    seconds: float
    dry_run: bool

    @property
    def interrupted(self) -> bool:
        """Whether it was ended early."""
        return any(one.state is State.INTERRUPTED for one in self.outcomes)

    @property
    def ok(self) -> bool:
        """Whether nothing is left to be done."""
        return all(outcome.state.is_good for outcome in self.outcomes)


def print_json(report: Report) -> None:
    """Print one JSON document."""
    pack = report.pack
    counts = Counter(outcome.state for outcome in report.outcomes)
    document: dict[str, object] = {
        "source": pack.source,
        "content": pack.content,
        "files": pack.files,
        "folders": pack.folders,
        "links": pack.links,
        "bytes": pack.payload,
        "archive_bytes": pack.size,
        "dry_run": report.dry_run,
        "interrupted": report.interrupted,
        "ok": report.ok,
        "seconds": round(report.seconds, 3),
        "counts": {state.value: counts[state] for state in State},
        "destinations": [
            {
                "destination": outcome.place.text,
                "state": outcome.state.value,
                "attempts": outcome.attempts,
                "seconds": round(outcome.seconds, 3),
                "remark": outcome.reason or None,
            }
            for outcome in report.outcomes
        ],
    }
    print(json.dumps(document, indent=2), flush=True)


def print_report(report: Report) -> None:
    """Print a table, and a sentence."""
    rows = [(outcome.state, _row(outcome)) for outcome in report.outcomes]
    if sys.stdout.isatty() and find_spec("rich") is not None:
        from ._fanout_show_rich import print_table  # noqa: PLC0415 - needs the extra

        print_table(_COLUMNS, rows)
    else:
        cells = [list(_COLUMNS), *(row for _, row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            padded = zip(row, widths, strict=True)
            print("  ".join(cell.ljust(width) for cell, width in padded).rstrip())
    print(_sentence(report), flush=True)


def _row(outcome: Outcome) -> list[str]:
    return [
        printable(outcome.place.text),
        outcome.state.value,
        str(outcome.attempts),
        f"{outcome.seconds:.1f}",
        printable(outcome.reason),
    ]


def _sentence(report: Report) -> str:
    counts = Counter(outcome.state for outcome in report.outcomes)
    parts = ", ".join(
        f"{counts[state]} {state.value}" for state in State if counts[state]
    )
    pack = report.pack
    things = (("file", pack.files), ("folder", pack.folders), ("link", pack.links))
    named = [f"{n} {thing}{'' if n == 1 else 's'}" for thing, n in things]
    what = ", ".join([*named, f"{pack.payload / _MB:.1f} MB"])
    return f"{parts} of {len(report.outcomes)} ({what}) in {report.seconds:.1f} s"
