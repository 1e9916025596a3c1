"""`cup id`: make identifiers, and read them."""

import json
import re

import pytest

from cup.cli import main

KINDS = ["uuid7", "uuid4", "uuid1", "ulid", "snowflake", "sony", "discord", "instagram"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.mark.parametrize("kind", [*KINDS, "twitter", "random", "name", "cycle"])
def test_ids_are_printed_one_a_line(kind, capsys):
    assert main(["id", kind, "-n", "1500"]) == 0
    lines = capsys.readouterr().out.split()
    assert len(set(lines)) == len(lines) == 1500


@pytest.mark.parametrize("kind", [*KINDS, "name", "cycle"])
def test_what_was_made_is_read(kind, capsys):
    assert main(["id", kind, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["kind"] == kind
    assert main(["id", "parse", "--json", made["id"]]) == 0
    readings = json.loads(capsys.readouterr().out)
    assert any(kind in reading["kind"] for reading in readings) or kind == "snowflake"
    assert main(["id", "parse", made["id"]]) == 0
    assert made["id"] in capsys.readouterr().out


def test_reading_says_when_and_by_which_worker(capsys):
    assert main(["id", "parse", "175928847299117063"]) == 0
    said = capsys.readouterr().out
    assert (
        "snowflake (discord): 175928847299117063, made at 2016-04-30T11:18:25" in said
    )
    assert "by worker 32, sequence 7" in said
    assert main(["id", "parse", "0a00000100500000000000000000002a"]) == 0
    assert "on 10.0.0.1:80, sequence 42" in capsys.readouterr().out


def test_worker_address_and_prefix_are_taken(capsys):
    assert main(["id", "sony", "--worker", "513"]) == 0
    assert main(["id", "parse", capsys.readouterr().out.strip()]) == 0
    assert "by worker 513" in capsys.readouterr().out
    assert main(["id", "cycle", "--address", "10.0.0.1", "--port", "80"]) == 0
    assert capsys.readouterr().out.startswith("0a0000010050")
    assert main(["id", "name", "--prefix", "web"]) == 0
    assert re.match(r"web_[0-9a-f]{28}_\d+_0{12}\n", capsys.readouterr().out)


def test_counter_goes_on(tmp_path, capsys):
    for first in (0, 3):
        path = str(tmp_path / "count")
        assert main(["id", "counter", "--path", path, "-n", "3"]) == 0
        numbers = [int(line) for line in capsys.readouterr().out.split()]
        assert numbers == list(range(first, first + 3))


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["parse", "no such thing"], 1, "no identifier of any kind"),
        (["parse"], 2, "required"),
        (["uuid9"], 2, "uuid9"),
        (["uuid7", "-n", "-1"], 2, "give 0 or more"),
        (["uuid7", "-n", "x"], 2, "invalid int"),
        (["counter"], 2, "--path"),
        (["snowflake", "--worker", "5000"], 2, "1024 workers"),
        (["cycle", "--address", "::1"], 2, "IPv6"),
        ([], 2, "KIND"),
    ],
)
def test_mistakes_are_named(arguments, status, said, capsys):
    assert main(["id", *arguments]) == status
    assert said in capsys.readouterr().err
