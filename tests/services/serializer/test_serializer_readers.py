"""Readers: in this process and in others, of logs that live and of logs that do not."""

import subprocess
import sys
import threading
import time

import anyio
import pytest
from serializer_tools import OPTIONS, PLACE, Gate, new_disk, payloads

from cup.errors import (
    CorruptRecord,
    InvalidType,
    LogClosed,
    RecordGone,
)
from cup.services.serializer import BUFFERED, AsyncLogReader, Log, LogReader
from cup.testing import available_colours

WRITER = """
import sys
from cup.services.serializer import Log
log = Log.open(sys.argv[1])
for line in sys.stdin:
    for word in line.split():
        log.append(word.encode())
    print(log.durable_id, flush=True)
"""


class Writer:
    """A process that appends the words it is told."""

    def __init__(self, place):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def write(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def writer(tmp_path):
    writer = Writer(tmp_path)
    yield writer
    writer.kill()


def test_another_process_reads_what_is_durable(tmp_path, writer):
    writer.write("a b c")
    with LogReader.open(tmp_path) as reader:
        assert payloads(reader) == [b"a", b"b", b"c"]
        assert reader.durable_id == 3
        writer.write("d")
        assert payloads(reader, 3) == [b"c", b"d"]
        writer.kill()
        assert payloads(reader) == [b"a", b"b", b"c", b"d"]
        assert [r.payload for r in reader.follow(2, timeout=0.01)] == [b"b", b"c", b"d"]


def test_follower_in_another_process_sees_it_soon(tmp_path, writer):
    writer.write("first")
    delays = []
    with LogReader.open(tmp_path) as reader:
        follower = reader.follow()
        assert next(follower).payload == b"first"
        for number in range(10):
            time.sleep(0.03)
            writer.write(f"w{number}")
            start = time.monotonic()
            assert next(follower).payload == b"w%d" % number
            delays.append(time.monotonic() - start)
    assert sorted(delays)[2] < 0.5  # 16 ms and what a busy machine adds


async def test_task_follows_another_process(tmp_path, writer, anyio_backend):
    await anyio.to_thread.run_sync(writer.write, "a b")
    seen = []
    async with await AsyncLogReader.open(tmp_path) as reader:
        async for record in reader.follow(timeout=5):
            seen.append(record.payload)
            if len(seen) == 2:
                await anyio.to_thread.run_sync(writer.write, "c")
            if len(seen) == 3:
                break
    assert seen == [b"a", b"b", b"c"]


def test_reader_of_a_living_log_sees_nothing_that_is_not_durable():
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, **OPTIONS)
    log.append(b"durable")
    gate = Gate(disk, times=1)
    thread = threading.Thread(target=log.append, args=[b"on its way"])
    thread.start()
    assert gate.entered.acquire(timeout=20)
    with LogReader.open(PLACE, disk=disk) as reader:
        assert b"on its way" in b"".join(disk.files().values())
        assert (payloads(reader), reader.durable_id) == ([b"durable"], 1)
        assert list(reader.follow(2, timeout=0)) == []
        gate.open()
        thread.join()
        assert payloads(reader) == [b"durable", b"on its way"]
    log.close()


def test_mark_that_is_just_being_written_takes_nothing_back(tmp_path):
    with Log.open(tmp_path) as log, LogReader.open(tmp_path) as reader:
        log.append(b"one")
        assert payloads(reader) == [b"one"]
        mark = (tmp_path / "durable").read_bytes()
        (tmp_path / "durable").write_bytes(mark[:-1] + b"x")
        assert (payloads(reader), reader.durable_id) == ([b"one"], 1)
        log.append(b"two")
        assert payloads(reader) == [b"one", b"two"]


def test_reader_of_a_dead_log_sees_what_is_whole():
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, **OPTIONS)
    log.append(b"one")
    log.append_many([b"two", b"three"])
    files = disk.files()
    log.close()
    [path] = [path for path in files if path.endswith(".seg")]
    torn = {**files, path: files[path][:-2]}
    reader = LogReader.open(PLACE, disk=new_disk(files=torn))
    with reader, pytest.raises(CorruptRecord, match="record 3 was durable"):
        payloads(reader)
    torn.pop(f"{PLACE}/durable")
    with LogReader.open(PLACE, disk=new_disk(files=torn)) as reader:
        assert payloads(reader) == [b"one"]  # half a batch is none


def test_reader_needs_a_directory(tmp_path):
    with LogReader.open(tmp_path) as reader:
        assert (payloads(reader), reader.first_id, reader.durable_id) == ([], 1, 0)
        assert reader.latest_checkpoint() is None
    with pytest.raises(FileNotFoundError):
        LogReader.open(tmp_path / "none").records()


def test_closed_reader_says_so(tmp_path):
    reader = LogReader.open(tmp_path)
    follower = reader.follow()
    reader.close()
    reader.close()
    assert list(follower) == []
    with pytest.raises(LogClosed):
        reader.records()
    assert "closed" in repr(reader)


def test_reading_starts_and_stops_where_it_is_told(tmp_path):
    with Log.open(tmp_path, segment_bytes=5000) as log:
        log.append_many([b"%d" % n for n in range(1, 1001)], durability=BUFFERED)
        for _ in range(9):
            log.append(bytes(1000))
        log.sync()
        assert log.stats().segments > 2
        for start, stop in [
            (1, 5),
            (500, 510),
            (999, 2000),
            (1005, None),
            (2000, None),
        ]:
            last = 1009 if stop is None else min(stop - 1, 1009)
            ids = [record.id for record in log.records(start, stop)]
            assert ids == [*range(start, last + 1)]
        assert [r.id for r in log.records(stop=3)] == [1, 2]
        with pytest.raises(InvalidType):
            log.records("1")


@pytest.mark.parametrize("number", [75, 95])
@pytest.mark.parametrize("closed", [True, False])
def test_index_leads_near_the_record(tmp_path, number, closed):
    """In a segment that is sealed, in the last one, and while it is written."""
    reads = []
    disk = CountingDisk(reads)
    log = Log.open(tmp_path, segment_bytes=4 << 20, preallocate=False, disk=disk)
    for _ in range(10):
        log.append_many([bytes(50_000)] * 10)
    log.append_many([bytes(50_000)] * 40)
    reader = log
    if closed:
        log.close()
        reader = LogReader.open(tmp_path, disk=disk)
    reads.clear()
    assert next(reader.records(number)).id == number
    assert sum(size for path, size in reads) < 2 << 20
    reader.close()


class CountingDisk:
    """The real disk, with an eye on what is read."""

    def __init__(self, reads):
        from cup._core.disk import OS_DISK

        self._disk = OS_DISK
        self._reads = reads

    def open(self, path, **options):
        return CountingFile(self._disk.open(path, **options), path, self._reads)

    def __getattr__(self, name):
        return getattr(self._disk, name)


class CountingFile:
    def __init__(self, file, path, reads):
        self._file = file
        self._path = path
        self._reads = reads

    def pread(self, size, offset):
        content = self._file.pread(size, offset)
        self._reads.append((self._path, len(content)))
        return content

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_reader_is_told_when_records_go_away(tmp_path):
    with Log.open(tmp_path, segment_bytes=300, preallocate=False) as log:
        for _ in range(20):
            log.append(bytes(100))
        records = log.records()
        assert next(records).id == 1
        log.purge(15)
        with pytest.raises(RecordGone, match="purged"):
            list(records)
        with pytest.raises(RecordGone):
            log.records(3)


def test_missing_segment_is_told(tmp_path):
    with Log.open(tmp_path, segment_bytes=300, preallocate=False) as log:
        for _ in range(9):
            log.append(bytes(100))
    paths = sorted(tmp_path.glob("*.seg"))
    paths[1].unlink()
    with pytest.raises(CorruptRecord, match="missing"):
        Log.open(tmp_path)
    with LogReader.open(tmp_path) as reader, pytest.raises(CorruptRecord):
        list(reader.records())


@pytest.fixture(params=available_colours(), ids=str)
def colour(request):
    return request.param


def test_follower_sees_what_comes_and_the_end(colour):
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, **OPTIONS)
    seen = []

    def follow():
        seen.extend(record.payload for record in log.follow())

    async def play():
        follower = threading.Thread(target=follow)
        follower.start()
        async with colour.actors(log, log.aio) as actors:
            a = actors.hire("a")
            for number in range(5):
                await a.call("append", b"%d" % number)
                await colour.until(lambda n=number: len(seen) == n + 1)
            await a.call("close")
        await colour.until(lambda: not follower.is_alive())

    colour.run(play)
    assert seen == [b"0", b"1", b"2", b"3", b"4"]


async def test_tasks_follow_in_one_loop(anyio_backend):
    disk = new_disk()
    log = await anyio.to_thread.run_sync(lambda: Log.open(PLACE, disk=disk, **OPTIONS))
    seen = [[], [], []]

    async def follow(into, start):
        async for record in log.aio.follow(start):
            into.append(record.id)

    async with anyio.create_task_group() as tasks:
        for number, into in enumerate(seen):
            tasks.start_soon(follow, into, number + 1)
        for _ in range(5):
            await log.aio.append(b"x")
        while not all(into and into[-1] == 5 for into in seen):
            await anyio.sleep(0.001)
        with anyio.move_on_after(0.01):
            async for _ in log.aio.follow(6):
                raise AssertionError
        assert [r.id async for r in log.aio.follow(5, timeout=0.001)] == [5]
        await log.aio.close()
    assert seen == [[1, 2, 3, 4, 5], [2, 3, 4, 5], [3, 4, 5]]


def test_follower_gives_up_in_time():
    log = Log.open(PLACE, disk=new_disk(), **OPTIONS)
    log.append(b"x")
    assert [r.id for r in log.follow(timeout=0.01)] == [1]
    assert [r.id for r in log.follow(2, timeout=0)] == []
    log.close()
    assert [r.id for r in log.follow()] == [1]


def test_slow_reader_of_a_purged_log_is_told():
    log = Log.open(PLACE, disk=new_disk(), segment_bytes=300, preallocate=False)
    follower = log.follow()
    for _ in range(5):
        log.append(bytes(100))
    assert next(follower).id == 1
    log.purge(log.next_id)
    with pytest.raises(RecordGone):
        list(follower)
    log.close()


async def test_a_reader_of_nothing_is_refused_at_once(tmp_path, anyio_backend):
    with pytest.raises(FileNotFoundError):
        LogReader.open(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        await AsyncLogReader.open(tmp_path / "none")
