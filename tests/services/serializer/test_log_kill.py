"""A writing process is killed for real; nothing that it acknowledged is lost."""

import os
import random
import signal
import subprocess
import sys

import pytest

from cup.errors import LogLocked
from cup.services.serializer import Log, LogReader, verify

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")

THREADS = """
import os, sys, threading
from cup.services.serializer import Log

log = Log.open(sys.argv[1], segment_bytes=1 << 16)
life = sys.argv[2]

def work(name):
    for n in range(10**9):
        payload = b"%s-%d-%d:" % (life.encode(), name, n)
        payload += b"x" * (n * 61 % 500)
        if n % 7 == 3:
            ids = log.append_many([payload + b"0", payload + b"1", payload + b"2"])
        else:
            ids = [log.append(payload)]
        # Shorter than a pipe's unit: it arrives as a whole.
        os.write(1, b"%d %d %s\\n" % (ids[0], len(ids), payload))

for name in range(5):
    threading.Thread(target=work, args=(name,), daemon=True).start()
threading.Event().wait()
"""

TASKS = """
import os, sys
import anyio
from cup.services.serializer import AsyncLog

async def main():
    life = sys.argv[2]
    log = await AsyncLog.open(sys.argv[1], segment_bytes=1 << 16)

    async def work(name):
        for n in range(10**9):
            payload = b"%s-%d-%d:" % (life.encode(), name, n)
            payload += b"x" * (n * 61 % 500)
            number = await log.append(payload)
            os.write(1, b"%d 1 %s\\n" % (number, payload))

    async with anyio.create_task_group() as group:
        for name in range(20):
            group.start_soon(work, name)

anyio.run(main, backend=sys.argv[3])
"""


def start(program, *args):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def kill_after(child, lines):
    """Kill a child when it has told so many lines; give all that it told."""
    told = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    told += child.stdout.readlines()  # not `communicate`: it misses what is buffered
    error = child.stderr.read()
    assert (error, child.wait(30)) == (b"", -signal.SIGKILL)
    child.stdout.close()
    child.stderr.close()
    assert all(line.endswith(b"\n") for line in told)
    return [line.split() for line in told]


def check(place, acked):
    """Find every acknowledged record in the log, and ids without a hole."""
    with Log.open(place, segment_bytes=1 << 16) as log:
        there = {record.id: record.payload for record in log.records()}
        assert [*there] == [*range(1, log.next_id)]
    for number, payload in acked.items():
        assert there[number] == payload
    assert len({*there.values()}) == len(there)
    assert verify(place).ok


def live_and_die(place, program, rounds, seed, *args):
    rng = random.Random(seed)
    acked = {}
    for life in range(rounds):
        child = start(program, place, life, *args)
        for first, count, payload in kill_after(child, rng.randrange(1, 400)):
            for n in range(int(count)):
                suffix = b"%d" % n if int(count) > 1 else b""
                assert int(first) + n not in acked
                acked[int(first) + n] = payload + suffix
        check(place, acked)
    assert len(acked) > rounds


@pytest.mark.parametrize("rounds", [3, pytest.param(30, marks=pytest.mark.long)])
def test_threads_are_killed(tmp_path, rounds):
    live_and_die(str(tmp_path / "log"), THREADS, rounds, 1)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(1, marks=pytest.mark.full),
        pytest.param(15, marks=pytest.mark.long),
    ],
)
def test_tasks_are_killed(tmp_path, backend, rounds):
    live_and_die(str(tmp_path / "log"), TASKS, rounds, 2, backend)


def test_others_see_what_is_durable_while_it_writes(tmp_path):
    place = str(tmp_path / "log")
    child = start(THREADS, place, 0)
    told = [child.stdout.readline().split() for _ in range(50)]
    with pytest.raises(LogLocked, match=f"{child.pid}"):
        Log.open(place)
    with LogReader.open(place) as reader:
        there = {record.id: record.payload for record in reader.records()}
        for first, count, payload in told:
            if int(count) == 1:
                assert there[int(first)] == payload
        last = max(there)
        assert reader.durable_id >= last
    told += kill_after(child, 0)
    with Log.open(place) as log:
        later = {record.id: record.payload for record in log.records(1, last + 1)}
    assert later == there


def test_fork_inherits_no_right_to_write(tmp_path):
    pytest.importorskip("fcntl")
    with Log.open(str(tmp_path / "log")) as log:
        log.append(b"parent")
        pid = os.fork()
        if not pid:
            try:
                log.append(b"child")
            except BaseException as error:
                os._exit(7 if type(error).__name__ == "ForkedProcess" else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert log.append(b"parent again") == 2
        assert [record.payload for record in log.records()] == [
            b"parent",
            b"parent again",
        ]
