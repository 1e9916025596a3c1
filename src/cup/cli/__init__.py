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

FAILED: Final = 1
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
    _mend_streams()
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()  # what cannot be written shall be told here
    except BrokenPipeError:  # nobody reads on, as in `cup demo | head`
        _drop_output()
        return FAILED
    except OSError as error:  # a full disk under the output, for one
        print(f"cup: {error}", file=sys.stderr)
        _drop_output()
        return FAILED
    except BaseException as error:
        if not _is_interrupt(error):
            raise
        print("cup: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status


def _run(words: Sequence[str]) -> int:
    try:
        args = _parser(words).parse_args(words)
        run: Callable[[argparse.Namespace], int] = args.run
        return run(args)
    except SystemExit as end:  # argparse has printed help, the version, or an error
        return end.code if isinstance(end.code, int) else USAGE_ERROR
    except MissingExtra as error:
        print(f"cup: {error}", file=sys.stderr)
        return USAGE_ERROR


def _mend_streams() -> None:
    """Let output that is closed go nowhere, and show what has no code as an escape."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if sys.stdout.errors == "strict" and callable(reconfigure):
        reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Let what is still to be written go nowhere, or the interpreter complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
