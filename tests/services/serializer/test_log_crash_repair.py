"""A crash while a log is mended: what was saved is saved, and mending goes on."""

import itertools

import pytest
from log_crash_tools import OPTIONS, PLACE, new_disk

from cup.errors import CorruptRecord, LogError
from cup.services.serializer import Log, repair, verify

COUNT = 24


def payload(number):
    return b"<%d>" % number + b"p" * (number * 53 % 400)


@pytest.fixture(scope="module")
def whole():
    """Give the files of a log of several segments."""
    disk = new_disk()
    with Log.open(PLACE, disk=disk, **OPTIONS) as log:
        for number in range(1, COUNT + 1):
            log.append(payload(number))
        log.checkpoint(b"state")
    return disk.files()


def damaged(whole, *numbers):
    """Give a disk where some records are damaged."""
    disk = new_disk()
    for path, content in whole.items():
        changed = bytearray(content)
        for number in numbers:
            at = content.find(payload(number))
            if path.endswith(".seg") and at >= 0:
                changed[at] ^= 1
        if not disk.exists(path):
            if not disk.exists(PLACE):
                disk.mkdir(PLACE)
                disk.sync_dir("/data")
            file = disk.open(path, create=True, write=True)
            file.pwrite(bytes(changed), 0)
            file.sync()
    disk.sync_dir(PLACE)
    return disk


def saved(disk):
    """Give the records of a log, and check that no id is used again."""
    with Log.open(PLACE, disk=disk, **OPTIONS) as log:
        there = {record.id: record.payload for record in log.records()}
        assert log.append(b"next") > COUNT
    return there


@pytest.mark.parametrize("lost", [[3], [COUNT], [5, 6, 20], [1]])
def test_crash_while_salvaging_loses_nothing_more(whole, lost):
    disk = damaged(whole, *lost)
    with pytest.raises(CorruptRecord):
        repair(PLACE, disk=disk)
    before = len(disk.trace)
    report = repair(PLACE, disk=disk, salvage=True)
    assert report.lost == len(lost)
    expected = {n: payload(n) for n in range(1, COUNT + 1) if n not in lost}

    kinds = ["kill", "lost", "names", "mixed", "suffix", "garbage"]
    points = range(before, len(disk.trace) + 1)
    states = disk.crash_states(kinds=kinds, points=points, variants=2)
    count = 0
    for state in itertools.islice(states, 0, None, 2):
        again = state.mount()
        repair(PLACE, disk=again, salvage=True)
        assert verify(PLACE, disk=again).ok, str(state)
        assert saved(again) == expected, str(state)
        count += 1
    assert count >= 10


@pytest.mark.parametrize("salvage", [True, False])
def test_crash_while_a_torn_tail_is_cut(whole, salvage):
    disk = damaged(whole)
    *_, path = sorted(path for path in whole if path.endswith(".seg"))
    file = disk.open(path, write=True)
    file.pwrite(b"\xa7cUp and half a frame", file.size())
    file.sync()
    before = len(disk.trace)
    assert repair(PLACE, disk=disk, salvage=salvage).lost == 0
    expected = {n: payload(n) for n in range(1, COUNT + 1)}
    for state in disk.crash_states(points=range(before, len(disk.trace) + 1)):
        again = state.mount()
        assert repair(PLACE, disk=again, salvage=salvage).lost == 0
        assert saved(again) == expected, str(state)


@pytest.mark.parametrize("operation", ["write", "sync", "sync_dir", "rename", "create"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_fault_while_salvaging_loses_nothing_more(whole, operation, nth):
    disk = damaged(whole, 5, 20)
    disk.inject(operation, error=5, nth=nth)
    try:
        repair(PLACE, disk=disk, salvage=True)
    except (LogError, OSError):
        pass
    disk.heal()
    repair(PLACE, disk=disk, salvage=True)
    there = saved(disk)
    assert {*there} == {*range(1, COUNT + 1)} - {5, 20}
