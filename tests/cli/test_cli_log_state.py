"""`python -m cup log dump --state`: the keys and values of a store, from outside."""

import json

import pytest

from cup.errors import UnreadableEntry
from cup.services.serializer import BYTES, Log, MetaStore


@pytest.fixture
def place(tmp_path):
    """Give the directory of a log that is no store."""
    place = tmp_path / "log"
    with Log.open(place, preallocate=False) as log:
        log.append(b"one")
    return place


def test_dump_state(cup_log, tmp_path):
    place = tmp_path / "store"
    with MetaStore.open(place) as store:
        store.update({"a": 1, "b": [2, "ä"]}, delete=["c"])
        store.delete("a")
        assert cup_log("dump", place, "--state")[0] == 0  # while it is open
    status, out, err = cup_log("dump", place, "--state")
    assert (status, err) == (0, "")
    first, *entries = out.splitlines()
    assert (
        "1 entries before change 6, schema 1, keys are text, values are json" in first
    )
    assert entries == ['b\t[2,"ä"]']
    status, out, _ = cup_log("dump", place, "--state", "--json")
    document = json.loads(out)
    assert status == 0
    assert document["entries"] == [{"key": {"text": "b"}, "value": {"text": '[2,"ä"]'}}]
    assert document["unknown"] == []


def test_dump_state_shows_what_is_unknown(cup_log, tmp_path):
    place = tmp_path / "store"

    def migrate(old):
        raise UnreadableEntry("no idea")

    with MetaStore.open(place, value=BYTES) as store:
        store.set("a", b"\xff")
    MetaStore.open(place, schema=2, migrate=migrate).close()
    _, out, _ = cup_log("dump", place, "--state")
    assert out.splitlines()[1:] == ["unknown: a: schema 1: no idea\tb'\\xff'"]
    _, out, _ = cup_log("dump", place, "--state", "--json")
    [entry] = json.loads(out)["unknown"]
    assert entry["key"] == {"text": "a"}
    assert entry["value"] == {"base64": "/w=="}


def test_dump_state_of_what_is_none(cup_log, place, tmp_path):
    status, _, err = cup_log("dump", place, "--state")
    assert (status, "codec" in err) == (2, True)
    assert cup_log("dump", tmp_path / "none", "--state")[0] == 2
