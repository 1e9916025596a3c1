"""The interpreter's way to raise an exception in another thread, typed.

Loaded at the first interrupt only, since it loads ctypes. Not here: when it is right
to do so; `interrupt` decides that, under its mutex.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Item access makes a private function object: the attribute is shared by the whole
# process, and others change its argument types.
_set_async_exc = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.c_void_p)
_set_async_exc.restype = ctypes.c_int


def post(ident: int, kind: type[BaseException]) -> bool:
    """Have `kind` raised in the thread `ident`; False if there is no such thread.

    The interpreter keeps a reference of its own to `kind` until it is raised.
    """
    return bool(_set_async_exc(ident, id(kind)))


def clear(ident: int) -> None:
    """Take back what was posted to the thread `ident` and not yet raised."""
    _set_async_exc(ident, None)


def carrier(
    interrupt: BaseException | type[BaseException], delivered: Callable[[], None]
) -> type[BaseException]:
    """Return a class that, when the interpreter instantiates it, is the interrupt.

    The interpreter takes a class only, and says nothing when it raises it: this one
    calls `delivered` at that moment, and turns into the interrupt itself.
    """
    kind = interrupt if isinstance(interrupt, type) else type(interrupt)

    def make(_: type[BaseException], *args: object) -> BaseException:
        delivered()
        return interrupt(*args) if isinstance(interrupt, type) else interrupt

    return type(
        kind.__name__, (kind,), {"__new__": make, "__module__": kind.__module__}
    )
