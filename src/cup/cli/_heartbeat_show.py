"""How `cup heartbeat monitor` shows what it hears: a table, lines, or JSON.

Not here: the table (`_heartbeat_table`), which needs rich.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from cup.services.heartbeat import HeartbeatEvent, Monitor

__all__ = ["Show", "as_line", "make_show"]


class Show(Protocol):
    """Shows a monitor, for the length of a block."""

    def event(self, event: HeartbeatEvent) -> None:
        """Show that something happened."""
        ...

    def look(self) -> None:
        """Show how things are, now and then."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def make_show(monitor: Monitor, *, json: bool, plain: bool) -> Show:
    """Choose how to show: a table only on a terminal, and only with rich."""
    if json:
        return JsonLines(monitor)

    if not plain and sys.stdout.isatty() and find_spec("rich") is not None:
        from ._heartbeat_table import LiveTable  # noqa: PLC0415 - needs the extra

        return LiveTable(monitor)
    return Lines(monitor)


def as_line(event: HeartbeatEvent) -> str:
    """Write an event as people read it."""
    moment = datetime.fromtimestamp(event.time).astimezone()
    parts = [moment.strftime("%Y-%m-%d %H:%M:%S"), str(event.kind)]
    if event.key:
        parts.append(_printable(event.key))
    if event.address:
        parts.append(f"({event.address})")
    if event.kind in {"lost", "recovered"}:
        parts.append(f"after {event.silent:.1f} s")
    if event.missed:
        parts.append(f"{event.missed} events")
    if event.reason:
        parts.append(f"- {event.reason}")
    return " ".join(parts)


def _printable(key: str) -> str:
    """Write a name so that it cannot do anything to a terminal."""
    return key if key.isprintable() else repr(key)


class Lines:
    """Prints a line for each event."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def event(self, event: HeartbeatEvent) -> None:
        """Print it."""
        print(as_line(event), flush=True)

    def look(self) -> None:
        """Print nothing."""

    def __enter__(self) -> Self:
        print(f"listening on {', '.join(self._monitor.addresses)}", flush=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stats = self._monitor.stats()
        print(f"{stats.devices} alive, {stats.kept} lost, {stats.beats} beats")


class JsonLines:
    """Prints a JSON object for each event, and one at each end."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def event(self, event: HeartbeatEvent) -> None:
        """Print it."""
        _print({"event": str(event.kind), **asdict(event), "kind": str(event.kind)})

    def look(self) -> None:
        """Print nothing."""

    def __enter__(self) -> Self:
        _print({"event": "listening", "addresses": self._monitor.addresses})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _print({"event": "end", **asdict(self._monitor.stats())})


def _print(document: dict[str, object]) -> None:
    document.pop("kind", None)
    if "incarnation" in document:  # more than 53 bits do not survive JSON
        document["incarnation"] = str(document["incarnation"])
    print(json.dumps(document), flush=True)
