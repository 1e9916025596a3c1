"""Metadata and jobs that survive, in threads; the twin is `_demo_metastore_aio`."""

from __future__ import annotations

import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Final

from cup.services.executor import ExecutionService, LogStore
from cup.services.serializer import MetaStore, Mode, read_state
from cup.services.threadpool import ThreadPool

from ._demo_metastore_jobs import command
from ._demo_part import Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cup.services.serializer import Change

    from ._demo_part import Stage

__all__ = ["PARTS"]

HANDS: Final = 8
"""How many change a store at the same time."""


def state(stage: Stage) -> None:
    """Change keys in many threads, watch that, and open the store again."""
    each = stage.many(200, 40)
    place = stage.folder / "state"
    with MetaStore.open(place) as store:
        before = store.snapshot()

        def work(hand: int) -> None:
            for number in range(each):
                store.update(*changes(hand, number))

        with ThreadPool(max_workers=HANDS) as pool:
            for job in [pool.submit(work, hand) for hand in range(HANDS)]:
                job.result()
        seen = follow(dict(before), [*store.watch(start=before.next_id, timeout=0)])
        there = dict(store.items())
        store.compact()
        tell_shared(stage, store.stats().log.groups, HANDS * each)
    with MetaStore.open(place) as store:
        tell_state(stage, place, dict(store.items()), there, seen)


def jobs(stage: Stage) -> None:
    """Kill a process that holds jobs, and let another one run them."""
    soon, later = stage.many(30, 10), stage.many(100, 20)
    place, path = stage.folder / "jobs", stage.folder / "ran"
    with subprocess.Popen(  # noqa: S603 - this very program
        command(place, path, soon, later), stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None, "it is a pipe"
        stage.exactly(READY, child.stdout.readline().strip(), "ready")
        child.kill()
    stage.exactly(RAN_BEFORE, len(lines(path)), soon)
    with LogStore.open(place) as store, ExecutionService(store=store) as executor:
        stage.exactly(WAITING, len(store), later)
        for number in range(later):
            job = executor.find(f"later {number}")
            if job is not None:
                job.reschedule(0)
        for number in range(later):
            job = executor.find(f"later {number}")
            if job is not None:
                job.result(60)
        executor.stop()
        tell_jobs(stage, path, soon + later, len(store))


# -- what both twins use ---------------------------------------------------------------

READY: Final = "the process that is killed says before"
RAN_BEFORE: Final = "jobs that it ran"
WAITING: Final = "jobs that wait after the kill"


def changes(hand: int, number: int) -> tuple[dict[str, int]]:
    """Return what a hand writes as one."""
    return ({f"hand {hand}": number, f"hand {hand}, {number % 7}": number},)


def follow(
    state: dict[str, object], seen: list[Change[str, object]]
) -> dict[str, object]:
    """Return the state that changes lead to."""
    for change in seen:
        if change.mode is Mode.DEL:
            del state[change.key]
        else:
            state[change.key] = change.value
    return state


def tell_shared(stage: Stage, syncs: int, writes: int) -> None:
    """State that changes shared syncs."""
    stage.at_most(f"syncs for {writes} durable changes", syncs, writes)


def tell_state(
    stage: Stage,
    place: Path,
    found: Mapping[str, object],
    there: Mapping[str, object],
    seen: Mapping[str, object] | None,
) -> None:
    """State what was found after the store was opened again."""
    stage.exactly("keys that are there again", len(found), HANDS * 8)
    same = "the same" if found == there else "others"
    stage.exactly("their values are", same, "the same")
    if seen is not None:
        same = "the same" if seen == there else "another"
        stage.exactly("the state that watching leads to is", same, "the same")
    stage.exactly("entries from outside", len(read_state(place).entries), len(there))


def lines(path: Path) -> list[str]:
    """Return what jobs have left."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def tell_jobs(stage: Stage, path: Path, jobs: int, left: int) -> None:
    """State that every job ran, and none ran twice."""
    runs = Counter(lines(path))
    twice = sorted(name for name, count in runs.items() if count > 1)
    stage.exactly("different jobs that ran at last", len(runs), jobs)
    stage.exactly("jobs that ran twice", twice, [])
    stage.exactly("jobs that the store still has", left, 0)


PARTS: Final = (
    Part("metastore.state", "change keys together, and open them again", state),
    Part("metastore.jobs", "kill a process that holds jobs, and run them", jobs),
)
