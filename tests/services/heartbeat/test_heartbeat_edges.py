"""What happens rarely: bounds that are reached, races that are lost, odd packets."""

import gc
import os
import sys
import time

import pytest
from heartbeat_tools import RING, World, kinds_of, told

from cup.services.heartbeat import (
    Device,
    EventKind,
    HeartbeatService,
    LinuxHost,
    _core_hearing,
    _core_readings,
)
from cup.services.heartbeat._core_ender import Ender
from cup.services.heartbeat._core_feed import END, EventAsk, Feed
from cup.services.heartbeat._core_flaps import Flaps
from cup.services.heartbeat._core_peers import Sources, as_text
from cup.services.heartbeat._core_tables import Tables
from cup.services.heartbeat._core_watch import Watch
from cup.services.heartbeat._core_wire import BEAT, LEAVE, Sealer, make_hasher, sign
from cup.testing import VirtualClock


class Named:
    """Keys of an agent whose name is any bytes."""

    def __init__(self, name):
        self.name = self
        self._name = name
        (self._id, _), *_ = RING.agent("a").items()

    def encode(self):
        return self._name

    def items(self):
        return [(self._id, RING.derive(self._id, self._name))]


def millis(world):
    return int(world.clock.time() * 1000)


def hear(world, monitor, data, source=("h", 1)):
    monitor.port.put(data, source)
    world.run(1)


def test_a_name_that_is_no_text_is_garbage():
    world = World()
    monitor = world.monitor()
    hear(world, monitor, Sealer(Named(b"\xff\xfe")).seal(BEAT, 1, 1, millis(world)))
    assert monitor.hearing.counts.garbage == 1
    assert not monitor.hearing.peers.by_name


def test_a_farewell_of_somebody_unknown_does_nothing():
    world = World()
    monitor = world.monitor()
    hear(world, monitor, Sealer(RING.agent("a")).seal(LEAVE, 1, 1, millis(world)))
    assert monitor.hearing.counts.stale == 1
    assert told(monitor.events) == []


def test_an_older_life_without_a_fresh_clock_has_to_prove_itself():
    world = World()
    monitor = world.monitor()
    sealer = Sealer(RING.agent("a"))
    world.network.tap = True
    world.port("a", 1000)
    hear(world, monitor, sealer.seal(BEAT, 9, 1, millis(world)), ("a", 1000))
    hear(world, monitor, sealer.seal(BEAT, 5, 1, 1), ("a", 1000))
    hear(world, monitor, sealer.seal(LEAVE, 5, 2, 1), ("a", 1000))
    answers = [sealer.open(data) for data, _, _ in world.network.carried]
    assert [packet.kind for packet in answers] == [17]  # a challenge, for the beat
    echo = answers[0].echo
    again = sealer.seal(BEAT, 5, 3, 1, echo=echo)
    hear(world, monitor, again, ("a", 1000))
    answers = [sealer.open(data) for data, _, _ in world.network.carried]
    assert answers[-1].kind == 18
    assert int.from_bytes(answers[-1].echo, "big") == 9
    assert kinds_of(told(monitor.events)) == [("joined", "a"), ("lost", "a")]


def test_agents_with_wrong_clocks_are_remembered_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(_core_hearing, "_TOLD", 3)
    world = World()
    monitor = world.monitor()
    for name in "abcdea":
        hear(world, monitor, Sealer(RING.agent(name)).seal(BEAT, 1, 1, 1))
    found = [key for _, key in kinds_of(told(monitor.events))]
    assert found == [*"abcdea"]
    assert len(monitor.hearing._skewed) == 3


def test_nobody_is_asked_who_was_never_heard():
    world = World()
    monitor = world.monitor()
    monitor.registry.refresh("a")
    assert not monitor.hearing.probe("a", 0.0)
    assert monitor.hearing.peers.locate("a") == (0, "")
    assert as_text(("", 0)) == ""
    assert as_text(("::1", 5, 0, 0)) == "[::1]:5"


def test_sources_are_remembered_up_to_a_bound():
    sources = Sources()
    for n in range(10_000):
        assert sources.allow(f"h{n}", 0.0)
    assert len(sources._buckets) == 4096
    assert not all(sources.allow("x", 1.0) for _ in range(5001))
    assert sources.allow("x", 2.0)  # some come back with time


def test_a_packet_of_an_odd_kind_is_garbage():
    world = World()
    monitor = world.monitor()
    sealer = Sealer(RING.agent("a"))
    for kind in (0, 3, 16, 17, 18, 255):
        hear(world, monitor, sealer.seal(kind, 1, 1, millis(world)))
    assert monitor.hearing.counts.garbage == 6
    (key_id, key), *_ = RING.agent("a").items()
    head = b"\xcbh\x02\x01" + key_id  # another version
    hear(world, monitor, sign(make_hasher(key), head + bytes(36) + b"\x01a"))
    assert monitor.hearing.counts.garbage == 7


def test_an_agent_that_is_asked_too_often_stops_answering():
    """Somebody who repeats a question cannot make it talk without end."""
    world = World()
    world.network.tap = True
    world.monitor(probes=3)
    agent = world.agent("a", interval=2.9)
    world.run(0)
    agent._next_beat = agent.port.seat.deadline = world.clock.monotonic() + 2.5
    world.run(2.2)
    questions = [d for d, _, target in world.network.carried if target[0] == "a"]
    assert questions
    world.network.carried.clear()
    before = agent.stats().probes
    agent.port.put(questions[0], ("somebody", 1))  # who is no monitor of ours
    world.run(0.1)
    assert agent.stats().probes == before
    for _ in range(500):
        agent.port.put(questions[0], ("m1", 7363))
    world.run(0.1)
    sent = [d for d, source, _ in world.network.carried if source[0] == "a"]
    assert len(sent) <= 25


def test_a_send_that_fails_is_counted():
    world = World()
    agent = world.agent("a")
    agent.port.send = lambda data, address: False
    world.run(3)
    assert agent.stats().failed >= 2


# Feeds


def test_an_event_that_nobody_claimed_is_given_back():
    service = HeartbeatService(5, clock=VirtualClock())
    feed = service.open_feed(5)
    service.refresh("a")
    service.refresh("b")
    ask = EventAsk(feed)
    assert feed.take(ask)
    feed.put_back(ask)
    again = EventAsk(feed)
    assert feed.try_now(again)
    assert again.value.key == "a"
    feed.end()
    service.refresh("c")  # it has ended: no more comes in
    last = [EventAsk(feed), EventAsk(feed)]
    assert all(map(feed.try_now, last))
    assert last[0].value.key == "b"
    assert last[1].value is END
    feed.put_back(last[1])
    assert feed.pending() == 0


def test_a_gap_is_told_between_what_was_and_what_comes():
    service = HeartbeatService(5, clock=VirtualClock())
    feed = Feed(5)
    feed.skip(10, 4)
    ask = EventAsk(feed)
    assert feed.try_now(ask)
    assert (ask.value.kind, ask.value.missed, ask.value.number) == (
        EventKind.OVERFLOW,
        4,
        10,
    )
    assert service.stats().events == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_watches_by_itself():
    service = HeartbeatService(0.2, keep_lost=True)
    before = service.events()
    service.refresh("a")
    pid = os.fork()
    if pid == 0:
        events = service.events()
        service.register("b", timeout=0.2)
        found = {events.get(5).key for _ in range(3)}
        os._exit(len(found))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    assert before.get(5).key == "a"


def test_a_late_look_blames_nobody():
    service = HeartbeatService(0.05, keep_lost=True)
    service._watch = None  # it is looked at by hand
    events = service.events()
    watch = Watch(service)
    service.refresh("a")
    time.sleep(0.06)
    watch._fire(time.monotonic() - 10)
    assert kinds_of(told(events)) == [("joined", "a")]
    watch._appointment.cancel()
    time.sleep(0.06)
    watch._fire(time.monotonic())
    assert kinds_of(told(events)) == [("lost", "a")]
    watch._appointment.cancel()
    del service
    gc.collect()
    watch._fire(0.0)
    watch.arm()


# Tables


def test_flapping_devices_are_remembered_up_to_a_bound():
    tables = Tables(1.0, 10, None)
    flaps = Flaps(1, 60, most=2)
    for key in "abc":
        assert flaps.recovered(key, 1.0, tables)
    assert tables.own_timeout("a") is None  # the steadiest had to go
    assert tables.own_timeout("c") == 2
    assert flaps.flapping("c")
    assert not flaps.flapping("a")
    for _ in range(5):
        flaps.recovered("c", 2.0, tables)
    assert tables.own_timeout("c") == 8
    flaps.prune(100.0, tables)
    assert tables.own_timeout("c") is None


def test_empty_tables_go():
    tables = Tables(1.0, 10, None)
    for n in range(64):
        tables.set_timeout("a", 2.0 + n)
    tables.set_timeout("b", 100.0)
    assert len([*tables]) <= 4
    assert tables.own_timeout("b") == 100


# Hosts


def test_a_host_whose_system_tells_nothing(monkeypatch):
    monkeypatch.setattr(_core_readings, "_text", lambda path: "")
    monkeypatch.setattr(_core_readings, "_BETWEEN", 0.001)
    host = LinuxHost("h", init_this_host=True)
    assert host.get_cpu_idle() == -1
    assert host.get_mem_info() == (-1, -1)
    assert host.get_net_usage() == (-1, -1)


@pytest.mark.parametrize("columns", [7, 10])
def test_times_of_older_and_newer_kernels(monkeypatch, columns):
    """The times of a guest are in those of its host already."""
    idle = iter([100, 150])

    def text(path):
        if path != "/proc/stat":
            return ""
        times = [50, 0, 25, next(idle), *[0] * 4, *[10**6] * 2][:columns]
        return "cpu  " + " ".join(map(str, times)) + "\ncpu0 1 2 3\n"

    monkeypatch.setattr(_core_readings, "_text", text)
    monkeypatch.setattr(_core_readings, "_BETWEEN", 0.001)
    assert LinuxHost("h", init_this_host=True).get_cpu_idle() == 100


def test_an_interface_is_found(monkeypatch):
    texts = {
        "/proc/net/route": "Iface Destination\nens5 00000000 x\n",
        "/proc/net/dev": "Inter-|\n face |\n  ens5: 1024 1 0 0 0 0 0 0 2048 1 0\n",
        "/proc/meminfo": "MemTotal: 4096 kB\nMemFree: 1024 kB\n",
    }
    monkeypatch.setattr(_core_readings, "_text", lambda path: texts.get(path, ""))
    monkeypatch.setattr(_core_readings, "_BETWEEN", 0.001)
    host = LinuxHost("h", init_this_host=True)
    assert host.get_dict_resinfo()["iface"] == "ens5"
    assert host.get_mem_info() == (3, 4)
    assert host.get_net_usage() == (0, 0)


def test_what_is_gone_is_not_ended_again():
    class Service:
        def __init__(self):
            self.ended = []

        def stop(self):
            ends.append(self)

    ends = []
    service = Service()
    ender = Ender(service.stop)
    ender.end_at_exit()
    assert ends == [service]
    ends.clear()
    del service
    gc.collect()
    ender.end_at_exit()
    assert ends == []


def test_a_device_lives_in_two_services():
    one, two = HeartbeatService(60), HeartbeatService(60)
    device = Device("a")
    one.refresh("a", device)
    two.refresh("b", device)
    one.refresh("a")
    assert two.find("b").silent < 60
    assert sys.getrefcount(device) > 1
