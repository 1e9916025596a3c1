"""What runs inside the workers of a foreign executor, around each call.

Calls travel in one positional argument, so that no keyword of a user meets one of the
executor's own (Dask takes `key`, `priority` and others away), and with a number of
their own, so that no two are taken for the same (Dask again). Results are pickled here,
inside the worker: where one cannot be, that is an answer, and not a call that never
ends. Keep it light: worker processes import it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextvars import Context
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from cup.errors import UnsendableResult

__all__ = ["Call", "LocalCall", "Sent", "call_here", "call_there", "unpack"]

Call = tuple[int, Callable[..., Any], tuple[Any, ...], dict[str, Any]]
LocalCall = tuple[Context, Callable[..., Any], tuple[Any, ...], dict[str, Any]]
Sent = tuple[bool, bytes]
"""Whether the call returned, and what it returned or raised."""


def call_here(call: LocalCall) -> Any:
    """Make a call in a thread of the same process."""
    context, fn, args, kwargs = call
    return context.run(fn, *args, **kwargs)


def call_there(call: Call) -> Sent:
    """Make a call in another process, and pickle what comes of it."""
    _, fn, args, kwargs = call
    try:
        value = fn(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - it travels to who waits
        return False, _pack_error(error)

    try:
        return True, _dumps(value)
    except Exception as error:  # noqa: BLE001 - the same
        problem = UnsendableResult(
            f"the job returned a {type(value).__qualname__}, which cannot be sent back "
            f"from its process: {error}"
        )
        return False, pickle.dumps(problem)


def unpack(sent: Sent) -> Any:
    """Return what a call returned, or raise what it raised; in the first process."""
    returned, content = sent
    outcome = pickle.loads(content)  # noqa: S301 - from our own worker
    if returned:
        return outcome

    try:
        raise outcome
    finally:
        del outcome  # no cycle through the traceback


def _dumps(value: object) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception:
        if find_spec("cloudpickle") is None:
            raise

        # There if loky or Dask have brought it.
        return bytes(import_module("cloudpickle").dumps(value))


def _pack_error(error: Exception) -> bytes:
    """Pickle an exception; one that cannot travel is described by another."""
    try:
        content = _dumps(error)
        pickle.loads(content)  # noqa: S301 - some can be pickled, and not be read again
    except Exception:  # noqa: BLE001 - any reason is as good
        told = UnsendableResult(
            f"the job raised {type(error).__qualname__}, which cannot be sent back: "
            f"{error}"
        )
        return pickle.dumps(told)
    return content
