"""The context that a job runs in: a copy of its submitter's, fit for another thread.

Not here: the empty context that threads of our own start in (`threads`).
"""

from __future__ import annotations

import sys
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextvars import ContextVar

__all__ = ["job_context"]

_modules = sys.modules


def job_context() -> Context:
    """Return a copy of the current context, without the mark of a running event loop.

    anyio keeps that mark in a context variable of sniffio's. Carried into a worker, it
    would make the job look as if it ran in the loop's thread, and `anyio.run` refuse.
    """
    context = copy_context()
    if "sniffio" in _modules:
        # While another thread imports it, the module is there without its content.
        mark: ContextVar[str | None] | None = getattr(
            _modules["sniffio"], "current_async_library_cvar", None
        )
        if mark is not None and mark.get(None) is not None:
            context.run(mark.set, None)
    return context
