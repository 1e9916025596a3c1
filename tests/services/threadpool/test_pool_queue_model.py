"""The queue and the pool against simple models, step by step."""

import threading
from collections import deque

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from pool_tools import PATIENCE, Gate, in_threads, switching_fast, wait_for

from cup.errors import PoolClosed
from cup.services.threadpool import ThreadPool, Urgency
from cup.services.threadpool._core_queue import JobQueue
from cup.services.threadpool._core_record import claim, take_to_run

HIGH, NORMAL, LOW = Urgency
quick = settings(max_examples=60, stateful_step_count=40, deadline=None)


def make_record(name):
    return [print, None, (name,), {}, name]


# Functions with names: some versions of Hypothesis read a lambda's source each time.


def some_are_live(self):
    return self.live()


def some_run(self):
    return self.running


def one_is_next(self):
    return self.next_job()


def is_open(self):
    return not self.closed


def is_closed_and_idle(self):
    return self.closed and not self.running


class QueueMachine(RuleBasedStateMachine):
    """FIFO inside of a class, one turn in 16 for the others, husks, the pool's own."""

    def __init__(self):
        super().__init__()
        self.queue = JobQueue(None)
        self.model = {urgency: deque() for urgency in Urgency}
        self.own = deque()
        self.records = {}
        self.taken = 0
        self.number = 0

    def live(self):
        return [name for line in self.model.values() for name in line]

    @rule(urgency=st.sampled_from(Urgency), times=st.integers(1, 20))
    def put(self, urgency, times):
        for _ in range(times):
            self.number += 1
            record = self.records[self.number] = make_record(self.number)
            self.queue.put(record, urgency)
            self.model[urgency].append(self.number)

    @rule()
    def put_own(self):
        self.number += 1
        self.queue.put_own(make_record(self.number))
        self.own.append(self.number)

    @precondition(some_are_live)
    @rule(data=st.data(), times=st.integers(1, 30))
    def cancel(self, data, times):
        for _ in range(min(times, len(self.live()))):
            name = data.draw(st.sampled_from(self.live()))
            assert claim(self.records[name]) == name
            assert claim(self.records[name]) is None
            self.queue.emptied()
            for line in self.model.values():
                if name in line:
                    line.remove(name)

    @rule(times=st.integers(1, 20))
    def take(self, times):
        for _ in range(times):
            while True:
                try:
                    record = self.queue.take()
                except IndexError:
                    assert not self.live()
                    assert not self.own
                    return
                if record:
                    break
                self.queue.met_husk()
            name = record[4]
            if self.own:
                assert name == self.own.popleft()
                continue
            line = next(line for line in self.model.values() if name in line)
            assert name == line.popleft(), "first in, first out"

    @precondition(some_are_live)
    @rule()
    def drop_oldest(self):
        record = self.queue.take_oldest()
        if record:
            lowest = next(line for u, line in reversed(self.model.items()) if line)
            assert record[4] == lowest.popleft()
        else:
            self.queue.met_husk()

    @invariant()
    def figures_agree(self):
        assert len(self.queue) == len(self.live()) + len(self.own)
        assert self.queue.lying() >= len(self.queue)
        if self.live() or self.own:
            assert self.queue.has_work()
        if self.queue.lying():
            assert self.queue.has_work()
        assert self.queue.lying() <= 8 * max(len(self.queue), 256)


QueueMachine.TestCase.settings = quick
TestQueue = QueueMachine.TestCase


@given(st.lists(st.sampled_from(Urgency), min_size=1, max_size=200))
@quick
def test_the_most_urgent_is_next_but_for_one_turn_in_sixteen(urgencies):
    queue = JobQueue(None)
    for number, urgency in enumerate(urgencies):
        queue.put(make_record((urgency, number)), urgency)
    left = list(enumerate(urgencies))
    exceptions = []
    for turn in range(len(urgencies)):
        urgency, number = queue.take()[4]
        assert number == min(n for n, u in left if u is urgency)
        exceptions.append(urgency is not min(u for _, u in left))
        left.remove((number, urgency))
        assert sum(exceptions[max(0, turn - 15) :]) <= 1
    assert not queue.has_work()


class PoolMachine(RuleBasedStateMachine):
    """One pool with one worker, whose jobs end one by one, when the model says so."""

    def __init__(self):
        super().__init__()
        self.pool = ThreadPool(max_workers=1, keep_alive=None)
        self.pool.start()
        self.queued = {urgency: deque() for urgency in (HIGH, NORMAL)}
        self.running = None
        self.started = []
        self.done = self.cancelled = self.refused = 0
        self.closed = False

    @initialize()
    def make_a_turn_of_the_others_impossible(self):
        # With two classes, and so few steps, only the order of urgency counts.
        self.pool.core.queue._turns = iter(lambda: 1, None)

    def next_job(self):
        return next((line for line in self.queued.values() if line), None)

    def run_next(self):
        line = self.next_job()
        if line is not None:
            self.running = line.popleft()
            self.running[1].await_inside()
            self.started.append(self.running)

    @rule(urgency=st.sampled_from([HIGH, NORMAL]))
    def submit(self, urgency):
        gate = Gate()
        view = self.pool.options(urgency=urgency)
        if self.closed:
            with pytest.raises(PoolClosed):
                view.submit(gate)
            self.refused += 1
            return
        self.queued[urgency].append((view.submit(gate), gate))
        if self.running is None:
            self.run_next()

    @precondition(some_run)
    @rule()
    def end_job(self):
        job, gate = self.running
        gate.open()
        assert job.result(PATIENCE) is None
        self.done += 1
        self.running = None
        self.run_next()

    @precondition(one_is_next)
    @rule(data=st.data())
    def cancel(self, data):
        line = data.draw(st.sampled_from([x for x in self.queued.values() if x]))
        entry = data.draw(st.sampled_from(list(line)))
        line.remove(entry)
        assert entry[0].cancel()
        self.cancelled += 1

    @precondition(some_run)
    @rule()
    def cancel_what_runs(self):
        assert not self.running[0].cancel()

    @precondition(is_open)
    @rule()
    def refuse(self):
        assert self.pool.try_stop(0) in {True, False}
        self.closed = True

    @precondition(is_closed_and_idle)
    @rule()
    def start_again(self):
        assert self.pool.stop()
        self.pool.start()
        self.closed = False

    @invariant()
    def figures_agree(self):
        stats = self.pool.stats()
        assert stats.queued == sum(map(len, self.queued.values()))
        assert stats.cancelled == self.cancelled
        assert stats.done == self.done
        assert stats.refused == self.refused
        assert stats.running == bool(self.running)
        assert stats.workers <= 1

    def teardown(self):
        for line in self.queued.values():
            for _, gate in line:
                gate.open()
        if self.running:
            self.running[1].open()
        assert self.pool.stop()
        assert self.pool.stats().queued == 0


PoolMachine.TestCase.settings = settings(
    quick, suppress_health_check=[HealthCheck.too_slow]
)
TestPool = PoolMachine.TestCase


def test_a_record_has_one_taker_at_any_moment():
    """Who comes between the two steps of another takes nothing and harms nothing."""
    whole = make_record("call")
    while whole:
        whole.pop()
        assert claim(list(whole)) is None
        assert take_to_run(list(whole)) is None
    sinks = [object() for _ in range(3000)]
    records = [[print, None, (), {}, sink] for sink in sinks]

    def take(index):
        takers = (claim, lambda record: (take_to_run(record) or [None])[-1])
        return [takers[index % 2](record) for record in records]

    with switching_fast():
        taken = in_threads(4, take)
    for number, sink in enumerate(sinks):
        assert [one[number] for one in taken].count(sink) == 1
        assert [one[number] for one in taken].count(None) == 3
    assert not any(records)


def test_a_worker_takes_a_half_taken_record_for_a_husk():
    reports = []
    with ThreadPool(max_workers=1, on_unhandled=lambda *w: reports.append(w)) as pool:
        pool.run(int)
        for size in range(5):
            pool.core.enqueue(make_record("call")[:size])
            assert pool.run(lambda: 1) == 1
    assert reports == []
    assert pool.stats().done == 6


def test_a_queue_survives_a_wrong_count_of_its_husks():
    """Records are also emptied before they are queued, or by somebody else."""
    queue = JobQueue(None)
    for _ in range(2000):
        queue.emptied()
        queue.met_husk()
        queue.met_husk()
    records = [make_record(number) for number in range(1000)]
    for record in records:
        queue.put(record, NORMAL)
    for _ in range(5000):
        queue.emptied()
    assert len(queue) == 1000
    for record in records:
        claim(record)
    assert len(queue) == 0
    for _ in range(5000):
        queue.emptied()
    assert queue.lying() < 1000


def test_cancelling_a_long_queue_from_its_end_takes_no_quadratic_time():
    queue = JobQueue(None)
    records = [make_record(number) for number in range(20_000)]
    for record in records:
        queue.put(record, NORMAL)
    done = threading.Event()

    def cancel():
        for record in reversed(records):
            claim(record)
            queue.emptied()
        done.set()

    threading.Thread(target=cancel).start()
    wait_for(done.is_set)
    assert len(queue) == 0
