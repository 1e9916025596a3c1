"""`cup demo`: run every service for real, and check what it promises.

A service takes part by a module of its own with `PARTS` for threads, and one for tasks
(`_demo_threadpool`, `_demo_threadpool_aio`); both are named here and nowhere else.
"""

from __future__ import annotations

import platform
from argparse import ArgumentTypeError
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Final

from . import (
    _demo_autowait,
    _demo_buffers,
    _demo_executor,
    _demo_generator,
    _demo_heartbeat,
    _demo_metastore,
    _demo_serializer,
    _demo_thread,
    _demo_threadpool,
    _demo_together,
)
from ._demo_loops import installed_loops
from ._demo_output import make_reporter
from ._demo_part import Part, Stage
from ._demo_show import Outcome, Show, perform

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from ._demo_show import Reporter

__all__ = ["SUMMARY", "configure", "run"]

SUMMARY: Final = "run every service for real, and check what it promises"

_EXIT_STATUS: Final = """\
exit status:
  0    everything was as promised
  1    something differed from what was promised
  2    usage error, or a package is missing
  130  interrupted by Ctrl-C
"""

_FOR_THREADS: Final = (
    *_demo_threadpool.PARTS,
    *_demo_thread.PARTS,
    *_demo_buffers.PARTS,
    *_demo_executor.PARTS,
    *_demo_autowait.PARTS,
    *_demo_generator.PARTS,
    *_demo_heartbeat.PARTS,
    *_demo_metastore.PARTS,
    *_demo_serializer.PARTS,
)
_TOGETHER: Final = (*_demo_together.PARTS,)


def configure(parser: ArgumentParser) -> None:
    """Give a parser the options of this command."""
    names = "\n".join(f"  {part.name:22} {part.title}" for part in _all_parts())
    parser.epilog = f"parts:\n{names}\n\n{_EXIT_STATUS}"
    parser.add_argument(
        "parts",
        nargs="*",
        type=_known,
        metavar="PART",
        help=f"a service ({_services()}) or a part of it; all, if none is given",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document, and only that"
    )
    parser.add_argument(
        "--quick", action="store_true", help="take less work: fewer files, fewer jobs"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="what the files are made from (default: 1)"
    )
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Run the demo.

    Args:
        args: What was parsed: `parts`, `json`, `quick`, `seed`.

    Returns:
        The exit status.

    Raises:
        MissingExtra: If trio is not installed.
    """
    loops = installed_loops()
    show = Show(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=platform.system(),
        seed=args.seed,
        quick=args.quick,
    )
    reporter = make_reporter(json=args.json)
    reporter.begin(show)
    with _folder_in(None) as folder:
        for outcome in _play(show, Path(folder), loops, args.parts, reporter):
            show.outcomes.append(outcome)
    show.seconds = perf_counter() - show.began
    reporter.finish(show)
    return 0 if show.kept else 1


def _folder_in(parent: Path | None) -> TemporaryDirectory[str]:
    """Make a folder for a `with` block; an interrupted job may still write to it."""
    return TemporaryDirectory(
        prefix="cup-demo-", dir=parent, ignore_cleanup_errors=True
    )


def _play(
    show: Show,
    folder: Path,
    loops: tuple[str, ...],
    chosen: list[str],
    reporter: Reporter,
) -> Iterator[Outcome]:
    """Perform the chosen parts, each in a folder of its own."""
    for where, parts in _chapters(loops):
        played = [part for part in parts if _is_chosen(part.name, chosen)]
        if played:
            reporter.chapter(where)
        for part in played:
            with _folder_in(folder) as own, reporter.during(part):
                stage = Stage(folder=Path(own), seed=show.seed, quick=show.quick)
                outcome = perform(part, where, stage)
            reporter.outcome(outcome)
            yield outcome


def _chapters(loops: tuple[str, ...]) -> Iterator[tuple[str, list[Part]]]:
    """Give the parts by where they run; event loops are loaded when theirs come."""
    yield "threads", [*_FOR_THREADS]

    # Loads event loops.
    from ._demo_autowait_aio import PARTS as AUTOWAIT  # noqa: PLC0415
    from ._demo_buffers_aio import PARTS as BUFFERS  # noqa: PLC0415
    from ._demo_executor_aio import PARTS as EXECUTOR  # noqa: PLC0415
    from ._demo_generator_aio import PARTS as GENERATOR  # noqa: PLC0415
    from ._demo_heartbeat_aio import PARTS as HEARTBEAT  # noqa: PLC0415
    from ._demo_metastore_aio import PARTS as METASTORE  # noqa: PLC0415
    from ._demo_serializer_aio import PARTS as SERIALIZER  # noqa: PLC0415
    from ._demo_thread_aio import PARTS as THREAD  # noqa: PLC0415
    from ._demo_threadpool_aio import PARTS as THREADPOOL  # noqa: PLC0415

    services = (
        THREADPOOL,
        THREAD,
        BUFFERS,
        EXECUTOR,
        AUTOWAIT,
        GENERATOR,
        HEARTBEAT,
        METASTORE,
        SERIALIZER,
    )
    for_tasks = [part for parts in services for part in parts]
    for loop in loops:
        yield loop, [part.on(loop) for part in for_tasks]

    yield "all at once", [*_TOGETHER]


def _all_parts() -> tuple[Part, ...]:
    return (*_FOR_THREADS, *_TOGETHER)


def _is_chosen(name: str, chosen: list[str]) -> bool:
    service = name.partition(".")[0]
    return not chosen or name in chosen or service in chosen


def _services() -> str:
    """Name the services that take part."""
    return ", ".join(dict.fromkeys(p.name.partition(".")[0] for p in _FOR_THREADS))


def _known(text: str) -> str:
    """Check the name of a part, or of a service."""
    if any(_is_chosen(part.name, [text]) for part in _all_parts()):
        return text

    names = ", ".join(part.name for part in _all_parts())
    raise ArgumentTypeError(f"no such part: {text!r} (choose from {names})")
