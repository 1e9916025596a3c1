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

PATIENCE = 30.0


def free_port():
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Program:
    """A program in a process of its own; its errors are kept."""

    def __init__(self, code, *arguments, folder):
        self.errors = (folder / "errors").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
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
    """Run a program; it is killed if a test fails."""
    program = Program(code, *arguments, folder=folder)
    try:
        yield program
    finally:
        program.process.kill()
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
        except OSError:
            assert program.process.poll() is None, program.told()
            assert time.monotonic() < deadline, program.told()
            time.sleep(0.02)


def load(port, paths, clients=8):
    """Have several clients ask at the same time; return the answers in order."""
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda path: ask(port, path), paths))
