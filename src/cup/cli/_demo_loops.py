"""The event loops that the demo runs on."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, TypeVar

from typing_extensions import TypeVarTuple, Unpack

from cup.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["installed_loops", "run_on"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_EXTRA: Final = "cup-services[cli]"


def installed_loops() -> tuple[str, ...]:
    """Name the event loops of this environment.

    Raises:
        MissingExtra: If trio is not installed.
    """
    if find_spec("trio") is None:
        raise MissingExtra(
            "the demo runs on asyncio and on trio, and trio is not installed: "
            f"pip install '{_EXTRA}'",
            requirement=_EXTRA,
        )

    return ("asyncio", "uvloop", "trio") if find_spec("uvloop") else ("asyncio", "trio")


def run_on(loop: str, fn: Callable[[Unpack[Ts]], Awaitable[T]], *args: Unpack[Ts]) -> T:
    """Run an async function in an event loop of its own.

    Args:
        loop: One of `installed_loops`.
        fn: The function.
        *args: Its arguments.

    Returns:
        What it returned.
    """
    import anyio  # noqa: PLC0415 - sync parts run without it

    if loop == "trio":
        return anyio.run(fn, *args, backend="trio")

    return anyio.run(fn, *args, backend_options={"use_uvloop": loop == "uvloop"})
