"""One view for several monitors, against a real server."""

import contextlib
import gc
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import anyio
import pytest
from heartbeat_tools import RING, told

sys.path.insert(0, str(Path(__file__).parent.parent / "generator"))

from redis_tools import needs_server, redis_server

from cup.errors import (
    ForkedProcess,
    HeartbeatClosed,
    InvalidType,
    InvalidValue,
    MissingExtra,
)
from cup.services.heartbeat import (
    Agent,
    AsyncAgent,
    AsyncMonitor,
    AsyncRedisHeartbeats,
    Monitor,
    RedisHeartbeats,
)

pytestmark = [
    needs_server,
    # coredis leaves the streams of connections that it lost to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

COLOURS = ["threads", "tasks"]


@pytest.fixture(autouse=True)
def collect_here():
    """Have what coredis leaves behind collected where it is known."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def shared():
    with redis_server() as server:
        yield server


@pytest.fixture
def server():
    with redis_server() as server:
        yield server


class SeenView(RedisHeartbeats):
    """A view that a test can put things on."""


class Turned:
    """Views whose ticks a test calls, and the clock of the server, as it sees it."""

    def __init__(self, server, name, **options):
        self.server = server
        self.name = name
        self.options = {"timeout": 3.0, "mass_least": 10, **options}
        self.client = server.client()
        self.meta = f"{{cup:heartbeat:{name}}}:meta"

    def view(self):
        made = SeenView(self.server.url, name=self.name, **self.options)
        made.tick()
        made.seen = made.events(limit=100_000)
        return made

    def pass_time(self, seconds, views=(), beating=()):
        """Let time pass on the server: it looks at how long ago it was last called."""
        while seconds > 0:
            step = min(0.5, seconds)
            seconds -= step
            self.client.hincrby(self.meta, "seen", -int(step * 1000))
            for view in views:
                view.refresh_many(beating)
                view.tick()

    def gap(self, seconds):
        """Let nobody call for so long; or, if negative, set the clock back."""
        self.client.hincrby(self.meta, "seen", -int(seconds * 1000))


@pytest.fixture
def turned(shared, request):
    made = Turned(shared, request.node.name)
    yield made
    made.client.close()


def pairs(view):
    return [(str(event.kind), event.key) for event in told(view.seen)]


# What is told


def test_two_views_are_one(turned):
    one, two = turned.view(), turned.view()
    one.refresh("a")
    two.refresh_many(["b", "c"])
    for view in (one, two, one):
        view.tick()
    assert (
        pairs(one) == pairs(two) == [("joined", "a"), ("joined", "b"), ("joined", "c")]
    )
    turned.pass_time(3.1, [one, two], ["b"])
    found = pairs(one)
    assert sorted(found) == [("lost", "a"), ("lost", "c")]
    two.tick()
    assert pairs(two) == found
    two.refresh("a")
    two.tick()
    one.tick()
    assert pairs(one) == pairs(two) == [("recovered", "a")]
    one.leave("b")
    one.leave("nobody")
    one.tick()
    two.tick()
    assert pairs(one) == pairs(two) == [("left", "b")]
    states = {device.key: str(device.state) for device in one.snapshot().devices}
    assert states == {"a": "alive", "c": "lost"}
    assert one.snapshot().number == one.stats().events
    assert one.stats().devices == 1
    late = turned.view()
    assert pairs(late) == []
    one.refresh("d")
    one.tick()
    late.tick()
    assert pairs(late) == [("joined", "d")]
    assert "1 alive" not in repr(one)
    assert repr(one).startswith("<SeenView 'test_two")


def test_time_outs_are_kept(turned):
    view = turned.view()
    view.refresh("slow", timeout=20)
    view.refresh("fast", timeout=0.5)
    turned.pass_time(4, [view])
    assert pairs(view) == [("joined", "slow"), ("joined", "fast"), ("lost", "fast")]
    turned.pass_time(17, [view])
    assert pairs(view) == [("lost", "slow")]


def test_lives_and_orders(turned):
    """A packet that two monitors heard counts once; an older one does nothing."""
    one, two = turned.view(), turned.view()
    huge = 2**64 - 2
    for view in (one, two):
        view.offer("a", huge - 1, 5, 0, "h:1")
        view.offer("a", huge - 1, 4, 0, "h:1")
        view.tick()
    assert two.stats().stale == 1
    one.offer("a", huge, 1, 0, "h:2")
    one.tick()
    two.offer("a", huge - 1, 99, 0, "h:1")
    two.tick()
    assert two.stats().stale == 2
    events = told(one.seen)
    assert [str(event.kind) for event in events] == ["joined", "restarted"]
    assert [event.incarnation for event in events] == [huge - 1, huge]
    assert [event.address for event in events] == ["h:1", "h:2"]
    two.offer_leave("a", huge, 7)
    two.tick()
    one.offer("a", huge, 6, 0, "h:2")  # it was on its way
    one.tick()
    assert [str(event.kind) for event in told(one.seen)] == ["left"]
    one.offer("a", huge, 8, 5000, "h:2")
    one.tick()
    assert [str(event.kind) for event in told(one.seen)] == ["joined"]
    assert one.snapshot().devices[0].timeout == 5


def test_there_is_room_for_so_many(turned):
    turned.options["max_devices"] = 3
    view = turned.view()
    view.refresh_many("abcde")
    view.tick()
    assert len(pairs(view)) == 3
    assert view.stats().refused == 2
    assert view.stats().devices == 3


def test_who_is_gone_is_forgotten_in_the_end(turned):
    turned.options["kept_for"] = 10.0
    view = turned.view()
    view.refresh("a")
    view.tick()
    turned.pass_time(5, [view])
    assert len(view.snapshot().devices) == 1
    turned.pass_time(12, [view])
    assert view.snapshot().devices == ()
    view.refresh("a")
    view.tick()
    view.leave("a")
    view.tick()
    assert [kind for kind, _ in pairs(view)[-2:]] == ["joined", "left"]
    assert view.stats().kept == 1  # its order, which keeps old packets out
    turned.pass_time(12, [view])
    assert view.stats().kept == 0
    view.refresh("a")
    view.tick()
    assert pairs(view)[-1] == ("joined", "a")


# Who is not blamed


@pytest.mark.parametrize("seconds", [86_400, -86_400, 10])
def test_a_clock_that_is_set_or_a_gap_blames_nobody(turned, seconds):
    view = turned.view()
    view.refresh_many([f"d{n}" for n in range(5)])
    view.tick()
    pairs(view)
    turned.pass_time(2.5, [view])
    turned.gap(seconds)
    view.tick()
    assert pairs(view) == []
    turned.pass_time(0.4, [view])
    assert pairs(view) == []
    turned.pass_time(3, [view])
    assert len(pairs(view)) == 5  # but silence counts anew


def test_a_view_that_was_stopped_blames_nobody(turned):
    one, two = turned.view(), turned.view()
    one.refresh_many([f"d{n}" for n in range(5)])
    one.tick()
    turned.pass_time(2.9, [two])
    one.forgive()
    one.tick()
    turned.pass_time(1, [two])
    assert [kind for kind, _ in pairs(two)] == ["joined"] * 5


def test_a_dead_network_is_doubted_and_then_believed(turned):
    view = turned.view()
    keys = [f"d{n}" for n in range(40)]
    view.refresh_many(keys)
    view.tick()
    pairs(view)
    turned.pass_time(6, [view])
    assert pairs(view) == []
    assert view.stats().holding
    view.refresh_many(keys)
    view.tick()
    turned.pass_time(2, [view], keys)
    assert pairs(view) == []
    assert not view.stats().holding
    found = []
    for _ in range(64):
        turned.pass_time(0.5, [view])
        lost = pairs(view)
        assert len(lost) <= 2  # a few at a time
        found += lost
    assert Counter(found) == Counter(("lost", key) for key in keys)
    view.refresh_many(keys)
    view.tick()
    assert Counter(k for k, _ in pairs(view)) == {"recovered": 40}


def test_those_who_are_not_back_yet_get_their_time(turned):
    view = turned.view()
    keys = [f"d{n}" for n in range(40)]
    view.refresh_many(keys)
    view.tick()
    pairs(view)
    turned.pass_time(6, [view])
    assert view.stats().holding
    turned.pass_time(2.5, [view], keys[:25])
    assert not view.stats().holding
    assert pairs(view) == []
    turned.pass_time(1.5, [view], keys[:25])
    assert sorted(pairs(view)) == sorted(("lost", key) for key in keys[25:])


def test_a_few_that_die_are_believed_at_once(turned):
    view = turned.view()
    keys = [f"d{n}" for n in range(40)]
    view.refresh_many(keys)
    view.tick()
    pairs(view)
    turned.pass_time(4, [view], keys[10:])
    assert sorted(pairs(view)) == sorted(("lost", key) for key in keys[:10])


# Races, and servers that fail


def test_racing_views_tell_each_death_once(turned):
    views = [turned.view() for _ in range(4)]
    keys = [f"d{n}" for n in range(1000)]
    views[0].refresh_many(keys)
    views[0].refresh_many([f"living{n}" for n in range(1500)])
    views[0].tick()
    stop = threading.Event()

    def tick(view, living):
        while not stop.is_set():
            view.refresh_many(living)
            view.tick()

    living = [f"living{n}" for n in range(1500)]
    threads = [
        threading.Thread(target=tick, args=(view, living if view is views[0] else []))
        for view in views
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            turned.client.hincrby(turned.meta, "seen", -500)
            time.sleep(0.05)
        deadline = time.monotonic() + 20
        while views[0].stats().devices > 1500 and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    seen = []
    for view in views:
        view.tick()
        events = told(view.seen)
        seen.append([(event.number, str(event.kind), event.key) for event in events])
    assert seen[0] == seen[1] == seen[2] == seen[3]
    numbers = [number for number, _, _ in seen[0]]
    assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    lost = [key for _, kind, key in seen[0] if kind == "lost"]
    assert Counter(lost) == Counter(keys)


def test_a_slow_reader_is_told_what_the_server_forgot(turned):
    one, two = turned.view(), turned.view()
    one.refresh_many([f"d{n}" for n in range(300)])
    one.tick()
    turned.client.xtrim(
        f"{{cup:heartbeat:{turned.name}}}:events", maxlen=10, approximate=False
    )
    two.tick()
    events = told(two.seen)
    assert str(events[0].kind) == "overflow"
    assert events[0].missed + len(events) - 1 == 300 or events[0].missed == 300
    one.refresh("new")
    one.tick()
    two.tick()
    assert pairs(two) == [("joined", "new")]


def test_a_server_that_lost_its_data_is_told_of(server, caplog):
    turned = Turned(server, "forgetful")
    view = turned.view()
    view.refresh_many("abc")
    view.tick()
    assert len(pairs(view)) == 3
    server.kill()
    with caplog.at_level(logging.CRITICAL, logger="cup.heartbeat"):
        view.refresh("a")
        view.tick()
        assert view.stats().unreachable == 1
        assert not view.stats().reachable
        assert view.stats().waiting == 1  # nothing is lost meanwhile
        server.start()
        view.refresh_many("abc")
        view.tick()
        view.tick()
    assert view.stats().waiting == 0
    found = pairs(view)
    assert found[0] == ("overflow", "")
    view.refresh("d")
    view.tick()
    assert pairs(view) == [("joined", "d")]
    assert {device.key for device in view.snapshot().devices} == {*"abcd"}
    turned.client.close()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(True, marks=pytest.mark.full),
        pytest.param(False, marks=pytest.mark.long),
    ],
)
def test_a_restart_of_the_server_blames_nobody(data):
    options = ["--appendonly", "yes", "--appendfsync", "always"] if data else []
    with redis_server(*options) as server, contextlib.ExitStack() as block:
        view = RedisHeartbeats(server.url, timeout=1.0, server_timeout=0.5)
        block.enter_context(view)
        events = view.events()
        monitor = block.enter_context(
            Monitor("127.0.0.1:0", keys=RING, timeout=1.0, store=view)
        )
        for n in range(5):
            block.enter_context(
                Agent(f"a{n}", monitor.addresses[0], keys=RING, timeout=1.0)
            )
        for _ in range(5):
            assert events.get(10).kind == "joined"
        logging.disable(logging.WARNING)
        try:
            server.pause()
            time.sleep(2.5)
            server.go_on()
            time.sleep(1)
            server.kill()
            time.sleep(1.5)
            server.start()
            time.sleep(2)
        finally:
            logging.disable(logging.NOTSET)
        kinds = {str(event.kind) for event in told(events)}
        assert not kinds & {"lost", "recovered"}
        assert len(view.snapshot().devices) == 5
        assert view.stats().reachable


# Monitors that share a view


def test_two_monitors_share_a_view(shared):
    with (
        RedisHeartbeats(shared.url, name="pair", timeout=1.0, tick=0.05) as left,
        RedisHeartbeats(shared.url, name="pair", timeout=1.0, tick=0.05) as right,
        Monitor("127.0.0.1:0", keys=RING, timeout=1.0, store=left) as one,
        Monitor("127.0.0.1:0", keys=RING, timeout=1.0, store=right) as two,
    ):
        feeds = [left.events(), right.events()]
        both = [*one.addresses, *two.addresses]
        seen = []
        listener = left.on_event(seen.append)
        with Agent("both", both, keys=RING, timeout=1.0):
            for feed in feeds:
                assert feed.get(10).key == "both"
            lonely = Agent("one", one.addresses[0], keys=RING, timeout=1.0)
            lonely.start()
            assert feeds[1].get(10).key == "one"
            lonely.stop(leave=False)
            event = feeds[1].get(10)
            assert (event.kind, event.key) == ("lost", "one")
            assert event.address.startswith("127.0.0.1:")
        event = feeds[1].get(10)
        assert (event.kind, event.key) == ("left", "both")
        kinds = [str(feeds[0].get(10).kind) for _ in range(3)]
        assert kinds == ["joined", "lost", "left"]
        deadline = time.monotonic() + 10
        while len(seen) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        listener.close()
    assert [*feeds[0]] == []
    with pytest.raises(HeartbeatClosed):
        left.events()
    left.stop()


WORKER = """
    import json, sys
    from cup.services.heartbeat import KeyRing, Monitor, RedisHeartbeats

    url, name = sys.argv[1:]
    ring = KeyRing([bytes(range(32))])
    with RedisHeartbeats(url, name=name, timeout=1.5, tick=0.05) as view:
        with Monitor("127.0.0.1:0", keys=ring, timeout=1.5, store=view) as monitor:
            events = view.events(limit=100_000)
            print(monitor.addresses[0], flush=True)
            for event in events:
                print(event.number, event.kind, event.key, flush=True)
"""


@pytest.mark.full
def test_monitors_that_are_killed_cost_no_event(shared):
    """Four monitors, two of them killed: every transition once, in the same order."""
    command = [sys.executable, "-c", textwrap.dedent(WORKER), shared.url, "killed"]
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    agents = []
    try:
        places = [worker.stdout.readline().strip() for worker in workers]
        view = RedisHeartbeats(shared.url, name="killed", timeout=1.5, tick=0.05)
        with view:
            events = view.events(limit=100_000)
            for n in range(20):
                agent = Agent(f"a{n}", places, keys=RING, timeout=1.5)
                agent.start()
                agents.append(agent)
            joined = {events.get(20).key for _ in range(20)}
            assert len(joined) == 20
            workers[0].kill()
            for agent in agents[:5]:
                agent.stop(leave=False)
            workers[1].send_signal(signal.SIGKILL)
            lost = {(str(e.kind), e.key) for e in (events.get(20) for _ in range(5))}
            assert lost == {("lost", f"a{n}") for n in range(5)}
            for agent in agents[5:]:
                agent.stop()
            left = {(str(e.kind), e.key) for e in (events.get(20) for _ in range(15))}
            assert left == {("left", f"a{n}") for n in range(5, 20)}
            assert told(events) == []
            time.sleep(0.5)
        for worker in workers:
            worker.kill()
        lines = [worker.stdout.read().splitlines() for worker in workers[2:]]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            worker.stdout.close()
        for agent in agents:
            agent.stop(leave=False)
    assert lines[0] == lines[1]
    assert len(lines[0]) == 40


# Tasks


async def test_tasks_share_a_view(shared):
    name = f"tasks-{random.random()}"
    options = {"name": name, "timeout": 1.0, "tick": 0.05}
    async with (
        AsyncRedisHeartbeats(shared.url, **options) as view,
        AsyncMonitor("127.0.0.1:0", keys=RING, timeout=1.0, store=view) as monitor,
    ):
        with anyio.fail_after(10):
            while not view.stats().reachable:
                await anyio.sleep(0.01)
        events = view.events()
        place = monitor.addresses[0]
        async with AsyncAgent("a", place, keys=RING, timeout=1.0):
            assert (await events.get(10)).kind == "joined"
            with RedisHeartbeats(shared.url, **options) as other:
                other.refresh("b")
                assert (await events.get(10)).key == "b"
            lost = await events.get(10)
            assert (lost.kind, lost.key) == ("lost", "b")
        assert (await events.get(10)).kind == "left"
        view.refresh_many("xyz")
        view.leave("x")
        await view.tick()
        devices = (await view.snapshot()).devices
        assert {d.key for d in devices if d.state == "alive"} == {*"yz"}
        view.forgive()
    with pytest.raises(HeartbeatClosed):
        view.events()
    await view.stop()


@pytest.mark.full
async def test_tasks_wait_for_a_server_that_fails(server, caplog):
    options = {"timeout": 1.0, "tick": 0.05, "server_timeout": 0.3}
    async with AsyncRedisHeartbeats(server.url, **options) as view:
        events = view.events()
        view.refresh("a")
        assert (await events.get(10)).kind == "joined"
        with caplog.at_level(logging.CRITICAL, logger="cup.heartbeat"):
            server.pause()
            with anyio.fail_after(10):
                while view.stats().reachable:
                    await anyio.sleep(0.01)
            view.refresh("b")
            await anyio.sleep(0.2)
            server.go_on()
        found = set()
        while len(found) < 1:
            view.refresh_many("ab")
            event = await events.get(10)
            found.add((str(event.kind), event.key))
        assert found == {("joined", "b")}
        assert view.stats().unreachable


# What is refused


def test_what_makes_no_sense_is_refused(shared):
    for wrong in ({"timeout": 0}, {"tick": -1}, {"mass_share": 2}, {"hold": 0}):
        with pytest.raises(InvalidValue):
            RedisHeartbeats(shared.url, **wrong)
    with pytest.raises(InvalidType):
        RedisHeartbeats(shared.url, name=5)
    view = RedisHeartbeats(shared.url)
    with pytest.raises(InvalidType):
        view.refresh(5)
    with pytest.raises(InvalidValue, match="cannot be sent"):
        view.refresh("\udcff")
    with pytest.raises(InvalidValue):
        view.refresh("a", timeout=-1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_no_part_in_it(shared):
    with RedisHeartbeats(shared.url, name="forked") as view:
        pid = os.fork()
        if pid == 0:
            refused = 0
            for call in (view.tick, view.events, lambda: view.refresh("a")):
                try:
                    call()
                except ForkedProcess:
                    refused += 1
            view.stop()
            os._exit(refused)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 3
        view.refresh("a")
        view.tick()
        assert view.stats().reachable


def test_a_missing_package_is_named(monkeypatch, shared):
    for name, kind in (("redis", RedisHeartbeats), ("coredis", AsyncRedisHeartbeats)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtra, match="pip install redis coredis"):
            kind(shared.url)
