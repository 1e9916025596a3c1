"""One writer: against other processes, other logs of this one, and forked children."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from cup.errors import ForkedProcess, LogLocked, WriteFailed
from cup.services.serializer import BUFFERED, AsyncLog, Log, LogReader, repair

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

HOLDER = """
import sys, time
from cup.services.serializer import Log
log = Log.open(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def test_second_log_of_one_process_is_refused(tmp_path):
    with Log.open(tmp_path) as log:
        with pytest.raises(LogLocked) as caught:
            Log.open(tmp_path)
        assert (caught.value.pid, caught.value.host) == (
            os.getpid(),
            socket.gethostname(),
        )
        assert str(os.getpid()) in str(caught.value)
        with pytest.raises(LogLocked):
            repair(tmp_path)
        log.append(b"x")
    Log.open(tmp_path).close()


async def test_second_log_of_a_task_is_refused(tmp_path, anyio_backend):
    async with await AsyncLog.open(tmp_path):
        with pytest.raises(LogLocked):
            await AsyncLog.open(tmp_path)


def test_log_of_another_process_is_refused_until_it_dies(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(LogLocked) as caught:
            Log.open(tmp_path)
        assert caught.value.pid == holder.pid
        holder.send_signal(signal.SIGKILL)
        Log.open(tmp_path, lock_timeout=20).close()
    finally:
        holder.kill()
        holder.communicate()


def test_many_readers_do_not_keep_a_writer_out(tmp_path):
    Log.open(tmp_path).close()
    readers = [LogReader.open(tmp_path) for _ in range(5)]
    for _ in range(20):
        with Log.open(tmp_path) as log:
            log.append(b"x")
            for reader in readers:
                list(reader.records())
    for reader in readers:
        reader.close()


def in_child(work):
    """Run something in a forked child, and return whether it went well."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


@fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_cannot_use_the_log_and_does_no_harm(tmp_path):
    log = Log.open(tmp_path)
    log.append(b"parent")
    log.append(b"not durable yet", durability=BUFFERED)

    def child():
        for use in [
            lambda: log.append(b"child"),
            lambda: log.append_many([b"child"]),
            lambda: log.submit(b"child"),
            log.sync,
            log.records,
            lambda: log.purge(1),
            lambda: log.checkpoint(b""),
            lambda: log.skip_to(9),
            log.latest_checkpoint,
        ]:
            with pytest.raises(ForkedProcess, match=str(os.getppid())):
                use()
        repr(log)
        log.stats()
        log.close()

    assert in_child(child)
    assert log.append(b"parent, too") == 3
    log.close()
    with Log.open(tmp_path) as log:
        found = [record.payload for record in log.records()]
        assert found == [b"parent", b"not durable yet", b"parent, too"]


@fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_does_not_hold_the_lock_of_its_parent(tmp_path):
    """A child that lives on keeps nobody from opening the log."""
    log = Log.open(tmp_path)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        log.close()
        Log.open(tmp_path, lock_timeout=20).close()
    finally:
        os.close(writing)
        os.waitpid(pid, 0)
        os.close(reading)


def test_log_is_closed_at_the_end_of_the_interpreter(tmp_path):
    code = (
        "import sys; from cup.services.serializer import *\n"
        "def f():\n"
        "    log = Log.open(sys.argv[1]); log.append(b'x', durability=BUFFERED)\n"
        "    log.submit(b'y')\n"
        "f()  # and nobody has the log any more"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=50)
    with LogReader.open(tmp_path) as reader:
        assert [record.payload for record in reader.records()] == [b"x", b"y"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of file sizes")
def test_limit_of_file_sizes_is_a_failed_write(tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = Log.open(tmp_path, preallocate=False)
    log.append(b"before")
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        with pytest.raises(WriteFailed):
            log.append(bytes(10_000))
        assert log.append(b"small") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert log.append(bytes(10_000)) == 3
    assert [len(record.payload) for record in log.records()] == [6, 5, 10_000]
    log.close()
