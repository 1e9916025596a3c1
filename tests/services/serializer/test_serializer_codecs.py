"""Codecs: what comes back is what was appended; nothing is decoded by surprise."""

import builtins
import pickle
from dataclasses import dataclass

import pytest
from hypothesis import given, settings, strategies as st
from serializer_tools import PLACE, new_disk

from cup.errors import InvalidType, InvalidValue, MissingExtra, UnsupportedFormat
from cup.services.serializer import (
    BYTES,
    JSON,
    PICKLE,
    AsyncLog,
    AsyncLogReader,
    Log,
    LogReader,
    msgpack,
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=4,
)


@settings(max_examples=10)
@given(st.lists(json_values, max_size=5))
def test_json_comes_back(values):
    disk = new_disk()
    with Log.open(PLACE, disk=disk, codec=JSON) as log:
        log.append_many(values)
        assert [record.payload for record in log.records()] == values


def test_what_json_cannot_say_is_refused():
    with Log.open(PLACE, disk=new_disk(), codec=JSON) as log:
        with pytest.raises(ValueError):
            log.append(float("nan"))
        with pytest.raises(TypeError):
            log.append({1, 2})
        assert log.next_id == 1


@dataclass
class Point:
    x: int
    y: int


def test_pickle_is_for_who_asks_for_it():
    disk = new_disk()
    with Log.open(PLACE, disk=disk, codec=PICKLE) as log:
        log.append(Point(1, 2))
        assert [record.payload for record in log.records()] == [Point(1, 2)]
    with LogReader.open(PLACE, disk=disk) as reader:
        [record] = reader.records()
        assert isinstance(record.payload, bytes)  # not unpickled
        assert pickle.loads(record.payload) == Point(1, 2)


def test_msgpack_checks_the_type():
    msgspec = pytest.importorskip("msgspec")
    disk = new_disk()
    with Log.open(PLACE, disk=disk, codec=msgpack(Point)) as log:
        log.append(Point(1, 2))
        assert [record.payload for record in log.records()] == [Point(1, 2)]
    reader = LogReader.open(PLACE, disk=disk, codec=msgpack(int))
    with reader, pytest.raises(msgspec.ValidationError):
        list(reader.records())


def test_missing_package_is_named(monkeypatch):
    def refuse(name, *args, real=builtins.__import__, **kwargs):
        if name.startswith("msgspec"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr("cup.services.serializer.codecs.import_module", refuse)
    with pytest.raises(MissingExtra, match="pip install msgspec"):
        msgpack(int)


def test_codec_of_the_files_must_match():
    disk = new_disk()
    with Log.open(PLACE, disk=disk, codec=JSON):
        pass
    with Log.open(PLACE, disk=disk, codec=PICKLE) as log:  # nothing is in there yet
        log.append(5)
    for wrong in (JSON, BYTES):
        with pytest.raises(UnsupportedFormat, match="pickle"):
            Log.open(PLACE, disk=disk, codec=wrong)
    with pytest.raises(UnsupportedFormat, match="pickle"):
        LogReader.open(PLACE, disk=disk, codec=JSON)
    with Log.open(PLACE, disk=disk, codec=PICKLE) as log:
        assert log.append(6) == 2


class Nameless:
    def encode(self, value):
        return value

    decode = encode


def test_codec_needs_a_name_that_fits():
    codec = Nameless()
    with pytest.raises(InvalidType, match="name"):
        Log.open(PLACE, disk=new_disk(), codec=codec)
    for wrong in ("", "ü", "x" * 17):
        codec.name = wrong
        with pytest.raises(InvalidValue, match="ASCII"):
            Log.open(PLACE, disk=new_disk(), codec=codec)
    codec.name = "x" * 16
    Log.open(PLACE, disk=new_disk(), codec=codec).close()


async def test_tasks_decode_too(anyio_backend):
    disk = new_disk()
    async with await AsyncLog.open(PLACE, disk=disk, codec=JSON) as log:
        await log.append({"a": [1, None]})
        assert [r.payload async for r in log.records()] == [{"a": [1, None]}]
        follow = log.follow(timeout=0.01)
        assert [r.payload async for r in follow] == [{"a": [1, None]}]
    async with await AsyncLogReader.open(PLACE, disk=disk, codec=JSON) as reader:
        assert [r.payload async for r in reader.records()] == [{"a": [1, None]}]
    async with await AsyncLogReader.open(PLACE, disk=disk) as reader:
        assert [r.payload async for r in reader.records()] == [b'{"a":[1,null]}']
