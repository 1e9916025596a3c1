"""A stored job that waits for its time again, in the process that comes after.

There may be a hundred thousand of them: none has a future before somebody asks for it,
or it is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from typing_extensions import override

from ._core_handle import Cancelled, DueJob, Handle, ScheduledJob

__all__ = ["Follower", "StoredJob"]

T = TypeVar("T")


class Follower(Protocol):
    """Who is told of the end of stored jobs."""

    def ended(self, key: str, handle: Handle[Any], /) -> None:
        """Note that a job has ended; twice does no harm."""
        ...


class StoredJob(ScheduledJob[T]):
    """A job that was stored by a process before this one."""

    __slots__ = ("_follower", "_key")

    _follower: Follower | None
    _key: str  # not that of its options, which it shares with others

    def follow(self, key: str, follower: Follower) -> None:
        """Have somebody told of its end; called once, before anybody else has it."""
        self._key = key
        self._follower = follower

    @override
    def vanish(self) -> None:
        """End as cancelled in a forked child, telling nobody."""
        self._follower = None
        super().vanish()

    @override
    def _stored_as(self) -> str | None:
        return self._key

    @override
    def _become(self, wish: Cancelled | None) -> DueJob[T] | Cancelled:
        found = super()._become(wish)
        follower, self._follower = self._follower, None
        if follower is not None:
            key = self._key
            if isinstance(found, Cancelled):
                follower.ended(key, self)
            else:
                found.add_done_callback(lambda _: follower.ended(key, self))
        return found


if TYPE_CHECKING:
    from typing import cast

    from ._core_ledger import Ledger

    _proof: Follower = cast("Ledger", None)
