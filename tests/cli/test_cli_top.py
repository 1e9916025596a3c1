"""`cup top`: it shows what running processes show of themselves."""

import json
import os
import subprocess
import sys

import pytest

from cup import monitoring
from cup.cli import _top, main
from cup.thread import RWLock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no local sockets")

SERVER = """
import sys
from cup import monitoring
from cup.services.threadpool import ThreadPool
pool = ThreadPool(max_workers=1)
pool.run(int)
monitoring.expose(jobs=pool)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def server():
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


def test_another_process_is_shown(server, capsys):
    assert main(["top", "--once"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{server.pid} up 0 s jobs (ThreadPool): ")
    assert "done 1" in out


def test_one_of_several_by_its_number(server, capsys):
    lock = RWLock()
    with monitoring.expose(lock=lock):
        assert main(["top", "--once", "--json", str(server.pid)]) == 0
        (document,) = map(json.loads, capsys.readouterr().out.splitlines())
        assert document["pid"] == server.pid
        assert main(["top", "--once", "--json"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 2


def test_it_ends_when_the_process_ends(server, capsys):
    looks = _top._keep_looking(_top._look([]), [str(server.pid)], 0.05)
    assert next(looks)[0]["pid"] == server.pid
    server.stdin.close()
    server.wait(30)
    assert [*looks] == []


def test_a_killed_process_is_left_out(server, capsys):
    server.kill()
    server.wait(30)
    assert main(["top", "--once"]) == 2
    assert "cup.monitoring.expose" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["1", "/nowhere.sock"])
def test_a_process_that_shows_nothing(name, capsys):
    assert main(["top", name]) == 1
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf"])
def test_an_interval_that_is_none(interval, capsys):
    assert main(["top", f"--interval={interval}"]) == 2
    assert "--interval" in capsys.readouterr().err


def test_states_tell_what_is_not_zero():
    assert _top._state({"done": 3, "age": 0.0, "times": {"counts": [1]}}) == "done 3"
    assert _top._state({"rate": 0.12345, "who": ["a"]}) == 'rate 0.123, who ["a"]'
    assert _top._state({"a": 0}) == "idle"
    assert _top._state(5) == "5"


def test_a_process_whose_services_are_gone_and_one_that_fails(capsys):
    class Broken:
        def stats(self):
            raise ValueError("broken")

    broken = Broken()
    with monitoring.expose(broken=broken):
        assert main(["top", "--once"]) == 0
        assert "ValueError('broken')" in capsys.readouterr().out
    with monitoring.expose():
        assert main(["top", "--once"]) == 0
        assert "no services" in capsys.readouterr().out


def test_a_table_is_for_terminals(capsys, monkeypatch):
    pytest.importorskip("rich")
    lock = RWLock()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with monitoring.expose(lock=lock):
        assert main(["top", "--once"]) == 0
    assert "service" in capsys.readouterr().out


def test_a_process_that_exposes_twice_is_shown_whole(capsys):
    with monitoring.expose(one=RWLock()), monitoring.expose(two=RWLock()):
        assert main(["top", str(os.getpid()), "--once", "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(one["services"][0]["name"] for one in shown) == ["one", "two"]
