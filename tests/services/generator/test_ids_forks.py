"""Forked children, starts of programs, signal handlers: nobody repeats anything."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from id_tools import count_distinct, fingerprints, in_children, needs_fork

from cup.errors import IdError
from cup.services.generator import (
    SONY,
    CachedUUID,
    CounterGenerator,
    CycleIDGenerator,
    FileSlots,
    NameGenerator,
    RandomGenerator,
    SnowflakeGenerator,
    StaticWorker,
    ULIDGenerator,
    UUID4Generator,
    UUID7Generator,
)

KINDS = [
    *("uuid7", "uuid4", "ulid", "static", "slots", "sony"),
    *("counter", "file", "name", "random", "cycle", "cached1", "cached4"),
]


@pytest.fixture
def make(tmp_path):
    kinds = {
        "uuid7": UUID7Generator,
        "uuid4": UUID4Generator,
        "ulid": ULIDGenerator,
        "static": lambda: SnowflakeGenerator(
            StaticWorker(5, directory=tmp_path), max_ahead=20
        ),
        "sony": lambda: SnowflakeGenerator(
            StaticWorker(5, directory=tmp_path), layout=SONY, max_ahead=10_000
        ),
        "slots": lambda: SnowflakeGenerator(FileSlots(tmp_path), max_ahead=20),
        "counter": CounterGenerator,
        "file": lambda: CounterGenerator(path=tmp_path / "count", step=4096),
        "name": lambda: NameGenerator("web"),
        "random": RandomGenerator,
        "cycle": lambda: CycleIDGenerator("10.1.2.3", 8080),
        "cached1": lambda: CachedUUID(0),
        "cached4": lambda: CachedUUID(1),
    }
    return lambda kind: kinds[kind]()


def many(ids, number):
    """Draw in both ways, and give fingerprints."""
    single = number // 10
    made = bytearray(fingerprints([ids.next_id() for _ in range(single)]))
    left = number - single
    while left:
        some = min(left, 50_000)
        made += fingerprints(ids.next_ids(some))
        left -= some
    return bytes(made)


@needs_fork
@pytest.mark.parametrize("kind", KINDS)
def test_children_repeat_nothing(make, kind):
    ids = make(kind)
    before = fingerprints(ids.next_ids(500))
    made = in_children(4, lambda _: many(ids, 5000))
    after = fingerprints(ids.next_ids(5000))
    drawn, distinct = count_distinct([before, *made, after])
    assert drawn == distinct == 500 + 4 * 5000 + 5000


PURE_CHANCE = {"uuid4", "random", "cached1", "cached4"}  # and much to compare
EACH = 1_000_000 if os.environ.get("CUP_LONG") == "1" else 100_000


@needs_fork
@pytest.mark.full
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.long] if kind in PURE_CHANCE else [])
        for kind in KINDS
    ],
)
def test_eight_children_make_many_each(make, kind):
    ids = make(kind)
    ids.next_id()
    drawn, distinct = count_distinct(in_children(8, lambda _: many(ids, EACH)))
    assert drawn == 8 * EACH
    assert distinct == drawn


@needs_fork
def test_grandchildren_and_late_children_repeat_nothing(make):
    for kind in ("cycle", "counter", "static", "slots", "uuid7"):
        ids = make(kind)
        ids.next_id()

        def child(_, ids=ids):
            mine = fingerprints([ids.next_id()])
            return b"".join([mine, *in_children(3, lambda _: many(ids, 100))])

        made = [*in_children(3, child), fingerprints(ids.next_ids(100))]
        made += in_children(3, child)
        drawn, distinct = count_distinct(made)
        assert drawn == distinct


@needs_fork
def test_child_of_a_busy_parent_does_not_hang(make):
    """A child is forked while other threads are inside of every kind."""
    generators = [make(kind) for kind in KINDS]
    stop = threading.Event()

    def work():
        while not stop.is_set():
            for ids in generators:
                ids.next_id()
                ids.next_ids(70)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            made = in_children(
                1, lambda _: b"".join([fingerprints(g.next_ids(9)) for g in generators])
            )
            assert len(made[0]) == 8 * 9 * len(KINDS)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@needs_fork
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_signal_handlers_may_draw(make):
    """A handler that interrupts a draw anywhere draws, too."""
    for kind in KINDS:
        ids = make(kind)
        made, nested = [], []

        def draw(*_, ids=ids, made=made, nested=nested):
            if len(nested) < 20:  # where a disk is slower than the timer, no more
                nested.append(None)
                made.append(ids.next_id())
                nested.pop()

        before = signal.signal(signal.SIGALRM, draw)
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
        try:
            end = time.monotonic() + 0.08
            while time.monotonic() < end:
                made.append(ids.next_id())
                if kind in ("static", "slots", "sony", "counter"):
                    ids._run.full = True
                    ids._run.end = 0  # the way with the ledger is to be interrupted
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert len(set(made)) == len(made), kind


@needs_fork
def test_a_reserve_that_was_closed_is_noticed(make):
    """Daemons close all descriptors; another file may have the number then."""
    ids = make("counter")

    def child(_):
        file = ids._ledger.file
        os.close(file)
        os.dup2(os.open(os.devnull, os.O_RDWR), file)
        try:
            ids.next_id()
        except IdError as error:
            return str(error).encode()
        return b"nothing was noticed"

    assert b"another file's now" in in_children(1, child)[0]


PROGRAM = """
import sys
from cup.services import generator as g
kind, place, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
ids = {
    "uuid7": g.UUID7Generator,
    "ulid": g.ULIDGenerator,
    "static": lambda: g.SnowflakeGenerator(g.StaticWorker(5, directory=place)),
    "slots": lambda: g.SnowflakeGenerator(g.FileSlots(place)),
    "file": lambda: g.CounterGenerator(path=place + "/count"),
    "name": lambda: g.NameGenerator("web"),
    "cycle": lambda: g.CycleIDGenerator("10.1.2.3", 8080),
    "cached1": g.CachedUUID,
}[kind]()
print(*ids.next_ids(number), sep="\\n")
"""
RESTARTED = ["uuid7", "ulid", "static", "slots", "file", "name", "cycle", "cached1"]


@pytest.mark.parametrize("kind", RESTARTED)
def test_starts_at_once_and_one_after_the_other_repeat_nothing(kind, tmp_path):
    """Within the same second, and also at the same time."""

    def start():
        command = [sys.executable, "-c", PROGRAM, kind, str(tmp_path), "20000"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    texts = [start().communicate()[0]]
    texts += [child.communicate()[0] for child in [start(), start()]]
    made = [line for text in texts for line in text.split()]
    assert len(made) == 60_000
    assert len(set(made)) == len(made)
