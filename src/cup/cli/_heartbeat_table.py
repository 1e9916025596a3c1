"""A table of agents that is alive itself; needs rich."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ._heartbeat_show import as_line

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from cup.services.heartbeat import DeviceView, HeartbeatEvent, Monitor

__all__ = ["LiveTable"]

_EVERY: Final = 0.5  # seconds
_EVENTS: Final = 8  # that are shown under the table
_COLOURS: Final = {"alive": "green", "suspect": "yellow", "lost": "bold red"}
_ORDER: Final = ("lost", "suspect", "alive")


class LiveTable:
    """Shows who is how, the worst first, and what happened last."""

    def __init__(self, monitor: Monitor, console: Console | None = None) -> None:
        self._monitor = monitor
        self._events: deque[str] = deque(maxlen=_EVENTS)
        self._console = Console() if console is None else console
        self._live = Live(console=self._console, auto_refresh=False)
        self._due = 0.0

    def event(self, event: HeartbeatEvent) -> None:
        """Show it under the table, soon."""
        self._events.append(as_line(event))

    def look(self) -> None:
        """Draw the table, now and then."""
        if monotonic() >= self._due:
            self._due = monotonic() + _EVERY
            self._live.update(self._draw(), refresh=True)

    def _draw(self) -> Group:
        devices = sorted(self._monitor.snapshot().devices, key=_rank)
        room = max(3, self._console.height - _EVENTS - 6)
        table = Table(title=self._title())
        for column in ("agent", "state", "silent", "time-out", "address"):
            right = column in {"silent", "time-out"}
            table.add_column(column, justify="right" if right else "left")
        for device in devices[:room]:
            state = str(device.state)
            table.add_row(
                Text(device.key if device.key.isprintable() else repr(device.key)),
                Text(state, _COLOURS[state]),
                f"{device.silent:.1f} s",
                f"{device.timeout:g} s",
                device.address,
            )
        more = len(devices) - room
        lines = [f"and {more} more"] if more > 0 else []
        return Group(table, *map(Text, [*lines, *self._events]))

    def _title(self) -> str:
        stats = self._monitor.stats()
        title = (
            f"{', '.join(self._monitor.addresses)}: {stats.devices} alive, "
            f"{stats.kept} lost, {stats.beats} beats"
        )
        return f"{title}, losses are held back" if stats.holding else title

    def __enter__(self) -> Self:
        self._live.start()
        self.look()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.update(self._draw(), refresh=True)
        self._live.stop()


def _rank(device: DeviceView) -> tuple[int, str]:
    return _ORDER.index(str(device.state)), device.key
