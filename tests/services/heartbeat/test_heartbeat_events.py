"""Readers of events: in order, each once, bounded, and never in the way."""

import gc
import logging
import random
import sys
import threading
import time

import anyio
import pytest

from cup.errors import HeartbeatClosed, InvalidType, InvalidValue, WaitTimeout
from cup.services.heartbeat import AsyncHeartbeatService, EventKind, HeartbeatService
from cup.testing import VirtualClock, strict_blocking


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def service(clock):
    return HeartbeatService(5, keep_lost=True, clock=clock)


def wait_for(predicate, seconds=10):
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline, "the awaited state never came"
        time.sleep(0.002)


def told(events):
    found = []
    while True:
        try:
            found.append(events.get(0))
        except WaitTimeout:
            return found


def test_each_reader_sees_what_comes_after_it(service):
    early = service.events()
    service.refresh("a")
    late = service.events()
    service.refresh("b")
    assert [(event.number, event.key) for event in told(early)] == [(1, "a"), (2, "b")]
    assert [(event.number, event.key) for event in told(late)] == [(2, "b")]


def test_what_an_event_tells(service, clock):
    events = service.events()
    service.refresh("a")
    clock.advance(6.5)
    service.get_lost()
    service.refresh("a")
    service.leave("a")
    joined, lost, back, left = told(events)
    assert (joined.kind, lost.kind, back.kind, left.kind) == (
        EventKind.JOINED,
        EventKind.LOST,
        EventKind.RECOVERED,
        EventKind.LEFT,
    )
    assert lost.silent == back.silent == 6.5
    assert lost.time == joined.time + 6.5
    assert f"{lost.kind}" == str(lost.kind) == "lost"


def test_a_slow_reader_is_told_what_it_missed(service):
    """After an overflow, a snapshot and the events after it are the whole truth."""
    events = service.events(limit=3)
    service.refresh_many("abcdef")
    first = [events.get(0) for _ in range(3)]
    assert [event.key for event in first] == ["a", "b", "c"]
    service.leave("a")  # missed, too: it is not told yet
    overflow = events.get(0)
    assert overflow.kind is EventKind.OVERFLOW
    assert overflow.missed == 4
    service.refresh("x")
    snapshot = service.snapshot()
    service.refresh("y")
    rest = told(events)
    assert [event.number for event in rest] == [
        overflow.number + 1,
        overflow.number + 2,
    ]
    known = {device.key for device in snapshot.devices}
    known |= {event.key for event in rest if event.number > snapshot.number}
    assert known == {*"bcdefxy"}


def test_an_iteration_ends(service):
    events = service.events()
    service.refresh("a")
    seen = []
    with events:
        for event in events:
            seen.append(event.key)
            events.close()
    assert seen == ["a"]
    with pytest.raises(HeartbeatClosed):
        events.get()
    assert "0 waiting" in repr(events)


def test_a_reader_that_is_gone_is_forgotten(service):
    events = service.events()
    assert service.stats().readers == 1
    del events
    gc.collect()
    assert not service.has_readers()


def test_a_limit_must_make_sense(service):
    with pytest.raises(InvalidValue):
        service.events(limit=0)
    with pytest.raises(InvalidType):
        service.events(limit=True)
    with pytest.raises(InvalidType):
        service.on_event("no function")


def test_nobody_waits_longer_than_asked(service):
    events = service.events()
    with pytest.raises(WaitTimeout, match="no event within 0.01 s"):
        events.get(0.01)
    with pytest.raises(InvalidValue):
        events.get(float("nan"))


# Losses are found without being asked for


def test_losses_are_told_by_themselves():
    service = HeartbeatService(0.2, keep_lost=True)
    events = service.events()
    service.refresh("a")
    assert events.get(5).kind is EventKind.JOINED
    lost = events.get(5)
    assert lost.kind is EventKind.LOST
    assert 0.2 <= lost.silent < 2
    assert [device.get_name() for device in service.get_lost()] == ["a"]


def test_a_shorter_time_is_noticed():
    service = HeartbeatService(100)
    events = service.events()
    service.refresh("a")
    service.register("b", timeout=0.1)
    for _ in range(2):
        assert events.get(5).kind is EventKind.JOINED
    assert events.get(5).key == "b"
    service.adjust_judge_lost_time(0.1)
    lost = events.get(5)
    assert (lost.kind, lost.key) == (EventKind.LOST, "a")


# Callbacks


def test_a_callback_may_do_as_it_likes(service, caplog):
    """It raises, calls back, takes its time: beats go on, and the next event comes."""
    seen, gate = [], threading.Event()

    def callback(event):
        seen.append((event.kind, event.key))
        service.refresh(f"because of {event.key}") if len(seen) < 2 else None
        gate.wait(10)
        raise ValueError("a callback fails")

    with caplog.at_level(logging.CRITICAL, logger="cup.program"):
        listener = service.on_event(callback)
        service.refresh("a")
        wait_for(lambda: seen)
        service.refresh("b")
        assert service.is_device_registered("b")
        gate.set()
        wait_for(lambda: len(seen) == 3)
        listener.close()
    assert sorted(key for _, key in seen) == ["a", "b", "because of a"]
    service.refresh("c")
    listener.close()
    assert len(seen) == 3


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_a_callback_that_would_end_its_thread_is_called_again(service, caplog, end):
    seen = []

    def callback(event):
        seen.append(event.key)
        raise end

    with caplog.at_level(logging.CRITICAL, logger="cup.program"):
        listener = service.on_event(callback)
        for count, key in enumerate("abc", 1):
            service.refresh(key)
            wait_for(lambda count=count: len(seen) == count)
        listener.close()
    assert seen == ["a", "b", "c"]


def test_callbacks_are_called_in_order():
    service = HeartbeatService(100)
    seen = []
    listener = service.on_event(seen.append, limit=100_000)
    threads = [
        threading.Thread(
            target=lambda n=n: [service.refresh(f"{n}-{i}") for i in range(300)]
        )
        for n in range(6)
    ]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    wait_for(lambda: len(seen) == 1800)
    listener.close()
    assert [event.number for event in seen] == [*range(1, 1801)]
    for n in range(6):
        mine = [event.key for event in seen if event.key.startswith(f"{n}-")]
        assert mine == [f"{n}-{i}" for i in range(300)]


# Tasks


async def test_tasks_read_events(clock):
    service = AsyncHeartbeatService(5, keep_lost=True, clock=clock)
    seen = []
    async with anyio.create_task_group() as tasks:

        async def read():
            async for event in service.events():
                seen.append(event.key)
                if event.key == "c":
                    tasks.cancel_scope.cancel()

        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        service.refresh_many("ab")
        await anyio.wait_all_tasks_blocked()
        service.refresh("c")
    assert seen == ["a", "b", "c"]


async def test_losses_reach_tasks_by_themselves():
    service = AsyncHeartbeatService(0.2)
    async with service.events() as events:
        service.refresh("a")
        with strict_blocking():
            assert (await events.get(5)).kind is EventKind.JOINED
            assert (await events.get(5)).kind is EventKind.LOST
    with pytest.raises(HeartbeatClosed):
        await events.get()
    assert [event async for event in events] == []


async def test_a_cancelled_task_takes_no_event(clock):
    service = AsyncHeartbeatService(5, clock=clock)
    events = service.events()
    with pytest.raises(WaitTimeout):
        await events.get(0)
    with anyio.move_on_after(0.01):
        await events.get()
    service.refresh("a")
    assert (await events.get()).key == "a"
    assert "0 waiting" in repr(events)


async def test_both_faces_are_one_service(clock, tmp_path):
    aservice = AsyncHeartbeatService(5, keep_lost=True, clock=clock)
    service = aservice.sync
    assert service.aio.sync is service
    aservice.register("a", timeout=2)
    aservice.set_timeout("a", 1)
    aservice.adjust_judge_lost_time(8)
    aservice.refresh("b")
    aservice.forgive()
    clock.advance(1)
    assert [device.get_name() for device in aservice.get_lost()] == ["a"]
    assert aservice.is_device_registered("b")
    assert aservice.find("b").timeout == 8
    assert len(aservice.snapshot().devices) == 2
    await aservice.cleanup_oldlost(tmp_path / "lost")
    assert (tmp_path / "lost").read_text().count("\n") == 1
    assert aservice.leave("b")
    assert len(aservice) == 0
    assert aservice.stats().left == 1
    seen = []
    listener = aservice.on_event(seen.append)
    aservice.refresh("c")
    while not seen:
        await anyio.sleep(0.001)
    listener.close()
    assert repr(aservice) == "<AsyncHeartbeatService 1 alive, 0 lost and kept>"


def test_threads_share_one_reader(service):
    """Each event goes to one of them."""
    events = service.events(limit=10_000)
    seen = []

    def read():
        seen.extend(event.number for event in events)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    keys = [f"d{n}" for n in range(1000)]
    random.Random(1).shuffle(keys)
    for key in keys:
        service.refresh(key)
    wait_for(lambda: len(seen) == 1000)
    events.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(seen) == [*range(1, 1001)]
