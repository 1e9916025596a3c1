"""What every call that is handed in needs: its context, and the errors of bad ones."""

from __future__ import annotations

import sys
from contextvars import copy_context
from typing import TYPE_CHECKING

from cup._core.context import job_context
from cup.errors import InvalidType, InvalidValue
from cup.services.threadpool.api import Urgency

if TYPE_CHECKING:
    from contextvars import Context

__all__ = ["bad_urgency", "context_now", "no_callable"]

_modules = sys.modules


def context_now() -> Context | None:
    """Return the context for a job, None for an empty one, which costs nothing.

    One with nothing in it but the mark of a running event loop is empty, too.
    """
    context = copy_context()
    if not len(context):
        return None

    mark = getattr(_modules.get("sniffio"), "current_async_library_cvar", None)
    if len(context) == 1 and mark is not None and mark in context:
        return None

    return job_context()


def no_callable(fn: object) -> InvalidType:
    """Return the error for what cannot be called."""
    return InvalidType(f"a job must be callable, not {fn!r}")


def bad_urgency(urgency: object) -> InvalidValue:
    """Return the error for an urgency that there is not."""
    names = ", ".join(f"{item.name} ({item.value})" for item in Urgency)
    return InvalidValue(f"urgency={urgency!r} is none of {names}")
