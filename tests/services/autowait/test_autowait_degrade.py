"""Where there are no events it polls, and says so."""

import errno
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from autowait_tools import LONG, append, happening

from cup.errors import ConditionTimeout, MissingExtra
from cup.services.autowait import (
    FileExists,
    FileGone,
    ProcessGone,
    RegexInFile,
    _core_eyes,
    _core_hub as hub,
    _core_inotify as inotify,
    _core_mounts,
    look,
    wait,
)
from cup.services.autowait._core_lease import leases

NO_EVENTS = os.environ.get("CUP_TEST_NO_EVENTS") == "1"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="inotify")


@pytest.fixture
def without_events(monkeypatch):
    """Make everything unwatchable, with a reason."""

    def refuse():
        raise _core_eyes.Unwatchable("switched off for a test")

    monkeypatch.setattr(_core_eyes, "open_eyes", refuse)
    for one in (hub.HUB, *leases):
        monkeypatch.setattr(one, "eyes", None)


@pytest.mark.usefixtures("without_events")
def test_polls_without_events(face, tmp_path):
    path = tmp_path / "x"
    with happening(path.touch):
        face.wait(FileExists(path), LONG)
    with happening(lambda: append(path, b"ready\n")):
        face.wait(RegexInFile(path, "ready"), LONG)
    with happening(path.unlink):
        face.wait(FileGone(path), LONG)
    assert face.look(FileExists(path)).mechanism == (
        "poll(0.5 s): switched off for a test"
    )


@pytest.mark.usefixtures("without_events")
def test_polls_for_processes(threads, tmp_path):
    path = shutil.copy(shutil.which("sleep"), tmp_path / "svc")
    process = subprocess.Popen([path, "60"])
    try:
        with happening(process.kill):
            threads.wait(ProcessGone(process.pid), LONG)
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("without_events")
def test_safety_bounds_the_gap(threads, tmp_path):
    started = time.monotonic()
    with happening((tmp_path / "x").touch, after=0.5):
        threads.wait(FileExists(tmp_path / "x"), LONG, safety=0.05)
    assert time.monotonic() - started < LONG / 2
    with pytest.raises(ConditionTimeout, match=r"poll\(0\.05 s\)"):
        threads.wait(FileExists(tmp_path / "y"), 0.01, safety=0.05)


def test_safety_looks_though_nothing_was_heard(threads, tmp_path, monkeypatch):
    monkeypatch.setattr(hub.Hub, "_hear", lambda *_: None)  # all events are lost
    path = tmp_path / "x"
    with happening(path.touch):
        started = time.monotonic()
        threads.wait(FileExists(path), LONG, safety=0.1)
    assert time.monotonic() - started < LONG / 2
    with happening((tmp_path / "y").touch):
        assert threads.wait_until_file_exist(tmp_path, "y", LONG, 0.1)
    assert time.monotonic() - started < LONG


@LINUX
@pytest.mark.skipif(NO_EVENTS, reason="there are no limits then")
@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.ENOSPC, "ENOSPC: no watches left"), (errno.EMFILE, "EMFILE: no instances")],
)
def test_limits_are_named(threads, tmp_path, monkeypatch, code, said):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(inotify, "add", refuse)
    assert said in threads.look(FileExists(tmp_path / "x")).mechanism
    with happening((tmp_path / "x").touch):
        threads.wait(FileExists(tmp_path / "x"), LONG)


@LINUX
def test_events_come_back_with_the_watches(threads, tmp_path, monkeypatch):
    calls = []
    really = inotify.add

    def add(*args):
        calls.append(args)
        if len(calls) < 5:
            raise OSError(errno.ENOSPC, "none left")
        return really(*args)

    monkeypatch.setattr(inotify, "add", add)
    with pytest.raises(ConditionTimeout) as caught:
        threads.wait(FileExists(tmp_path / "x"), 0.3)
    if not NO_EVENTS:
        assert caught.value.mechanism == "inotify"


@LINUX
def test_no_thread_can_be_had(tmp_path, monkeypatch):
    class NoThread:
        def __init__(self, *_, **__):
            pass

        def start(self):
            raise RuntimeError("can't start new thread")

        def call_off(self):
            return True

    fresh = hub.Hub()
    monkeypatch.setattr(hub, "OwnThread", NoThread)
    with pytest.raises(_core_eyes.Unwatchable, match="new thread|switched off"):
        fresh.watch_path(hub.Bell(None), os.fsencode(tmp_path), inotify.CREATE)
    if fresh.eyes is not None:
        fresh.eyes.abandon([])


@LINUX
@pytest.mark.full
def test_limits_of_the_kernel(tmp_path):
    """In a namespace of its own the limits can be set to nothing."""
    program = """
        import sys, threading, time
        from pathlib import Path
        for limit in ("instances", "watches"):
            Path(f"/proc/sys/user/max_inotify_{limit}").write_text(sys.argv[1])
        from cup.services.autowait import FileExists, look, wait
        path = Path(sys.argv[2]) / "x"
        print(look(FileExists(path)).mechanism)
        threading.Timer(0.1, path.touch).start()
        wait(FileExists(path), 20)
    """
    command = ["unshare", "-Ur", sys.executable, "-c", textwrap.dedent(program)]
    if subprocess.run(["unshare", "-Ur", "true"], check=False).returncode:
        pytest.skip("no user namespaces here")
    for limit, said in (("0", "EMFILE"), ("2", "ENOSPC"), ("100", "inotify")):
        folder = tmp_path / limit
        folder.mkdir()
        done = subprocess.run(
            [*command, limit, folder], capture_output=True, text=True, check=False
        )
        if "Permission denied" in done.stderr or "Read-only" in done.stderr:
            pytest.skip("limits cannot be set here")
        assert done.returncode == 0, done.stderr
        assert said in done.stdout


def test_mounts(tmp_path, monkeypatch):
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 0:20 / / rw - ext4 /dev/sda rw\n"
        "23 22 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n"
        "24 22 0:22 / /mnt/far\\040away rw - nfs4 server:/x rw\n"
        "25 22 0:23 / /mnt/s rw - fuse.sshfs s: rw\n"
        "26 22 0:24 / /mnt/s rw - tmpfs tmpfs rw\n"
        "27 22 0:25 / /mnt/t rw - fuse.sshfs s: rw\n"
    )
    monkeypatch.setattr(_core_mounts, "_TABLE", str(table))
    monkeypatch.setattr(_core_mounts, "_known", (float("-inf"), {}))
    silent = _core_mounts.silent_type
    assert silent("/etc/x") is None
    assert silent("/proc/1/status") == "proc"
    assert silent("/mnt/far away/x") == "nfs4"
    assert silent("/mnt/s/x") is None  # mounted over
    assert silent("/mnt/t/x") == "fuse.sshfs"
    assert silent("/mnt/tx") is None
    assert _core_mounts.is_remote("/mnt/t")
    assert not _core_mounts.is_remote("/proc")
    assert _core_mounts.is_computed("/proc/x")
    table.unlink()
    monkeypatch.setattr(_core_mounts, "_known", (float("-inf"), {}))
    assert silent("/mnt/t/x") is None


def test_remote_files_are_polled_and_watched(threads, tmp_path, monkeypatch):
    from cup.services.autowait import _core_watch

    monkeypatch.setattr(_core_watch, "silent_type", lambda _: "nfs4")
    mechanism = threads.look(FileExists(tmp_path / "x")).mechanism
    assert "poll(0.5 s): nfs4 tells of no changes from elsewhere" in mechanism


def test_psutil_is_named_where_it_is_needed(monkeypatch):
    from cup.services.autowait import _core_psutil

    _core_psutil._psutil.cache_clear()
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(MissingExtra, match="pip install psutil"):
        _core_psutil.PsutilTable()
    _core_psutil._psutil.cache_clear()


def test_psutil_sees_what_proc_says(threads, tmp_path, monkeypatch):
    pytest.importorskip("psutil")
    from cup.services.autowait import _core_process, _core_psutil

    monkeypatch.setattr(_core_process, "_open_table", _core_psutil.PsutilTable)
    path = shutil.copy(shutil.which("sleep"), tmp_path / "svc")
    script = tmp_path / "job.py"
    script.write_text("import time\ntime.sleep(60)\n")
    processes = [subprocess.Popen([path, "60"])]
    processes += [subprocess.Popen([sys.executable, "job.py"], cwd=tmp_path)]
    try:
        for target in (path, script, tmp_path, processes[0].pid):
            assert threads.wait_until_process_exist(target, LONG)
        for process in processes:
            process.kill()
        for target in (path, script, tmp_path, processes[0].pid):
            assert threads.wait_until_process_not_exist(target, LONG)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_report_of_what_is_watched(tmp_path):
    mechanism = look(FileExists(tmp_path / "x") | ProcessGone(os.getpid())).mechanism
    if sys.platform == "linux" and not NO_EVENTS:
        assert mechanism == "inotify, pidfd"
    wait(FileExists(tmp_path))


@pytest.mark.long
@pytest.mark.skipif(NO_EVENTS, reason="this is that run")
def test_whole_suite_without_events():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    names = ("files", "regex", "process", "seed", "combine")
    files = [str(Path(__file__).with_name(f"test_autowait_{n}.py")) for n in names]
    done = subprocess.run(
        [*command, "-k", "not asyncio and not uvloop and not trio", *files],
        env={**os.environ, "CUP_TEST_NO_EVENTS": "1", "CUP_LONG": ""},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_load_it(tmp_path, system):
    """What is loaded late there is not: this is no more than a glance."""
    program = f"""
        import sys, threading
        import anyio, concurrent.futures, ctypes, inspect, logging, socket, subprocess
        sys.platform = {system!r}
        from pathlib import Path
        from cup.services.autowait import *
        path = Path(sys.argv[1]) / "x"
        if sys.platform == "win32":
            print(look(FileExists(path)).mechanism)
            threading.Timer(0.1, path.touch).start()
            wait(FileExists(path), 20)
        print(satisfied(PortOpen(1)), satisfied(FileExists("/")))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), tmp_path],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["False True"], done.stderr
    if system == "win32":
        assert "poll(0.5 s): this system has no events" in done.stdout
