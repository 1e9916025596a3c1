"""What `cup.testing` gives to users: clocks, drivers of programs, four colours."""

import contextlib
import subprocess
import sys
import threading
import time

import anyio
import pytest

from cup import testing
from cup._core.program import Program
from cup._core.timekeeper import Timekeeper
from cup.errors import BlockingInLoop, InvalidValue, MissingExtra, WaitTimeout
from cup.testing import (
    COLOURS,
    CallCancelled,
    VirtualClock,
    VirtualDriver,
    available_colours,
    strict_blocking,
)
from cup.thread import RWLock


@pytest.fixture(params=available_colours(), ids=str)
def colour(request):
    return request.param


# -- clocks ----------------------------------------------------------------------------


def test_clock_moves_only_when_turned():
    clock = VirtualClock(start=5.0, wall=100.0)
    assert (clock.monotonic(), clock.time()) == (5.0, 100.0)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.time()) == (7.5, 102.5)
    clock.advance_to(8.1)
    assert clock.monotonic() == 8.1
    clock.advance_to(1.0)
    assert clock.monotonic() == 8.1


@pytest.mark.parametrize("seconds", [-3600.0, 0.0, 7.0])
def test_wall_clock_steps_alone(seconds):
    clock = VirtualClock(start=5.0, wall=100.0)
    clock.step_wall(seconds)
    assert (clock.monotonic(), clock.time()) == (5.0, 100.0 + seconds)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_time_does_not_run_backwards_or_for_ever(seconds):
    with pytest.raises(InvalidValue, match="seconds"):
        VirtualClock().advance(seconds)
    with pytest.raises(InvalidValue):
        VirtualDriver().advance(seconds)
    with pytest.raises(InvalidValue, match="within"):
        VirtualDriver().run_until_idle(within=seconds)


def test_no_clock_shows_nan():
    clock = VirtualClock()
    with pytest.raises(InvalidValue):
        clock.advance_to(float("nan"))
    with pytest.raises(InvalidValue):
        clock.step_wall(float("inf"))
    assert "1000" in repr(clock)


# -- programs --------------------------------------------------------------------------


class Metronome(Program):
    """Beats every so many seconds, so many times."""

    def __init__(self, period, beats=10**9, log=None):
        super().__init__()
        self.period, self.left = period, beats
        self.log = [] if log is None else log
        self.next = None

    def step(self, now):
        if self.next is None:
            self.next = now + self.period
        while self.left and self.next <= now:
            self.log.append((now, self.period))
            self.next += self.period
            self.left -= 1
        return self.next if self.left else None


def test_steps_come_exactly_at_their_deadlines():
    driver = VirtualDriver(VirtualClock(start=0.0))
    beats = Metronome(0.1)
    driver.add(beats).nudge(0.0)
    driver.advance(0.35)
    assert [at for at, _ in beats.log] == [0.1, 0.2, 0.1 + 0.1 + 0.1]
    assert driver.clock.monotonic() == 0.35


def test_programs_are_called_in_the_order_of_their_deadlines():
    log = []
    driver = VirtualDriver(VirtualClock(start=0.0))
    for period in (3, 2, 6):
        driver.add(Metronome(period, log=log)).nudge(0.0)
    driver.advance(6)
    assert log == [(2, 2), (3, 3), (4, 2), (6, 3), (6, 2), (6, 6)]


def test_a_program_waits_for_its_first_nudge():
    driver = VirtualDriver()
    beats = Metronome(1, beats=1)
    seat = driver.add(beats)
    driver.advance(10)
    assert beats.next is None
    seat.nudge(driver.clock.monotonic())
    driver.advance(1)
    assert len(beats.log) == 1


def test_a_nudge_only_lowers_the_deadline():
    driver = VirtualDriver(VirtualClock(start=0.0))
    seat = driver.add(Metronome(1))
    seat.nudge(5.0)
    seat.nudge(9.0)
    assert seat.deadline == 5.0
    seat.nudge(3.0)
    assert seat.deadline == 3.0
    assert "3.0" in repr(seat)


def test_a_nudge_by_an_effect_counts():
    class Echo(Program):
        def __init__(self):
            super().__init__()
            self.steps = []

        def step(self, now):
            self.steps.append(now)
            if len(self.steps) == 1:
                self.effects.append(lambda: seat.nudge(now + 2))

    driver = VirtualDriver(VirtualClock(start=0.0))
    echo = Echo()
    seat = driver.add(echo)
    seat.nudge(1.0)
    assert driver.run_until_idle() == 3.0
    assert echo.steps == [1.0, 3.0]
    assert "idle" in repr(seat)


def test_who_is_late_is_called_at_once():
    driver = VirtualDriver(VirtualClock(start=100.0))
    beats = Metronome(1, beats=1)
    driver.add(beats).nudge(3.0)
    driver.advance(0)
    assert beats.next == 101.0


def test_a_stopped_program_is_called_no_more():
    driver = VirtualDriver()
    beats = Metronome(1)
    seat = driver.add(beats)
    seat.nudge(0.0)
    driver.advance(2)
    seat.stop()
    seat.nudge(0.0)
    driver.advance(100)
    assert len(beats.log) == 2


def test_run_until_idle_says_who_never_is():
    driver = VirtualDriver()
    driver.add(Metronome(1)).nudge(0.0)
    with pytest.raises(WaitTimeout, match=r"10 virtual seconds.*Metronome"):
        driver.run_until_idle(within=10)
    assert "1 programs" in repr(driver)


def test_a_program_for_which_time_stands_still_is_found_out():
    class Restless(Program):
        def step(self, now):
            return now

    driver = VirtualDriver()
    driver.add(Restless()).nudge(0.0)
    with pytest.raises(RuntimeError, match="time stands still"):
        driver.advance(1)
    with pytest.raises(RuntimeError, match="time stands still"):
        driver.run_until_idle()


def test_a_program_cannot_turn_the_clock(caplog):
    class Clever(Program):
        def step(self, now):
            driver.advance(1)

    driver = VirtualDriver()
    seat = driver.add(Clever())
    seat.nudge(0.0)
    driver.advance(0)
    assert "cannot turn the clock" in caplog.text
    seat.stop()
    driver.advance(1)  # and it is free again


def test_it_drives_the_timekeeper():
    keeper = Timekeeper()
    driver = VirtualDriver(VirtualClock(start=0.0))
    seat = driver.add(keeper)
    log = []
    for at in (7, 3, 5):
        keeper.add(at, lambda at=at: log.append((at, driver.clock.monotonic())))
        seat.nudge(at)
    assert driver.run_until_idle() == 7
    assert log == [(3, 3), (5, 5), (7, 7)]


# -- blocking --------------------------------------------------------------------------


async def test_blocking_a_loop_is_an_error_when_strict(monkeypatch):
    monkeypatch.setenv("CUP_ALLOW_BLOCKING_IN_LOOP", "1")
    lock = RWLock()
    thread = threading.Thread(target=lock.acquire_writelock)
    thread.start()
    thread.join()
    with strict_blocking():
        with pytest.raises(BlockingInLoop, match=r"AsyncRWLock"):
            lock.acquire_readlock(0.01)
        with strict_blocking():
            pass
        with pytest.raises(BlockingInLoop):
            lock.acquire_readlock(0.01)
    with pytest.raises(WaitTimeout):
        lock.acquire_readlock(0.01)


# -- four colours ----------------------------------------------------------------------


async def one_writer(colour):
    lock = RWLock()
    async with colour.actors(lock, lock.aio) as actors:
        ann, bob = actors.hire("ann"), actors.hire("bob")
        await ann.call("acquire_writelock")
        assert lock.stats().writer == "ann"
        wish = bob.start("acquire_writelock", 5)
        await colour.until(lambda: lock.stats().waiting_writers == 1)
        assert not wish.done
        await ann.call("release_writelock")
        await wish.result()
        assert wish.done
        assert lock.stats().writer == "bob"
        await bob.call("release_writelock")
    return "played"


def test_a_behaviour_is_played_in_every_colour(colour):
    assert colour.run(one_writer, colour) == "played"


def test_an_actor_does_what_is_cancelled_no_more(colour):
    async def main():
        lock = RWLock()
        async with colour.actors(lock, lock.aio) as actors:
            ann, bob = actors.hire("ann"), actors.hire("bob")
            await ann.call("acquire_writelock")
            wish = bob.start("acquire_readlock")
            await colour.until(lambda: lock.stats().waiting_readers == 1)
            wish.cancel()
            with pytest.raises(CallCancelled, match=r"acquire_readlock\(\) of 'bob'"):
                await wish.result()
            assert lock.stats().waiting_readers == 0
            wish.cancel()  # too late, for the actor has other things to do
            await ann.call("release_writelock")
            await bob.call("acquire_writelock", 1)
            await bob.call("release_writelock")

    colour.run(main)


def test_an_actor_can_be_cancelled_before_it_began(colour):
    async def main():
        lock = RWLock()
        async with colour.actors(lock, lock.aio) as actors:
            ann, bob = actors.hire("ann"), actors.hire("bob")
            await ann.call("acquire_writelock")
            for _ in range(50):
                wish = bob.start("acquire_readlock", 5)
                wish.cancel()
                with pytest.raises(CallCancelled):
                    await wish.result()
            await ann.call("release_writelock")
            await bob.call("acquire_readlock", 1)

    colour.run(main)


def test_errors_reach_the_test(colour):
    class Faces:
        def fail(self):
            raise LookupError("as told")

        async def wait_and_fail(self):
            raise LookupError("as told")

    async def main():
        faces = Faces()
        async with colour.actors(faces, faces) as actors:
            ann = actors.hire("ann")
            with pytest.raises(LookupError, match="as told"):
                await ann.call("fail")
            if colour.name != "threads":
                with pytest.raises(LookupError, match="as told"):
                    await ann.call("wait_and_fail")
            with pytest.raises(AttributeError):
                await ann.call("no_such_method")

    colour.run(main)


def test_what_a_test_raises_is_raised(colour):
    async def main():
        lock = RWLock()
        async with colour.actors(lock, lock.aio) as actors:
            ann, bob = actors.hire("ann"), actors.hire("bob")
            await ann.call("acquire_writelock")
            bob.start("acquire_writelock")
            raise LookupError("of the test")

    with pytest.raises(LookupError, match="of the test"):
        colour.run(main)


def test_the_stage_can_be_cancelled_as_a_whole():
    async def main():
        lock = RWLock()
        with anyio.move_on_after(0.01) as scope:
            async with COLOURS[1].actors(lock, lock.aio) as actors:
                ann, bob = actors.hire("ann"), actors.hire("bob")
                await ann.call("acquire_writelock")
                await bob.call("acquire_writelock")
        assert scope.cancelled_caught
        assert lock.stats().waiting_writers == 0

    for colour in available_colours()[1:]:
        colour.run(main)


def test_an_actor_stays_in_a_block(colour):
    async def main():
        lock = RWLock()
        async with colour.actors(lock, lock.aio) as actors:
            ann, bob = actors.hire("ann"), actors.hire("bob")
            async with ann.within("read", timeout=1), bob.within("read", timeout=1):
                assert {*lock.stats().readers} == {"ann", "bob"}
            assert not lock.locked()
            with contextlib.suppress(LookupError):
                async with ann.within("write") as entered:
                    assert entered is not None
                    assert lock.stats().writer == "ann"
                    raise LookupError
            assert not lock.locked()

    colour.run(main)


def test_an_actor_works_with_several_services(colour):
    async def main():
        left, right = RWLock(), RWLock()
        async with colour.actors(left, left.aio) as actors:
            ann = actors.hire("ann")
            await ann.call("acquire_writelock")
            await ann.of(right, right.aio).call("acquire_writelock")
            assert left.stats().writer == right.stats().writer == "ann"

    colour.run(main)


def test_an_actor_does_one_thing_at_a_time(colour):
    async def main():
        lock = RWLock()
        async with colour.actors(lock, lock.aio) as actors:
            ann, bob = actors.hire("ann"), actors.hire("bob")
            await ann.call("acquire_writelock")
            wish = bob.start("acquire_writelock")
            with pytest.raises(RuntimeError, match=r"'bob' is busy with acquire_w"):
                bob.start("acquire_writelock")
            assert "pending" in repr(wish)
            assert "bob" in repr(bob)

    colour.run(main)


def test_what_hangs_is_told(colour):
    async def main():
        lock = RWLock()
        async with colour.actors(lock, lock.aio) as actors:
            ann, bob = actors.hire("ann"), actors.hire("bob")
            await ann.call("acquire_writelock")
            wish = bob.start("acquire_writelock")
            with pytest.raises(WaitTimeout, match=r"acquire_writelock\(\) of 'bob'"):
                await wish.result(0.01)
            with pytest.raises(WaitTimeout, match="did not come"):
                await colour.until(lambda: False, 0.01)

    colour.run(main)


def test_a_loop_is_strict_about_blocking(colour):
    async def main():
        lock = RWLock()
        async with colour.actors(lock, lock.aio) as actors:
            await actors.hire("ann").call("acquire_writelock")
            error = WaitTimeout if colour.name == "threads" else BlockingInLoop
            with pytest.raises(error):
                lock.acquire_readlock(0.01)

    colour.run(main)


def test_threads_have_no_event_loop():
    threads = COLOURS[0]

    class Loopish:
        def __await__(self):
            yield

    async def main():
        await Loopish()

    with pytest.raises(RuntimeError, match="no event loop"):
        threads.run(main)


def test_an_actor_that_does_not_end_is_told(monkeypatch):
    monkeypatch.setattr("cup._testing_threads.PATIENCE", 0.01)
    gate = threading.Event()

    class Deaf:
        def stay(self):
            while not gate.wait(0.01):
                pass

    async def main():
        async with COLOURS[0].actors(Deaf(), None) as actors:
            ann = actors.hire("ann")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("cup._core.interrupt.Target.post", lambda *_: True)
                ann.start("stay")
                await actors.__aexit__(None, None, None)

    try:
        with pytest.raises(WaitTimeout, match=r"'ann' does not end.*stay\(\)"):
            COLOURS[0].run(main)
    finally:
        gate.set()


def test_a_colour_says_what_it_needs(monkeypatch):
    assert [*map(str, COLOURS)] == ["threads", "asyncio", "uvloop", "trio"]
    monkeypatch.setattr("cup._testing_colours.find_spec", lambda _: None)
    assert [str(colour) for colour in available_colours()] == ["threads", "asyncio"]
    with pytest.raises(MissingExtra, match="pip install trio") as caught:
        COLOURS[3].run(one_writer, COLOURS[3])
    assert caught.value.requirement == "trio"
    assert "trio" in repr(COLOURS[3])


def test_import_loads_no_event_loop():
    code = (
        "import cup.testing, sys;"
        "print({'asyncio', 'anyio', 'trio', 'uvloop'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"


def test_exports():
    for name in testing.__all__:
        assert getattr(testing, name)


def test_virtual_hours_are_short():
    driver = VirtualDriver()
    beats = Metronome(60)
    driver.add(beats).nudge(0.0)
    start = time.monotonic()
    driver.advance(24 * 3600)
    assert len(beats.log) == 24 * 60
    assert time.monotonic() - start < 5
