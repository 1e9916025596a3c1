"""The timer program: order, cancellation, memory, wake-ups; in virtual time."""

import gc
import heapq
import sys
import threading
import time
import weakref

import pytest
from executor_tools import service, wait_for
from hypothesis import given, settings, strategies as st

from cup._core.park import LockParker
from cup.services.executor import ExecutionService
from cup.services.executor._core_timers import BATCH, SLICE, UNARMED, Timers
from cup.testing import VirtualClock, VirtualDriver


class Bell:
    """An alarm that remembers when it rang."""

    def __init__(self, name, book, clock):
        self.name, self.book, self.clock = name, book, clock
        self.ticket = UNARMED

    def ring(self):
        self.book.append((self.name, self.clock.monotonic()))

    def clock_was_set(self, by):
        self.book.append((self.name, "set", by))


class Stage:
    def __init__(self):
        self.driver = VirtualDriver()
        self.clock = self.driver.clock
        self.timers = Timers(self.clock)
        self.seat = self.driver.add(self.timers)
        self.timers.open(self.seat)
        self.book = []
        self.driver.advance(0)

    def bell(self, name="bell"):
        return Bell(name, self.book, self.clock)

    def set(self, bell, delay):
        self.timers.set(bell, self.clock.monotonic() + delay)
        return bell

    def cancel(self, bell):
        bell.ticket = UNARMED
        self.timers.by_monotonic.husks.append(None)
        self.timers.look_at_husks(self.timers.by_monotonic)

    def names(self):
        return [entry[0] for entry in self.book]


@pytest.fixture
def stage():
    return Stage()


def test_timers_ring_in_order_and_never_early(stage):
    start = stage.clock.monotonic()
    for number, delay in enumerate([5.0, 1.0, 3.0, 0.0, 4.0]):
        stage.set(stage.bell(number), delay)
    stage.driver.advance(10)
    assert stage.book == [
        (3, start),
        (1, start + 1),
        (2, start + 3),
        (4, start + 4),
        (0, start + 5),
    ]


def test_equal_times_ring_in_the_order_of_setting(stage):
    for number in range(500):
        stage.set(stage.bell(number), 7.0)
    stage.driver.advance(7)
    assert stage.names() == [*range(500)]


def test_alarms_are_never_compared(stage):
    # A heap that compares alarms raises TypeError as soon as two are due at once.
    with pytest.raises(TypeError):
        heapq.heappush([(1.0, stage.bell())], (1.0, stage.bell()))
    for _ in range(100):
        stage.set(stage.bell(), 1.0)
    stage.driver.advance(1)
    assert len(stage.book) == 100


def test_cancelled_timer_does_not_ring(stage):
    kept, gone = stage.set(stage.bell("kept"), 2), stage.set(stage.bell("gone"), 1)
    stage.cancel(gone)
    stage.driver.advance(5)
    assert stage.names() == ["kept"]
    assert kept.ticket == UNARMED


def test_timer_set_anew_rings_once_at_its_new_time(stage):
    start = stage.clock.monotonic()
    bell = stage.set(stage.bell(), 1)
    stage.driver.advance(0.5)
    stage.set(bell, 3)
    stage.driver.advance(10)
    assert stage.book == [("bell", start + 3.5)]


def test_only_an_earlier_timer_wakes_the_thread(stage):
    nudges = []

    class Counting:
        def nudge(self, deadline):
            nudges.append(deadline)
            stage.seat.nudge(deadline)

        def stop(self):
            stage.seat.stop()

    stage.timers.seat = Counting()
    stage.set(stage.bell(), 100)
    stage.seat.nudge(0)
    stage.driver.advance(0)  # the first one is armed
    nudges.clear()
    for _ in range(200):
        stage.set(stage.bell(), 200)
    assert nudges == []
    stage.set(stage.bell(), 50)
    assert nudges == [stage.clock.monotonic() + 50]


def test_idle_timers_wait_for_a_nudge(stage):
    assert stage.seat.deadline is None
    stage.set(stage.bell(), 1)
    stage.driver.advance(1)
    assert stage.seat.deadline is None


def test_far_timer_is_one_deadline(stage):
    steps = []
    real = stage.timers.step
    stage.set(stage.bell(), 3600.0)
    stage.driver.advance(1)

    class Spy:
        effects = stage.timers.effects

        def step(self, now):
            steps.append(now)
            return real(now)

    stage.seat.program = Spy()
    stage.driver.advance(3500)
    assert steps == []


def test_wall_timer_costs_two_looks_a_minute(stage):
    steps = []
    real = stage.timers.step
    stage.timers.set_by_wall(stage.bell(), stage.clock.time() + 36_000)
    stage.driver.advance(1)

    class Spy:
        effects = stage.timers.effects

        def step(self, now):
            steps.append(now)
            return real(now)

    stage.seat.program = Spy()
    stage.driver.advance(600)
    assert len(steps) == 600 / SLICE


def test_cancelled_timers_are_swept_out(stage):
    bells = [stage.set(stage.bell(), 1000 + n) for n in range(10 * BATCH)]
    stage.driver.advance(0)
    assert len(stage.timers.by_monotonic.entries) == len(bells)
    for bell in bells:
        stage.cancel(bell)
    stage.driver.advance(0)
    left = stage.timers.by_monotonic
    assert len(left.entries) + len(left.inbox) <= BATCH
    assert stage.timers.pending() == 0


def test_timers_that_come_and_go_do_not_pile_up(stage):
    for _ in range(20 * BATCH):
        stage.cancel(stage.set(stage.bell(), 30))
        if not stage.seat.deadline or stage.seat.deadline <= stage.clock.monotonic():
            stage.driver.advance(0)
    heap = stage.timers.by_monotonic
    assert len(heap.entries) + len(heap.inbox) <= 3 * BATCH


def test_take_has_one_winner(stage):
    bell = stage.set(stage.bell(), 1)
    assert stage.timers.take(bell)
    assert not stage.timers.take(bell)
    stage.driver.advance(2)
    assert stage.book == []


def test_close_rings_what_is_due_and_returns_the_rest(stage):
    due, later, latest = stage.bell("due"), stage.bell("later"), stage.bell("latest")
    stage.set(latest, 9)
    stage.set(later, 5)
    stage.set(due, 1)
    stage.clock.advance(1)  # the program was not called
    assert stage.timers.close() == [later, latest]
    assert stage.names() == ["due"]
    assert later.ticket == UNARMED


def test_lateness_is_counted(stage):
    stage.set(stage.bell(), 1)
    stage.clock.advance(1.5)
    stage.driver.advance(0)
    figures = stage.timers.lateness.read()
    assert figures.taken == 1
    assert figures.longest == pytest.approx(0.5)
    assert figures.counts[19] == 1  # 0.5 s is below 2**19 us


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "cancel", "again", "advance"]),
            st.integers(0, 30),
            st.integers(0, 9),
        ),
        max_size=60,
    )
)
def test_timers_agree_with_a_plain_list(actions):
    stage = Stage()
    model, expected, bells = {}, [], {}
    for count, (action, delay, which) in enumerate(actions):
        now = stage.clock.monotonic()
        if action == "advance":
            stage.driver.advance(delay)
            due = sorted(
                (when, order, name)
                for name, (when, order) in model.items()
                if when <= now + delay
            )
            for when, _, name in due:
                expected.append((name, when))
                del model[name]
        elif action == "cancel":
            if which in model:
                stage.cancel(bells[which])
                del model[which]
        elif action == "again" or which not in model:
            bells.setdefault(which, stage.bell(which))
            stage.set(bells[which], delay)
            model[which] = (now + delay, count)
    assert stage.book == expected


# -- the wall clock --------------------------------------------------------------------


def test_wall_timer_follows_a_step_forward(stage):
    stage.timers.set_by_wall(stage.bell(), stage.clock.time() + 3600)
    stage.driver.advance(1)
    stage.clock.step_wall(3600)
    stage.driver.advance(SLICE)
    assert [entry for entry in stage.book if len(entry) == 2]


def test_wall_timer_waits_after_a_step_back(stage):
    stage.timers.set_by_wall(stage.bell(), stage.clock.time() + 60)
    stage.driver.advance(1)
    stage.clock.step_wall(-3600)
    stage.driver.advance(3600)
    assert [entry for entry in stage.book if len(entry) == 2] == []
    stage.driver.advance(60)
    assert [entry for entry in stage.book if len(entry) == 2]


def test_wall_timers_are_told_of_a_step(stage):
    stage.timers.set_by_wall(stage.bell(), stage.clock.time() + 1000)
    stage.driver.advance(1)
    stage.clock.step_wall(-500)
    stage.driver.advance(SLICE)
    assert stage.book == [("bell", "set", -500.0)]


def test_sleep_is_no_step(stage):
    stage.timers.set_by_wall(stage.bell(), stage.clock.time() + 3600)
    stage.driver.advance(1)
    stage.clock.suspend(3600)
    stage.driver.advance(SLICE)
    assert [len(entry) for entry in stage.book] == [2]


def test_steps_before_there_were_wall_timers_are_none(stage):
    stage.clock.step_wall(5000)
    stage.timers.set_by_wall(stage.bell(), stage.clock.time() + 10)
    stage.driver.advance(1)
    assert stage.book == []


def test_monotonic_timers_ignore_the_wall_clock(stage):
    start = stage.clock.monotonic()
    stage.set(stage.bell(), 100)
    stage.timers.set_by_wall(stage.bell("wall"), stage.clock.time() + 1e9)
    for step in (3600, -3600, 3e8, -3e8):
        stage.clock.step_wall(step)
        stage.driver.advance(1)
    stage.driver.advance(200)
    assert [entry for entry in stage.book if entry[0] == "bell"] == [
        ("bell", start + 100)
    ]


# -- on a thread -----------------------------------------------------------------------


def test_pending_timers_are_cheap():
    number = 20_000  # the benchmark takes a million
    with service() as executor:
        gc.collect()
        jobs = [executor.after(3600 + n, print) for n in range(number)]
        size = sum(
            sys.getsizeof(part) + 16 for part in (jobs[0], (1.0, 1, jobs[0]))
        ) + sum(map(sys.getsizeof, (1.5, 10**6)))
        assert size <= 300  # and 8 for the place in the heap
        assert executor.stats().pending == number
        for job in jobs:
            assert job.cancel()
        wait_for(lambda: len(executor.core.timers.by_monotonic.entries) <= 2 * BATCH)
        assert executor.stats().pending == 0


def test_cancel_frees_the_call_at_once():
    class Big:
        def __call__(self):
            pass

    with service() as executor:
        big, argument = Big(), Big()
        refs = [weakref.ref(big), weakref.ref(argument)]
        job = executor.after(3600, big, argument, key=argument)
        del big, argument
        gc.collect()
        assert all(ref() is not None for ref in refs)
        job.cancel()
        assert all(ref() is None for ref in refs)


def test_users_never_run_on_the_timer_thread():
    with service(name="mine") as executor:
        names = [
            executor.after(0.01, lambda: threading.current_thread().name).result()
            for _ in range(3)
        ]
        assert all(name.startswith("mine-delayed_") for name in names)


def test_a_slow_job_does_not_delay_timers():
    with service(1) as executor:
        blocked = threading.Event()
        executor.after(0.0, blocked.wait, 10)
        jobs = [executor.after(0.05, time.monotonic) for _ in range(5)]
        wait_for(lambda: executor.stats().lateness.taken >= 5)
        assert executor.stats().lateness.longest < 5
        assert not any(job.done() for job in jobs)
        blocked.set()
        for job in jobs:
            job.result(10)


def test_nothing_is_early():
    with service() as executor:
        rights = []
        jobs = []
        for n in range(200):
            due = time.monotonic() + n * 0.0007
            jobs.append(
                executor.after(
                    n * 0.0007, lambda due=due: rights.append(time.monotonic() >= due)
                )
            )
        for job in jobs:
            job.result(10)
        assert len(rights) == 200
        assert all(rights)


def test_deadlines_are_not_rounded_to_milliseconds():
    # Descriptors are waited for in milliseconds, rounded up.
    with service() as executor:
        assert isinstance(executor.core.timers.seat._parker, LockParker)


def test_earlier_timer_overtakes_a_parked_thread():
    with service() as executor:
        executor.after(3600, print)
        time.sleep(0.05)  # the thread parks until then
        start = time.monotonic()
        executor.after(0.01, print).result(10)
        assert time.monotonic() - start < 5


def test_idle_service_burns_no_processor_time():
    with service() as executor:
        executor.after(3600, print)
        executor.submit(print).result()
        time.sleep(0.1)
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.05


def test_many_threads_set_and_cancel():
    with service() as executor:
        ran, cancelled = [], []

        def work(seed):
            for n in range(400):
                job = executor.after(0.001 * ((seed + n) % 7), ran.append, (seed, n))
                if (seed + n) % 3 == 0 and job.cancel():
                    cancelled.append((seed, n))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: len(ran) + len(cancelled) == 8 * 400)
        assert len({*ran, *cancelled}) == 8 * 400


def test_clock_of_the_virtual_kind_can_sleep():
    clock = VirtualClock()
    before = clock.monotonic(), clock.time()
    clock.suspend(10)
    assert (clock.monotonic(), clock.time()) == (before[0], before[1] + 10)
    assert clock.suspended() == 10


def test_new_service_has_no_thread():
    before = threading.active_count()
    ExecutionService()
    assert threading.active_count() == before
