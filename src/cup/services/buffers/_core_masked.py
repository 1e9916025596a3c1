"""Steps that an interrupt of the calling thread must not cut in two.

Not here: what interrupts are (`cup._core.interrupt`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from typing_extensions import ParamSpec

from cup._core.interrupt import current

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_unmasked", "masked", "masked_quietly"]

P = ParamSpec("P")
T = TypeVar("T")


def is_unmasked() -> bool:
    """Tell whether an interrupt could be raised in the calling code."""
    target = current()
    return target is not None and not target.depth


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


def masked_quietly(
    step: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs
) -> None:
    """Call `step` in a finalizer: an interrupt is not raised there, but later."""
    target = current()
    if target is None:
        step(*args, **kwargs)
        return

    target.mask()
    try:
        step(*args, **kwargs)
    finally:
        target.unmask_quietly()
