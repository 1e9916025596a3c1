"""`cup log`: look into a durable log, check it, mend it, and read it.

Not here: each of these (`_log_inspect`, `_log_checks`, `_log_records`).
"""

from __future__ import annotations

import sys
from argparse import RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

from cup.errors import CorruptRecord, LogError, RecordTooLarge

from ._log_checks import repair_log, verify_log
from ._log_inspect import inspect
from ._log_records import dump, tail

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

__all__ = ["SUMMARY", "configure", "run"]

SUMMARY: Final = "look into a durable log, check it, mend it, read it"

_EPILOG: Final = """\
examples:
  cup log inspect /var/lib/app/log
  cup log verify /var/lib/app/log --json
  cup log repair /var/lib/app/log --salvage
  cup log tail /var/lib/app/log -n 20 --follow
  cup log dump /var/lib/app/log --from 1000 --to 2000 --json
  cup log dump /var/lib/app/jobs --state

All but `repair` may be used while a program writes to the log.
"""

_EXIT_STATUS: Final = """\
exit status:
  0    done, and all is well
  1    records, or a state, are damaged or lost
  2    usage error; there is no log, it is locked, or of a later version
  3    nothing is lost: the tail is torn, or what helps reading is damaged; `repair`
       mends that, and opening the log for writing does, too
"""

_LARGEST: Final = 1 << 32


def configure(parser: ArgumentParser) -> None:
    """Give a parser the options of this command."""
    parser.epilog = _EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (act, summary) in _ACTIONS.items():
        one = actions.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=_EXIT_STATUS,
            formatter_class=RawDescriptionHelpFormatter,
        )
        one.add_argument("directory", metavar="DIR", help="where the log is")
        one.add_argument(
            "--json", action="store_true", help="print JSON, and only that"
        )
        if name != "inspect":
            one.add_argument(
                "--max-record",
                type=int,
                default=_LARGEST,
                metavar="BYTES",
                help="refuse records that are larger (default: read any)",
            )
        _OPTIONS.get(name, _no_options)(one)
        one.set_defaults(run=run, act=act, parser=one)


def _no_options(_: ArgumentParser) -> None:
    """Add nothing."""


def _repair_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--salvage",
        action="store_true",
        help="give up what is damaged, and save the rest",
    )


def _tail_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-n", type=int, default=10, metavar="N", help="how many (default: 10)"
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with what is appended"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="follow until nothing has come for so long (default: for ever)",
    )


def _dump_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="start", type=int, metavar="ID", help="(default: the first)"
    )
    parser.add_argument(
        "--to", dest="last", type=int, metavar="ID", help="(default: the last)"
    )
    parser.add_argument(
        "--state",
        action="store_true",
        help="print the keys and values of a store of metadata, not its records",
    )


_ACTIONS: Final[dict[str, tuple[Callable[[Namespace], int], str]]] = {
    "inspect": (inspect, "list the files of a log, and say who writes to it"),
    "verify": (verify_log, "check every byte, and say exactly what is wrong"),
    "repair": (repair_log, "mend a log that nobody writes to"),
    "tail": (tail, "print the last records, and what is appended"),
    "dump": (dump, "print records"),
}
_OPTIONS: Final[dict[str, Callable[[ArgumentParser], None]]] = {
    "repair": _repair_options,
    "tail": _tail_options,
    "dump": _dump_options,
}


def run(args: Namespace) -> int:
    """Do what was asked for.

    Args:
        args: What was parsed.

    Returns:
        The exit status.
    """
    try:
        act: Callable[[Namespace], int] = args.act
        return act(args)
    except CorruptRecord as error:
        print(f"cup log: {error}", file=sys.stderr)
        return 1
    except FileNotFoundError:
        print(f"cup log: {args.directory}: there is no log", file=sys.stderr)
        return 2
    except RecordTooLarge as error:
        print(f"cup log: {error} (--max-record)", file=sys.stderr)
        return 2
    except (LogError, OSError, ValueError) as error:
        print(f"cup log: {error}", file=sys.stderr)
        return 2
