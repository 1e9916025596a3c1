"""What other libraries read from our identifiers, and we from theirs."""

import time
import uuid

import pytest

from cup.services.generator import (
    TWITTER,
    CachedUUID,
    SnowflakeGenerator,
    StaticWorker,
    ULIDGenerator,
    UUID7Generator,
)


def test_uuid_of_the_standard_library_reads_ours():
    made = uuid.UUID(CachedUUID().get_uuid()[0])
    assert abs((made.time - 0x01B21DD213814000) / 1e7 - time.time()) < 60
    seven = UUID7Generator().next_id()
    if hasattr(uuid, "uuid7"):
        assert abs(seven.time / 1000 - time.time()) < 60
    assert UUID7Generator().parse(uuid.UUID(seven.hex)).number == seven.int


def test_python_ulid_reads_ours_and_we_theirs():
    ulid = pytest.importorskip("ulid")
    ids = ULIDGenerator()
    for text in ids.next_ids(200):
        theirs = ulid.ULID.from_str(text)
        told = ids.parse(text)
        assert str(theirs) == text
        assert int(theirs) == told.number
        assert theirs.milliseconds == round(told.time.timestamp() * 1000)
    theirs = ulid.ULID()
    told = ids.parse(str(theirs))
    assert told.number == int(theirs)
    assert told.time.timestamp() == pytest.approx(theirs.timestamp, abs=0.001)


def test_snowflake_id_reads_ours_and_we_theirs(tmp_path):
    snowflake = pytest.importorskip("snowflake")
    ids = SnowflakeGenerator(StaticWorker(77, directory=tmp_path))
    epoch = TWITTER.first_tick
    for number in ids.next_ids(200):
        told = ids.parse(number)
        theirs = snowflake.Snowflake.parse(number, epoch)
        assert (
            (theirs.instance, theirs.seq)
            == (told.worker, told.sequence)
            == (
                77,
                told.sequence,
            )
        )
        assert theirs.milliseconds == round(told.time.timestamp() * 1000)
    theirs = next(snowflake.SnowflakeGenerator(9, epoch=epoch))
    told = ids.parse(theirs)
    assert told.worker == 9
    assert abs(told.time.timestamp() - time.time()) < 60


def test_uuid_utils_reads_ours():
    uuid_utils = pytest.importorskip("uuid_utils")
    for made in UUID7Generator().next_ids(50):
        theirs = uuid_utils.UUID(str(made))
        assert theirs.version == 7
        assert theirs.int == made.int
        assert theirs.timestamp == made.int >> 80


def test_flakeid_reads_ours(tmp_path):
    flakeid = pytest.importorskip("flakeid")
    theirs = flakeid.make_generator(flakeid.PRESET_TWITTER)
    ids = SnowflakeGenerator(StaticWorker(0, directory=tmp_path))
    assert theirs.decode(ids.next_id()).sequence == 0
