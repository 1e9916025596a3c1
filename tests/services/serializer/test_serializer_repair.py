"""Verifying and repairing: exact reports, and nothing given up that can be saved."""

import zlib

import anyio
import pytest
from log_format_tools import FRAME, parse
from serializer_tools import PLACE, new_disk, payloads

from cup.errors import CorruptRecord, LogLocked, UnsupportedFormat
from cup.services.serializer import Log, LogReader, aio, repair, verify

OPTIONS = {"preallocate": False, "segment_bytes": 500}


def make(count=20, **options):
    """Give a disk with a closed log of several segments."""
    disk = new_disk()
    with Log.open(PLACE, disk=disk, **{**OPTIONS, **options}) as log:
        for number in range(1, count + 1):
            log.append(b"record %d " % number * 5)
    return disk


def segments(disk):
    return sorted(path for path in disk.files() if path.endswith(".seg"))


def frames(disk, path):
    return [f for f in parse(disk.files()[path]) if not f.control]


def without(disk, *paths):
    return new_disk(files={k: v for k, v in disk.files().items() if k not in paths})


def check_repaired(disk, lost, count=20):
    """See that all is there but what is lost, and that the log goes on."""
    assert verify(PLACE, disk=disk).ok
    with Log.open(PLACE, disk=disk, **OPTIONS) as log:
        found = {record.id: record.payload for record in log.records()}
        assert found == {
            n: b"record %d " % n * 5 for n in range(1, count + 1) if n not in lost
        }
        assert log.append(b"next") == count + 1
        for number in sorted({1, *lost}):
            if number >= log.first_id:
                [*_] = log.records(number)
    assert verify(PLACE, disk=disk).ok


def test_good_log_is_good():
    disk = make()
    told = []
    report = verify(PLACE, disk=disk, progress=lambda *of: told.append(of))
    assert (report.ok, report.records, report.lost, report.torn_bytes) == (
        True,
        20,
        0,
        0,
    )
    assert (report.first_id, report.next_id, report.live) == (1, 21, False)
    assert report.segments == len(segments(disk)) > 2
    assert report.size == sum(len(b"record %d " % n * 5) for n in range(1, 21))
    assert told[-1][0] == told[-1][1] == sum(disk.size(p) for p in segments(disk))
    before = disk.files()
    report = repair(PLACE, disk=disk)
    assert (report.lost, report.rebuilt, report.quarantined) == (0, (), ())
    assert {p: c for p, c in disk.files().items() if not p.endswith("LOCK")} == {
        p: c for p, c in before.items() if not p.endswith("LOCK")
    }


def test_living_log_is_verified_up_to_what_is_durable():
    disk = new_disk()
    with Log.open(PLACE, disk=disk, **OPTIONS) as log:
        log.append(b"x")
        report = verify(PLACE, disk=disk)
        assert (report.ok, report.live, report.next_id) == (True, True, 2)
        with pytest.raises(LogLocked):
            repair(PLACE, disk=disk)


@pytest.mark.parametrize("number", [1, 7, 8, 20])
@pytest.mark.parametrize("header", [True, False])
def test_damaged_record_is_named_and_the_others_are_saved(number, header):
    disk = make()
    for path in segments(disk):
        for frame in frames(disk, path):
            if frame.id == number:
                where = path, frame
    path, frame = where
    damaged = disk.files()[path]
    disk.damage(path, frame.offset + (5 if header else FRAME + 3))
    [finding] = verify(PLACE, disk=disk).findings
    assert (finding.kind, finding.path, finding.lost) == ("damage", path, 1)
    assert (finding.first_id, finding.stop_id) == (number, number + 1)
    assert (finding.offset, finding.size) == (frame.offset, frame.end - frame.offset)
    with LogReader.open(PLACE, disk=disk) as reader:
        with pytest.raises(CorruptRecord) as caught:
            list(reader.records())
        assert (caught.value.path, caught.value.offset, caught.value.record_id) == (
            path,
            frame.offset,
            number,
        )
    with pytest.raises(CorruptRecord, match="salvage=True"):
        repair(PLACE, disk=disk)
    report = repair(PLACE, disk=disk, salvage=True)
    assert (report.findings, report.lost) == ((finding,), 1)
    assert report.rebuilt == (path,)
    [aside] = report.quarantined
    assert len(disk.files()[aside]) == len(damaged)
    check_repaired(disk, {number})


def test_damage_in_several_places_is_reported_piece_by_piece():
    disk = make()
    wanted = [3, 4, 9, 15]
    for path in segments(disk):
        for frame in frames(disk, path):
            if frame.id in wanted:
                disk.damage(path, frame.offset + FRAME)
    report = repair(PLACE, disk=disk, salvage=True)
    assert [f.first_id for f in report.findings] == wanted
    assert report.lost == 4
    check_repaired(disk, {*wanted})


def test_missing_segment_is_replaced_by_one_that_skips():
    disk = make()
    paths = segments(disk)
    lost = {f.id for path in paths[1:3] for f in frames(disk, path)}
    disk = without(disk, *paths[1:3])
    [finding] = verify(PLACE, disk=disk).findings
    assert finding.kind == "missing"
    assert {*range(finding.first_id, finding.stop_id)} == lost
    report = repair(PLACE, disk=disk, salvage=True)
    assert report.lost == len(lost)
    assert segments(disk)[:1] == paths[:1]
    assert [p[:14] for p in segments(disk)] == [p[:14] for p in paths]
    check_repaired(disk, lost)


def test_missing_last_segment_is_known_by_the_mark():
    disk = make()
    paths = segments(disk)
    lost = {f.id for f in frames(disk, paths[-1])}
    disk = without(disk, paths[-1])
    [finding] = verify(PLACE, disk=disk).findings
    assert (finding.kind, finding.lost) == ("missing", len(lost))
    with pytest.raises(CorruptRecord):
        Log.open(PLACE, disk=disk)
    repair(PLACE, disk=disk, salvage=True)
    check_repaired(disk, lost)


def test_all_segments_missing_leaves_an_empty_log_with_new_ids():
    disk = make()
    disk = without(disk, *segments(disk))
    with pytest.raises(CorruptRecord, match="no segments"):
        Log.open(PLACE, disk=disk)
    assert verify(PLACE, disk=disk).lost == 20
    repair(PLACE, disk=disk, salvage=True)
    with Log.open(PLACE, disk=disk) as log:
        assert (payloads(log), log.append(b"x")) == ([], 21)


def test_header_that_is_damaged_costs_nothing_if_its_salt_is_right():
    disk = make()
    path = segments(disk)[1]
    disk.damage(path, 30)
    [finding] = verify(PLACE, disk=disk).findings
    assert (finding.kind, finding.lost) == ("header", 0)
    reader = LogReader.open(PLACE, disk=disk)
    with reader, pytest.raises(CorruptRecord, match="header"):
        list(reader.records())
    report = repair(PLACE, disk=disk)  # it costs nothing
    assert (report.lost, report.rebuilt) == (0, (path,))
    check_repaired(disk, set())


def test_header_whose_salt_is_damaged_costs_its_segment():
    disk = make()
    path = segments(disk)[1]
    lost = {f.id for f in frames(disk, path)}
    disk.damage(path, 57)
    [finding] = verify(PLACE, disk=disk).findings
    assert (finding.kind, finding.lost) == ("header", len(lost))
    with pytest.raises(CorruptRecord):
        repair(PLACE, disk=disk)
    repair(PLACE, disk=disk, salvage=True)
    check_repaired(disk, lost)


def test_helpers_are_renewed_without_loss():
    disk = make()
    first, *_, last = segments(disk)
    with Log.open(PLACE, disk=disk) as log:
        log.checkpoint(b"good", 5)
        log.checkpoint(b"damaged", 6)
    disk.damage(first, disk.size(first) - 60)  # the index
    disk.damage(f"{PLACE}/{6:020d}.checkpoint", 3)
    disk.damage(f"{PLACE}/durable", 9)
    disk.damage(last, disk.size(last) - 1)  # the seal
    report = verify(PLACE, disk=disk)
    kinds = sorted(finding.kind for finding in report.findings)
    assert (kinds, report.lost) == (["checkpoint", "index", "mark", "torn"], 0)
    with LogReader.open(PLACE, disk=disk) as reader:
        assert len(payloads(reader)) == 20
    report = repair(PLACE, disk=disk)
    assert report.lost == 0
    check_repaired(disk, set())
    with Log.open(PLACE, disk=disk) as log:
        assert log.latest_checkpoint().state == b"good"


def test_seal_of_a_segment_with_a_successor_is_renewed():
    disk = make()
    first, *_ = segments(disk)
    disk.damage(first, disk.size(first) - 1)
    [finding] = verify(PLACE, disk=disk).findings
    assert (finding.kind, finding.lost) == ("seal", 0)
    repair(PLACE, disk=disk)
    check_repaired(disk, set())


def test_segment_that_was_cut_short_is_damage():
    disk = make()
    first, *_ = segments(disk)
    *_, last = frames(disk, first)
    content = disk.files()[first][: last.offset]
    disk = new_disk(files={**disk.files(), first: content})
    [finding] = verify(PLACE, disk=disk).findings
    assert (finding.first_id, finding.stop_id) == (last.id, last.id + 1)
    with LogReader.open(PLACE, disk=disk) as reader, pytest.raises(CorruptRecord):
        list(reader.records())
    repair(PLACE, disk=disk, salvage=True)
    check_repaired(disk, {last.id})


def test_torn_tail_is_no_loss():
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, **OPTIONS)
    log.append(b"whole")
    log.append_many([b"torn", b"torn, too"])
    files = disk.files()
    log.close()
    [path] = [path for path in files if path.endswith(".seg")]
    files.pop(f"{PLACE}/durable")
    files[path] = files[path][:-1]
    disk = new_disk(files=files)
    report = verify(PLACE, disk=disk)
    [finding] = report.findings
    assert (finding.kind, finding.first_id, finding.lost) == ("torn", 2, 0)
    assert report.torn_bytes == finding.size == len(files[path]) - finding.offset
    assert (report.records, report.next_id) == (1, 2)
    report = repair(PLACE, disk=disk)
    assert (report.lost, report.next_id) == (0, 2)
    assert verify(PLACE, disk=disk).ok


def test_repair_can_be_interrupted_at_any_step():
    disk = make()
    paths = segments(disk)
    [frame, *_] = [f for f in frames(disk, paths[0]) if f.id == 2]
    disk.damage(paths[0], frame.offset + 9)
    lost = {2, *(f.id for f in frames(disk, paths[2]))}
    disk = without(disk, paths[2])
    repair(PLACE, disk=disk, salvage=True)
    states = [*disk.crash_states(kinds=["lost", "kept", "mixed"])]
    assert len(states) > 10
    for state in states[:: max(1, len(states) // 60)]:
        survivor = state.mount()
        repair(PLACE, disk=survivor, salvage=True)
        check_repaired(survivor, lost)


def test_later_version_is_left_alone():
    disk = make()
    first, *_ = segments(disk)
    content = disk.files()[first]
    later = content[:8] + b"\x02" + content[9:12] + bytes(4) + content[16:128]
    crc = zlib.crc32(later).to_bytes(4, "little")
    later = later[:12] + crc + later[16:] + content[128:]
    disk = new_disk(files={**disk.files(), first: later})
    for check in (verify, repair):
        with pytest.raises(UnsupportedFormat, match="version 2"):
            check(PLACE, disk=disk)


async def test_tasks_verify_and_repair(anyio_backend):
    disk = await anyio.to_thread.run_sync(make)
    path = segments(disk)[0]
    disk.damage(path, frames(disk, path)[0].offset + FRAME)
    report = await aio.verify(PLACE, disk=disk)
    assert report.lost == 1
    report = await aio.repair(PLACE, disk=disk, salvage=True)
    assert report.lost == 1
    assert (await aio.verify(PLACE, disk=disk)).ok


def test_there_must_be_a_log(tmp_path):
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        repair(tmp_path / "none")
    assert verify(tmp_path).ok
