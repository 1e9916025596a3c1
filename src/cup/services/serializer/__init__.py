"""Serializer: a durable log that can be trusted.

| for threads         | for tasks                | interface                       |
|---------------------|--------------------------|---------------------------------|
| `Log`               | `AsyncLog`               | `LogAPI`, `AsyncLogAPI`         |
| `LogReader`         | `AsyncLogReader`         | `ReaderAPI`, `AsyncReaderAPI`   |
| `Ticket`            | `AsyncTicket`            | `TicketAPI`, `AsyncTicketAPI`   |
| `LocalFileSerilizer`| `AsyncLocalFileSerilizer`| (the older names)               |
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
from .seed import (
    LOG_MOD_ADD,
    LOG_MOD_DEL,
    LOG_MOD_SET,
    LOGFILE_BAD_RECORD,
    LOGFILE_EOF,
    LOGFILE_GOOD,
    LocalFileSerilizer,
    LogRecord,
)
from .sync import Log, LogReader, Ticket

__all__ = [
    "BUFFERED",
    "BYTES",
    "JSON",
    "LOGFILE_BAD_RECORD",
    "LOGFILE_EOF",
    "LOGFILE_GOOD",
    "LOG_MOD_ADD",
    "LOG_MOD_DEL",
    "LOG_MOD_SET",
    "PICKLE",
    "SYNC",
    "AsyncLocalFileSerilizer",
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
    "LocalFileSerilizer",
    "Log",
    "LogAPI",
    "LogReader",
    "LogRecord",
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
    from .aio_seed import AsyncLocalFileSerilizer
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        # Not `from . import`: that asks this very function again.
        if name in {"AsyncLog", "AsyncLogReader", "AsyncTicket"}:
            import cup.services.serializer.aio as module
        elif name == "AsyncLocalFileSerilizer":
            import cup.services.serializer.aio_seed as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
