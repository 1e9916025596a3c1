"""Typed concurrency services with async twins.

A bare `import cup` is light: it loads no service and no event loop. Its modules are
loaded at first use, by attribute (`cup.log.info`) or by import (`from cup import log`).
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = ["__version__", "err", "errors", "log", "net", "services", "unittest"]

if TYPE_CHECKING:
    from . import err, errors, log, net, services, unittest
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        if name == "err":
            from . import err as module
        elif name == "errors":
            from . import errors as module
        elif name == "log":
            from . import log as module
        elif name == "net":
            from . import net as module
        elif name == "services":
            from . import services as module
        elif name == "unittest":
            from . import unittest as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return module

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
