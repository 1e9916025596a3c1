"""`cup top`: watch the statistics of processes that show them.

A process does so by `cup.monitoring.expose`; only its user can read them.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from cup import monitoring
from cup.errors import MonitoringError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from cup.monitoring import Snapshot

__all__ = ["SUMMARY", "configure", "run"]

SUMMARY: Final = "watch the services of running processes"

_EPILOG: Final = """\
A process shows its services by

  from cup import monitoring
  monitoring.expose(jobs=pool, config=lock)

examples:
  cup top                    all processes of yours that do
  cup top 4711 --once        one of them, once
  cup top --json | jq .      a line of JSON each second

exit status:
  0    done, or the processes have ended
  1    a process that was named does not answer
  2    usage error, or there is no process to watch
"""

_FAILED: Final = 1
_NOTHING: Final = 2
_LEAST: Final = 0.05  # seconds between two looks
_MOST: Final = 86_400


@dataclass(frozen=True, slots=True)
class Line:
    """One service of one process, as it is shown."""

    process: str
    service: str
    kind: str
    state: str


def configure(parser: ArgumentParser) -> None:
    """Give a parser the options of this command."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "processes",
        nargs="*",
        metavar="PROCESS",
        help="a process id, or the path of a socket; all of yours, if none is given",
    )
    parser.add_argument(
        "--interval",
        type=float,
        default=1.0,
        metavar="S",
        help="seconds between two looks (default: 1)",
    )
    parser.add_argument("--once", action="store_true", help="look once, and end")
    parser.add_argument(
        "--json", action="store_true", help="print one line of JSON for each process"
    )
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Watch until the processes have ended, or Ctrl-C."""
    wanted: list[str] = args.processes
    if not _LEAST <= args.interval <= _MOST:
        print(f"cup top: --interval has to be {_LEAST} to {_MOST}", file=sys.stderr)
        return _NOTHING

    try:
        documents = _look(wanted)
    except MonitoringError as error:
        print(f"cup top: {error}", file=sys.stderr)
        return _FAILED if wanted else _NOTHING

    if not documents:
        print(
            "cup top: no process of yours shows its services; "
            "have it call cup.monitoring.expose(name=service)",
            file=sys.stderr,
        )
        return _NOTHING

    looks = (
        [documents] if args.once else _keep_looking(documents, wanted, args.interval)
    )
    if args.json:
        _print_json(looks)
    elif sys.stdout.isatty() and find_spec("rich") is not None:
        _show_table(looks)
    else:
        _print_lines(looks)
    return 0


def _look(wanted: list[str]) -> list[Snapshot]:
    """Ask the processes that were named, or whichever there are."""
    if wanted:
        return [monitoring.read(path) for name in wanted for path in _paths_of(name)]

    documents: list[Snapshot] = []
    for path in monitoring.exposed():
        try:
            documents.append(monitoring.read(path))
        except MonitoringError:
            continue  # it was killed, and has left its socket
    return documents


def _paths_of(name: str) -> list[Path]:
    if not name.isdecimal():
        return [Path(name)]

    paths = [
        path for path in monitoring.exposed() if path.stem.partition("-")[0] == name
    ]
    if not paths:
        raise MonitoringError(
            f"process {name} does not show its services, or is not yours"
        )
    return paths


def _keep_looking(
    documents: list[Snapshot], wanted: list[str], interval: float
) -> Iterator[list[Snapshot]]:
    while documents:
        yield documents
        time.sleep(interval)
        try:
            documents = _look(wanted)
        except MonitoringError:
            return  # it has ended


def _print_json(
    looks: list[list[Snapshot]] | Iterator[list[Snapshot]],
) -> None:
    for documents in looks:
        for document in documents:
            print(json.dumps(document), flush=True)


def _print_lines(
    looks: list[list[Snapshot]] | Iterator[list[Snapshot]],
) -> None:
    for documents in looks:
        for line in _lines(documents):
            print(f"{line.process} {line.service} ({line.kind}): {line.state}")
        print(flush=True)


def _show_table(
    looks: list[list[Snapshot]] | Iterator[list[Snapshot]],
) -> None:
    from rich.live import Live  # noqa: PLC0415 - needs the extra
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    with Live(auto_refresh=False) as live:
        for documents in looks:
            table = Table("process", "service", "kind", "state", box=None)
            for line in _lines(documents):
                table.add_row(
                    *map(escape, (line.process, line.service, line.kind, line.state))
                )
            live.update(table, refresh=True)


def _lines(documents: list[Snapshot]) -> Iterator[Line]:
    for document in documents:
        process = f"{document['pid']} up {document['uptime']:.0f} s"
        services = document["services"]
        for service in services:
            failed = service.get("error")
            state = failed or _state(service.get("stats"))
            yield Line(process, service["name"], service["type"], state)
        if not services:
            yield Line(process, "-", "-", "no services")


def _state(stats: object) -> str:
    """Say in a line what is not zero; histograms are for programs."""
    if not isinstance(stats, dict):
        return json.dumps(stats)

    told = [
        f"{name} {_short(value)}"
        for name, value in cast("dict[str, object]", stats).items()
        if value and not _is_histogram(value)
    ]
    return ", ".join(told) or "idle"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _is_histogram(value: object) -> bool:
    return isinstance(value, dict) and "counts" in value
