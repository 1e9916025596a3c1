"""Exceptions that nobody waits for: told to a hook or logged, never lost or raised.

Not here: which exceptions those are.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["report"]

_log = logging.getLogger("cup.threadpool")


def report(
    hook: Callable[[BaseException, str], object] | None,
    error: BaseException,
    what: str,
) -> None:
    """Tell of an exception that nobody else will see.

    Args:
        hook: The user's, called with the next two; None logs an error instead.
        error: The exception.
        what: Where it came from.
    """
    if hook is not None:
        try:
            hook(error, what)
        except BaseException as second:  # noqa: BLE001 - the hook is a user's
            _log.error("on_unhandled failed", exc_info=second)
        else:
            return

    _log.error("%s", what, exc_info=error)
