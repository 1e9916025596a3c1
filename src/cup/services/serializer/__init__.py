"""Serializer: a durable log that can be trusted.

| for threads         | for tasks                | interface                       |
|---------------------|--------------------------|---------------------------------|
| `Log`               | `AsyncLog`               | `LogAPI`, `AsyncLogAPI`         |
| `LogReader`         | `AsyncLogReader`         | `ReaderAPI`, `AsyncReaderAPI`   |
| `Ticket`            | `AsyncTicket`            | `TicketAPI`, `AsyncTicketAPI`   |
| `verify`, `repair`  | the same in `aio`        |                                 |

One log serves both: `log.aio` is its face for tasks, `alog.threads` that for
threads.
Codecs are in `codecs`. What files look like is written down in `_core_format`.
"""

from typing import TYPE_CHECKING

from .api import (
    BUFFERED,
    SYNC,
    AsyncLogAPI,
    AsyncReaderAPI,
    AsyncTicketAPI,
    Checkpoint,
    Codec,
    Durability,
    Entry,
    Finding,
    LogAPI,
    LogStats,
    Mode,
    PurgeReport,
    ReaderAPI,
    Record,
    RepairReport,
    TicketAPI,
    VerifyReport,
    group,
)
from .checks import repair, verify
from .codecs import BYTES, JSON, PICKLE, JsonValue, msgpack
from .sync import Log, LogReader, Ticket

__all__ = [
    "BUFFERED",
    "BYTES",
    "JSON",
    "PICKLE",
    "SYNC",
    "AsyncLog",
    "AsyncLogAPI",
    "AsyncLogReader",
    "AsyncReaderAPI",
    "AsyncTicket",
    "AsyncTicketAPI",
    "Checkpoint",
    "Codec",
    "Durability",
    "Entry",
    "Finding",
    "JsonValue",
    "Log",
    "LogAPI",
    "LogReader",
    "LogStats",
    "Mode",
    "PurgeReport",
    "ReaderAPI",
    "Record",
    "RepairReport",
    "Ticket",
    "TicketAPI",
    "VerifyReport",
    "group",
    "msgpack",
    "repair",
    "verify",
]

if TYPE_CHECKING:
    from .aio import AsyncLog, AsyncLogReader, AsyncTicket
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        # Not `from . import`: that asks this very function again.
        if name in {"AsyncLog", "AsyncLogReader", "AsyncTicket"}:
            import cup.services.serializer.aio as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
