"""What tests of whole programs share: starting one, asking it, ending it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError

import pytest

PATIENCE = 30.0
GRACE = 5.0


def needs(package):
    """Skip a test where a package is missing; it is imported by the program only."""
    return pytest.mark.skipif(not find_spec(package), reason=f"needs {package}")


def free_port():
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Program:
    """A program in a process of its own, which finds modules in its folder.

    Its errors are kept there.
    """

    def __init__(self, code, *arguments, folder):
        self.errors = (folder / "errors").open("w+", encoding="utf-8")
        known = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([str(folder), *([known] if known else [])])
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path},
            start_new_session=True,
        )

    def line(self):
        """Return the next line that it prints."""
        return self.process.stdout.readline().rstrip("\n")

    def terminate(self):
        """Send SIGTERM, as whoever runs services does; return how it ended."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out

    def told(self):
        """Return what it wrote to its errors."""
        self.errors.seek(0)
        return self.errors.read()


@contextlib.contextmanager
def running(code, *arguments, folder):
    """Run a program; it is killed with its children if a test fails."""
    program = Program(code, *arguments, folder=folder)
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(program.process.pid, signal.SIGKILL)
        program.process.wait(PATIENCE)
        program.process.stdout.close()
        program.errors.close()


def ask(port, path):
    """Ask a server on this machine, and return its answer as text."""
    with urllib.request.urlopen(
        f"http://127.0.0.1:{port}{path}", timeout=PATIENCE
    ) as a:
        return a.read().decode()


def wait_for_server(port, program):
    """Wait until a server answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask(port, "/ready")
        except HTTPError as error:  # it answers, but it does not work
            raise AssertionError(program.told()) from error
        except OSError:
            assert program.process.poll() is None, program.told()
            assert time.monotonic() < deadline, program.told()
            time.sleep(0.02)


def load(port, paths, clients=8):
    """Have several clients ask at the same time; return the answers in order."""
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda path: ask(port, path), paths))


def wait_for(what, program):
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert program.process.poll() is None, program.told()
        assert time.monotonic() < deadline, program.told()
        time.sleep(0.01)
    return found


def lives(pid):
    """Tell whether a process runs; one that has ended may still await its parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:  # it ended meanwhile, or there is no such folder
        return not stat.parent.parent.joinpath("self").exists()


def left_over(pids):
    """Return which of these processes do not end within a short time."""
    deadline = time.monotonic() + GRACE
    while left := [pid for pid in pids if lives(pid)]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.01)
    return []
