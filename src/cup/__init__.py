"""Typed concurrency services with async twins.

A bare `import cup` is light: it loads no service and no event loop. Its modules are
loaded at first use, by attribute (`cup.log.info`) or by import (`from cup import log`).
"""

from typing import TYPE_CHECKING

__version__ = "1.0.0"

__all__ = [
    "__version__",
    "err",
    "errors",
    "log",
    "monitoring",
    "net",
    "services",
    "thread",
    "unittest",
]

if TYPE_CHECKING:
    from . import err, errors, log, monitoring, net, services, thread, unittest
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        # Not `from . import`: that asks this very function again.
        if name == "err":
            import cup.err as module
        elif name == "errors":
            import cup.errors as module
        elif name == "log":
            import cup.log as module
        elif name == "monitoring":
            import cup.monitoring as module
        elif name == "net":
            import cup.net as module
        elif name == "services":
            import cup.services as module
        elif name == "thread":
            import cup.thread as module
        elif name == "unittest":
            import cup.unittest as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return module

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
