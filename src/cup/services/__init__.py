"""The services, each in a folder of its own, loaded at first use.

Every service has the same five files: `api` (protocols and value types), `_core` (the
state machine, which never waits), `sync` and `aio` (two thin faces), `__init__`.
"""

from typing import TYPE_CHECKING

__all__ = [
    "autowait",
    "buffers",
    "executor",
    "generator",
    "heartbeat",
    "serializer",
    "threadpool",
]

if TYPE_CHECKING:
    from . import (
        autowait,
        buffers,
        executor,
        generator,
        heartbeat,
        serializer,
        threadpool,
    )
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        # Not `from . import`: that asks this very function again.
        if name == "autowait":
            import cup.services.autowait as module
        elif name == "buffers":
            import cup.services.buffers as module
        elif name == "executor":
            import cup.services.executor as module
        elif name == "generator":
            import cup.services.generator as module
        elif name == "heartbeat":
            import cup.services.heartbeat as module
        elif name == "serializer":
            import cup.services.serializer as module
        elif name == "threadpool":
            import cup.services.threadpool as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return module

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
