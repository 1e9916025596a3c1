"""Jobs on disk: none is lost, none runs again whose end is written."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import stored_jobs
from executor_tools import wait_for

from cup.errors import LogClosed, LogLocked
from cup.services.executor import ExecutionService, JobStore, LogStore, MemoryStore
from cup.services.serializer import MetaStore, read_state
from cup.testing import CrashDisk

HOUR = 3600.0
OPTIONS = {"preallocate": False, "segment_bytes": 1 << 16}


@pytest.fixture(autouse=True)
def ran():
    stored_jobs.RAN.clear()
    return stored_jobs.RAN


@pytest.fixture
def place(tmp_path):
    return tmp_path / "jobs"


def open_all(place, **options):
    store = LogStore.open(place, **{**OPTIONS, **options})
    executor = ExecutionService(store=store)
    executor.start()
    return store, executor


# -- the store -------------------------------------------------------------------------


def test_store_keeps_what_it_is_given(place):
    with LogStore.open(place, **OPTIONS) as store:
        known: JobStore = store
        known.write([("a", "1"), ("b", "2")], [])
        known.write([("c", "3")], ["a", "never there"])
        assert dict(known.load()) == {"b": "2", "c": "3"}
        assert (len(store), bool(store)) == (2, True)
        assert store.stats().entries == 2
        assert "LogStore" in repr(store)
        with pytest.raises(LogLocked):
            LogStore.open(place)
    with pytest.raises(LogClosed):
        store.write([("a", "1")], [])
    with LogStore.open(place) as store:
        assert dict(store.load()) == {"b": "2", "c": "3"}
    assert dict(read_state(place).entries) == {b"b": b"2", b"c": b"3"}


def test_import_of_the_executor_loads_no_log():
    code = (
        "import sys, cup.services.executor as e; e.LogStore; "
        "print([m for m in sys.modules if 'serializer' in m])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"


def test_what_is_no_text_is_kept(place, caplog):
    LogStore.open(place, **OPTIONS).close()
    disk_format = MetaStore.open(place, key=Latin(), value=Latin())
    disk_format.set("j\xe4", "x")
    disk_format.close()
    store, executor = open_all(place)
    assert "left alone" in caplog.text
    assert [entry.key for entry in store.unknown()] == [b"j\xe4"]
    executor.options(key="k").after(HOUR, stored_jobs.note)
    executor.stop()
    store.close()
    assert {*dict(read_state(place).entries)} == {b"j\xe4", b"k"}


class Latin:
    name = "text"

    def encode(self, value):
        return value.encode("latin-1")

    def decode(self, payload):
        return payload.decode("latin-1")


# -- jobs ------------------------------------------------------------------------------


def test_jobs_go_on_after_a_restart(place, ran):
    store, executor = open_all(place)
    executor.options(key="later").after(HOUR, stored_jobs.note, 1)
    executor.options(key="soon").after(0.3, stored_jobs.note, 2)
    executor.options(key="often").every(0.3, stored_jobs.note, 3)
    assert executor.stop().persisted == 3
    store.close()
    store, executor = open_all(place)
    assert executor.find("soon").result(10)
    wait_for(lambda: ((3,), {}) in ran)
    executor.forget("often")
    assert executor.stop().persisted == 1
    assert dict(store.load()).keys() == {"later"}
    store.close()


def test_restored_job_can_be_asked_and_cancelled(place):
    store, executor = open_all(place)
    for key in "abc":
        executor.options(key=key, name=f"job {key}").after(HOUR, stored_jobs.note)
    executor.stop()
    store.close()
    store, executor = open_all(place)
    a, b, c = map(executor.find, "abc")
    assert (a.name, a.done(), a.next_run is not None) == ("job a", False, True)
    assert a.cancel()
    assert a.cancelled()
    assert b.reschedule(0.01)
    assert b.result(10)
    future = c.future  # it has one now, and is followed all the same
    assert c.cancel()
    assert future.cancelled()
    executor.stop()
    assert dict(store.load()) == {}
    store.close()


def test_job_of_the_same_key_survives_the_end_of_the_one_before():
    """The end of the first is on its way to the store when the second is handed in."""

    class Slow(MemoryStore):
        def __init__(self):
            super().__init__()
            self.held, self.free = threading.Event(), threading.Event()

        def write(self, saved, removed):
            if removed and not self.free.is_set():
                self.held.set()
                assert self.free.wait(10)
            super().write(saved, removed)

    store = Slow()
    executor = ExecutionService(store=store)
    executor.start()
    executor.options(key="k").after(0, stored_jobs.note, 1).result(10)
    assert store.held.wait(10)
    timer = threading.Timer(0.05, store.free.set)
    timer.start()
    executor.options(key="k").after(HOUR, stored_jobs.note, 2)
    timer.join()
    assert executor.stop().persisted == 1
    assert "[2]" in store.jobs["k"]


def test_job_that_is_refused_leaves_the_one_before(place):
    class Full(MemoryStore):
        full = False

        def write(self, saved, removed):
            if self.full:
                raise OSError("disk full")
            super().write(saved, removed)

    store = Full()
    executor = ExecutionService(store=store)
    executor.start()
    executor.options(key="k").after(HOUR, stored_jobs.note, 1)
    store.full = True
    for key in ("k", "new"):
        with pytest.raises(OSError, match="disk full"):
            executor.options(key=key).after(HOUR, stored_jobs.note, 2)
    store.full = False
    assert executor.stop().persisted == 1
    assert [*store.jobs] == ["k"]
    assert "[1]" in store.jobs["k"]


def test_many_hands_share_syncs(place):
    store, executor = open_all(place)
    before = store.stats().log.groups

    def work(name):
        for n in range(25):
            executor.options(key=f"{name}-{n}").after(HOUR, stored_jobs.note, n)

    hands = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join(60)
    assert len(store) == 400
    assert store.stats().log.groups - before < 300
    assert executor.stop().persisted == 400
    store.close()


# -- crashes ---------------------------------------------------------------------------


def test_every_crash_leaves_the_jobs_that_were_acknowledged():
    disk = CrashDisk()
    store, executor = open_all("/jobs", disk=disk, segment_bytes=4096, compaction=None)
    for n in range(12):
        disk.note(("begun", f"job-{n}"))
        executor.options(key=f"job-{n}").after(HOUR, stored_jobs.note, n)
        disk.note(("acked", f"job-{n}"))
        if n % 5 == 4:
            disk.note(("ending", f"job-{n}"))
            executor.find(f"job-{n}").cancel()
            wait_for(lambda n=n: f"job-{n}" not in dict(store.load()))
            disk.note(("ended", f"job-{n}"))
    executor.stop()
    store.close()
    count = 0
    for state in disk.crash_states():
        said = {
            kind: {n[1] for n in state.notes if n[0] == kind}
            for kind in ("begun", "acked", "ending", "ended")
        }
        with LogStore.open("/jobs", disk=state.mount(), **OPTIONS) as again:
            there = {*dict(again.load())}
        assert said["acked"] - said["ending"] <= there <= said["begun"] - said["ended"]
        count += 1
    assert count > 200


PROGRAM = """
import os, random, sys, threading, time
sys.path.insert(0, sys.argv[3])
import durable_tools
from cup.services.executor import ExecutionService, LogStore

store = LogStore.open(sys.argv[1], segment_bytes=1 << 16)
executor = ExecutionService(store=store)
path, life = sys.argv[2], sys.argv[4]

def tell(kind, name):
    os.write(1, f"{kind} {name}\\n".encode())

def watch():  # what is durable is told
    known = set()
    while True:
        here = {key for key, _ in store.load()}
        for name in known - here:
            tell("ended", name)
        known |= here
        known &= here
        time.sleep(0.002)

def work(hand):
    rng = random.Random(f"{life}-{hand}")
    for n in range(10**6):
        name = f"{life}-{hand}-{n}"
        view = executor.options(key=name)
        fn = durable_tools.fail if n % 7 == 6 else durable_tools.run_once
        view.after(rng.choice([0, 0.005, 0.02, 0.1]), fn, path, name)
        tell("acked", name)
        time.sleep(rng.choice([0, 0.001, 0.003]))

threading.Thread(target=watch, daemon=True).start()
time.sleep(0.01)
executor.start()
for hand in range(3):
    threading.Thread(target=work, args=(hand,), daemon=True).start()
threading.Event().wait()
"""


def kill_after(child, lines):
    try:
        told = [child.stdout.readline() for _ in range(lines)]
    finally:
        child.send_signal(signal.SIGKILL)
    rest = child.stdout.read()  # `communicate` would pass over what was read ahead
    error = child.communicate(timeout=30)[1]
    assert child.returncode == -signal.SIGKILL, error
    told += rest.splitlines(keepends=True)
    return [line.decode().split() for line in told if line.endswith(b"\n")]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(
    "rounds",
    [
        3,
        pytest.param(15, marks=pytest.mark.full),
        pytest.param(300, marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
    ],
)
def test_killed_executors_lose_no_job_and_repeat_none(tmp_path, place, rounds):
    rng = random.Random(rounds)
    path, here = tmp_path / "ran", str(Path(__file__).parent)
    acked, before = set(), {}
    ended = set()
    for life in range(rounds):
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, place, path, here, str(life)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for kind, name in kill_after(child, rng.randrange(1, 150)):
            (acked if kind == "acked" else ended).add(name)
        with LogStore.open(place, **OPTIONS) as store:
            there = {*dict(store.load())}
        runs = Counter(path.read_text().split()) if path.exists() else Counter()
        # Acknowledged: it waits, or it has run.
        assert acked <= there | {*runs}
        # Its end was durable: it is gone, and ran once, or again before that.
        assert not ended & there
        for name, count in before.items():
            if name in ended or name not in there:
                assert runs[name] == count, name
        before = {name: runs[name] for name in ended | ({*runs} - there)}

    # The last life runs all that is left, and each of it is gone then.
    sys.path.insert(0, here)
    store, executor = open_all(place)
    left = [*store.load()]
    wait_for(lambda: len(store) == 0, 60)
    assert executor.unknown_jobs() == {}
    executor.stop()
    store.close()
    runs = Counter(path.read_text().split())
    assert acked <= {*runs}
    assert {key for key, _ in left} <= {*runs}
    again = [name for name, count in runs.items() if count > 1]
    assert len(again) <= 20 * rounds  # those whose end was not durable yet
    assert ended  # else nothing was tested
    print(f"{len(acked)} acknowledged, {len(ended)} ended, {len(again)} ran again")


# -- how fast --------------------------------------------------------------------------


@pytest.mark.full
def test_many_jobs_are_back_soon(place):
    count = 20_000
    store, executor = open_all(place, segment_bytes=1 << 23)
    executor.options(key="k").after(HOUR, stored_jobs.note)
    text = dict(store.load())["k"]
    executor.stop()
    names = [f"job-{n}" for n in range(count)]
    for first in range(0, count, 1000):
        store.write(
            [(n, text.replace('"k"', f'"{n}"')) for n in names[first : first + 1000]],
            ["k"],
        )
    store.close()
    start = time.process_time()
    store, executor = open_all(place)
    took = time.process_time() - start
    assert executor.find("job-19999").next_run is not None
    assert executor.stop().persisted == count
    assert len(store) == count
    store.close()
    assert took < 2, took  # a fifth of a second where nobody else uses the processor
