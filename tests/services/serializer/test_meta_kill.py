"""A process that changes a store is killed for real; what it was told is there."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cup.errors import LogLocked
from cup.services.serializer import MetaStore, read_state, verify

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")

PROGRAM = """
import os, sys, threading
import anyio
from cup.services.serializer import Compaction, MetaStore

store = MetaStore.open(sys.argv[1], segment_bytes=1 << 15,
                       compaction=Compaction(ratio=1, least=10_000))
begin = {name: store.get(f"{name}", 0) for name in range(6)}

def tell(name, n):
    os.write(1, b"%d %d\\n" % (name, n))  # shorter than a pipe's unit

def changes(name):
    for n in range(begin[name] + 1, 10**9):
        value = n if n % 2 else [n, "x" * (n * 61 % 300)]
        yield n, {f"{name}": n, f"{name}/{n % 7}": value}

def work(name):
    for n, values in changes(name):
        store.update(values, delete=[f"{name}/{(n + 3) % 7}"])
        tell(name, n)

async def task(name):
    for n, values in changes(name):
        await store.aio.update(values, delete=[f"{name}/{(n + 3) % 7}"])
        tell(name, n)

async def main():
    async with anyio.create_task_group() as tasks:
        for name in (3, 4, 5):
            tasks.start_soon(task, name)

for name in range(3):
    threading.Thread(target=work, args=(name,), daemon=True).start()
anyio.run(main, backend=sys.argv[2])
"""


def start(place, backend="asyncio"):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, place, backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def kill_after(child, lines):
    try:
        told = [child.stdout.readline() for _ in range(lines)]
    finally:
        child.send_signal(signal.SIGKILL)
    rest = child.stdout.read()  # `communicate` would pass over what was read ahead
    error = child.communicate(timeout=30)[1]
    told += rest.splitlines(keepends=True)
    assert (error, child.returncode) == (b"", -signal.SIGKILL)
    assert all(line.endswith(b"\n") for line in told)
    return [tuple(map(int, line.split())) for line in told]


def check(place, acked):
    """Find each hand's last acknowledged change, or the one that it had begun."""
    with MetaStore.open(place) as store:
        for name, last in acked.items():
            there = store[f"{name}"]
            assert there in {last, last + 1}, (name, last, there)
            acked[name] = there  # the next life goes on from it
            expected = {}
            for n in range(max(1, there - 14), there + 1):
                value = n if n % 2 else [n, "x" * (n * 61 % 300)]
                expected[f"{name}/{n % 7}"] = value
                expected.pop(f"{name}/{(n + 3) % 7}", None)
            if there > 14:
                found = {k: store[k] for k in store if k.startswith(f"{name}/")}
                assert found == expected
        assert store.unknown() == ()
        state = {key.encode() for key in store}
    assert verify(place).ok
    assert {key for key, _ in read_state(place).entries} == state


def live_and_die(place, rounds, seed):
    rng = random.Random(seed)
    acked = {}
    for life in range(rounds):
        child = start(place, ("asyncio", "trio")[life % 2])
        for name, n in kill_after(child, rng.randrange(1, 400)):
            acked[name] = max(n, acked.get(name, 0))
        check(place, acked)
    size = sum(file.stat().st_size for file in Path(place).iterdir())
    assert size < 8 << 20
    return acked


@pytest.mark.parametrize(
    "rounds",
    [
        3,
        pytest.param(12, marks=pytest.mark.full),
        pytest.param(300, marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
    ],
)
def test_killed_writers_lose_nothing(tmp_path, rounds):
    acked = live_and_die(str(tmp_path / "store"), rounds, rounds)
    assert sum(acked.values()) > rounds


def test_others_look_while_it_writes(tmp_path):
    place = str(tmp_path / "store")
    child = start(place)
    told = [child.stdout.readline().split() for _ in range(200)]
    with pytest.raises(LogLocked, match=f"{child.pid}"):
        MetaStore.open(place)
    seen = {int(k): int(v) for k, v in read_state(place).entries if b"/" not in k}
    for name, n in told:
        assert seen[int(name)] >= int(n)
    kill_after(child, 0)
