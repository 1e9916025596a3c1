"""`cup wait`: wait until something holds, in a script or as a container starts."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from typing_extensions import override

from cup.errors import ConditionTimeout, InvalidType, InvalidValue, WaitFailed
from cup.services.autowait import (
    Condition,
    FileComplete,
    FileExists,
    FileGone,
    LineMatch,
    PortFree,
    PortOpen,
    ProcessGone,
    ProcessId,
    ProcessRunning,
    RegexInFile,
    UnixSocket,
    any_of,
    wait,
)

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

__all__ = ["SUMMARY", "configure", "run"]

Wanted: TypeAlias = "Condition[object]"

SUMMARY: Final = "wait until something holds"

_EXAMPLES: Final = """\
kinds:
  file PATH              it is there (--glob, --recursive: names in a directory)
  complete PATH          it is there, and nobody writes to it
  gone PATH              it is not there
  regex PATH PATTERN     a line of it matches
  process TARGET         it runs: a path or a number (--gone: it does not)
  port [HOST:]PORT       somebody listens (--free: nobody does)
  socket PATH            somebody listens on this Unix socket

examples:
  cup wait port db:5432 --timeout 30 && exec server
  cup wait regex app.log 'ready' --timeout 60 --fail-if 'regex app.log ERROR'
  cup wait file /data --glob '*.done'
  cup wait process /usr/bin/job --gone --timeout 600 --json

exit status:
  0    it holds
  1    it did not, in time
  2    usage error
  3    given up early: what --fail-if names came to hold, or nobody can look
"""

_TIMED_OUT: Final = 1
_USAGE: Final = 2
_FAILED: Final = 3


def configure(parser: ArgumentParser) -> None:
    """Give a parser the options of this command."""
    parser.epilog = _EXAMPLES
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for name in _KINDS:
        one = kinds.add_parser(name)
        _add_what(one, name)
        one.add_argument(
            "--timeout", type=float, metavar="S", help="seconds (default: for ever)"
        )
        one.add_argument(
            "--fail-if",
            action="append",
            default=[],
            metavar="'KIND ...'",
            help="give up when this holds; can be given several times",
        )
        one.add_argument(
            "--json", action="store_true", help="print one JSON document, and only that"
        )
        one.set_defaults(run=run)


def _add_what(parser: ArgumentParser, kind: str) -> None:
    """Give a parser what a kind of condition takes."""
    if kind == "process":
        parser.add_argument("target", help="the path of a program, or a number")
        parser.add_argument("--gone", action="store_true", help="until it has ended")
    elif kind == "port":
        parser.add_argument(
            "place", metavar="[HOST:]PORT", help="a host is connected to"
        )
        parser.add_argument("--free", action="store_true", help="until nobody listens")
    else:
        parser.add_argument("path")
    if kind == "regex":
        parser.add_argument("pattern")
        parser.add_argument("--from-end", action="store_true", help="only new lines")
        parser.add_argument(
            "--count", type=int, default=1, metavar="N", help="of lines"
        )
        parser.add_argument("--encoding", default="utf-8", help="(default: utf-8)")
    elif kind == "file":
        parser.add_argument("--glob", help="a pattern of names in the directory")
        parser.add_argument("--recursive", action="store_true", help="and below")
    elif kind == "complete":
        parser.add_argument(
            "--quiet",
            type=float,
            default=0.2,
            metavar="S",
            help="(default: 0.2 seconds)",
        )


def run(args: Namespace) -> int:
    """Wait.

    Args:
        args: What was parsed.

    Returns:
        The exit status.
    """
    began = monotonic()
    try:
        condition = _KINDS[args.kind](args)
        if args.fail_if:
            condition = condition.fail_if(any_of(*map(_parse, args.fail_if)))
        value = wait(condition, args.timeout)
    except ConditionTimeout as error:
        return _end(args, began, _TIMED_OUT, "timed out", str(error))
    except WaitFailed as error:
        return _end(args, began, _FAILED, "failed", str(error))
    except (InvalidType, InvalidValue, re.error) as error:
        return _end(args, began, _USAGE, "usage error", str(error))
    except OSError as error:
        return _end(args, began, _FAILED, "failed", str(error))
    return _met(args, began, value)


def _met(args: Namespace, began: float, value: object) -> int:
    shown: object = None if value is None else str(value)
    if isinstance(value, LineMatch):
        shown = value.line
    elif isinstance(value, ProcessId):
        shown = value.pid
    elif isinstance(value, int):
        shown = value
    if args.json:
        _print({"outcome": "met", "value": shown}, began)
    elif shown is not None:
        print(shown)
    return 0


def _end(args: Namespace, began: float, status: int, outcome: str, message: str) -> int:
    if args.json:
        _print({"outcome": outcome, "message": message}, began)
    else:
        print(f"cup wait: {message}", file=sys.stderr)
    return status


def _print(document: dict[str, object], began: float) -> None:
    seconds = round(monotonic() - began, 3)
    print(json.dumps({**document, "waited": seconds}))


class _Quiet(argparse.ArgumentParser):
    """A parser that raises what it has to say."""

    @override
    def error(self, message: str) -> NoReturn:
        """Raise instead of ending the process."""
        raise InvalidValue(message)


def _parse(text: str) -> Wanted:
    """Return the condition that stands behind `--fail-if`."""
    try:
        kind, *words = shlex.split(text)
    except ValueError:
        raise InvalidValue(
            f"--fail-if {text!r}: give a kind and what it takes"
        ) from None
    if kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise InvalidValue(f"--fail-if {text!r}: no such kind (choose from {known})")
    parser = _Quiet(prog=kind, add_help=False)
    _add_what(parser, kind)
    try:
        return _KINDS[kind](parser.parse_args(words))
    except (InvalidValue, re.error) as error:
        raise InvalidValue(f"--fail-if {text!r}: {error}") from None


def _process(args: Namespace) -> Wanted:
    target: str | int = int(args.target) if args.target.isdecimal() else args.target
    return ProcessGone(target) if args.gone else ProcessRunning(target)


def _port(args: Namespace) -> Wanted:
    host, colon, port = args.place.rpartition(":")
    if not port.isdecimal():
        raise InvalidValue(f"{args.place!r} is no port; give 5432 or db:5432")
    make = PortFree if args.free else PortOpen
    if not colon:
        return make(int(port))
    return make(int(port), host.strip("[]") or None, probe="connect")


def _regex(args: Namespace) -> Wanted:
    return RegexInFile(
        args.path,
        args.pattern,
        start="end" if args.from_end else "begin",
        count=args.count,
        encoding=args.encoding,
    )


def _file(args: Namespace) -> Wanted:
    return FileExists(args.path, glob=args.glob, recursive=args.recursive)


_KINDS: Final[dict[str, Callable[[Namespace], Wanted]]] = {
    "file": _file,
    "complete": lambda args: FileComplete(args.path, args.quiet),
    "gone": lambda args: FileGone(args.path),
    "regex": _regex,
    "process": _process,
    "port": _port,
    "socket": lambda args: UnixSocket(args.path),
}
