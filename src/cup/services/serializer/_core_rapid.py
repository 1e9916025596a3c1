"""Making named tuples fast: reading makes a million of them per second."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["maker_of"]

R = TypeVar("R", bound="tuple[object, ...]")


def maker_of(_: type[R]) -> Callable[[type[R], tuple[object, ...]], R]:
    """Return what makes a named tuple from a tuple, for half the price of its class.

    It takes the class, too; the number of fields is not checked.
    """
    # What a tuple is made by has no type that says so.
    make: object = vars(tuple)["__new__"]
    return cast("Callable[[type[R], tuple[object, ...]], R]", make)
