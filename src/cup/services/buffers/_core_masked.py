"""Steps that an interrupt of the calling thread must not cut in two.

Not here: what interrupts are (`cup._core.interrupt`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from typing_extensions import ParamSpec

from cup._core.interrupt import current

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["masked"]

P = ParamSpec("P")
T = TypeVar("T")


def masked(step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `step`; an interrupt that comes meanwhile is raised after it."""
    target = current()
    if target is None:
        return step(*args, **kwargs)

    target.mask()
    try:
        value = step(*args, **kwargs)
    except BaseException:
        target.unmask_quietly()
        raise
    target.unmask()
    return value
