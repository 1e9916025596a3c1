"""The command line: `python -m cup`, or `cup`.

Each command is a module with `SUMMARY`, `configure(parser)` and `run(args)`.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

from cup import __version__
from cup.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

USAGE_ERROR: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments; None for those of the process.

    Returns:
        The exit status. 2 stands for a usage error or a missing package and 130 for
        Ctrl-C; `--help` of each command lists the others.
    """
    try:
        args = _parser().parse_args(argv)
        run: Callable[[argparse.Namespace], int] = args.run
        return run(args)
    except SystemExit as end:  # argparse has printed help, the version, or an error
        return end.code if isinstance(end.code, int) else USAGE_ERROR
    except MissingExtra as error:
        print(f"cup: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:  # nobody reads on, as in `cup demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        if not _is_interrupt(error):
            raise
        print("cup: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    from . import _id, demo

    parser = argparse.ArgumentParser(
        prog="cup",
        description="Concurrency services for threads, asyncio and trio.",
    )
    parser.add_argument("--version", action="version", version=f"cup {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    demo.configure(
        commands.add_parser(
            "demo",
            help=demo.SUMMARY,
            description=demo.SUMMARY,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    _id.configure(
        commands.add_parser(
            "id",
            help=_id.SUMMARY,
            description=_id.SUMMARY,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    return parser


def _is_interrupt(error: BaseException) -> bool:
    """Tell whether this is Ctrl-C; task groups wrap it."""
    inner: Sequence[BaseException] = getattr(error, "exceptions", ())
    return isinstance(error, KeyboardInterrupt) or any(map(_is_interrupt, inner))
