"""Making threads, and joining them.

Not here: what threads do.
"""

from __future__ import annotations

import sys
import threading
from contextvars import Context
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["OwnThread", "join_all", "join_within"]


class OwnThread(threading.Thread):
    """A thread that inherits nothing, and can be called off until it begins.

    A signal handler may raise in the middle of `start`, and then the thread is on its
    way, or it is not: `call_off` decides that.
    """

    def __init__(
        self, target: Callable[[], object], *, name: str, daemon: bool
    ) -> None:
        # From 3.14 on a thread may start in a copy of its maker's context; ours start
        # empty, since each job brings its own.
        if sys.version_info >= (3, 14):
            super().__init__(target=target, name=name, daemon=daemon, context=Context())
        else:
            super().__init__(target=target, name=name, daemon=daemon)
        self._begun: dict[None, bool] = {}

    @override
    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: If the system has no thread to give.
            BaseException: That of a signal handler.
        """
        handled = sys.exc_info()[1]
        try:
            super().start()
        except (KeyError, RuntimeError) as error:
            # What a handler raises may leave `threading` with a lock released or a
            # list cleared, and it fails by that: the cause is what matters.
            raised = error.__context__
            if raised is None or raised is handled:
                raise

            raise raised from None

    @override
    def run(self) -> None:
        """Call the target, unless the thread was called off."""
        if self._begun.setdefault(None, True):
            super().run()

    def call_off(self) -> bool:
        """Keep the thread from calling its target; False if it has begun.

        May be asked again, and answers the same.
        """
        return not self._begun.setdefault(None, False)


def join_within(thread: threading.Thread, seconds: float) -> bool:
    """Wait for a thread to end, for so long at most; tell whether it has."""
    thread.join(seconds)
    return not thread.is_alive()


def join_all(threads: Iterable[threading.Thread]) -> None:
    """Wait until the threads have ended; the calling thread is left out."""
    me = threading.current_thread()
    for thread in threads:
        if thread is not me and thread.ident is not None:
            thread.join()
