"""A line, step by step, with waiters that are neither threads nor tasks."""

import signal
import threading

import pytest
from core_tools import FakeWaiter, Permits, Thread, Want, file, take

from cup._core.latch import Latch, LatchAsk
from cup._core.line import Fifo, Line
from cup._core.wait import Ask, Reach, State

A, B = "loop A", "loop B"


class Room(Line):
    """Space of which asks want different amounts."""

    __slots__ = ("free",)

    def __init__(self, free):
        super().__init__()
        self.free = free

    def take(self, ask):
        if ask.amount > self.free:
            return False
        self.free -= ask.amount
        ask.value = ask.amount
        return True

    def put_back(self, ask):
        self.free += ask.amount


class Amount(Ask):
    __slots__ = ("amount",)

    def __init__(self, line, amount):
        super().__init__(line)
        self.amount = amount


# -- granting --------------------------------------------------------------------------


def test_a_free_line_grants_at_once():
    line = Permits(2)
    asks = [take(line), take(line)]
    assert [ask.state for ask in asks] == [State.SETTLED] * 2
    assert not line.try_now(Want(line))
    for ask in asks:
        line.leave(ask)
    line.check()


def test_who_came_first_is_granted_first():
    line = Permits(1)
    held = take(line)
    waiting = [file(line)[0] for _ in range(4)]
    line.leave(held)
    for ask in waiting:
        assert ask.is_settled()
        assert [a.state for a in waiting].count(State.SETTLED) == 1 + waiting.index(ask)
        line.release()
    assert len(line) == 0


def test_nobody_overtakes_who_waits():
    line = Room(1)
    big, waiter = Amount(line, 2), FakeWaiter()
    assert not line.try_now(big)
    line.file(big, waiter)
    assert not line.try_now(Amount(line, 1))


def test_who_leaves_lets_the_next_one_pass():
    line = Room(1)
    big, small = Amount(line, 2), Amount(line, 1)
    for ask in (big, small):
        line.file(ask, FakeWaiter())
    assert line.leave_unless_granted(big)
    assert small.is_settled()


def test_a_cancelled_ask_lets_the_next_one_pass():
    line = Room(1)
    big, small = Amount(line, 2), Amount(line, 1)
    for ask in (big, small):
        line.file(ask, FakeWaiter())
    line.leave(big)
    assert small.is_settled()


def test_filing_grants_what_became_free_meanwhile():
    line = Permits(1)
    held = take(line)
    ask = Want(line)
    assert not line.try_now(ask)
    line.leave(held)
    waiter = FakeWaiter()
    line.file(ask, waiter)
    assert ask.is_settled()
    assert waiter.wakes == 1


def test_the_base_leaves_granting_to_its_subclasses():
    line = Line()
    with pytest.raises(NotImplementedError):
        line.take(Ask(line))
    with pytest.raises(NotImplementedError):
        line.put_back(Ask(line))
    assert not line.hopeless()
    line.vanished()


def test_a_queue_can_be_looked_at():
    line = Permits(0)
    asks = [file(line)[0] for _ in range(3)]
    queue = Fifo()
    for ask in asks:
        queue.add(ask)
    assert list(queue) == asks
    assert len(queue) == len(line) == 3
    assert queue.head() is asks[0]
    assert Fifo().head() is None


# -- asks end once ---------------------------------------------------------------------


def test_leaving_after_the_grant_passes_it_on():
    line = Permits(1)
    held = take(line)
    first, _ = file(line)
    second, _ = file(line)
    line.leave(held)
    assert first.is_settled()
    line.leave(first)
    assert first.state is State.GONE
    assert second.is_settled()
    line.leave(second)
    line.check()


@pytest.mark.parametrize("home", [None, A])
@pytest.mark.parametrize("granted", [False, True])
def test_leaving_twice_is_leaving_once(home, granted):
    line = Permits(1)
    held = take(line)
    ask, _ = file(line, home)
    if granted:
        line.leave(held)
    for _ in range(3):
        line.leave(ask)
    if not granted:
        line.leave(held)
    line.check()
    assert line.free == 1


def test_a_timeout_after_the_grant_keeps_the_grant():
    line = Permits(1)
    held = take(line)
    for home in (None, A):
        ask, _ = file(line, home)
        line.leave(held)
        assert not line.leave_unless_granted(ask)
        assert ask.is_settled()
        held = ask
    line.leave(held)
    line.check()


def test_a_timeout_before_the_grant_leaves():
    line = Permits(1)
    held = take(line)
    ask, _ = file(line, A)
    assert line.leave_unless_granted(ask)
    assert ask.state is State.GONE
    line.leave(held)
    line.check()


# -- offers to tasks -------------------------------------------------------------------


def test_a_grant_to_a_task_is_an_offer_until_claimed():
    line = Permits(1)
    held = take(line)
    ask, waiter = file(line, A)
    assert not line.claim(ask)
    line.leave(held)
    assert ask.state is State.OFFERED
    assert waiter.wakes == 1
    assert line.claim(ask)
    assert ask.is_settled()
    assert not line.claim(ask)
    line.leave(ask)
    line.check()


def test_an_offer_is_taken_back_from_a_loop_that_stopped():
    line = Permits(1)
    held = take(line)
    task, waiter = file(line, A)
    thread, _ = file(line)
    line.leave(held)
    assert task.state is State.OFFERED
    waiter.state = Reach.PAUSED
    line.revise()
    assert task.state is State.WAITING
    assert thread.is_settled()
    assert not line.claim(task)


def test_a_task_whose_loop_runs_again_is_the_first_in_line():
    line = Permits(2)
    held = [take(line), take(line)]
    stopped = [file(line, A) for _ in range(2)]
    others = [file(line)[0] for _ in range(2)]
    for ask in held:
        line.leave(ask)
    for _, waiter in stopped:
        waiter.state = Reach.PAUSED
    line.revise()
    assert all(ask.is_settled() for ask in others)
    later, _ = file(line)
    for _, waiter in stopped:
        waiter.state = Reach.READY
    line.leave(others[0])
    assert [ask.state for ask, _ in stopped] == [State.OFFERED, State.WAITING]
    line.leave(others[1])
    assert [ask.state for ask, _ in stopped] == [State.OFFERED] * 2
    assert later.state is State.WAITING


def test_who_waits_on_a_stopped_loop_keeps_its_place():
    line = Permits(1)
    held = take(line)
    stopped = [file(line, A, reach=Reach.PAUSED) for _ in range(3)]
    thread, _ = file(line)
    later, _ = file(line)
    line.leave(held)
    assert thread.is_settled()
    assert list(line._queue) == [*(ask for ask, _ in stopped), later]


def test_a_stopped_loop_is_told_once_to_ask_again():
    line = Permits(1)
    take(line)
    ask, waiter = file(line, A, reach=Reach.PAUSED)
    for _ in range(100):
        line.revise()
    assert waiter.wakes == 1, "its inbox must not grow while it stands still"
    waiter.state = Reach.READY
    assert not line.claim(ask)  # it runs again, and finds nothing
    waiter.state = Reach.PAUSED
    for _ in range(100):
        line.changed()
    assert waiter.wakes == 2


def test_an_offer_to_a_closed_loop_goes_to_the_next():
    line = Permits(1)
    held = take(line)
    task, waiter = file(line, A)
    thread, _ = file(line)
    line.leave(held)
    waiter.state = Reach.GONE
    line.revise()
    assert task.state is State.GONE
    assert thread.is_settled()
    line.leave(task)  # the coroutine is collected much later
    line.leave(thread)
    line.check()


def test_a_wake_that_fails_passes_the_grant_on_at_once():
    line = Permits(1)
    held = take(line)

    class Closing(FakeWaiter):
        def wake(self):
            self.state = Reach.GONE
            return super().wake()

    task = Want(line)
    line.file(task, Closing(A))
    thread, waiter = file(line)
    line.leave(held)
    assert task.state is State.GONE
    assert thread.is_settled()
    assert waiter.wakes == 1


def test_a_loop_that_dies_with_many_offers_takes_no_stack():
    number = 3000
    line = Permits(0)

    class Closing(FakeWaiter):
        def wake(self):
            self.state = Reach.GONE
            return super().wake()

    for _ in range(number):
        line.file(Want(line), Closing(A))
    line.total = line.free = number
    line.changed()
    line.book.clear()
    line.check()
    assert line.free == number


def test_asks_of_dead_loops_are_purged_when_the_line_grows():
    line = Permits(1)
    take(line)
    dead = [file(line, A) for _ in range(40)]
    ready, _ = file(line)
    for _, waiter in dead:
        waiter.state = Reach.GONE
    for _ in range(40):
        file(line)
    assert len(line) == 41
    assert line._homes == {}
    assert all(ask.state is State.GONE for ask, _ in dead)
    assert ready.state is State.WAITING


def test_asks_of_dead_loops_are_purged_behind_one_that_waits():
    line = Permits(0)
    first, _ = file(line)
    dead = [file(line, A) for _ in range(40)]
    for _, waiter in dead:
        waiter.state = Reach.GONE
    last = [file(line)[0] for _ in range(40)]
    assert len(line) == 41
    assert line._homes == {}
    assert all(ask.state is State.GONE for ask, _ in dead)
    assert [ask.state for ask in (first, *last)] == [State.WAITING] * 41


def test_purging_costs_little():
    line = Permits(0)
    looks = []

    class Watched(FakeWaiter):
        def reach(self):
            looks.append(None)
            return Reach.READY

    for _ in range(4000):
        line.file(Want(line), Watched())
    assert len(looks) < 4 * 4000


# -- trying once -----------------------------------------------------------------------


def test_one_try_succeeds_although_tasks_of_stopped_loops_wait():
    line = Permits(1)
    held = take(line)
    file(line, A, reach=Reach.PAUSED)
    file(line, B, reach=Reach.GONE)
    line.leave(held)
    assert line.try_now(Want(line))


@pytest.mark.parametrize("reach", [Reach.PAUSED, Reach.GONE])
def test_one_try_takes_what_a_stopped_loop_does_not_claim(reach):
    line = Permits(1)
    held = take(line)
    _, waiter = file(line, A)
    line.leave(held)
    ask = Want(line)
    assert not line.try_now(ask)
    assert not line.try_again(ask)  # its loop runs: it may claim it
    waiter.state = reach
    assert line.try_again(ask)


def test_a_line_knows_whether_another_loop_may_hold_it_up():
    line = Permits(1)
    held = take(line)
    assert not line.may_stall(None)
    thread, _ = file(line)
    assert not line.may_stall(None)
    task, _ = file(line, A)
    assert line.may_stall(None)
    assert line.may_stall(B)
    assert not line.may_stall(A)
    other, _ = file(line, B)
    assert line.may_stall(A)
    line.leave(other)
    assert not line.may_stall(A)
    line.leave(thread)
    line.leave(held)
    assert line.may_stall(None), "what is offered counts until it is claimed"
    line.claim(task)
    assert not line.may_stall(None)


# -- signal handlers and finalizers ----------------------------------------------------


def test_what_meets_a_busy_mutex_is_done_by_its_holder():
    line = Permits(1)
    held = take(line)
    first, waiter = file(line)
    second, _ = file(line)
    with line.mutex:  # this very thread: waiting for it would be for ever
        line.leave(first)
        line.release()
        line.changed()
        assert waiter.wakes == 0
    line.settle()
    assert first.state is State.GONE
    assert second.is_settled()
    assert held.is_settled()


def test_what_was_left_is_done_by_whoever_comes_next():
    line = Permits(1)
    held = take(line)
    waiting, _ = file(line)
    with line.mutex:
        line.leave(held)
    assert not line.try_now(Want(line))
    assert waiting.is_settled()


@pytest.mark.parametrize("call", ["claim", "leave_unless_granted", "file", "revise"])
def test_every_holder_does_what_was_left(call):
    line = Permits(1)
    held = take(line)
    waiting, _ = file(line, A)
    with line.mutex:
        line.leave(held)
    if call == "claim":
        assert line.claim(waiting)
    elif call == "leave_unless_granted":
        assert not line.leave_unless_granted(waiting)
    elif call == "file":
        line.file(Want(line), FakeWaiter())
        assert waiting.state is State.OFFERED
    else:
        line.revise()
        assert waiting.state is State.OFFERED


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals")
@pytest.mark.parametrize("operation", ["leave", "changed", "release", "wake", "open"])
def test_a_signal_handler_may_come_while_the_mutex_is_held(operation):
    line = Permits(1)
    latch = Latch()
    held = take(line)
    waiting, waiter = file(line)
    calls = []

    def handler(*_):
        calls.append(operation)
        if operation == "leave":
            line.leave(waiting)
        elif operation == "wake":
            waiter.wake()
        elif operation == "open":
            latch.open()
        else:
            getattr(line, operation)()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with line.mutex, latch.mutex:
            signal.raise_signal(signal.SIGUSR1)
            assert calls
        line.settle()
        latch.settle()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert latch.opened == (operation == "open")
    if operation == "leave":
        assert waiting.state is State.GONE
    if operation == "release":
        assert waiting.is_settled()
    assert held.is_settled()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals")
def test_a_handler_may_come_at_any_step():
    """A timer fires again and again, while the main thread works on the line."""
    line = Permits(2)
    line.book = []
    fired = []

    def handler(*_):
        fired.append(None)
        line.release()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    given = 0
    try:
        while len(fired) < 300:
            ask = Want(line)
            if line.try_now(ask):
                given += 1
            else:
                line.file(ask, FakeWaiter())
                given += not line.leave_unless_granted(ask)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    line.settle()
    assert not line._notes
    assert len(line) == 0
    assert given + line.free == 2 + len(fired)


def test_many_threads_leave_notes_and_none_is_lost():
    line = Permits(1)
    total = 300

    def work():
        for _ in range(total):
            ask = Want(line)
            if not line.try_now(ask):
                line.file(ask, FakeWaiter())
            line.leave(ask)

    for thread in [Thread(work) for _ in range(4)]:
        thread.result()
    line.check()
    assert line.free == 1


# -- the latch -------------------------------------------------------------------------


def test_a_latch_lets_everybody_through_once_open():
    latch = Latch()
    waiting = [LatchAsk(latch) for _ in range(3)]
    for ask, home in zip(waiting, (None, A, None), strict=True):
        assert not latch.try_now(ask)
        latch.file(ask, FakeWaiter(home))
    assert not latch.opened
    latch.open()
    assert latch.opened
    assert latch.claim(waiting[1])
    assert all(ask.is_settled() for ask in waiting)
    latch.leave(waiting[0])
    assert latch.try_now(LatchAsk(latch))


def test_a_latch_is_opened_by_many_at_once():
    latch = Latch()
    start = threading.Barrier(4)

    def work():
        start.wait()
        latch.open()

    for thread in [Thread(work) for _ in range(4)]:
        thread.result()
    assert latch.opened
