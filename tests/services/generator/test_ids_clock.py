"""Clocks that step back, step forward, stand still: no duplicate, no disorder."""

import math
import threading
import time
import warnings

import pytest
from id_tools import FakeClock

from cup.errors import ClockBehind, EpochOver
from cup.services.generator import (
    SONY,
    TWITTER,
    SnowflakeGenerator,
    StaticWorker,
    ULIDGenerator,
    UUID7Generator,
)

POLICIES = ["hold", "borrow", "wait", "raise"]


@pytest.fixture
def make(tmp_path):
    """Make a timed generator, each time as if the program had been started anew."""
    names = iter(range(1000))

    def build(kind, clock, policy="borrow", max_ahead=1.0, again=None):
        options = {"clock": clock, "policy": policy, "max_ahead": max_ahead}
        if kind == "uuid7":
            return UUID7Generator(**options)
        if kind == "ulid":
            return ULIDGenerator(**options)
        place = tmp_path / (again or str(next(names)))
        layout = SONY if kind == "sony" else TWITTER
        return SnowflakeGenerator(
            StaticWorker(5, directory=place), layout=layout, **options
        )

    return build


KINDS = ["uuid7", "ulid", "twitter", "sony"]


def draw(ids, clock, number):
    """Draw ids one by one; the clock goes on whenever they are refused."""
    made = []
    while len(made) < number:
        try:
            made.append(ids.next_id())
        except ClockBehind as error:
            clock.step(error.ahead)
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", ["hold", "borrow", "raise"])
@pytest.mark.parametrize("steps", [[-0.005], [-3600], [3600, -3600], [0], [-0.5, -0.6]])
def test_steps_make_no_duplicate_and_no_disorder(
    make, kind, policy, steps, monkeypatch
):
    clock = FakeClock()
    # Waits pass on this clock, at once.
    monkeypatch.setattr(
        "cup.services.generator.sync_base.pause",
        lambda seconds, *_: clock.step(seconds),
    )
    ids = make(kind, clock, policy, 1.0)
    made = draw(ids, clock, 300)
    for step in steps:
        clock.step(step)
        made += draw(ids, clock, 300)
        assert ids.stats().ahead <= 1.0
        latest = ids.parse(made[-1]).time.timestamp()
        assert latest - clock.now <= 1.0 + 1e-6
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("kind", ["uuid7", "ulid"])
def test_hold_without_a_bound_never_refuses(make, kind):
    clock = FakeClock()
    ids = make(kind, clock, "hold", None)
    made = ids.next_ids(100)
    clock.step(-3600)
    made += [*ids.next_ids(1000), ids.next_id()]
    assert made == sorted(set(made))


@pytest.mark.parametrize("kind", ["twitter", "sony"])
def test_borrow_is_bounded_when_the_clock_stands_still(make, kind, monkeypatch):
    clock = FakeClock()
    ids = make(kind, clock, "borrow", 0.02)
    waits = []
    monkeypatch.setattr(
        "cup.services.generator.sync_base.pause",
        lambda seconds, *_: (waits.append(seconds), clock.step(seconds)),
    )
    made = ids.next_ids(4096 * 30)
    assert made == sorted(set(made))
    assert waits
    assert all(0 < wait <= 0.021 for wait in waits)
    latest = ids.parse(made[-1]).time.timestamp()
    assert latest - clock.now <= 0.02 + 1e-6


def test_wait_waits_for_a_small_step(make):
    clock = FakeClock()
    ids = make("twitter", clock, "wait")
    first = ids.next_id()
    clock.step(-0.005)
    timer = threading.Timer(0.05, clock.step, [0.01])
    timer.start()
    began = time.monotonic()
    second = ids.next_id()
    assert time.monotonic() - began > 0.02
    timer.join()
    assert second > first
    assert ids.parse(second).time.timestamp() <= clock.now


@pytest.mark.parametrize("policy", ["wait", "borrow", "hold"])
def test_a_long_wait_is_refused_at_once(make, policy):
    clock = FakeClock()
    ids = make("twitter", clock, policy, 0.5)
    ids.next_id()
    clock.step(-3600)
    with pytest.raises(ClockBehind, match=r"3600\.\d+ s ahead") as refusal:
        ids.next_id()
    assert refusal.value.ahead == pytest.approx(3600, abs=1)


def test_raise_refuses_a_full_tick(make):
    ids = make("twitter", FakeClock(), "raise")
    assert len({ids.next_id() for _ in range(4096)}) == 4096
    with pytest.raises(ClockBehind):
        ids.next_id()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [0.0, 0.001, -0.005, -3600.0, 3600.0])
def test_restart_repeats_nothing(make, kind, step, monkeypatch):
    """A new start within the same tick, or at an earlier time by the clock."""
    clock = FakeClock()
    monkeypatch.setattr(
        "cup.services.generator.sync_base.pause",
        lambda seconds, *_: clock.step(seconds),
    )
    seen = set()
    for _ in range(5):
        ids = make(kind, clock, "borrow", 1.0, again="same")
        made = draw(ids, clock, 5000)
        assert not seen & {*made}
        seen.update(made)
        clock.step(step)


@pytest.mark.full
def test_a_clock_that_stands_still_is_not_waited_for_for_ever(make):
    ids = make("twitter", FakeClock(), "wait", 0.01)
    ids.next_ids(4096)
    began = time.monotonic()
    with pytest.raises(ClockBehind):
        ids.next_id()
    assert 0.5 < time.monotonic() - began < 10


def test_waiting_on_the_thread_of_a_loop_warns(make):
    import asyncio

    from cup.errors import BlockingInLoopWarning

    clock = FakeClock()
    ids = make("twitter", clock, "wait")
    ids.next_ids(4096)

    async def main():
        threading.Timer(0.02, clock.step, [1.0]).start()
        with pytest.warns(
            BlockingInLoopWarning, match=r"AsyncSnowflakeGenerator\.next"
        ):
            ids.next_id()

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["uuid7", "ulid"])
@pytest.mark.parametrize("now", [-5.0, 1e20])
def test_a_clock_beyond_48_bits_is_refused(make, kind, now):
    clock = FakeClock()
    clock.now = now
    with pytest.raises(EpochOver, match="48 bits"):
        make(kind, clock).next_id()


@pytest.mark.parametrize("kind", ["uuid7", "ulid", "twitter", "sony"])
def test_a_float_is_in_the_tick_that_it_names(make, kind):
    clock = FakeClock()
    for step in range(20 if kind in {"twitter", "sony"} else 1000):
        # The float that is nearest to a whole tick, and its neighbours.
        whole = (2_200_000_000_000 + 7910 * step) / 1000
        for now in (math.nextafter(whole, 0.0), whole, math.nextafter(whole, math.inf)):
            clock.now = now
            ids = make(kind, clock)
            made = ids.next_id()
            time = ids.parse(made).time
            assert time.timestamp() <= now
            for moment in (now, time, time.timestamp()):
                least, greatest = ids.bounds(moment)
                assert least <= made <= greatest


def test_a_tick_that_cannot_be_issued_is_not_claimed(tmp_path):
    clock = FakeClock()
    worker = StaticWorker(5, directory=tmp_path)
    clock.now = 4e9
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the error says it
        late = SnowflakeGenerator(worker, clock=clock)
    with pytest.raises(EpochOver):
        late.next_id()
    clock.now = 1.8e9
    assert SnowflakeGenerator(worker, clock=clock).next_id()
