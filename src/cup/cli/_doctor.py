"""`cup doctor`: say what this machine has, and what will work in a slower way."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.util import find_spec
from itertools import groupby
from typing import TYPE_CHECKING, Final

from ._doctor_checks import CHECKS, redis

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ._doctor_checks import Finding

__all__ = ["SUMMARY", "configure", "run"]

SUMMARY: Final = "say what this machine has, and what will work in a slower way"

_EPILOG: Final = """\
states:
  ok        as it should be
  note      an optional part is not installed
  degraded  it works, in a slower way
  broken    it does not work

examples:
  cup doctor
  cup doctor --redis redis://localhost:6379 --json

exit status:
  0    nothing is broken
  1    something is
  2    usage error
"""

_COLOURS: Final = {
    "ok": "green",
    "note": "cyan",
    "degraded": "yellow",
    "broken": "bold red",
}


def configure(parser: ArgumentParser) -> None:
    """Give a parser the options of this command."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--redis", metavar="URL", action="append", default=[], help="ask this server"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Look at everything, print it, and return the exit status."""
    urls: list[str] = args.redis
    findings = [finding for check in CHECKS for finding in check()]
    findings += [finding for url in urls for finding in redis(url)]
    if args.json:
        print(json.dumps({"findings": [*map(asdict, findings)]}, indent=2))
    elif sys.stdout.isatty() and find_spec("rich") is not None:
        _print_table(findings)
    else:
        _print_lines(findings)
    return int(any(finding.state == "broken" for finding in findings))


def _print_lines(findings: list[Finding]) -> None:
    for area, group in groupby(findings, lambda finding: finding.area):
        print(area)
        for finding in group:
            print(f"  {finding.state:<9} {finding.name}: {finding.found}")
            if finding.effect:
                print(f"            {finding.effect}")


def _print_table(findings: list[Finding]) -> None:
    from rich.console import Console  # noqa: PLC0415 - needs the extra
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("", "state", "what", "found", "what follows", box=None)
    area = ""
    for finding in findings:
        colour = _COLOURS[finding.state]
        table.add_row(
            "" if finding.area == area else finding.area,
            f"[{colour}]{finding.state}[/]",
            *map(escape, (finding.name, finding.found, finding.effect)),
        )
        area = finding.area
    Console().print(table)
