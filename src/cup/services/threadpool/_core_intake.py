"""How a pool takes a job that needs more than the fast path.

It never waits: where a bounded queue has no room, it says so, and the face waits.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from cup.errors import InvalidType

from ._core_limits import Limited, limit
from ._core_record import claim, take_to_run

if TYPE_CHECKING:
    from ._core import PoolCore
    from ._core_record import Record
    from .api import Limits

__all__ = ["Verdict", "disown", "make_room", "offer"]


class Verdict(enum.Enum):
    """What became of a job that was offered."""

    QUEUED = enum.auto()
    FULL = enum.auto()
    """There is no room: ask the policy."""
    PLACED = enum.auto()
    """There is a place now: offer the job again with it."""
    WAIT = enum.auto()
    """The face has to wait for a place, and offer the job again with it."""
    DONE = enum.auto()
    """The policy has dealt with it."""


def offer(
    core: PoolCore,
    record: Record,
    limits: Limits,
    *,
    starts: bool,
    has_place: bool = False,
) -> Verdict:
    """Queue a record under its limits, if there is room.

    When it raises, the record is not queued; `disown` it.

    Args:
        core: The pool.
        record: What was not queued yet.
        limits: What its view asks for.
        starts: Whether it starts a pool that was never started.
        has_place: Whether the caller has a place already.

    Raises:
        InvalidType: If the record's function cannot be called.
        PoolClosed: If the pool takes no work.
        PoolBroken: If it is broken.
    """
    if not callable(record[0]):
        raise InvalidType(f"a job must be callable, not {record[0]!r}")

    room = core.queue.room
    try:
        if starts:
            core.start_if_new()
        core.admit()
        if room is not None and not has_place:
            has_place = room.take_now()
            if not has_place:
                return Verdict.FULL

        limit(core, record, limits)
        core.enqueue(record, limits.urgency)
    except BaseException:
        if room is not None and has_place:
            room.free()
        raise
    return Verdict.QUEUED


def make_room(core: PoolCore, record: Record, *, runs: bool) -> Verdict:
    """Do what the policy says about a record for which there was no room.

    Args:
        core: The pool.
        record: What was not queued.
        runs: Whether the caller may run it itself.

    Raises:
        PoolFull: If the policy is to refuse.
    """
    policy = core.settings.when_full
    room = core.queue.room
    assert room is not None, "only a bounded pool has a policy"
    if policy == "refuse":
        core.refused.add()
        raise room.full(core.name)

    if policy == "drop_oldest":
        while not room.take_now():
            if not core.drop_oldest():
                # All places are held by callers that have not queued yet, maybe by
                # the one that this signal handler interrupts: this job is the oldest.
                core.drop(record)
                return Verdict.DONE
        return Verdict.PLACED

    # A worker that waited for room in its own pool might wait for ever.
    if runs and (policy == "caller_runs" or core.here() is not None):
        taken = take_to_run(record)
        if taken is not None:
            core.run_aside(taken)
        return Verdict.DONE

    return Verdict.WAIT


def disown(record: Record) -> None:
    """Forget a record that is not queued, and never will be."""
    sink = claim(record)
    if isinstance(sink, Limited):
        sink.forget()
