"""Faults that are planted in the log: the crash tests find each of them.

Each is something that a log in use somewhere does, or did.
"""

import contextlib
import errno
import inspect
import itertools
import random
import textwrap
import tracemalloc

import pytest
from log_crash_tools import (
    LIVES,
    OPTIONS,
    PLACE,
    Life,
    Survival,
    Told,
    check_records,
    new_disk,
    survive_all,
)
from log_format_tools import forge, parse

from cup._core.disk import OsFile
from cup._testing_crashdisk_engine import CrashFile
from cup.errors import CorruptRecord, LogError, LogLocked, RecordTooLarge
from cup.services.serializer import (
    BUFFERED,
    Log,
    _core_format,
    _core_recovery,
    _core_segment,
    _core_settings,
    _core_walk,
    _core_writer,
)
from cup.testing import CrashDisk

pytestmark = pytest.mark.full
EIO = errno.EIO


@pytest.fixture(autouse=True)
def end_of_lives(monkeypatch):
    """Close what a proof that fails leaves open, as it was when it was opened."""
    yield
    for life in LIVES:
        life.end()
    LIVES.clear()


# -- proofs: each passes, and fails when its fault is planted --------------------------


def prove_by_crashes():
    disk = new_disk()
    Life(disk).whole()
    survive_all(itertools.islice(disk.crash_states(), 20, None, 5))


def prove_by_a_failed_write():
    """Of four records two and a half are written; one of their size comes instead."""
    disk = new_disk()
    life = Life(disk)
    life.append()
    disk.inject("write", path="*.seg*", error=errno.ENOSPC, partial=220)
    with pytest.raises(LogError):
        life.buffer_and_sync(4)
    with contextlib.suppress(LogError):
        life.append()
    life.append()
    life.end()
    survive_all(disk.crash_states())


def prove_by_a_failed_sync():
    """The process whose sync failed goes on, as far as it can, and dies."""
    for nth in (1, 2, 4):
        disk = new_disk()
        life = Life(disk)
        disk.inject("sync", path="*.seg*", error=EIO, nth=nth)
        life.try_whole().end()
        kinds = ["lost", "kept", "mixed"]
        states = disk.crash_states(kinds=kinds, variants=4)
        survive_all(itertools.islice(states, 10, None, 7))


def prove_by_two_crashes():
    """The sync fails; the process is killed; the next one tells what it finds."""
    disk = new_disk()
    life = Life(disk)
    for _ in range(3):
        life.append()
    disk.inject("sync", error=EIO, times=None)
    with pytest.raises(LogError):
        life.append()
    life.end()
    [killed] = disk.crash_states(kinds=["kill"], points={len(disk.trace)})
    again = killed.mount()
    log = Log.open(PLACE, disk=again, **OPTIONS)
    told = [*log.records()]
    for state in again.crash_states(kinds=["lost"], points={len(again.trace)}):
        with Log.open(PLACE, disk=state.mount(), **OPTIONS) as later:
            if [*later.records()] != told:
                raise Survival("told, and lost")
    log.close()


def prove_by_flipped_bytes():
    disk = CrashDisk()
    log = Log.open("/log", disk=disk, **OPTIONS)
    for n in range(30):
        log.append(random.Random(n).randbytes(300), type=n, mode=n % 3)
    expected, files = [*log.records()], disk.files()
    log.close()
    rng = random.Random(5)
    for _ in range(150):
        [path] = rng.choices([*files], [len(content) for content in files.values()])
        disk = CrashDisk(files)
        disk.damage(path, rng.randrange(len(files[path])), rng.randrange(1, 256))
        try:
            with Log.open("/log", disk=disk, **OPTIONS) as log:
                found = [*log.records()]
        except LogError:
            continue
        assert found == expected


def prove_by_reordered_sectors():
    """A group that was not synced arrives in part: no reason to refuse."""
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, **OPTIONS)
    log.append(b"before")
    for n in range(30):
        log.append(b"%d" % n * 40, durability=BUFFERED)
    disk.inject("sync", error=EIO, times=None)
    with pytest.raises(LogError):
        log.sync()
    point = {len(disk.trace)}
    with contextlib.suppress(LogError):
        log.close()
    survived = 0
    for state in disk.crash_states(kinds=["suffix", "zeros"], points=point, variants=9):
        with Log.open(PLACE, disk=state.mount(), **OPTIONS) as later:
            survived += next(later.records()).payload == b"before"
    assert survived > 5


def prove_by_half_a_batch():
    disk = new_disk()
    life = Life(disk)
    for _ in range(3):
        life.batch(6, 200)
    life.log.close()
    for state in disk.crash_states(kinds=["prefix"], variants=6):
        with Log.open(PLACE, disk=state.mount(), **OPTIONS) as log:
            check_records([*log.records()], log, Told(state.notes))


def prove_by_a_second_writer():
    disk = new_disk()
    with Log.open(PLACE, disk=disk) as log:
        log.append(b"x")
        with pytest.raises(LogLocked):
            Log.open(PLACE, disk=disk)


def prove_by_a_hostile_length(tmp_path):
    folder = str(tmp_path / "log")
    with Log.open(folder, preallocate=False) as log:
        for n in range(5):
            log.append(b"%d" % n * 100_000)
        [path] = (tmp_path / "log").glob("*.seg")
        content = path.read_bytes()
    frame = parse(content)[2]
    path.write_bytes(forge(content, frame.offset, length=1 << 30))
    tracemalloc.start()
    try:
        with pytest.raises(LogError):
            Log.open(folder)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def prove_by_a_large_record():
    disk = new_disk()
    with Log.open(PLACE, disk=disk, max_record=1000) as log:
        with pytest.raises(RecordTooLarge):
            log.append(bytes(1001))
        assert log.append(bytes(1000)) == 1


def prove_by_a_missing_segment():
    disk = new_disk()
    Life(disk).whole()
    files = disk.files()
    paths = sorted(path for path in files if path.endswith(".seg"))
    del files[paths[1]]
    with pytest.raises(CorruptRecord):
        Log.open(PLACE, disk=CrashDisk(files))


# -- faults ----------------------------------------------------------------------------


def rewritten(function, old, new):
    """Return a function with another piece of source in it."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{function.__qualname__} has no {old!r} any more"
    space = {}
    source = "from __future__ import annotations\n" + source.replace(old, new)
    exec(source, function.__globals__, space)
    return space[function.__name__]


def no_sync(patch):
    patch.setattr(_core_segment.Segment, "sync", lambda self: None)


def no_sync_of_headers(patch):
    """A segment gets its name before it is durable."""
    real = CrashFile.sync

    def sync(self):
        if not self.path.endswith(".tmp") or self.size() > _core_format.HEADER_SIZE:
            real(self)

    patch.setattr(CrashFile, "sync", sync)


def no_directory_sync(patch):
    patch.setattr(CrashDisk, "sync_dir", lambda self, path: None)


def no_checksum(patch):
    for module in (_core_walk, _core_segment):
        patch.setattr(module, "by_number", lambda _: lambda data, value=0: 0)


def trusted_headers(patch):
    check = " or code != crc(content[position + 8 : start], salt)"
    parse = rewritten(_core_walk.Walk._parse, check, "")
    patch.setattr(_core_walk.Walk, "_parse", parse)


def trusted_lengths(patch):
    patch.setattr(_core_walk.Walk, "_admit", lambda self, length: length)
    patch.setattr(OsFile, "size", lambda self: 1 << 40)


def no_lock(patch):
    patch.setattr(CrashFile, "lock", lambda self, **_: True)


def no_truncation(patch):
    patch.setattr(CrashFile, "truncate", lambda self, size: None)


def no_rewrite(patch):
    patch.setattr(_core_recovery, "rewrite", lambda *_: None)


def no_sync_of_what_is_kept(patch):
    """Recovery rewrites, and does not wait for the medium."""
    changed = rewritten(_core_recovery.recover, "        file.sync()\n", "")
    patch.setattr(_core_recovery, "recover", changed)
    patch.setattr("cup.services.serializer._core.recover", changed)


def early_acknowledgement(patch):
    """Each sync makes durable what was written before the one before."""
    real, late = _core_segment.Segment.sync, []

    def sync(self):
        late.append(self)
        if len(late) > 1:
            real(late.pop(0))
            late.clear()

    patch.setattr(_core_segment.Segment, "sync", sync)


def retried_sync(patch):
    real = _core_segment.Segment.sync

    def sync(self):
        try:
            real(self)
        except _core_segment.Unconfirmed:
            real(self)

    patch.setattr(_core_segment.Segment, "sync", sync)


def no_poisoning(patch):
    """The batch fails, and the next one is welcome."""
    real = _core_writer.Writer.carry_out

    def carry_out(self, batch, *, sync):
        real(self, batch, sync=sync)
        self.poison = None

    patch.setattr(_core_writer.Writer, "carry_out", carry_out)


def no_error_of_a_failed_sync(patch):
    patch.setattr(_core_writer.Writer, "poison_by", lambda self, cause: None)


def no_rolling_back(patch):
    patch.setattr(_core_segment.Segment, "roll_back", lambda self: None)
    changed = rewritten(
        _core_writer.Writer._take_back, "self.written = batch.first", ""
    )
    patch.setattr(_core_writer.Writer, "_take_back", changed)


def no_size_limit(patch):
    real = _core_settings.to_bytes
    unlimited = lambda payload, most: real(payload, 1 << 30)
    for name in ("_core_settings", "_core"):
        patch.setattr(f"cup.services.serializer.{name}.to_bytes", unlimited)


def every_record_its_own_group(patch):
    """'A good frame follows' is taken for a proof of damage."""
    real = _core_segment.frames_of

    def frames_of(pieces, first, group, salt, crc, *, atomic):
        parts = []
        for number, piece in enumerate(pieces, first):
            parts += real([piece], number, number, salt, crc, atomic=False)
        return parts

    patch.setattr(_core_segment, "frames_of", frames_of)


def no_proof(patch):
    """Whatever is bad is a torn tail."""
    patch.setattr(_core_recovery, "judge", lambda walk: _core_walk.Tail.TORN)
    patch.setattr(_core_recovery.Recovered, "cut", 0)
    changed = rewritten(_core_recovery._judge, " or next_id < durable", "")
    patch.setattr(_core_recovery, "_judge", changed)


def batches_in_part(patch):
    real = _core_segment.frames_of
    patch.setattr(
        _core_segment, "frames_of", lambda *args, atomic: real(*args, atomic=False)
    )


def holes_allowed(patch):
    patch.setattr("cup.services.serializer._core_folder.pairwise", lambda _: ())


PLANTED = [
    (no_sync, prove_by_crashes),
    (no_sync_of_headers, prove_by_crashes),
    (no_directory_sync, prove_by_crashes),
    (no_checksum, prove_by_flipped_bytes),
    (trusted_headers, prove_by_flipped_bytes),
    (trusted_lengths, prove_by_a_hostile_length),
    (no_lock, prove_by_a_second_writer),
    (no_truncation, prove_by_crashes),
    (no_rewrite, prove_by_two_crashes),
    (no_sync_of_what_is_kept, prove_by_crashes),
    (early_acknowledgement, prove_by_crashes),
    (retried_sync, prove_by_a_failed_sync),
    (no_poisoning, prove_by_a_failed_sync),
    (no_error_of_a_failed_sync, prove_by_a_failed_sync),
    (no_rolling_back, prove_by_a_failed_write),
    (no_size_limit, prove_by_a_large_record),
    (every_record_its_own_group, prove_by_reordered_sectors),
    (no_proof, prove_by_flipped_bytes),
    (batches_in_part, prove_by_half_a_batch),
    (holes_allowed, prove_by_a_missing_segment),
]


def run(proof, tmp_path):
    """Run a proof, in a folder if it wants one."""
    if proof is prove_by_a_hostile_length:
        proof(tmp_path)
    else:
        proof()


@pytest.mark.parametrize(
    "proof", dict.fromkeys(proof for _, proof in PLANTED), ids=lambda it: it.__name__
)
def test_log_passes(proof, tmp_path):
    run(proof, tmp_path)


@pytest.mark.parametrize(
    ("fault", "proof"), PLANTED, ids=[fault.__name__ for fault, _ in PLANTED]
)
def test_planted_fault_is_found(fault, proof, tmp_path, monkeypatch):
    fault(monkeypatch)
    with pytest.raises((AssertionError, LogError, pytest.fail.Exception)):
        run(proof, tmp_path)
