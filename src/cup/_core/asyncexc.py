"""The interpreter's way to raise an exception in another thread, typed.

Loaded at the first interrupt only, since it loads ctypes. Not here: when it is right
to do so; `interrupt` decides that, under its mutex.
"""

from __future__ import annotations

import ctypes
import sys
from _thread import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .interrupt import Parcel, Target

__all__ = ["clear", "forget", "post", "send"]

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
    if sys.version_info < (3, 13):
        _calm_down()


class _Nothing(BaseException):
    """Is raised and caught at once, for what that does to the interpreter."""


def _calm_down() -> None:
    """Have the interpreter stop looking for exceptions that were taken back.

    Before 3.13, posting, and taking back as well, raises one flag for all threads that
    only the raising of an exception lowers. All Python code is slower meanwhile, and
    under 3.11 each function that is traced, by a debugger or for coverage, hangs.
    What others are waiting for is not lost: they look at it when they get the GIL.
    """
    me = get_ident()
    try:
        _set_async_exc(me, id(_Nothing))
        get_ident()  # it has been raised by now
    except _Nothing:
        pass
    except BaseException:  # of a signal handler, which came before it
        _set_async_exc(me, None)
        raise


def send(ident: int, parcel: Parcel, target: Target) -> None:
    """Have what is in the parcel raised in the thread of its target.

    Called under the mutex of the target. Does nothing if the thread has just masked
    interrupts, or has them raised already.
    """
    _watch_unraisables()
    carrier = parcel.carrier
    if carrier is None:
        carrier = parcel.carrier = _make_carrier(parcel, target)
    address = id(carrier)
    # With a GIL nobody comes between this look and the call behind it.
    if target.pending is parcel and not target.depth and target.opened:
        _set_async_exc(ident, address)


# The last exception raised by a carrier in each thread, and whom it was for.
_raised: dict[int, tuple[BaseException, Parcel, Target]] = {}


def _make_carrier(parcel: Parcel, target: Target) -> type[BaseException]:
    """Return a class that, when the interpreter instantiates it, is the interrupt.

    The interpreter takes a class only, and says nothing when it raises it: this one
    empties the slot at that moment, and turns into the interrupt itself.
    """
    interrupt = parcel.interrupt
    kind = interrupt if isinstance(interrupt, type) else type(interrupt)

    def make(_: type[BaseException], *args: object) -> BaseException:
        ident = get_ident()
        # With a GIL nobody comes between this look and the steps behind it. A second
        # copy may have been sent while this one was on its way.
        if target.pending is parcel:
            target.pending = None
            clear(ident)
        error = interrupt(*args) if isinstance(interrupt, type) else interrupt
        _raised[ident] = (error, parcel, target)
        return error

    members = {"__new__": make, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), members)


def forget(ident: int) -> None:
    """Drop what is kept of the last exception raised in a thread."""
    _raised.pop(ident, None)


class _Hook:
    """The hook for exceptions that finalizers swallow: ours come back."""

    __slots__ = ("_before",)

    def __init__(self, before: Callable[[sys.UnraisableHookArgs], object]) -> None:
        self._before = before

    def __call__(self, unraisable: sys.UnraisableHookArgs, /) -> None:
        ident = get_ident()
        last = _raised.get(ident)
        if last is None or unraisable.exc_value is not last[0]:
            self._before(unraisable)
            return

        del _raised[ident]
        last[2].thrown_away(last[1])


def _watch_unraisables() -> None:
    """See to it that the hook is in place; others may have set theirs."""
    if not isinstance(sys.unraisablehook, _Hook):
        sys.unraisablehook = _Hook(sys.unraisablehook)
