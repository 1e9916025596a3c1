"""The log under its older names, in threads and in tasks."""

import inspect

import anyio
import pytest
from log_format_tools import FRAME, parse

from cup.errors import CorruptRecord, LogClosed, LogLocked, RecordGone, TornTail
from cup.services.serializer import (
    LOG_MOD_ADD,
    LOG_MOD_DEL,
    LOG_MOD_SET,
    LOGFILE_BAD_RECORD,
    LOGFILE_EOF,
    LOGFILE_GOOD,
    AsyncLocalFileSerilizer,
    LocalFileSerilizer,
    Log,
    LogRecord,
)
from cup.testing import available_colours


@pytest.fixture(params=available_colours(), ids=str)
def colour(request):
    return request.param


class Both:
    """One serializer of the colour, as an actor."""

    def __init__(self, colour, place, **options):
        self.sync = LocalFileSerilizer(place, **options)
        self.aio = AsyncLocalFileSerilizer(place, **options)
        self.stage = colour.actors(self.sync, self.aio)


def play(colour, place, main, **options):
    async def run():
        both = Both(colour, place, **options)
        async with both.stage as actors:
            actor = actors.hire("a")
            await main(actor)
            await actor.call("close_write")

    colour.run(run)


def test_constants_are_as_ever():
    assert (LOGFILE_GOOD, LOGFILE_EOF, LOGFILE_BAD_RECORD) == (0, 1, 2)
    assert (LOG_MOD_ADD, LOG_MOD_SET, LOG_MOD_DEL) == (0, 1, 3)
    assert LogRecord._fields == (
        "length",
        "log_id",
        "log_type",
        "log_mode",
        "log_binary",
    )


def test_signatures_are_as_ever():
    for kind in (LocalFileSerilizer, AsyncLocalFileSerilizer):
        parameters = inspect.signature(kind).parameters.values()
        assert [(p.name, p.default) for p in parameters][1:] == [
            ("skip_badlog", False),
            ("max_logfile_size", 1024 * 1024),
            ("persist_after_sec", 600),
        ]


def test_records_are_read_back_under_their_ids(colour, tmp_path):
    async def main(log):
        assert await log.call("open4read") is False
        assert await log.call("is_empty") is True
        assert await log.call("open4write") is None
        assert await log.call("is_empty") is True
        assert await log.call("add_log", 1, LOG_MOD_ADD, b"one") == (True, 1)
        assert await log.call("add_log", 65535, LOG_MOD_DEL, b"") == (True, 2)
        assert await log.call("is_empty") is False
        assert await log.call("open4read") is True
        assert await log.call("read") == [
            LogRecord(3, 1, 1, LOG_MOD_ADD, b"one"),
            LogRecord(0, 2, 65535, LOG_MOD_DEL, b""),
        ]
        assert await log.call("read") == []
        assert await log.call("add_log", 1, LOG_MOD_SET, b"three") == (True, 3)
        assert await log.call("read", 5) == [LogRecord(5, 3, 1, LOG_MOD_SET, b"three")]
        await log.call("close_read")
        await log.call("close_read")
        with pytest.raises(LogClosed):
            await log.call("read")

    play(colour, tmp_path, main)


def test_reading_begins_where_it_is_told(colour, tmp_path):
    async def main(log):
        await log.call("open4write")
        for number in range(10):
            await log.call("add_log", 1, 0, bytes([number]))
        assert await log.call("open4read", 4) is True
        assert [r.log_id for r in await log.call("read", 3)] == [4, 5, 6]
        assert [r.log_id for r in await log.call("read", 3)] == [7, 8, 9]
        assert [r.log_id for r in await log.call("read", 3)] == [10]
        assert await log.call("open4read", 12) is True  # not yet
        assert await log.call("read") == []
        await log.call("add_log", 1, 0, b"11")
        assert await log.call("read") == []
        await log.call("add_log", 1, 0, b"12")
        assert [r.log_id for r in await log.call("read")] == [12]
        with pytest.raises(RecordGone):
            await log.call("open4read", 0)
        with pytest.raises(ValueError):
            await log.call("open4read", -2)
        with pytest.raises(TypeError):
            await log.call("open4read", "1")
        with pytest.raises(TypeError):
            await log.call("read", "1")

    play(colour, tmp_path, main)


def test_wrong_arguments_are_refused(colour, tmp_path):
    async def main(log):
        assert await log.call("add_log", 1, 0, b"not open") == (False, None)
        await log.call("open4write")
        for wrong in [(65536, 0, b""), (-1, 0, b""), (1, 256, b"")]:
            with pytest.raises(ValueError):
                await log.call("add_log", *wrong)
        for wrong in [("1", 0, b""), (1, None, b""), (1, 0, "text"), (1, 0, None)]:
            with pytest.raises(TypeError):
                await log.call("add_log", *wrong)
        with pytest.raises(ValueError):
            await log.call("purge_data", -1)
        assert await log.call("is_empty") is True

    play(colour, tmp_path, main)


def test_files_are_purged_and_ids_go_on(colour, tmp_path):
    async def main(log):
        await log.call("open4write")
        for _ in range(10):
            await log.call("add_log", 1, 0, bytes(1000))
        report = await log.call("purge_data", 8)
        assert 1 < report.first_id <= 8
        await log.call("open4read")
        assert [r.log_id for r in await log.call("read")] == [
            *range(report.first_id, 11)
        ]
        await log.call("close_write")
        await log.call("purge_data", 11)  # not open: it is opened for that
        assert await log.call("is_empty") is True
        await log.call("open4write")
        assert await log.call("add_log", 1, 0, b"") == (True, 11)
        await log.call("set_current_logid", 100)
        assert await log.call("add_log", 1, 0, b"") == (True, 100)
        with pytest.raises(ValueError):
            await log.call("set_current_logid", 99)

    play(colour, tmp_path, main, max_logfile_size=4096)


def test_old_files_are_finished(colour, tmp_path):
    async def main(log):
        await log.call("open4write")
        for _ in range(3):
            await log.call("add_log", 1, 0, b"x")
        assert len(list(tmp_path.glob("*.seg"))) == 3
        await log.call("open4read")
        assert len(await log.call("read")) == 3

    play(colour, tmp_path, main, persist_after_sec=0)


def test_second_writer_is_refused(colour, tmp_path):
    async def main(log):
        with Log.open(tmp_path):
            with pytest.raises(LogLocked):
                await log.call("open4write")
            assert await log.call("add_log", 1, 0, b"") == (False, None)
        await log.call("open4write")
        await log.call("open4write")  # its own, and twice does no harm
        await log.call("close_write")
        with pytest.raises(LogClosed):
            await log.call("set_current_logid", 5)

    play(colour, tmp_path, main)


def damage(place, *numbers, cut=False):
    """Damage records of a log that is closed, or cut it off there."""
    for path in place.glob("*.seg"):
        content = path.read_bytes()
        changed = bytearray(content)
        for frame in parse(content):
            if frame.id in numbers and not frame.control:
                at = frame.offset + FRAME
                changed[at] ^= 1
                if cut:
                    del changed[at:]
        path.write_bytes(changed)


def test_damage_is_skipped_on_request_and_told(colour, tmp_path):
    with Log.open(tmp_path, segment_bytes=300, preallocate=False) as log:
        for number in range(1, 13):
            log.append(b"record %d" % number)
    damage(tmp_path, 5, 6, 12)

    async def strict(log):
        await log.call("open4read")
        with pytest.raises(CorruptRecord) as caught:
            await log.call("read")
        assert caught.value.record_id in (5, 12)

    play(colour, tmp_path, strict)

    async def lenient(log):
        await log.call("open4read", 2)
        found = [r.log_id for r in await log.call("read", 3)]
        found += [r.log_id for r in await log.call("read")]
        assert found == [2, 3, 4, 7, 8, 9, 10, 11]
        assert await log.call("read") == []

    async def run():
        both = Both(colour, tmp_path, skip_badlog=True)
        async with both.stage as actors:
            await lenient(actors.hire("a"))
        lost = both.sync.lost or both.aio.lost
        assert [(f.first_id, f.stop_id) for f in lost] == [(5, 6), (6, 7), (12, 13)]

    colour.run(run)


def test_torn_tail_is_cut_or_refused(colour, tmp_path):
    with Log.open(tmp_path, preallocate=False) as log:
        log.append(b"whole")
        log.append(b"torn")
    damage(tmp_path, 2, cut=True)
    (tmp_path / "durable").unlink()
    [path] = tmp_path.glob("*.seg")
    before = path.read_bytes()

    async def main(log):
        with pytest.raises(TornTail):
            await log.call("open4write", False)
        assert path.read_bytes() == before
        await log.call("open4write")
        assert await log.call("add_log", 1, 0, b"new") == (True, 2)

    play(colour, tmp_path, main)


def test_small_things(tmp_path):
    log = LocalFileSerilizer(tmp_path)
    log.set_name("mine")
    assert "mine" in repr(log)
    assert not log.is_stream_wbopen()
    assert log.lost == ()
    with log:
        log.open4write()
        assert log.is_stream_wbopen()
        assert "open for writing" in repr(log)
    assert not log.is_stream_wbopen()
    with pytest.raises(TypeError):
        LocalFileSerilizer(tmp_path, max_logfile_size="1")
    with pytest.raises(TypeError):
        LocalFileSerilizer(tmp_path, persist_after_sec="1")
    with pytest.raises(TypeError):
        LocalFileSerilizer(5)


async def test_many_tasks_share_syncs(tmp_path, anyio_backend):
    log = AsyncLocalFileSerilizer(tmp_path)
    async with log:
        await log.open4write()
        ids = []

        async def add():
            done, number = await log.add_log(1, 0, b"x")
            assert done
            ids.append(number)

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(add)
        assert sorted(ids) == [*range(1, 101)]
        assert log._core.log.stats().groups < 20


@pytest.mark.parametrize("face", [LocalFileSerilizer, AsyncLocalFileSerilizer])
def test_a_name_is_a_text(tmp_path, face):
    log = face(tmp_path)
    with pytest.raises(TypeError):
        log.set_name(5)
    log.set_name("mine")
    assert "mine" in repr(log)


def test_files_may_be_open_for_ever(tmp_path):
    log = LocalFileSerilizer(tmp_path, persist_after_sec=None)
    with log:
        log.open4write()
        assert log.add_log(1, 0, b"x") == (True, 1)
        assert log.add_log(1, 0, b"y") == (True, 2)
        assert log._core.log.stats().segments == 1
