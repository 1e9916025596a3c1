"""The format: golden files of version 1, checksums, frames, hostile content."""

import shutil
import struct
import tracemalloc
import zlib
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from log_format_tools import parse
from serializer_tools import PLACE, new_disk

from cup.errors import (
    CorruptRecord,
    InvalidValue,
    LogError,
    MissingExtra,
    RecordTooLarge,
    UnsupportedFormat,
    WriteFailed,
)
from cup.services.serializer import Log, LogReader, _core_checksum, verify
from cup.services.serializer._core_checksum import crc32c_by_table
from cup.services.serializer._core_format import HEADER_SIZE, SegmentHeader

GOLDEN = Path(__file__).parent / "golden"
RECORDS = [
    (1, b"first", 1, 1),
    (2, b"batch one", 0, 0),
    (3, b"batch two", 0, 0),
    (4, b"batch three", 0, 0),
    (5, b"", 65535, 255),
    (6, bytes(range(256)), 2, 3),
    (1000, b"after a skip", 0, 0),
    (1001, b"after a seal", 0, 0),
]


def rows(records):
    return [(r.id, r.payload, r.type, r.mode) for r in records]


@pytest.mark.parametrize("name", ["crc32", "crc32c"])
def test_golden_files_are_read(name):
    with LogReader.open(GOLDEN / name) as reader:
        assert rows(reader.records()) == RECORDS
        assert rows(reader.records(3, 1000)) == RECORDS[2:6]
        assert (reader.first_id, reader.durable_id) == (1, 1001)
        checkpoint = reader.latest_checkpoint()
        assert (checkpoint.at_id, checkpoint.state) == (4, b"a state")
    report = verify(GOLDEN / name)
    assert (report.ok, report.records, report.next_id) == (True, 8, 1002)


def test_golden_repaired_file_is_read():
    with LogReader.open(GOLDEN / "repaired") as reader:
        kept = [(1, b"kept", 0, 0), (3, b"kept, too", 0, 0)]
        assert rows(reader.records()) == kept
    assert verify(GOLDEN / "repaired").next_id == 4


@pytest.mark.parametrize("name", ["crc32", "crc32c"])
def test_golden_files_are_written_on(name, tmp_path):
    place = shutil.copytree(GOLDEN / name, tmp_path / "log")
    with Log.open(place) as log:
        assert log.append(b"new") == 1002
        assert rows(log.records()) == [*RECORDS, (1002, b"new", 0, 0)]
    assert verify(place).ok


def test_golden_files_are_as_the_description_says():
    [*_, last] = sorted((GOLDEN / "crc32").glob("*.seg"))
    kinds = [(f.id, f.control, f.type, f.payload) for f in parse(last.read_bytes())]
    assert kinds == [
        (1000, False, 0, b"after a skip"),
        (1001, True, 1, bytes(8)),
        (1001, False, 0, b"after a seal"),
        (1002, True, 1, bytes(8)),
    ]


def test_crc32c_can_be_read_without_its_package(monkeypatch):
    monkeypatch.setattr(_core_checksum, "_hardware", lambda: None)
    with LogReader.open(GOLDEN / "crc32c") as reader:
        assert rows(reader.records()) == RECORDS
    assert _core_checksum.number_of("auto") == _core_checksum.CRC32
    with pytest.raises(MissingExtra, match="pip install crc32c"):
        _core_checksum.number_of("crc32c")
    with pytest.raises(InvalidValue, match="md5"):
        _core_checksum.number_of("md5")


def test_crc32c_is_that_of_the_standard():
    # RFC 3720, B.4
    assert crc32c_by_table(bytes(32)) == 0x8A9136AA
    assert crc32c_by_table(bytes(range(32))) == 0x46DD794E
    assert crc32c_by_table(b"123456789") == 0xE3069283


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_both_ways_to_crc32c_agree(content, start):
    package = pytest.importorskip("crc32c")
    assert crc32c_by_table(content, start) == package.crc32c(content, start)


ids = st.integers(0, 2**64 - 1)
headers = st.builds(
    SegmentHeader,
    serial=ids,
    first_id=ids,
    follows=ids,
    created=ids,
    salt=st.integers(0, 2**32 - 1),
    checksum=st.sampled_from([0, 1]),
    codec=st.text("abcz09-", max_size=16),
)


@given(headers)
def test_header_survives_its_bytes(header):
    content = header.encode()
    assert len(content) == HEADER_SIZE
    assert SegmentHeader.decode(content, "x") == header
    assert SegmentHeader.decode(content[:-1], "x") is None


@given(headers, st.integers(0, HEADER_SIZE - 1), st.integers(1, 255))
def test_no_damaged_header_is_taken_for_a_good_one(header, at, mask):
    content = bytearray(header.encode())
    content[at] ^= mask
    assert SegmentHeader.decode(bytes(content), "x") is None


entry = st.tuples(st.binary(max_size=200), st.integers(0, 65535), st.integers(0, 255))


@given(st.lists(st.lists(entry, min_size=1, max_size=6), max_size=8))
def test_another_reader_of_the_format_agrees(batches):
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, preallocate=False)
    for batch in batches:
        log.append_entries(batch)
    log.close()
    [content] = [c for path, c in disk.files().items() if path.endswith(".seg")]
    *frames, seal = parse(content)
    assert (seal.control, seal.id) == (True, len(frames) + 1)
    assert [(f.payload, f.type, f.mode) for f in frames] == [*chain(*batches)]
    assert [f.id for f in frames] == [*range(1, len(frames) + 1)]
    more = [bool(f.flags & 1) for f in frames]
    assert more == [n < len(b) for b in batches for n in range(1, len(b) + 1)]
    groups = [len(batch) for batch in batches for _ in batch]
    assert len({f.group for f in frames}) == len(batches) or not groups


# Content that means harm


def test_length_is_not_trusted(tmp_path):
    """A file of a few hundred bytes that speaks of gigabytes costs no memory."""
    log = Log.open(tmp_path, preallocate=False, checksum="crc32")
    log.append(b"good")
    log.append(b"evil")
    log.close()
    [path] = tmp_path.glob("*.seg")
    content = path.read_bytes()
    frame = parse(content)[1]
    salt = struct.unpack_from("<I", content, 56)[0]
    body = bytearray(content[frame.offset + 8 : frame.offset + 32])
    body[4:8] = (0xFFFFFFF0).to_bytes(4, "little")
    code = zlib.crc32(bytes(body), salt).to_bytes(4, "little")
    at = frame.offset + 4
    path.write_bytes(content[:at] + code + bytes(body) + content[frame.offset + 32 :])
    with path.open("r+b") as file:
        file.truncate(1 << 33)  # sparse: the length fits into the file
    tracemalloc.start()
    try:
        with pytest.raises(RecordTooLarge, match="max_record=4294967280"):
            Log.open(tmp_path)
        with LogReader.open(tmp_path) as reader, pytest.raises(RecordTooLarge):
            list(reader.records())
        with path.open("r+b") as file:
            file.truncate(len(content))  # and now it does not
        with pytest.raises(LogError):
            Log.open(tmp_path, max_record=0xFFFFFFFF)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_log_in_a_log_is_not_taken_for_it():
    """Payloads that are segments themselves do not confuse the search for frames."""
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, preallocate=False)
    for number in range(5):
        log.append(b"%d" % number)
    [content] = [c for path, c in disk.files().items() if path.endswith(".seg")]
    log.append(content)
    log.append(b"torn")
    [path] = [path for path in disk.files() if path.endswith(".seg")]
    files = disk.files()
    files.pop(f"{PLACE}/durable")
    log.close()
    last = parse(files[path])[-1]
    files[path] = files[path][: last.offset + 10]
    torn = new_disk(files=files)
    log = Log.open(PLACE, disk=torn, preallocate=False)
    assert [r.payload for r in log.records()][-1] == content
    assert log.next_id == 7
    log.close()


@given(st.binary(max_size=400))
def test_garbage_is_refused_or_cut(content):
    """Whatever a segment contains, a log either refuses it or has what is whole."""
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, preallocate=False)
    log.append(b"good")
    files = disk.files()
    log.close()
    [path] = [path for path in files if path.endswith(".seg")]
    for changed in (content, files[path] + content):
        place = new_disk(files={**files, path: changed})
        try:
            log = Log.open(PLACE, disk=place)
        except (CorruptRecord, UnsupportedFormat):
            continue
        assert [r.payload for r in log.records()] == [b"good"]
        log.close()


def test_ids_of_64_bits_are_read_and_never_go_round(tmp_path):
    with Log.open(tmp_path) as log:
        log.skip_to((1 << 63) - 1)
        assert [log.append(b"x") for _ in range(3)] == [
            (1 << 63) - 1,
            1 << 63,
            (1 << 63) + 1,
        ]
        assert [record.id for record in log.records(1 << 63)] == [
            1 << 63,
            (1 << 63) + 1,
        ]
        with pytest.raises(InvalidValue):
            log.skip_to((1 << 63) + 5)  # so that they last
    with Log.open(tmp_path) as log:  # it comes to an end
        assert log.next_id == (1 << 63) + 2
    assert verify(tmp_path).ok


def test_a_header_with_the_last_id_there_is(tmp_path):
    last = (1 << 64) - 1
    with Log.open(tmp_path) as log:
        core = log._core
        core.committer.exclusively(lambda: core.writer.rotate(last))
        core.committer.renumber()
        for _ in range(2):
            with pytest.raises(WriteFailed, match="used up"):
                log.append(b"x")
    with Log.open(tmp_path) as log:
        assert log.next_id == last
        assert [*log.records()] == []
    assert verify(tmp_path).next_id == last


def test_a_log_without_a_directory_is_refused():
    for kind in (Log, LogReader):
        with pytest.raises(InvalidValue, match="directory"):
            kind.open("")
