"""The command line: `python -m cup`, or `cup`.

Each command is a module with `SUMMARY`, `configure(parser)` and `run(args)`.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final, Protocol

from cup import __version__
from cup.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

COMMANDS: Final = (
    "demo",
    "cron",
    "id",
    "heartbeat",
    "log",
    "doctor",
    "top",
    "wait",
    "fanout",
)
"""The commands, as `cup --help` shows them."""

USAGE_ERROR: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it


class Command(Protocol):
    """What the module of a command has."""

    @property
    def SUMMARY(self) -> str:  # noqa: N802 - a constant there
        """What it does, in a few words."""
        ...

    def configure(self, parser: argparse.ArgumentParser, /) -> None:
        """Say what arguments there are, and set `run`."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments; None for those of the process.

    Returns:
        The exit status. 2 stands for a usage error or a missing package and 130 for
        Ctrl-C; `--help` of each command lists the others.
    """
    try:
        words = sys.argv[1:] if argv is None else argv
        args = _parser(words).parse_args(words)
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


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cup",
        description="Concurrency services for threads, asyncio and trio.",
    )
    parser.add_argument("--version", action="version", version=f"cup {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    first = argv[0] if argv else ""
    for name in (first,) if first in COMMANDS else COMMANDS:
        command = _load(name)
        command.configure(
            commands.add_parser(
                name,
                help=command.SUMMARY,
                description=command.SUMMARY,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    return parser


def _load(name: str) -> Command:
    """Import one command only: others may need what takes long to load.

    The imports are literal, so that tools that freeze programs find the modules.
    """
    module: Command
    match name:
        case "cron":
            from . import _cron as module
        case "doctor":
            from . import _doctor as module
        case "fanout":
            from . import _fanout as module
        case "heartbeat":
            from . import _heartbeat as module
        case "id":
            from . import _id as module
        case "log":
            from . import _log as module
        case "top":
            from . import _top as module
        case "wait":
            from . import _wait as module
        case _:
            from . import demo as module
    return module


def _is_interrupt(error: BaseException) -> bool:
    """Tell whether this is Ctrl-C; task groups wrap it."""
    inner: Sequence[BaseException] = getattr(error, "exceptions", ())
    return isinstance(error, KeyboardInterrupt) or any(map(_is_interrupt, inner))
