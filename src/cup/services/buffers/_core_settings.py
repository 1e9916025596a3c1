"""The arguments of a buffer pool, in both orders that old code uses.

Not here: what a pool does with them (`_core`).
"""

from __future__ import annotations

from typing import get_args

from cup.errors import InvalidType, InvalidValue

from .api import LARGE_BLOCK_SIZE, MEDIUM_BLOCK_SIZE, SMALL_BLOCK_SIZE, Leaks

__all__ = ["check_leaks", "check_sizes", "make_ceiling"]

_STANDARD = (SMALL_BLOCK_SIZE, MEDIUM_BLOCK_SIZE, LARGE_BLOCK_SIZE)


def check_sizes(
    pool_size: int, block_size: int, *, by_position: bool
) -> tuple[int, int]:
    """Return the number of blocks and their size.

    Old code writes `BufferPool(block_size, pool_size)` as well as the documented order.
    Two positional arguments are told apart by the standard block sizes: if the second
    is one, the order is the documented one; if only the first is one, they are swapped;
    else nobody can know. Arguments given by keyword are what their names say.

    Args:
        pool_size: Blocks.
        block_size: Bytes.
        by_position: Whether both were given by position.

    Raises:
        InvalidType: If one is no int.
        InvalidValue: If it is not above zero, or the order cannot be told.
    """
    if by_position and block_size not in _STANDARD:
        if pool_size not in _STANDARD:
            raise InvalidValue(
                f"{pool_size} and {block_size}: neither is a standard block size, so "
                "their order cannot be told; write pool_size=, block_size="
            )
        pool_size, block_size = block_size, pool_size
    return _positive("pool_size", pool_size), _positive("block_size", block_size)


def make_ceiling(count: int, *, extendable: bool, max_blocks: int | None) -> int | None:
    """Return how many blocks the pool may grow to; None if it may not grow.

    Raises:
        InvalidValue: If the ceiling is below what the pool begins with.
    """
    if max_blocks is not None:
        if _positive("max_blocks", max_blocks) < count:
            raise InvalidValue(f"max_blocks={max_blocks} is below pool_size={count}")
        return max_blocks

    return 1 << 40 if extendable else None  # as much as the system has addresses for


def check_leaks(leaks: Leaks) -> Leaks:
    """Return the level, if there is such a one.

    Raises:
        InvalidValue: If there is not.
    """
    if leaks not in get_args(Leaks):
        raise InvalidValue(f"leaks={leaks!r} is none of {', '.join(get_args(Leaks))}")

    return leaks


def _positive(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidType(f"{name} must be an int, not {value!r}")

    if value < 1:
        raise InvalidValue(f"{name} must be 1 or more, not {value}")

    return value
