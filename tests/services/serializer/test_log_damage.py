"""Damaged logs: every flipped byte is found, and a torn tail is no damage."""

import random
import tracemalloc

import pytest
from log_format_tools import FRAME, HEADER, forge, forge_header, parse

from cup.errors import (
    CorruptRecord,
    LogError,
    RecordTooLarge,
    TornTail,
    UnsupportedFormat,
)
from cup.services.serializer import BUFFERED, Log, LogReader, verify
from cup.testing import CrashDisk

SEGMENT = 1 << 18


def payload_of(number, size=900):
    return random.Random(number).randbytes(size)


def make_log(records, *, size=900, segment=SEGMENT, group=1, closed=True, disk=None):
    """Write a log, and give its files."""
    disk = disk or CrashDisk()
    log = Log.open("/log", disk=disk, segment_bytes=segment, preallocate=False)
    for first in range(1, records + 1, group):
        log.append_many([payload_of(n, size) for n in range(first, first + group)])
    log.checkpoint(b"the state")
    files = disk.files()
    log.close()
    return disk.files() if closed else files


def segments(files):
    return sorted(path for path in files if path.endswith(".seg"))


def read_all(files, *, write):
    """Read a log as a user does, and give its records and its checkpoint."""
    disk = CrashDisk(files)
    if write:
        with Log.open("/log", disk=disk, segment_bytes=SEGMENT) as log:
            return [*log.records()], log.latest_checkpoint()
    with LogReader.open("/log", disk=disk) as reader:
        return [*reader.records()], reader.latest_checkpoint()


def flipped(files, rng):
    """Damage one byte of all bytes that there are; tell where."""
    paths = sorted(path for path in files if files[path])
    [path] = rng.choices(paths, [len(files[path]) for path in paths])
    offset, mask = rng.randrange(len(files[path])), rng.randrange(1, 256)
    damaged = bytearray(files[path])
    damaged[offset] ^= mask
    return {**files, path: bytes(damaged)}, (path, offset, mask)


def silent_damages(files, count, seed, *, write):
    """Damage a log many times; give the damages that nobody was told about."""
    rng = random.Random(seed)
    expected = read_all(files, write=write)
    silent, told = [], 0
    for _ in range(count):
        damaged, where = flipped(files, rng)
        try:
            if read_all(damaged, write=write) != expected:
                silent.append(where)
        except LogError:
            told += 1
    return silent, told


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("write", [True, False])
def test_no_flipped_byte_is_silent(closed, write):
    files = make_log(70, closed=closed, segment=16384)
    silent, told = silent_damages(files, 500, 1, write=write)
    assert (silent, told > 450) == ([], True)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("write", [True, False])
def test_no_flipped_byte_of_many_is_silent(closed, write):
    files = make_log(1100, closed=closed)
    assert sum(map(len, files.values())) > 10**6
    silent, told = silent_damages(files, 25_000, 2, write=write)
    assert (silent, told > 24_900) == ([], True)


def test_verification_finds_every_flipped_byte():
    files = make_log(40, segment=16384)
    rng = random.Random(3)
    assert verify("/log", disk=CrashDisk(files)).ok
    for _ in range(300):
        damaged, where = flipped(files, rng)
        path, *_ = where
        if not path.endswith("LOCK"):  # for people, and not part of the log
            assert not verify("/log", disk=CrashDisk(damaged)).ok, where


# -- torn, or damaged ------------------------------------------------------------------

GROUP = 4


@pytest.fixture(scope="module")
def groups():
    """Give a log of three groups of four records, its file, and its frames.

    It was not closed, and its durable mark is lost: so the last group may be torn.
    """
    disk = CrashDisk()
    log = Log.open("/log", disk=disk, preallocate=False, segment_bytes=1 << 20)
    for group in range(3):
        for n in range(GROUP):
            log.append(payload_of(group * GROUP + n, 150), durability=BUFFERED)
        log.sync()
    files = disk.files()
    log.close()
    del files["/log/durable"]
    [path] = segments(files)
    frames = parse(files[path])
    assert [frame.id for frame in frames] == [*range(1, 13)]
    assert [frame.group for frame in frames] == [1] * 4 + [5] * 4 + [9] * 4
    return files, path, frames


def opened(files, **options):
    """Open a log for writing; give its payloads, and what was cut."""
    disk = CrashDisk(files)
    with Log.open("/log", disk=disk, preallocate=False, **options) as log:
        return [record.payload for record in log.records()], log.stats().cut_bytes


def with_content(groups, content):
    files, path, _ = groups
    return {**files, path: bytes(content)}


def test_tail_torn_at_any_byte_is_cut(groups):
    files, path, frames = groups
    content = files[path]
    for end in range(frames[8].offset, len(content)):
        kept = [frame.payload for frame in frames if frame.end <= end]
        found, cut = opened(with_content(groups, content[:end]))
        assert found == kept
        # Zeros at the end are no bytes of a tail.
        torn = content[frames[len(kept) - 1].end : end]
        assert cut == len(torn.rstrip(b"\0"))


@pytest.mark.parametrize("rest", ["zeros", "garbage", "older"])
def test_tail_that_is_something_else_is_cut(groups, rest):
    files, path, frames = groups
    content = files[path]
    noise = {
        "zeros": bytes(len(content)),
        "garbage": random.Random(4).randbytes(len(content)),
        "older": content[frames[0].offset - 3 :] + bytes(len(content)),
    }[rest]
    for end in range(frames[8].offset + 1, len(content), 7):
        size = len(content) - end
        torn = content[:end] + noise[:size]
        kept = [
            frame.payload
            for frame in frames
            if torn[: frame.end] == content[: frame.end]
        ]
        if rest == "older" and len(kept) < 12 and size >= 700:
            continue  # whole frames of the same log, elsewhere: no crash does that
        assert opened(with_content(groups, torn))[0] == kept


@pytest.mark.parametrize("lost", range(8, 12))
def test_sectors_of_one_group_may_come_in_any_order(groups, lost):
    """What follows the bad frame is whole, and proves nothing: it is the same group."""
    files, path, frames = groups
    content = bytearray(files[path])
    frame = frames[lost]
    for begin, end in [
        (frame.offset, frame.end),
        (frame.offset, frame.offset + 20),
        (frame.offset + 40, frame.offset + 90),
    ]:
        torn = content.copy()
        torn[begin:end] = bytes(end - begin)
        found, cut = opened(with_content(groups, torn))
        assert found == [frame.payload for frame in frames[:lost]]
        assert cut == len(torn.rstrip(b"\0")) - frame.offset or not any(
            torn[frame.offset :]
        )


@pytest.mark.parametrize("lost", range(8))
@pytest.mark.parametrize("write", [True, False])
def test_damage_before_the_last_group_is_an_error(groups, lost, write):
    files, path, frames = groups
    frame = frames[lost]
    for begin, end in [
        (frame.offset, frame.end),
        (frame.offset + 14, frame.offset + 16),
        (frame.end - 1, frame.end),
    ]:
        torn = bytearray(files[path])
        torn[begin:end] = bytes(byte ^ 0xFF for byte in torn[begin:end])
        damaged = with_content(groups, torn)
        disk = CrashDisk(damaged)
        with pytest.raises(CorruptRecord) as caught:
            read_all(damaged, write=write)
        assert not isinstance(caught.value, TornTail)
        assert caught.value.path == path
        assert caught.value.offset == frame.offset
        assert caught.value.record_id == frame.id
        assert path in str(caught.value)
        assert disk.files() == damaged


def test_damage_in_the_middle_and_a_torn_tail_are_told_apart(groups):
    files, path, frames = groups
    torn = bytearray(files[path][:-10])
    assert opened(with_content(groups, torn))[1] > 0
    torn[frames[6].offset + 50] ^= 1
    with pytest.raises(CorruptRecord) as caught:
        opened(with_content(groups, torn))
    assert caught.value.record_id == 7


def test_torn_tail_can_be_refused(groups):
    files, path, frames = groups
    torn = with_content(groups, files[path][:-10])
    disk = CrashDisk(torn)
    with pytest.raises(TornTail) as caught:
        Log.open("/log", disk=disk, on_torn="error")
    assert (caught.value.offset, caught.value.record_id) == (frames[11].offset, 12)
    assert disk.files()[path] == torn[path]


@pytest.mark.parametrize("cut", [1, 200, 1000])
def test_durable_mark_knows_what_is_missing(cut):
    whole = make_log(12, group=4, closed=False)
    [path] = segments(whole)
    damaged = {**whole, path: whole[path][:-cut]}
    for write in (True, False):
        with pytest.raises(CorruptRecord):
            read_all(damaged, write=write)


def test_tail_of_a_closed_log_is_not_torn(groups):
    whole = make_log(12, group=4)
    [path] = segments(whole)
    frames = parse(whole[path])
    assert frames[-1].control
    no_mark = {name: c for name, c in whole.items() if name != "/log/durable"}
    for frame in frames[8:12]:
        torn = bytearray(whole[path])
        torn[frame.offset + 50] ^= 1
        with pytest.raises(CorruptRecord):
            opened({**no_mark, path: bytes(torn)})


@pytest.mark.parametrize("lost", [0, 1, -1])
def test_missing_segment_is_an_error(lost):
    files = make_log(60, segment=16384)
    paths = segments(files)
    assert len(paths) > 3
    del files[paths[lost]]
    if lost == 0:  # purged, for all that anybody knows
        found, _ = read_all(files, write=True)
        assert found[0].id > 1
        return
    for write in (True, False):
        with pytest.raises(LogError):
            read_all(files, write=write)


@pytest.mark.parametrize("size", [0, 1, HEADER - 1])
def test_segment_without_a_header_is_an_error(size):
    files = make_log(60, segment=16384)
    path = segments(files)[-1]
    for write in (True, False):
        with pytest.raises(LogError):
            read_all({**files, path: files[path][:size]}, write=write)


def test_records_that_contain_a_log_confuse_nobody(groups):
    files, path, _ = groups
    disk = CrashDisk()
    log = Log.open("/log", disk=disk, preallocate=False)
    for _ in range(3):
        log.append(files[path])
    inner = disk.files()
    log.close()
    del inner["/log/durable"]
    [path] = segments(inner)
    *_, last = parse(inner[path])
    content = inner[path]
    found, cut = opened({**inner, path: content[: last.offset + 700]})
    assert (len(found), cut) == (2, 700)
    torn = bytearray(content)
    torn[last.offset + 2] ^= 1  # its header is bad, its payload full of good frames
    assert len(opened({**inner, path: bytes(torn)})[0]) == 2


# -- hostile files ---------------------------------------------------------------------


@pytest.mark.parametrize("length", [0xFFFFFFFF, 1 << 30, 100_000_000])
@pytest.mark.parametrize("write", [True, False])
def test_hostile_length_costs_no_memory(groups, length, write):
    files, path, frames = groups
    forged = with_content(groups, forge(files[path], frames[5].offset, length=length))
    tracemalloc.start()
    try:
        with pytest.raises(LogError):
            read_all(forged, write=write)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


def test_record_larger_than_allowed_is_refused():
    files = make_log(3, size=500_000, segment=1 << 21)
    reader = LogReader.open("/log", disk=CrashDisk(files), max_record=400_000)
    with reader, pytest.raises(RecordTooLarge, match="500000"):
        [*reader.records()]
    unsealed = make_log(3, size=500_000, segment=1 << 21, closed=False)
    with pytest.raises(RecordTooLarge, match="500000"):
        Log.open("/log", disk=CrashDisk(unsealed), max_record=400_000)


@pytest.mark.parametrize(
    ("place", "value", "good"),
    [
        (8, b"\x02\0", False),  # a later version
        (16, b"\x01\0\0\0", False),  # an incompatible feature
        (20, b"\x01\0\0\0", True),  # a compatible one
        (60, b"\x07", False),  # another checksum
    ],
)
@pytest.mark.parametrize("write", [True, False])
def test_header_of_the_future_is_refused_or_read(groups, place, value, good, write):
    files, path, _ = groups
    forged = with_content(groups, forge_header(files[path], place, value))
    if good:
        assert len(read_all(forged, write=write)[0]) == 12
        return
    with pytest.raises(UnsupportedFormat):
        read_all(forged, write=write)


def test_other_codec_is_refused_by_who_would_write(groups):
    files, path, _ = groups
    forged = with_content(groups, forge_header(files[path], 64, b"pickle"))
    with pytest.raises(UnsupportedFormat, match="pickle"):
        read_all(forged, write=True)
    assert len(read_all(forged, write=False)[0]) == 12  # as bytes, whatever they are


@pytest.mark.parametrize("optional", [0, 4])
def test_frame_of_the_future_is_skipped_or_refused(groups, optional):
    files, path, frames = groups
    content = files[path]
    start = frames[8].offset
    frame = content[start : frames[8].end]
    forged = forge(content[:HEADER] + frame, HEADER, kind=999, flags=2 | optional)
    content = content[:start] + forged[HEADER:] + content[start:]
    if optional:
        assert len(read_all(with_content(groups, content), write=True)[0]) == 12
        assert len(read_all(with_content(groups, content), write=False)[0]) == 12
        return
    for write in (True, False):
        with pytest.raises(UnsupportedFormat):
            read_all(with_content(groups, content), write=write)


def test_any_file_at_all_is_met_with_an_error():
    """Noise, cut files, files put together from others: never another exception."""
    rng = random.Random(5)
    whole = make_log(30, segment=8192)
    paths = segments(whole)
    for _ in range(300):
        files = dict(whole)
        for path in rng.sample(paths, 2):
            content = files[path]
            begin = rng.randrange(len(content))
            files[path] = rng.choice(
                [
                    rng.randbytes(rng.randrange(300)),
                    content[:begin],
                    content[begin:],
                    content[:begin] + whole[rng.choice(paths)][begin:],
                    content[:begin] + rng.randbytes(50) + content[begin + 50 :],
                    content + content[HEADER:],
                    content[: begin + FRAME] + content[begin:],
                ]
            )
        for write in (True, False):
            try:
                records, _ = read_all(files, write=write)
            except LogError:
                continue
            assert all(r.payload == payload_of(r.id) for r in records)


def test_foreign_files_and_drafts_do_not_matter(groups):
    files, _, _ = groups
    more = {
        "/log/notes.txt": b"mine",
        "/log/.hidden": b"",
        "/log/00000009-00000000000000000099.seg.tmp": b"half a header",
        "/log/1-1.seg": b"not a name of ours",
    }
    assert len(read_all({**files, **more}, write=False)[0]) == 12
    disk = CrashDisk({**files, **more})
    Log.open("/log", disk=disk).close()
    assert "/log/00000009-00000000000000000099.seg.tmp" not in disk.files()
    assert disk.files()["/log/notes.txt"] == b"mine"
