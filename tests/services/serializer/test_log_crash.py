"""Power cuts and killed processes: whatever they leave, the log keeps its word."""

import errno
import itertools

import pytest
from log_crash_tools import OPTIONS, PLACE, Life, new_disk, survive_all

from cup.services.serializer import Log, LogReader


def test_every_crash_is_survived():
    disk = new_disk()
    Life(disk).whole()
    assert survive_all(itertools.islice(disk.crash_states(), 0, None, 6)) >= 100


@pytest.mark.full
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("preallocate", [False, True])
def test_more_crashes_are_survived(seed, preallocate):
    disk = new_disk(seed=seed, sector=512 if seed % 2 else 4096)
    Life(disk, preallocate=preallocate).whole()
    states = itertools.islice(disk.crash_states(), seed, None, 4)
    assert survive_all(states, preallocate=preallocate) >= 150


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("sector", [64, 512, 4096])
def test_many_crashes_are_survived(sector):
    for seed in range(10, 30):
        disk = new_disk(seed=seed, sector=sector)
        Life(disk).whole()
        assert survive_all(disk.crash_states(variants=5)) >= 2000


@pytest.mark.parametrize("sector", [512, pytest.param(4096, marks=pytest.mark.full)])
def test_crash_of_many_threads_is_survived(sector):
    disk = new_disk(sector=sector)
    disk.inject("sync", delay=0.0005, times=None)
    life = Life(disk).threads(6, 8)
    assert life.log.stats().groups < 48
    life.log.close()
    states = itertools.islice(disk.crash_states(), 0, None, 20)
    assert survive_all(states) >= 25


FAULTS = [
    ("write", errno.EIO, 1),
    ("write", errno.ENOSPC, 4),
    ("write", errno.EINTR, 10),
    ("sync", errno.EIO, 1),
    ("sync", errno.EIO, 4),
    ("sync", errno.ENOSPC, 7),
    ("sync", errno.EIO, 8),
    ("sync_dir", errno.EIO, 1),
    ("sync_dir", errno.EIO, 2),
    ("truncate", errno.EIO, 1),
    ("create", errno.ENOSPC, 1),
    ("rename", errno.EIO, 1),
    ("rename", errno.EIO, 2),
    ("unlink", errno.EIO, 1),
]


@pytest.mark.parametrize(
    ("operation", "error", "nth"),
    [
        pytest.param(*fault, marks=pytest.mark.full if number % 3 else ())
        for number, fault in enumerate(FAULTS)
    ],
)
def test_crash_after_a_fault_is_survived(operation, error, nth):
    disk = new_disk(seed=nth)
    life = Life(disk)
    partial = nth * 5 % 3 if operation == "write" else 0
    fault = disk.inject(operation, error=error, nth=nth, partial=partial)
    life.try_whole()
    assert fault.hits == 1
    assert life.errors
    kinds = ["kill", "lost", "mixed", "suffix"]
    survive_all(itertools.islice(disk.crash_states(kinds=kinds), 0, None, 15))
    survive_all(disk.crash_states(kinds=kinds, points={len(disk.trace)}))
    life.log.close()
    survive_all(disk.crash_states(kinds=["kill", "lost"], points={len(disk.trace)}))


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize(
    "operation", ["write", "sync", "sync_dir", "truncate", "create", "rename", "unlink"]
)
def test_crash_after_any_fault_is_survived(operation, error):
    for nth in range(1, 30):
        disk = new_disk(seed=nth)
        life = Life(disk)
        partial = nth * 5 % 3 if operation == "write" else 0
        disk.inject(operation, error=error, nth=nth, partial=partial)
        life.try_whole().end()
        kinds = ["kill", "lost", "mixed", "suffix"]
        survive_all(disk.crash_states(kinds=kinds))


@pytest.mark.parametrize("operation", ["open", "create", "write", "sync", "sync_dir"])
@pytest.mark.parametrize(
    "nth", [1, *(pytest.param(n, marks=pytest.mark.full) for n in (2, 3))]
)
@pytest.mark.parametrize("crashed", [True, False])
def test_fault_while_opening_hurts_nothing(operation, nth, crashed):
    """The open fails, or does without; the next one finds all."""
    disk, notes = new_disk(), ()
    Life(disk).whole()
    if crashed:
        point = {len(disk.trace) - 8}
        [state] = disk.crash_states(kinds=["kill"], points=point)
        disk, notes = state.mount(), state.notes
    disk.inject(operation, error=errno.EIO, nth=nth)
    before = len(disk.trace)
    try:
        Log.open(PLACE, disk=disk, **OPTIONS).close()
    except OSError:
        pass
    disk.heal()
    Log.open(PLACE, disk=disk, **OPTIONS).close()
    points = range(before, len(disk.trace) + 1)
    states = disk.crash_states(kinds=["kill", "lost", "mixed"], points=points)
    survive_all(states, notes=notes)


def test_crash_while_recovering_is_survived():
    disk = new_disk()
    Life(disk).whole()
    states = disk.crash_states(kinds=["kill", "garbage", "suffix"])
    count = 0
    for state in itertools.islice(states, 40, None, 19):
        again = state.mount()
        Log.open(PLACE, disk=again, **OPTIONS).close()
        later = again.crash_states(kinds=["kill", "lost", "mixed"])
        count += survive_all(itertools.islice(later, 1, None, 7), notes=state.notes)
    assert count >= 20


def test_reader_sees_nothing_while_its_sync_is_under_way():
    """Neither a reader of another process, nor the log itself."""
    disk, acked, looks = new_disk(), [], []
    log = Log.open(PLACE, disk=disk, **OPTIONS)

    def look():
        with LogReader.open(PLACE, disk=disk) as reader:
            there = [record.id for record in reader.records()]
        looks.append((there, [record.id for record in log.records()], [*acked]))

    disk.inject("sync", path="*.seg*", times=None, before=look)
    for size in (10, 900, 2000, 40, 1500, 3000):
        acked.extend(log.append_many([bytes(size)] * 2))
    disk.heal()
    log.close()
    assert len(looks) >= 6
    for there, in_log, before in looks:
        assert there == in_log == before
