"""A thread that can be interrupted, and that keeps what its target returned.

An interrupt reaches Python code and the waits of this library. It cannot reach a thread
inside of C code (a long `read`, `time.sleep`, a big computation in an extension): there
it arrives when the C code returns. Until then, CPython 3.11 stops at the next function
of any thread that is traced, by a debugger or for coverage.

Not here: how an interrupt is delivered (`cup._core.interrupt`).
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

from cup._core.interrupt import Interrupt, Target, shielded, targets
from cup._core.threads import join_within
from cup.errors import (
    InvalidType,
    InvalidValue,
    ThreadNotStarted,
    ThreadTermException,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["CupThread", "async_raise", "shield", "thread_alive"]

shield = shielded


class CupThread(threading.Thread):
    """A `threading.Thread` that can be interrupted and terminated.

    Interrupts are never delivered before the target began or after it ended, wait while
    the thread holds one of our locks or is inside of `shield()`, and end any of our
    waits at once. `ThreadTermException` ends the thread silently.

    Attributes:
        result: What the target returned, None until then.
        exception: What it raised, None if nothing.
    """

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        super().__init__(group, name=name, daemon=daemon)
        self.result: object = None
        self.exception: BaseException | None = None
        self._call: tuple[
            Callable[..., object] | None, tuple[Any, ...], dict[str, Any]
        ] = (target, tuple(args), dict(kwargs or {}))
        self._starting = False
        self._interrupts = Target()

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: If it was started before, or the system has no thread left.
        """
        if self._starting:
            super().start()  # raises
            return

        # Subclasses override `run`: it is wrapped here, whatever it is.
        self.__dict__["run"] = functools.partial(self._run_guarded, self.run)
        self._starting = True
        try:
            super().start()
        except RuntimeError:
            # Not for what a signal handler raises: the thread may be on its way.
            self._starting = False
            self.__dict__.pop("run", None)
            raise

    def run(self) -> None:
        """Call the target and keep what it returned."""
        target, args, kwargs = self._call
        if target is not None:
            self.result = target(*args, **kwargs)

    def _run_guarded(self, run: Callable[[], None]) -> None:
        """Run with interrupts from the first step to the last, and not beyond."""
        self.__dict__.pop("run", None)
        interrupts = self._interrupts
        failure: BaseException | None = None
        try:
            interrupts.open()
            interrupts.deliver()
            run()
            # Not by a call: an interrupt could be raised inside of it.
            interrupts.opened = False
        except BaseException as error:  # noqa: BLE001 - raised again below
            interrupts.opened = False
            failure = error
        try:
            interrupts.close()
        except BaseException:  # noqa: BLE001 - was on its way, and comes too late
            interrupts.close()
        self._call = (None, (), {})
        self.exception = failure
        try:
            if failure is not None and not isinstance(failure, ThreadTermException):
                raise failure
        finally:
            del failure

    def get_my_tid(self) -> int | None:
        """Return the identifier of the thread; None while it is not alive."""
        return self.ident if self.is_alive() else None

    def raise_exc(self, exctype: Interrupt) -> int:
        """Raise an exception in the thread: at once in a wait of ours, else soon.

        While the thread holds one of our locks, or is inside of `shield()`, the
        exception waits; an exception that has not arrived is replaced by a later one.

        Args:
            exctype: An exception, or a class of exceptions that takes no arguments.

        Returns:
            1 if it will be raised, 0 if the thread has ended.

        Raises:
            ThreadNotStarted: If the thread was not started.
            InvalidType: If `exctype` is no exception.
        """
        _check_exception(exctype)
        if not self._starting:
            raise ThreadNotStarted(
                f"thread {self.name!r} was not started: there is nothing to interrupt"
            )

        return int(self._interrupts.post(exctype))

    def terminate(self, times: int = 15) -> bool:
        """End the thread by a `ThreadTermException`.

        Called by the thread itself, it raises the exception right here; inside of
        `shield()` it returns False, and the exception comes at the end of that.

        Args:
            times: How many more times to try; each try takes one second at most.

        Returns:
            True if the thread has ended, False if it has not; it may be inside of C
            code, inside of `shield()`, or handle the exception and go on.

        Raises:
            ThreadNotStarted: If the thread was not started.
            InvalidValue: If `times` is negative.
        """
        if times < 0:
            raise InvalidValue(f"times={times} is negative; use 0 to try once")

        for _ in range(times + 1):
            self.raise_exc(ThreadTermException)
            if self is threading.current_thread():
                self._interrupts.deliver()
                return False

            if join_within(self, 1.0):
                return True
        return False


def async_raise(tid: int, exctype: type[BaseException]) -> int:
    """Raise an exception in the thread with an identifier.

    For a `CupThread` it is the same as its `raise_exc`. In any other thread it is
    raised when that next runs Python code, wherever that is: prefer a `CupThread`.

    Args:
        tid: The identifier, as `threading.get_ident` gives it.
        exctype: A class of exceptions that takes no arguments.

    Returns:
        1 if it was posted.

    Raises:
        InvalidType: If `exctype` is no class of exceptions, or `tid` no int.
        InvalidValue: If there is no such thread.
    """
    _check_exception(exctype, only_classes=True)
    _check_tid(tid)
    if not _post(tid, exctype):
        raise InvalidValue(f"there is no thread with the identifier {tid} (any more)")

    return 1


def _post(tid: int, exctype: type[BaseException]) -> bool:
    """Have a class raised in the thread `tid` by the best way there is."""
    for thread in threading.enumerate():
        if thread.ident == tid and isinstance(thread, CupThread):
            return bool(thread.raise_exc(exctype))

    target = targets.get(tid)
    if target is not None:
        return target.post(exctype)

    from cup._core import asyncexc  # noqa: PLC0415 - loads ctypes

    return asyncexc.post(tid, exctype)


def thread_alive(obj: threading.Thread) -> bool:
    """Tell whether a thread runs."""
    return obj.is_alive()


def _check_exception(exctype: object, *, only_classes: bool = False) -> None:
    if only_classes and not isinstance(exctype, type):
        raise InvalidType(f"give a class of exceptions, not {exctype!r}")

    kind = exctype if isinstance(exctype, type) else type(exctype)
    if not issubclass(kind, BaseException):
        raise InvalidType(f"only exceptions can be raised in a thread, not {exctype!r}")


def _check_tid(tid: object) -> None:
    if not isinstance(tid, int):
        raise InvalidType(f"tid must be the identifier of a thread, not {tid!r}")
