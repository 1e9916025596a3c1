"""`cup cron`: say what a cron expression means, and when it runs."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from cup.errors import CronError
from cup.services.executor import Cron, DstPolicy

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["SUMMARY", "configure", "run"]

SUMMARY: Final = "say what a cron expression means, and when it runs"

_EPILOG: Final = """\
policies where the clock is changed:
  debian   as Debian's cron: jobs at times of their own run once; `*` runs by the clock
  skip     no run at a time that is skipped, or comes twice
  both     at both times that come twice     (a skipped time: right after the gap)
  first    at the first of them              (the same)
  last     at the second of them             (the same)

examples:
  cup cron "*/15 9-17 * * MON-FRI" --tz Europe/Berlin
  cup cron "30 2 * * *" --tz America/New_York --from 2026-03-07
  cup cron "0 0 L * *" --prev -n 3 --json
  cup cron "H H * * *" --name backup

exit status:
  0    done
  1    there are fewer runs than asked for until the year 9999 (or since the year 1)
  2    usage error: the expression, the zone or the time means nothing
"""


def configure(parser: ArgumentParser) -> None:
    """Give a parser the options of this command."""
    parser.epilog = _EPILOG
    parser.add_argument("expr", metavar="EXPR", help="the expression, in quotes")
    parser.add_argument(
        "-n", type=int, default=5, metavar="N", help="how many runs (default: 5)"
    )
    parser.add_argument("--tz", metavar="ZONE", default="UTC", help="(default: UTC)")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="TIME",
        help="after this time, as 2026-03-07 or 2026-03-07T12:30+01:00; without an "
        "offset it is of the zone (default: now)",
    )
    parser.add_argument(
        "--prev", action="store_true", help="the runs before it, the latest first"
    )
    parser.add_argument(
        "--dst",
        choices=[policy.value for policy in DstPolicy],
        default=DstPolicy.DEBIAN.value,
        help="(default: debian)",
    )
    parser.add_argument("--name", help="of the job, for H")
    parser.add_argument("--json", action="store_true", help="print JSON, and only that")
    parser.set_defaults(run=run, parser=parser)


def run(args: Namespace) -> int:
    """Print the sentence and the runs.

    Args:
        args: What was parsed.

    Returns:
        The exit status.
    """
    if args.n < 0:
        args.parser.error(f"-n is {args.n}; give 0 or more")
    try:
        cron = Cron(args.expr, args.tz, dst=DstPolicy(args.dst), name=args.name)
        start = _time(args.start, cron)
    except CronError as error:
        print(f"cup cron: {error}", file=sys.stderr)
        return 2
    runs = list(islice(cron.past(start) if args.prev else cron.upcoming(start), args.n))
    print(_as_json(cron, args, runs) if args.json else _as_text(cron, runs))
    if len(runs) < args.n:
        print(f"cup cron: there are {len(runs)} runs", file=sys.stderr)
    return 0 if len(runs) == args.n else 1


def _time(text: str | None, cron: Cron) -> datetime | None:
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise CronError(
            f"--from is {text!r}; give a time as 2026-03-07T12:30 or "
            "2026-03-07T12:30+01:00",
            field="time",
            value=text,
        ) from None
    return when if when.tzinfo else when.replace(tzinfo=cron.tz)


def _as_text(cron: Cron, runs: list[datetime]) -> str:
    return "\n".join([cron.explain(), *(f"{run:%a} {run}" for run in runs)])


def _as_json(cron: Cron, args: Namespace, runs: list[datetime]) -> str:
    document = {
        "expression": cron.expr,
        "zone": args.tz,
        "dst": cron.dst.value,
        "explanation": cron.explain(),
        "runs": [
            {"time": run.isoformat(), "timestamp": int(run.timestamp())} for run in runs
        ],
    }
    return json.dumps(document, indent=2)
