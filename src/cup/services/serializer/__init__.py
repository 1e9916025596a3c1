"""Serializer: a durable log that can be trusted.

| for threads         | for tasks                | interface                       |
|---------------------|--------------------------|---------------------------------|
| `Log`               | `AsyncLog`               | `LogAPI`, `AsyncLogAPI`         |
| `LogReader`         | `AsyncLogReader`         | `ReaderAPI`, `AsyncReaderAPI`   |
| `Ticket`            | `AsyncTicket`            | `TicketAPI`, `AsyncTicketAPI`   |
| `LocalFileSerilizer`| `AsyncLocalFileSerilizer`| (the older names)               |
| `MetaStore`         | `AsyncMetaStore`         | `MetaStoreAPI`, ...             |
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
    "TEXT",
    "AsyncLocalFileSerilizer",
    "AsyncLog",
    "AsyncLogAPI",
    "AsyncLogReader",
    "AsyncMetaStore",
    "AsyncMetaStoreAPI",
    "AsyncReaderAPI",
    "AsyncTicket",
    "AsyncTicketAPI",
    "Change",
    "Checkpoint",
    "Codec",
    "CompactReport",
    "Compaction",
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
    "MetaOptions",
    "MetaStats",
    "MetaStore",
    "MetaStoreAPI",
    "Mode",
    "PurgeReport",
    "ReaderAPI",
    "Record",
    "RepairReport",
    "Snapshot",
    "StoreState",
    "StoredEntry",
    "Ticket",
    "TicketAPI",
    "UnknownEntry",
    "VerifyReport",
    "group",
    "msgpack",
    "read_state",
    "repair",
    "verify",
]

if TYPE_CHECKING:
    from .aio import AsyncLog, AsyncLogReader, AsyncTicket
    from .aio_meta import AsyncMetaStore
    from .aio_seed import AsyncLocalFileSerilizer
    from .api_meta import (
        AsyncMetaStoreAPI,
        Change,
        Compaction,
        CompactReport,
        MetaOptions,
        MetaStats,
        MetaStoreAPI,
        StoredEntry,
        StoreState,
        UnknownEntry,
    )
    from .meta_snapshot import Snapshot
    from .state_reader import read_state
    from .sync_meta import MetaStore
    from .text_codec import TEXT
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        # Not `from . import`: that asks this very function again.
        if name in {"AsyncLog", "AsyncLogReader", "AsyncTicket"}:
            import cup.services.serializer.aio as module
        elif name == "AsyncLocalFileSerilizer":
            import cup.services.serializer.aio_seed as module
        elif name in {
            "AsyncMetaStoreAPI",
            "Change",
            "CompactReport",
            "Compaction",
            "MetaOptions",
            "MetaStats",
            "MetaStoreAPI",
            "StoreState",
            "StoredEntry",
            "UnknownEntry",
        }:
            import cup.services.serializer.api_meta as module
        elif name == "AsyncMetaStore":
            import cup.services.serializer.aio_meta as module
        elif name == "MetaStore":
            import cup.services.serializer.sync_meta as module
        elif name == "Snapshot":
            import cup.services.serializer.meta_snapshot as module
        elif name == "read_state":
            import cup.services.serializer.state_reader as module
        elif name == "TEXT":
            import cup.services.serializer.text_codec as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
