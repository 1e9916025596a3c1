"""A redis-server (or valkey-server) of the test's own, on a socket in a folder."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec

import pytest

BINARY = shutil.which("redis-server") or shutil.which("valkey-server")

needs_server = pytest.mark.skipif(
    BINARY is None or not find_spec("redis") or not find_spec("coredis"),
    reason="needs redis-server or valkey-server, redis and coredis",
)


class RedisServer:
    """One server, which can be killed, paused and started again."""

    def __init__(self, *options):
        self.folder = tempfile.mkdtemp(prefix="cup-redis-")
        self.url = f"unix://{self.folder}/s"
        self._options = options
        self._process = None
        self.start()

    def start(self):
        command = [BINARY, "--port", "0", "--unixsocket", f"{self.folder}/s"]
        command += ["--dir", self.folder, "--save", "", *self._options]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.wait_until_it_answers()

    def client(self):
        import redis

        return redis.Redis(unix_socket_path=f"{self.folder}/s")

    def wait_until_it_answers(self):
        import redis

        deadline = time.monotonic() + 20
        with contextlib.closing(self.client()) as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    assert time.monotonic() < deadline, "the server never came up"
                    time.sleep(0.01)
                else:
                    return

    def kill(self):
        self._process.kill()
        self._process.wait()

    def pause(self):
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self._process.pid, signal.SIGCONT)

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def redis_server(*options):
    server = RedisServer(*options)
    try:
        yield server
    finally:
        server.remove()
