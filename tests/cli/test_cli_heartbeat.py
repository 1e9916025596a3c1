"""`cup heartbeat`: monitor and agents in processes of their own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from cup.cli import main
from cup.cli._heartbeat_show import as_line
from cup.services.heartbeat import EventKind, HeartbeatEvent, KeyRing, Monitor, new_key
from cup.services.heartbeat.systemd import Systemd

CUP = [sys.executable, "-m", "cup", "heartbeat"]
KEY = new_key()


@pytest.fixture
def environ(monkeypatch):
    monkeypatch.setenv("CUP_HEARTBEAT_KEY", KEY)


@contextlib.contextmanager
def running(*words):
    process = subprocess.Popen(
        [*CUP, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def next_event(process):
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return json.loads(line)


def end(process, number=signal.SIGTERM):
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_a_monitor_and_its_agents(environ):
    """One ends well, one is killed; a command is beaten for."""
    words = ["monitor", "--listen", "127.0.0.1:0", "--timeout", "0.8", "--json"]
    with running(*words) as monitor:
        place = next_event(monitor)["addresses"][0]
        agent = ["beat", "--to", place, "--timeout", "0.8"]
        with running(*agent, "--name", "good") as good:
            joined = next_event(monitor)
            assert (joined["event"], joined["key"]) == ("joined", "good")
            assert joined["incarnation"].isdigit()
            assert end(good) == (0, "", "")
        assert next_event(monitor)["event"] == "left"
        with running(*agent, "--name", "bad") as bad:
            assert next_event(monitor)["event"] == "joined"
            bad.kill()
            lost = next_event(monitor)
            assert (lost["event"], lost["key"]) == ("lost", "bad")
        work = [sys.executable, "-c", "import time; time.sleep(0.3); exit(3)"]
        with running(*agent, "--name", "worker", "--json", "--", *work) as worker:
            assert next_event(monitor)["event"] == "joined"
            out, _ = worker.communicate(timeout=20)
            assert worker.returncode == 3
            assert json.loads(out)["status"] == 3
        assert next_event(monitor)["event"] == "lost"
        status, out, _ = end(monitor, signal.SIGINT)
    assert status == 1  # somebody is lost
    last = json.loads(out.splitlines()[-1])
    assert last["event"] == "end"
    assert last["kept"] == 2


@pytest.mark.full
def test_a_check_decides(environ, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    with Monitor("127.0.0.1:0", keys=KeyRing.from_env(), timeout=0.6) as monitor:
        events = monitor.events()
        words = [
            "beat",
            "--name",
            "a",
            "--to",
            monitor.addresses[0],
            "--timeout",
            "0.6",
        ]
        with running(*words, "--check", f"test -e {flag}", "--readings") as agent:
            assert events.get(20).kind == "joined"
            deadline = time.monotonic() + 20
            while "mem_total" not in monitor.device("a").get_dict_resinfo():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            flag.unlink()
            assert events.get(20).kind == "lost"
            assert end(agent)[0] == 1


@pytest.mark.full
def test_lines_and_an_end_by_time(environ, capsys):
    assert (
        main(["heartbeat", "monitor", "--listen", "127.0.0.1:0", "--for", "0.1"]) == 0
    )
    out = capsys.readouterr().out
    assert out.startswith("listening on 127.0.0.1:")
    assert out.endswith("0 alive, 0 lost, 0 beats\n")


def test_an_event_as_a_line():
    event = HeartbeatEvent(
        number=1, kind=EventKind.LOST, key="a\x1b[2J", time=0.0, silent=3.25, missed=2
    )
    line = as_line(event)
    assert "\x1b" not in line
    assert line.endswith("lost 'a\\x1b[2J' after 3.2 s 2 events")
    event = HeartbeatEvent(
        number=1, kind=EventKind.HOLDING, key="", time=0.0, reason="why", address="x:1"
    )
    assert line != as_line(event)
    assert as_line(event).endswith("holding (x:1) - why")


@pytest.mark.skipif(not find_spec("rich"), reason="needs rich")
def test_a_table(environ):
    import io

    from rich.console import Console

    from cup.cli._heartbeat_table import LiveTable

    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100, height=20)
    with Monitor("127.0.0.1:0", keys=KeyRing.from_env(), timeout=5) as monitor:
        registry = monitor._program.registry
        for n in range(30):
            registry.refresh(f"agent{n:02}\n[red]")
        with LiveTable(monitor, console) as table:
            table.event(
                HeartbeatEvent(number=1, kind=EventKind.LOST, key="x[/]", time=0.0)
            )
            table.look()
    shown = text.getvalue()
    assert "30 alive" in shown
    assert "agent00\\n[red]" in shown
    assert "and 24 more" in shown
    assert "x[/]" in shown


def test_keys(tmp_path, capsys, monkeypatch):
    assert main(["heartbeat", "key"]) == 0
    key = tmp_path / "key"
    key.write_text(capsys.readouterr().out)
    key.chmod(0o600)
    make = ["heartbeat", "key", "--agent", "db 1", "--key-file", str(key)]
    assert main(make) == 0
    text = capsys.readouterr().out
    assert text == KeyRing.from_file(key).agent("db 1").text()
    own = tmp_path / "own"
    own.write_text(text)
    own.chmod(0o600)
    ring = KeyRing.from_file(key)
    with Monitor("127.0.0.1:0", keys=ring, timeout=5) as monitor:
        events = monitor.events()
        place = monitor.addresses[0]
        words = [
            "heartbeat",
            "beat",
            "--to",
            place,
            "--key-file",
            str(own),
            "--for",
            "0.2",
        ]
        assert main([*words, "--name", "db 1"]) == 0
        assert [events.get(5).kind for _ in range(2)] == ["joined", "left"]
        assert main([*words, "--name", "other"]) == 2
        key.chmod(0o644)
        assert main(make) == 2
        monkeypatch.delenv("CUP_HEARTBEAT_KEY", raising=False)
        assert main(["heartbeat", "beat", "--to", place]) == 2
        assert "CUP_HEARTBEAT_KEY" in capsys.readouterr().err
        assert main(["heartbeat", "monitor", "--no-key", "--listen", place]) == 2
        assert "cannot listen" in capsys.readouterr().err
        assert main(["heartbeat", "beat"]) == 2


def test_systemd_is_told(tmp_path, environ):
    """Ready first, then the watchdog at half its time, then the end."""
    place = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place))
        manager.settimeout(20)
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(place),
            "WATCHDOG_USEC": "200000",
        }
        with Monitor("127.0.0.1:0", keys=KeyRing.from_env(), timeout=2) as monitor:
            words = [*CUP, "beat", "--to", monitor.addresses[0]]
            with subprocess.Popen(words, env=environment) as process:
                told = [manager.recv(100) for _ in range(3)]
                process.terminate()
                assert process.wait(20) == 0
            while told[-1] != b"STOPPING=1":
                told.append(manager.recv(100))
    assert told[:3] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]


def test_systemd_means_one_process(tmp_path):
    place = {"NOTIFY_SOCKET": "@cup-test", "WATCHDOG_USEC": "1000000"}
    assert Systemd({**place, "WATCHDOG_PID": str(os.getpid())}).ping_every == 0.5
    assert Systemd({**place, "WATCHDOG_PID": "1"}).ping_every is None
    assert Systemd({"WATCHDOG_USEC": "1000000"}).ping_every is None
    assert Systemd({**place, "WATCHDOG_USEC": "x"}).ping_every is None
    assert not Systemd({}).ready()
    assert not Systemd({"NOTIFY_SOCKET": str(tmp_path / "missing")}).ping()
    if sys.platform == "linux":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0cup-test")
            assert Systemd(place).stopping()
            assert manager.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["monitor", "--for", "nan"], "--for"),
        (["monitor", "--state", "/nowhere/at/all"], "nothing can be written"),
        (["monitor", "--state", "/"], "folder"),
        (["beat", "--to", "h", "--state", "/nowhere/at/all"], "nothing can be written"),
        (["beat", "--to", ""], "host"),
        (["key", "--agent", "a#b"], "cannot stand in a key file"),
    ],
)
def test_what_cannot_be_is_told_before_it_runs(environ, capsys, words, told):
    assert main(["heartbeat", *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("cup heartbeat: ")
    assert told in line
