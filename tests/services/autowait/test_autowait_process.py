"""Processes that run, or do not."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from autowait_tools import LONG, happening, until

from cup.errors import ConditionTimeout, InvalidType, InvalidValue
from cup.services.autowait import (
    FileExists,
    ProcessGone,
    ProcessId,
    ProcessRunning,
    _core_process,
    satisfied,
)
from cup.services.autowait._core_proc import Likeness, ProcTable, Program, scripts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def sleeper(tmp_path):
    """Give an executable of our own: nobody else runs it."""
    place = tmp_path / "bin dir $(x)"
    place.mkdir()
    return shutil.copy(shutil.which("sleep"), place / "svc")


@pytest.fixture
def start():
    """Start processes that end with the test."""
    started = []

    def begin(*words, **options):
        process = subprocess.Popen([*map(str, words)], **options)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def running(path):
    """Wait until somebody runs a program: the fork comes before the exec."""
    until(lambda: satisfied(ProcessRunning(path)))


def test_program_starts(face, sleeper, start):
    with happening(lambda: start(sleeper, 60)):
        found = face.wait(ProcessRunning(sleeper), LONG)
    assert isinstance(found, ProcessId)
    assert face.satisfied(ProcessRunning(found.pid))
    assert face.satisfied(ProcessRunning(found))
    assert not face.satisfied(ProcessGone(sleeper))


def test_program_ends(face, sleeper, start):
    process = start(sleeper, 60)
    running(sleeper)
    with happening(process.kill):
        face.wait(ProcessGone(sleeper), LONG)
    assert process.poll() is None or process.wait() == -signal.SIGKILL  # not reaped


def test_all_have_to_end(threads, sleeper, start):
    first, second = start(sleeper, 60), start(sleeper, 60)
    running(sleeper)
    with happening(first.kill), pytest.raises(ConditionTimeout, match=str(second.pid)):
        threads.wait(ProcessGone(sleeper), 0.3)
    with happening(second.kill):
        threads.wait(ProcessGone(sleeper), LONG)


def test_number_ends(face, sleeper, start):
    process = start(sleeper, 60)
    with happening(process.kill):
        face.wait(ProcessGone(process.pid), LONG)
    process.wait()
    assert face.satisfied(ProcessGone(process.pid))
    assert not face.satisfied(ProcessRunning(process.pid))


def test_number_that_was_given_again_is_another_process():
    own = os.getpid()
    assert satisfied(ProcessRunning(own))
    assert satisfied(ProcessGone(ProcessId(own, started=1.0)))


def test_executable_that_was_deleted_still_runs(threads, sleeper, start):
    process = start(sleeper, 60)
    running(sleeper)
    Path(sleeper).unlink()
    assert threads.satisfied(ProcessRunning(sleeper))
    with happening(process.kill):
        threads.wait(ProcessGone(sleeper), LONG)


def test_executable_comes_later(threads, tmp_path, start):
    path = tmp_path / "later" / "svc"

    def install():
        path.parent.mkdir()
        shutil.copy(shutil.which("sleep"), path)

    with happening(install, lambda: start(path, 60)):
        threads.wait(ProcessRunning(path), LONG)


def test_process_turns_into_another_program(threads, sleeper, start, tmp_path):
    shell = shutil.copy(os.path.realpath("/bin/sh"), tmp_path / "our-shell")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    start(shell, "-c", f"read x < '{gate}'; exec '{sleeper}' 60")
    running(shell)
    with happening(lambda: gate.write_text("go\n")):
        threads.wait(ProcessGone(shell) & ProcessRunning(sleeper), LONG)


def test_similar_paths_are_others(threads, tmp_path, sleeper, start):
    longer = shutil.copy(sleeper, f"{sleeper}2")
    start(longer, 60)
    running(longer)
    start("tail", "-f", sleeper)
    assert threads.satisfied(ProcessGone(sleeper))


def test_symlink_to_the_executable(threads, tmp_path, sleeper, start):
    link = tmp_path / "link"
    link.symlink_to(sleeper)
    start(link, 60)
    running(sleeper)
    assert threads.satisfied(ProcessRunning(link))


def test_directory_means_all_beneath(face, sleeper, start, tmp_path):
    process = None

    def begin():
        nonlocal process
        process = start(sleeper, 60)

    with happening(begin):
        face.wait(ProcessRunning(tmp_path), LONG)
    with happening(process.kill):
        face.wait(ProcessGone(tmp_path), LONG)


@pytest.mark.parametrize("how", ["path", "relative", "option", "shebang"])
def test_script_runs(threads, start, tmp_path, how):
    script = tmp_path / "job.py"
    script.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    script.chmod(0o755)
    words = {
        "path": [sys.executable, script],
        "relative": [sys.executable, "./job.py"],
        "option": [sys.executable, "-W", "ignore", "-u", script],
        "shebang": [script],
    }[how]
    process = start(*words, cwd=tmp_path)
    found = threads.wait(ProcessRunning(script), LONG)
    assert found.pid == process.pid
    with happening(process.kill):
        threads.wait(ProcessGone(script), LONG)


def test_own_process_does_not_count(threads, tmp_path):
    script = tmp_path / "me.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from cup.services.autowait import ProcessGone, satisfied
            assert satisfied(ProcessGone(__file__))
            """
        )
    )
    subprocess.run([sys.executable, script], check=True, timeout=60)


def test_zombie_is_gone(threads, sleeper, start):
    process = start(sleeper, 60)
    running(sleeper)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    assert threads.satisfied(ProcessGone(sleeper))
    assert threads.satisfied(ProcessGone(process.pid))
    assert not threads.satisfied(ProcessRunning(process.pid))


def test_first_thread_may_end_before_the_others(threads, start, tmp_path):
    program = tmp_path / "leaderless.py"
    program.write_text(
        textwrap.dedent(
            """
            import ctypes, threading, time
            threading.Thread(target=time.sleep, args=(60,)).start()
            open("up", "w").close()
            ctypes.CDLL(None).pthread_exit(None)
            """
        )
    )
    process = start(sys.executable, program, cwd=tmp_path, stderr=subprocess.DEVNULL)
    threads.wait(FileExists(tmp_path / "up"), LONG)
    status = Path(f"/proc/{process.pid}/stat")
    until(lambda: ") Z " in status.read_text())
    assert threads.satisfied(ProcessRunning(process.pid))
    assert threads.satisfied(ProcessRunning(os.path.realpath(sys.executable)))
    with happening(process.kill):
        threads.wait(ProcessGone(process.pid), LONG)


def test_many_numbers_end(threads, sleeper, start):
    many = [start(sleeper, 60) for _ in range(20)]
    running(sleeper)

    def kill():
        for process in many:
            process.kill()

    with happening(kill):
        threads.wait(ProcessGone(sleeper), LONG)


# A process table of our own making


class FakeTable(ProcTable):
    """A /proc in a directory. What has no `exe` is that of another user."""

    __slots__ = ()


@pytest.fixture
def proc(tmp_path):
    root = tmp_path / "proc"
    root.mkdir()

    def add(pid, arguments, exe=None, cwd=None, comm=""):
        place = root / str(pid)
        place.mkdir()
        (place / "cmdline").write_bytes(
            b"".join(os.fsencode(w) + b"\0" for w in arguments)
        )
        (place / "comm").write_text(comm + "\n")
        for name, target in (("exe", exe), ("cwd", cwd)):
            if target is not None:
                (place / name).symlink_to(target)

    add.table = FakeTable(str(root))
    return add


@pytest.fixture
def foreign(monkeypatch):
    """Make links that are not there links that may not be read."""
    really = os.readlink

    def readlink(path, *args, **kwargs):
        try:
            return really(path, *args, **kwargs)
        except FileNotFoundError:
            if str(path).endswith(("/exe", "/cwd")):
                raise PermissionError(13, "not yours", path) from None
            raise

    monkeypatch.setattr(os, "readlink", readlink)


def likenesses(proc, path):
    return dict(proc.table.find(Program(path)))


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize(
    ("arguments", "comm", "likeness"),
    [
        (["/opt/svc", "-x"], "svc", Likeness.YES),
        (["svc"], "svc", Likeness.MAYBE),
        (["./svc"], "other", Likeness.MAYBE),
        (["renamed: worker"], "svc", Likeness.MAYBE),
        (["/usr/bin/tail", "-f", "/opt/svc"], "tail", Likeness.NO),
        (["/usr/bin/python3", "/opt/svc"], "python3", Likeness.YES),
        (["python3", "svc"], "python3", Likeness.MAYBE),
        (["python3", "-m", "svc"], "python3", Likeness.NO),
        ([], "svc", Likeness.NO),
        (["/opt/svc2"], "svc2", Likeness.NO),
    ],
)
def test_process_of_another_user(proc, arguments, comm, likeness):
    proc(11, arguments, comm=comm)
    assert likenesses(proc, "/opt/svc").get(11, Likeness.NO) is likeness


@pytest.mark.usefixtures("foreign")
def test_what_may_run_neither_runs_nor_is_gone(proc, monkeypatch):
    proc(11, ["svc"], comm="svc")
    monkeypatch.setattr(_core_process, "_open_table", lambda: proc.table)
    for condition in (ProcessRunning("/opt/svc"), ProcessGone("/opt/svc")):
        assert not satisfied(condition)
        assert not satisfied(~condition)


def test_own_processes_are_judged_by_their_executable(proc):
    proc(11, ["/opt/svc"], exe="/bin/other")
    proc(12, ["renamed"], exe="/opt/svc")
    proc(13, ["renamed"], exe="/opt/svc (deleted)")
    proc(14, ["bash", "svc"], exe="/bin/bash", cwd="/opt")
    proc(15, ["bash", "svc"], exe="/bin/bash", cwd="/elsewhere")
    proc(16, ["vim", "/opt/svc"], exe="/usr/bin/vim")
    assert {*likenesses(proc, "/opt/svc")} == {12, 13, 14}
    assert {*likenesses(proc, "/opt")} >= {12, 13, 14}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["python", "a.py", "b"], ["a.py"]),
        (["python", "-u", "a.py", "b"], ["a.py", "b"]),
        (["python", "-W", "ignore", "a.py"], ["ignore", "a.py"]),
        (["python", "-c", "code", "a.py"], []),
        (["python", "-m", "module"], []),
        (["python"], []),
    ],
)
def test_script_of_an_interpreter(words, found):
    assert [*scripts(words)][: len(found)] == found
    assert bool([*scripts(words)]) == bool(found)


@pytest.mark.parametrize(
    ("target", "error"),
    [(0, InvalidValue), (-3, InvalidValue), (True, InvalidType), (1.5, InvalidType)],
)
def test_nonsense_is_refused(target, error):
    with pytest.raises(error):
        ProcessGone(target)


def test_message_names_who_runs(threads, sleeper, start):
    process = start(sleeper, 60)
    running(sleeper)
    with pytest.raises(ConditionTimeout, match=f"running: {process.pid}"):
        threads.wait(ProcessGone(sleeper), 0.05)


def test_message_names_who_runs_elsewhere(threads, sleeper, start, tmp_path):
    process = start(sleeper, 60)
    running(sleeper)
    with pytest.raises(ConditionTimeout, match=f"Nearest: .*{process.pid}"):
        threads.wait(ProcessRunning(tmp_path / "svc"), 0.05)
