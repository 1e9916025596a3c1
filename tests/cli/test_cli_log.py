"""`python -m cup log`: what it finds, and the exit status that tells."""

import json
import os
import subprocess
import sys
import threading
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cup.cli import _log_inspect, _log_progress
from cup.cli._log_inspect_rich import print_table
from cup.cli._log_progress import LineProgress, make_progress
from cup.cli._log_progress_rich import BarProgress
from cup.services.serializer import Log


@pytest.fixture
def place(tmp_path):
    """Give the directory of a log of 60 records in several files, closed."""
    place = tmp_path / "log"
    with Log.open(place, segment_bytes=4096, preallocate=False) as log:
        for n in range(1, 61):
            log.append(b"%d " % n + b"x" * 200, type=n % 3, mode=1)
        log.checkpoint(b"state")
    return place


def files(place):
    return sorted(place.glob("*.seg"))


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def tear(place):
    """Leave a log as a crash does: not sealed, and with half a record."""
    disk_files = {}
    log = Log.open(place, preallocate=False)
    log.append(b"the last one")
    for path in place.iterdir():
        disk_files[path] = path.read_bytes()
    log.close()
    for path, content in disk_files.items():
        if path.is_file():
            path.write_bytes(content)
    last = files(place)[-1]
    last.write_bytes(last.read_bytes() + b"\xa7cUp" + b"half a frame")


# -- inspect ---------------------------------------------------------------------------


def test_inspect_lists_files(place, cup_log):
    status, out, err = cup_log("inspect", place)
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert lines[:3] == [
        f"{place}: closed",
        "durable up to record 60",
        "checkpoints at 61",
    ]
    assert len(lines) == 4 + len(files(place))
    assert lines[3].split("  ")[0] == "serial"
    assert int(lines[4].split()[2]) + 1 == int(lines[5].split()[1])
    assert lines[-1].split()[2] == "60"


def test_inspect_as_json(place, cup_log):
    status, out, _ = cup_log("inspect", place, "--json")
    document = json.loads(out)
    assert status == 0
    assert document["writer"] is None
    assert (document["durable_id"], document["checkpoints"]) == (60, [61])
    assert [one["file"] for one in document["segments"]] == [
        path.name for path in files(place)
    ]
    assert document["segments"][0]["codec"] == "bytes"
    assert document["segments"][-1]["last_id"] == 60


def test_inspect_names_who_writes(place, cup_log):
    with Log.open(place) as log:
        log.append(b"now")
        status, out, _ = cup_log("inspect", place)
    assert status == 0
    assert f"process {os.getpid()} on " in out.splitlines()[0]
    assert out.splitlines()[-1].split()[2] == "open"


def test_inspect_tells_of_a_writer_that_died(place, cup_log):
    tear(place)
    status, out, _ = cup_log("inspect", place)
    assert (status, "not closed" in out) == (0, True)


def test_inspect_finds_a_damaged_header(place, cup_log):
    flip(files(place)[1], 30)
    status, out, _ = cup_log("inspect", place)
    assert (status, out.count("DAMAGED")) == (1, 1)
    status, out, _ = cup_log("inspect", place, "--json")
    assert status == 1
    assert "header" in json.loads(out)["segments"][1]["damaged"]


def test_inspect_of_an_empty_directory(tmp_path, cup_log):
    status, out, _ = cup_log("inspect", tmp_path)
    assert (status, out.splitlines()[0]) == (0, f"{tmp_path}: no files")


def test_lock_file_without_a_name(place, cup_log):
    with Log.open(place):
        (place / "LOCK").write_text("")
        _, out, _ = cup_log("inspect", place)
    assert "another process writes to it" in out


def test_table_on_a_terminal(monkeypatch, place, cup_log):
    monkeypatch.setattr(_log_inspect.sys.stdout, "isatty", lambda: True, raising=False)
    flip(files(place)[1], 30)
    status, out, _ = cup_log("inspect", place)
    assert (status, "┃" in out, "DAMAGED" in out) == (1, True, True)


# -- verify and repair -----------------------------------------------------------------


def test_verify_says_that_all_is_well(place, cup_log):
    status, out, err = cup_log("verify", place)
    assert (status, err) == (0, "")
    assert out.startswith(f"ok: records 1 to 60, {len(files(place))} files, 0.0 MB")
    assert "1 checkpoint" in out


def test_verify_names_what_is_damaged(place, cup_log):
    path = files(place)[1]
    flip(path, 500)
    status, out, _ = cup_log("verify", place)
    lines = out.splitlines()
    assert (status, len(lines)) == (1, 2)
    assert lines[0].startswith(f"damage     {path}:")
    assert lines[0].endswith(" lost")
    assert lines[1].startswith("1 findings, 1 record lost: records 1 to 60")
    status, out, _ = cup_log("verify", place, "--json")
    document = json.loads(out)
    assert (status, document["ok"], document["lost"]) == (1, False, 1)
    [finding] = document["findings"]
    assert (finding["kind"], finding["path"]) == ("damage", str(path))
    assert document["records"] == 59


def test_verify_tells_a_torn_tail_from_damage(place, cup_log):
    tear(place)
    status, out, _ = cup_log("verify", place)
    assert (status, out.splitlines()[0][:4]) == (3, "torn")
    status, out, _ = cup_log("repair", place)
    assert (status, out.splitlines()[-1]) == (0, "mended: records 1 to 61")
    assert cup_log("verify", place)[0] == 0


def test_verify_of_an_empty_log(tmp_path, cup_log):
    Log.open(tmp_path / "log").close()
    status, out, _ = cup_log("verify", tmp_path / "log")
    assert (status, out.startswith("ok: no records, 1 file, ")) == (0, True)


def test_verify_of_a_damaged_checkpoint(place, cup_log):
    flip(next(place.glob("*.checkpoint")), 33)
    assert cup_log("verify", place)[0] == 1


def test_verify_of_a_log_that_is_written_to(place, cup_log):
    with Log.open(place) as log:
        log.append(b"now")
        status, out, _ = cup_log("verify", place)
    assert (status, "it is being written to" in out) == (0, True)


def test_repair_gives_nothing_up_unless_told_to(place, cup_log):
    path = files(place)[1]
    flip(path, 500)
    before = path.read_bytes()
    status, out, err = cup_log("repair", place)
    assert (status, out) == (1, "")
    assert "1 records are lost" in err
    assert path.read_bytes() == before

    status, out, _ = cup_log("repair", place, "--salvage")
    lines = out.splitlines()
    assert (status, lines[-1]) == (1, "mended: records 1 to 60; 1 record lost")
    assert [line.split()[0] for line in lines[:-1]] == ["damage", "rebuilt", "kept"]
    kept = lines[2].split(maxsplit=1)[1]
    assert Path(kept).read_bytes() == before
    assert cup_log("verify", place)[0] == 0


def test_repair_as_json(place, cup_log):
    status, out, _ = cup_log("repair", place, "--json")
    document = json.loads(out)
    assert (status, document["lost"], document["findings"]) == (0, 0, [])
    assert cup_log("repair", place)[1] == "nothing to mend: records 1 to 60\n"
    flip(files(place)[1], 500)
    status, out, _ = cup_log("repair", place, "--salvage", "--json")
    assert (status, json.loads(out)["lost"]) == (1, 1)


def test_repair_wants_to_be_alone(place, cup_log):
    with Log.open(place):
        status, _, err = cup_log("repair", place)
    assert (status, f"process {os.getpid()}" in err) == (2, True)


# -- records ---------------------------------------------------------------------------


def test_dump_prints_records(place, cup_log):
    with Log.open(place) as log:
        log.append("grüße".encode())
        log.append(b"two\nlines")
        log.append(b"\xff\x00")
    status, out, _ = cup_log("dump", place, "--from", 60)
    assert status == 0
    assert out.splitlines() == [
        "60\t0\t1\t60 " + "x" * 200,
        "61\t0\t0\tgrüße",
        "62\t0\t0\tb'two\\nlines'",
        "63\t0\t0\tb'\\xff\\x00'",
    ]
    _, out, _ = cup_log("dump", place, "--from", 61, "--to", 63, "--json")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"id": 61, "type": 0, "mode": 0, "text": "grüße"},
        {"id": 62, "type": 0, "mode": 0, "base64": "dHdvCmxpbmVz"},
        {"id": 63, "type": 0, "mode": 0, "base64": "/wA="},
    ]


def test_dump_ends_where_damage_begins(place, cup_log):
    flip(files(place)[1], 500)
    status, out, err = cup_log("dump", place)
    assert (status, err.startswith("cup log: ")) == (1, True)
    assert out.splitlines()[-1].startswith("16\t") or len(out.splitlines()) > 5


def test_dump_of_what_is_gone(place, cup_log):
    with Log.open(place, segment_bytes=4096) as log:
        log.purge(40)
        first = log.first_id
    assert first > 1
    status, _, err = cup_log("dump", place, "--from", 1)
    assert (status, str(first) in err) == (2, True)


@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_tail_prints_the_last_records(place, cup_log, n):
    status, out, _ = cup_log("tail", place, "-n", n)
    ids = [int(line.split("\t")[0]) for line in out.splitlines()]
    assert (status, ids) == (0, [*range(max(1, 61 - n), 61)])


def test_tail_follows(place, cup_log):
    status, out, _ = cup_log("tail", place, "-n", 2, "-f", "--timeout", 0.05)
    assert (status, len(out.splitlines())) == (0, 2)


def test_tail_follows_another_process(place):
    command = [sys.executable, "-m", "cup", "log", "tail", place, "-n", "0", "-f"]
    over = threading.Event()
    with Log.open(place) as log:

        def write():
            while not over.wait(0.01):
                log.append(b"new")

        writer = threading.Thread(target=write)
        writer.start()
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            lines = [child.stdout.readline() for _ in range(3)]
        finally:
            child.kill()
            child.communicate()
            over.set()
            writer.join()
    ids = [int(line.split(b"\t")[0]) for line in lines]
    assert ids == [*range(ids[0], ids[0] + 3)]
    assert all(line.endswith(b"\tnew\n") for line in lines)


# -- usage -----------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["inspect", "verify", "repair", "tail", "dump"])
def test_there_is_no_log(tmp_path, cup_log, action):
    status, out, err = cup_log(action, tmp_path / "none")
    assert (status, out) == (2, "")
    assert err == f"cup log: {tmp_path / 'none'}: there is no log\n"


def test_wrong_use(place, cup_log):
    assert cup_log("tail", place, "-n", -1)[0] == 2
    assert cup_log()[0] == 2
    assert cup_log("mend", place)[0] == 2
    assert cup_log("dump", place, "--from", "x")[0] == 2


def test_help_tells_the_exit_status(cup_log):
    status, out, _ = cup_log("verify", "--help")
    assert (status, "exit status:" in out) == (0, True)
    assert "examples:" in cup_log("--help")[1]


def test_record_that_is_too_large(tmp_path, cup_log):
    with Log.open(tmp_path / "log", preallocate=False) as log:
        log.append(bytes(400_000))
    status, _, err = cup_log("verify", tmp_path / "log", "--max-record", 300_000)
    assert (status, "--max-record" in err) == (2, True)


# -- progress --------------------------------------------------------------------------


def test_long_scan_prints_lines(capsys):
    with LineProgress("verified", every=0) as progress:
        progress(1_500_000, 3_000_000)
    with LineProgress("verified") as progress:
        progress(1, 2)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "verified: 1.5 of 3.0 MB\n")


def test_long_scan_shows_a_bar_on_a_terminal(monkeypatch):
    assert isinstance(make_progress("verified"), LineProgress)
    monkeypatch.setattr(_log_progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(make_progress("verified"), BarProgress)
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with BarProgress("verified", console) as progress:
        progress(1_500_000, 3_000_000)
        progress._bars.refresh()
    assert "1.5/3.0 MB" in screen.getvalue()


def test_table_takes_any_rows(capsys):
    print_table(("a", "b"), [("1", "DAMAGED")])
    assert "DAMAGED" in capsys.readouterr().out
