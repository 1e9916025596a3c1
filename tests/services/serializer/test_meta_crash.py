"""Power cuts and killed processes at any point: what was acknowledged is there."""

import errno
import itertools

import pytest
from meta_crash_tools import (
    Life,
    Survival,
    in_threads,
    survive_all,
    survive_threads,
)
from meta_tools import OPTIONS, PLACE, new_disk, open_store

from cup.services.serializer import (
    Compaction,
    MetaStore,
    StoredEntry,
    _core_checkpoint,
    _core_meta,
    _core_meta_state,
)


@pytest.mark.parametrize("sector", [512, 4096])
def test_every_crash_is_survived(sector):
    disk = new_disk(sector=sector)
    Life(disk).whole()
    states = itertools.islice(disk.crash_states(), sector // 512 % 4, None, 4)
    assert survive_all(states) >= 150


@pytest.mark.full
@pytest.mark.parametrize("seed", [1, 2])
def test_more_crashes_are_survived(seed):
    disk = new_disk(seed=seed, sector=512 if seed % 2 else 4096)
    Life(disk, preallocate=bool(seed % 2)).whole()
    states = itertools.islice(disk.crash_states(), seed % 2, None, 2)
    assert survive_all(states, preallocate=bool(seed % 2)) >= 300


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("sector", [64, 512, 4096])
def test_many_crashes_are_survived(sector):
    for seed in range(10, 30):
        disk = new_disk(seed=seed, sector=sector)
        Life(disk).whole()
        assert survive_all(disk.crash_states(variants=4)) >= 1500


def test_crash_of_one_that_compacts_by_itself_is_survived():
    disk = new_disk()
    life = Life(disk, compaction=Compaction(0, 500))
    for n in range(40):
        life.set(f"{n % 5}", [n, "x" * 100])
    life.store.close()
    assert life.store.stats().compactions
    states = itertools.islice(disk.crash_states(), 0, None, 12)
    assert survive_all(states) >= 60


def test_crash_of_many_threads_is_survived():
    disk = new_disk()
    disk.inject("sync", delay=0.0005, times=None)
    in_threads(disk, 6, 9)
    count = 0
    for state in itertools.islice(disk.crash_states(), 0, None, 10):
        survive_threads(state)
        count += 1
    assert count >= 40


@pytest.mark.parametrize(
    ("operation", "error", "nth"),
    [
        ("write", errno.EIO, 3),
        ("write", errno.ENOSPC, 9),
        ("sync", errno.EIO, 4),
        ("sync", errno.EIO, 9),
        ("sync_dir", errno.EIO, 4),
        ("create", errno.ENOSPC, 3),
        ("rename", errno.EIO, 2),
        ("rename", errno.EIO, 3),
        ("unlink", errno.EIO, 1),
        ("truncate", errno.EIO, 3),
    ],
)
def test_crash_after_a_fault_is_survived(operation, error, nth):
    disk = new_disk(seed=nth)
    life = Life(disk)
    fault = disk.inject(operation, error=error, nth=nth)
    life.try_whole()
    assert fault.hits == 1
    kinds = ["kill", "lost", "mixed", "suffix"]
    survive_all(itertools.islice(disk.crash_states(kinds=kinds), 0, None, 16))
    survive_all(disk.crash_states(kinds=kinds, points={len(disk.trace)}))
    life.end()


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize(
    "operation", ["write", "sync", "sync_dir", "truncate", "create", "rename", "unlink"]
)
def test_crash_after_any_fault_is_survived(operation, error):
    for nth in range(1, 26):
        disk = new_disk(seed=nth)
        life = Life(disk)
        disk.inject(operation, error=error, nth=nth)
        life.try_whole()
        kinds = ["kill", "lost", "mixed", "suffix"]
        survive_all(itertools.islice(disk.crash_states(kinds=kinds), 0, None, 3))
        life.end()


def test_crash_while_recovering_is_survived():
    disk = new_disk()
    Life(disk).whole()
    count = 0
    for state in itertools.islice(
        disk.crash_states(kinds=["kill", "garbage"]), 9, None, 40
    ):
        again = state.mount()
        open_store(again).close()
        later = itertools.islice(again.crash_states(kinds=["kill", "lost"]), 1, None, 5)
        count += survive_all(later, notes=state.notes)
    assert count >= 20


# -- migration -------------------------------------------------------------------------

OLD = {str(n): n for n in range(20)}
NEW = {f"n{n}": {"value": n} for n in range(20)}


def migrate(old: StoredEntry):
    assert old.schema == 1
    return f"n{old.key.decode()}", {"value": int(old.value)}


def test_crash_while_migrating_leaves_the_old_or_the_new():
    disk = new_disk()
    with open_store(disk) as store:
        store.update(OLD)
        store.compact()
        store.set("0", 0)
    before = len(disk.trace)
    open_store(disk, schema=2, migrate=migrate).close()
    points = range(before, len(disk.trace) + 1)
    found = set()
    for state in disk.crash_states(points=points):
        found.add(
            MetaStore.open(
                PLACE,
                disk=state.mount(),
                **OPTIONS,
                schema=9,
                migrate=lambda old: (str(old.key), old.schema),
            ).__class__.__name__
        )
        with open_store(state.mount(), schema=2, migrate=migrate) as store:
            assert dict(store.items()) == NEW
            store.set("n0", {"value": 5})
        disk_again = state.mount()
        try:
            store = open_store(disk_again)
        except ValueError:  # it is a later version's
            continue
        with store:
            assert dict(store.items()) == OLD
            store.set("0", 7)
        found.add("old")
        with open_store(disk_again, schema=2, migrate=migrate) as store:
            assert dict(store.items()) == {**NEW, "n0": {"value": 7}}
    assert "old" in found


# -- whether the tests can fail --------------------------------------------------------


def early_purge(monkeypatch):
    real = _core_meta.MetaCore._store

    def store(self, frozen):
        self.log.purge(frozen.next_id)
        real(self, frozen)

    monkeypatch.setattr(_core_meta.MetaCore, "_store", store)


def unsynced_checkpoint(monkeypatch):
    def store(disk, folder, checkpoint):
        class NoSync:
            def __init__(self, file):
                self._file = file

            def __getattr__(self, name):
                return getattr(self._file, name)

            def sync(self):
                pass

        class Disk:
            def __getattr__(self, name):
                return getattr(disk, name)

            def open(self, *args, **options):
                return NoSync(disk.open(*args, **options))

        real(Disk(), folder, checkpoint)

    real = _core_checkpoint.store_checkpoint
    import cup.services.serializer._core as core

    monkeypatch.setattr(core, "store_checkpoint", store)


def forgetful_fold(monkeypatch):
    real = _core_meta_state.State._fold

    def fold(self, number, piece):
        if piece.mode != 3 or number % 2:
            real(self, number, piece)

    monkeypatch.setattr(_core_meta_state.State, "_fold", fold)


@pytest.mark.parametrize("plant", [early_purge, unsynced_checkpoint, forgetful_fold])
def test_planted_faults_are_found(monkeypatch, plant):
    plant(monkeypatch)
    disk = new_disk()
    life = Life(disk)
    with pytest.raises((Survival, AssertionError, OSError, ValueError)):
        life.whole()
        monkeypatch.undo()
        survive_all(itertools.islice(disk.crash_states(), 0, None, 2))
    life.end()
