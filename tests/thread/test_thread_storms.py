"""Interrupts at random points: no lock is lost, and nobody else is hit."""

import random
import sys
import threading
import time

import pytest
from thread_tools import (
    PATIENCE,
    ended,
    is_free,
    run_python,
    spin,
    switching_fast,
    wait_for,
)

from cup.errors import LockTimeout, ThreadTermException
from cup.thread import CupThread, RWLock, shield


class Storm(Exception):
    """What rains on threads."""


# -- locks -------------------------------------------------------------------------


def by_hand(lock, dice):
    lock.acquire_writelock()
    try:
        sum(range(dice.randrange(50)))
    finally:
        lock.release_writelock()


def by_guard(lock, dice):
    with lock.read(), lock.read(timeout=1):
        sum(range(dice.randrange(50)))


def by_downgrade(lock, dice):
    with lock.write() as guard:
        sum(range(dice.randrange(50)))
        guard.downgrade()
        sum(range(dice.randrange(50)))


def by_chance(lock, dice):
    kind = dice.choice(["read", "write"])
    try:
        with getattr(lock, kind)(timeout=dice.choice([0, 0.0001, 0.002])):
            sum(range(dice.randrange(50)))
    except LockTimeout:
        pass


def by_shield(lock, dice):
    with shield(), lock.write():
        sum(range(dice.randrange(50)))


WAYS = [by_hand, by_guard, by_downgrade, by_chance, by_shield]


def use(locks, seed):
    """Use locks in every way there is, for ever."""
    dice = random.Random(seed)
    while True:
        dice.choice(WAYS)(dice.choice(locks), dice)


def check_usable(locks):
    """The watchdog: each lock can still be had for reading and writing."""
    for lock in locks:
        for _ in range(2):
            lock.acquire_writelock(PATIENCE)
            lock.release_writelock()
            lock.acquire_readlock(PATIENCE)
            lock.release_readlock()


def kill_at_random_points(number, seed, fairness="fair"):
    """Terminate so many threads while they use two locks."""
    dice = random.Random(seed)
    locks = [RWLock(fairness), RWLock(fairness)]
    threads = []
    for count in range(number):
        while len(threads) < 4:
            thread = CupThread(target=use, args=(locks, dice.random()))
            thread.start()
            threads.append(thread)
        time.sleep(dice.random() * 0.002)
        victim = threads.pop(dice.randrange(len(threads)))
        assert victim.terminate(), f"{victim} lives on: {locks}"
        if count % 20 == 0:
            check_usable(locks)
    for thread in threads:
        assert thread.terminate()
        assert type(thread.exception) is ThreadTermException
    assert all(map(is_free, locks))


@pytest.mark.parametrize("fairness", ["fair", "readers", "writers"])
def test_kills_lose_no_lock(fairness):
    with switching_fast(0.0001):
        kill_at_random_points(170, fairness, fairness)


@pytest.mark.full
def test_two_thousand_kills_lose_no_lock():
    with switching_fast(0.00005):
        kill_at_random_points(2000, 7)


def rain_on_locks(seconds, interval):
    """Interrupt threads at random points, without ending them."""
    locks, stop = [RWLock(), RWLock(reentrant=True)], threading.Event()

    def work(seed):
        while not stop.is_set():
            try:
                while not stop.is_set():
                    dice = random.Random(seed)
                    for _ in range(20):
                        dice.choice(WAYS)(dice.choice(locks), dice)
            except Storm:
                continue

    def guarded(seed):
        while not stop.is_set():
            try:
                work(seed)
            except Storm:
                continue

    threads = [CupThread(target=guarded, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    rain = 0
    with switching_fast(interval):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for thread in threads:
                rain += thread.raise_exc(Storm)
    check_usable(locks)
    # No mask is left over: plain code can be reached.
    wait_for(lambda: not any(thread._interrupts.pending for thread in threads))
    stop.set()
    return locks, threads, rain


@pytest.mark.parametrize("interval", [0.00001, 0.0005])
def test_a_storm_leaves_no_mask_and_no_lock_behind(interval):
    locks, threads, rain = rain_on_locks(0.3, interval)
    for thread in threads:
        assert ended(thread)
        assert thread._interrupts.depth == 0
        assert thread._interrupts._shields == 0
        assert thread.exception is None or type(thread.exception) is Storm
    assert rain > 100
    assert all(map(is_free, locks))


def test_a_storm_while_the_mutex_is_contended_leaves_no_mask_behind():
    """Whoever waits for the mutex in `mask` is hit as soon as it has it."""
    lock, stop = RWLock(), threading.Event()

    def work():
        while not stop.is_set():
            try:
                while not stop.is_set():
                    lock.acquire_readlock()
                    lock.release_readlock()
            except Storm:
                continue

    def guarded():
        while not stop.is_set():
            try:
                work()
            except Storm:
                continue

    thread = CupThread(target=guarded)
    thread.start()

    def post():
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            thread.raise_exc(Storm)

    with switching_fast(0.00001):
        posters = [threading.Thread(target=post) for _ in range(2)]
        for poster in posters:
            poster.start()
        assert all(map(ended, posters))
    wait_for(lambda: thread._interrupts.pending is None)
    assert thread._interrupts.depth <= 1
    stop.set()
    assert ended(thread)
    assert thread._interrupts.depth == 0
    assert is_free(lock)


# -- threads that come and go ------------------------------------------------------


class Records:
    """What would be reported while threads come and go; all of it is looked at."""

    def __enter__(self):
        self.thread_reports, self.unraisable = [], []
        self._hooks = threading.excepthook, sys.unraisablehook
        threading.excepthook = self._keep
        sys.unraisablehook = lambda args: self.unraisable.append(
            (args.err_msg, args.exc_value, args.object)
        )
        return self

    def _keep(self, args):
        self.thread_reports.append((args.exc_type, args.thread))

    def __exit__(self, *_):
        threading.excepthook, sys.unraisablehook = self._hooks


def count_to(number):
    """Run plain code; in a frame of its own, or CPython 3.13.0 may miss a handler."""
    for _ in range(number):
        pass


def innocent(spoilt, stop):
    """Run plain code in short-lived threads that nobody interrupts."""

    def work():
        try:
            sum(range(100))
            for _ in range(50):
                pass
        except BaseException as error:
            spoilt.append(error)

    while not stop.is_set():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()


def come_and_go(cycles, seed):
    """Start and end threads, interrupted at any moment, before and after, too."""
    dice = random.Random(seed)
    spoilt, stop, current = [], threading.Event(), []
    counts = {"begun": 0, "posted": 0, "caught": 0}

    def target(length):
        counts["begun"] += 1
        try:
            count_to(length)
        except Storm:
            counts["caught"] += 1

    def post():
        while not stop.is_set():
            time.sleep(dice.random() * 0.0006)
            for thread in current:
                try:
                    counts["posted"] += thread.raise_exc(
                        dice.choice([Storm, Storm, Storm, ThreadTermException])
                    )
                except RuntimeError:
                    pass  # not started yet

    helpers = [threading.Thread(target=post) for _ in range(2)]
    helpers.append(threading.Thread(target=innocent, args=(spoilt, stop)))
    with Records() as records, switching_fast(0.00005):
        for helper in helpers:
            helper.start()
        for _ in range(cycles):
            thread = CupThread(target=target, args=(dice.randrange(9000),))
            current[:] = [thread]
            thread.start()
            assert ended(thread)
            assert thread.raise_exc(Storm) == 0
            error = thread.exception
            assert error is None or isinstance(error, (Storm, ThreadTermException))
        stop.set()
        assert all(map(ended, helpers))
        assert threading.active_count() < 20
    assert not spoilt, "an innocent thread was hit"
    assert not records.unraisable, "something was raised outside of a target"
    for kind, thread in records.thread_reports:
        assert kind is Storm
        assert isinstance(thread, CupThread)
    return counts


def test_interrupts_hit_only_their_thread_and_only_while_it_runs():
    counts = come_and_go(400, 1)
    assert counts["posted"]


@pytest.mark.full
def test_ten_thousand_threads_come_and_go():
    counts = come_and_go(10_000, 2)
    assert counts["caught"] > 100, counts
    assert counts["posted"] > 1000, counts


def test_a_thread_with_the_identifier_of_one_that_ended_is_safe():
    """Identifiers are used again at once; a stale one reaches nobody."""
    ended_threads, hits = [], []
    idents = set()
    for _ in range(100):
        old = CupThread(target=int)
        old.start()
        assert ended(old)
        ended_threads.append(old)

        def work():
            idents.add(threading.get_ident())
            try:
                for old in ended_threads:
                    assert old.raise_exc(Storm) == 0
            except BaseException as error:
                hits.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert ended(thread)
    assert not hits
    assert idents & {old.ident for old in ended_threads}, "nothing was tested"


def test_interrupts_after_the_target_returned_come_too_late():
    """Post as the target returns: it is raised inside, or refused, or dropped."""
    outcomes = {"inside": 0, "late": 0}
    with Records() as records, switching_fast(0.00001):
        for _ in range(300):
            about_to_end = threading.Event()

            def work(event=about_to_end):
                event.set()
                return "result"

            thread = CupThread(target=work)
            thread.start()
            about_to_end.wait(PATIENCE)
            for _ in range(5):
                thread.raise_exc(ThreadTermException)
            assert ended(thread)
            outcomes["late" if thread.exception is None else "inside"] += 1
            assert thread.result in (None, "result")
    assert not records.unraisable
    assert not records.thread_reports
    assert sum(outcomes.values()) == 300


def test_an_error_of_the_target_is_not_replaced_by_a_late_interrupt():
    kept = 0
    with Records() as records, switching_fast(0.00001):
        for _ in range(200):
            failing = threading.Event()

            def work(event=failing):
                event.set()
                raise KeyError("of the target")

            thread = CupThread(target=work)
            thread.start()
            failing.wait(PATIENCE)
            thread.raise_exc(ThreadTermException)
            assert ended(thread)
            kept += isinstance(thread.exception, KeyError)
            assert isinstance(thread.exception, (KeyError, ThreadTermException))
    assert kept
    assert len(records.thread_reports) == kept


# -- memory ------------------------------------------------------------------------


def test_ended_threads_leave_no_targets_and_no_interrupts_behind():
    from cup._core import asyncexc, interrupt

    before = dict(interrupt.targets)
    stop = threading.Event()
    for _ in range(30):
        thread = CupThread(target=spin, args=(stop,))
        thread.start()
        assert thread.terminate()
    assert interrupt.targets.keys() == before.keys()
    assert not asyncexc._raised


def test_a_storm_on_a_masked_thread_starts_no_storm_of_looks():
    from cup._core import timekeeper

    lock, inside, go = RWLock(), threading.Event(), threading.Event()

    def work():
        with lock.write():
            inside.set()
            go.wait(PATIENCE)

    thread = CupThread(target=work)
    thread.start()
    inside.wait(PATIENCE)
    for _ in range(2000):
        assert thread.raise_exc(ThreadTermException)
    keeper = timekeeper._keeper
    assert len(keeper._heap) + len(keeper._new) < 50
    go.set()
    assert ended(thread)
    assert type(thread.exception) is ThreadTermException


def test_the_interpreter_ends_in_the_middle_of_a_storm():
    out = run_python(
        """
import threading
from cup.thread import CupThread, RWLock
lock = RWLock()
def work():
    while True:
        with lock.write(): pass
threads = [CupThread(target=work) for _ in range(4)]
for t in threads: t.start()
for t in threads:
    for _ in range(100): t.raise_exc(SystemExit)
for t in threads: t.terminate()
print(all(not t.is_alive() for t in threads), lock)
"""
    )
    assert out == "True <RWLock fair: free, 0 wait to read, 0 to write>\n"
