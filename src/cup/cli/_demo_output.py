"""What the demo prints: plain lines, or one JSON document.

Not here: colours and tables (`_demo_output_rich`).
"""

from __future__ import annotations

import json as json_module
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from cup import __version__

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ._demo_part import Fact, Part, Value
    from ._demo_show import Outcome, Reporter, Show

__all__ = [
    "LEAST",
    "PlainReporter",
    "headline",
    "make_reporter",
    "sentence",
    "verdict",
]

LEAST: Final = 0.005  # seconds that are worth a word


def make_reporter(*, json: bool) -> Reporter:
    """Choose how to report: colours only on a terminal, and only with rich."""
    if json:
        return JsonReporter()

    if sys.stdout.isatty() and find_spec("rich") is not None:
        from ._demo_output_rich import RichReporter  # noqa: PLC0415 - needs the extra

        return RichReporter()

    return PlainReporter()


class PlainReporter:
    """Prints a line for each fact, when its part has ended."""

    def begin(self, show: Show) -> None:
        """Print on what the demo runs."""
        _say(headline(show))

    def chapter(self, where: str) -> None:
        """Print where the next parts run."""
        _say(f"\n{where}")

    def during(self, part: Part) -> AbstractContextManager[object]:  # noqa: ARG002 - others show it
        """Print nothing."""
        return nullcontext()

    def outcome(self, outcome: Outcome) -> None:
        """Print the title of a part and its facts, with their times."""
        _say(_timed(f"  {outcome.part.title}", outcome.seconds))
        for fact, seconds in outcome.laps():
            mark = "ok     " if fact.kept else "DIFFERS"
            line = f"    {mark} {sentence(fact)}"
            _say(_timed(line, seconds))
        if outcome.error:
            _say(f"    FAILED  {outcome.error}")

    def finish(self, show: Show) -> None:
        """Print the sum."""
        _say(f"\n{verdict(show)}")


class JsonReporter:
    """Prints one document at the end."""

    def begin(self, show: Show) -> None:
        """Print nothing."""

    def chapter(self, where: str) -> None:
        """Print nothing."""

    def during(self, part: Part) -> AbstractContextManager[object]:  # noqa: ARG002 - the same
        """Print nothing."""
        return nullcontext()

    def outcome(self, outcome: Outcome) -> None:
        """Print nothing."""

    def finish(self, show: Show) -> None:
        """Print the document."""
        kept, broken = show.counts()
        document = {
            "cup": __version__,
            "python": show.python,
            "system": show.system,
            "cpus": show.cpus,
            "seed": show.seed,
            "quick": show.quick,
            "seconds": round(show.seconds, 4),
            "kept": kept,
            "not_kept": broken,
            "parts": [_outcome_as_json(outcome) for outcome in show.outcomes],
        }
        _say(json_module.dumps(document, indent=2))


def _outcome_as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "name": outcome.part.name,
        "title": outcome.part.title,
        "where": outcome.where,
        "seconds": round(outcome.seconds, 4),
        "kept": outcome.kept,
        "error": outcome.error or None,
        "facts": [
            {
                "what": fact.what,
                "found": fact.found,
                "promised": fact.promised,
                "kept": fact.kept,
                "seconds": round(seconds, 4),
            }
            for fact, seconds in outcome.laps()
        ],
    }


def headline(show: Show) -> str:
    """Say what runs on what."""
    return (
        f"cup {__version__}, {show.python} on {show.system}, {show.cpus} CPUs, "
        f"seed {show.seed}"
    )


def sentence(fact: Fact) -> str:
    """Say what was found; and what was promised, if that is something else."""
    text = f"{fact.what}: {_shown(fact.found)}"
    return text if fact.kept else f"{text}; promised: {_shown(fact.promised)}"


def verdict(show: Show) -> str:
    """Sum up in one line."""
    kept, broken = show.counts()
    text = f"{kept} promises kept"
    if broken:
        text += f", {broken} NOT KEPT"
    return f"{text}, in {show.seconds:.1f} s"


def _shown(value: Value) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _timed(line: str, seconds: float) -> str:
    return f"{line:<76} {seconds:6.2f} s" if seconds >= LEAST else line


def _say(text: str) -> None:
    print(text, flush=True)
