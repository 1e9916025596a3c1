"""Unique names, numbers and random texts.

========================== ========================== ==============================
sync                       async                      interface
========================== ========================== ==============================
`CGeneratorMan`            `AsyncCGeneratorMan`       `GeneratorManAPI`
`CGeneratorManBase`        `AsyncCGeneratorManBase`   `AsyncGeneratorManAPI`
========================== ========================== ==============================

::

    from cup.services import generator

    man = generator.CGeneratorMan()
    man.get_uniqname()      # 'web1_4711_9f86d081884c7d65_0_thd_139901983938272'
    man.get_next_uniq_num() # 0, then 1, 2 ...

Nothing here ever waits, so the methods of the async names are plain methods, too.
"""

from typing import TYPE_CHECKING

from .api import AsyncGeneratorManAPI, GeneratorManAPI, GeneratorStats
from .sync import CGeneratorMan, CGeneratorManBase

__all__ = [
    "AsyncCGeneratorMan",
    "AsyncCGeneratorManBase",
    "AsyncGeneratorManAPI",
    "CGeneratorMan",
    "CGeneratorManBase",
    "GeneratorManAPI",
    "GeneratorStats",
]

if TYPE_CHECKING:
    from .aio import AsyncCGeneratorMan, AsyncCGeneratorManBase
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        if name == "AsyncCGeneratorMan":
            from .aio import AsyncCGeneratorMan

            return AsyncCGeneratorMan
        if name == "AsyncCGeneratorManBase":
            from .aio import AsyncCGeneratorManBase

            return AsyncCGeneratorManBase
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
