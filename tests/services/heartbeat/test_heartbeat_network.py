"""Monitors and agents on a network in memory: nobody who lives is declared lost.

Packets are lost and late by a seed, clocks are set, programs are stopped and started:
all on a virtual clock, so that hours pass at once and the same every time.
"""

import logging
import random
from collections import Counter
from functools import partial

import pytest
from heartbeat_tools import OTHER, RING, World, kinds_of, told

from cup.services.heartbeat import Device, EventKind, KeyRing
from cup.services.heartbeat._core_guard import asleep
from cup.services.heartbeat._core_hearing import Hearing
from cup.services.heartbeat._core_state import dump, load_into
from cup.services.heartbeat._core_wire import BEAT, Sealer

DAY = 86_400.0


def kinds(monitor):
    return kinds_of(told(monitor.events))


def only(found, *wanted):
    return [pair for pair in found if pair[0] in wanted]


def fleet(world, count, **options):
    return [world.agent(f"a{n}", **options) for n in range(count)]


# Life and death


def test_a_death_is_told_once_and_in_time():
    world = World()
    monitor = world.monitor()
    agents = fleet(world, 20)
    world.run(10)
    assert Counter(kinds(monitor)) == Counter(("joined", f"a{n}") for n in range(20))
    world.stop(agents[7])
    world.run(3 + 2 * 0.3 + 1)
    events = told(monitor.events)
    assert kinds_of(events) == [("lost", "a7")]
    assert 3 <= events[0].silent <= 3 + 2 * 0.3
    assert events[0].address == "a7:1000"
    world.run(100)
    assert kinds(monitor) == []


def test_who_comes_back_has_recovered():
    world = World()
    monitor = world.monitor()
    agent = world.agent("a")
    world.run(5)
    world.freeze(agent, 10)
    world.run(5)
    assert kinds(monitor) == [("joined", "a"), ("lost", "a"), ("recovered", "a")]


def test_a_restart_is_told():
    world = World()
    monitor = world.monitor()
    world.run(0.01)
    first = world.agent("a")
    world.run(5)
    world.stop(first)
    world.agent("a")
    world.run(5)
    assert kinds(monitor) == [("joined", "a"), ("restarted", "a")]
    assert monitor.hearing.peers.find("a").incarnation > first.incarnation


def test_a_restart_after_a_loss_is_both():
    world = World()
    monitor = world.monitor()
    world.stop(world.agent("a"))
    world.run(0)
    first = world.agent("a")
    world.run(5)
    world.stop(first)
    world.run(10)
    world.agent("a")
    world.run(1)
    found = only(kinds(monitor), "lost", "recovered", "restarted")
    assert found == [("lost", "a"), ("recovered", "a"), ("restarted", "a")]


def test_who_leaves_is_not_lost_and_stays_away():
    """A packet of before, sent again by somebody, does not bring it back."""
    world = World()
    world.network.tap = True
    monitor = world.monitor()
    agent = world.agent("a")
    world.run(5)
    agent.leave()
    world.stop(agent)
    world.run(1)
    assert kinds(monitor) == [("joined", "a"), ("left", "a")]
    for data, source, _ in world.network.carried:
        monitor.port.put(data, source)
    world.run(20)
    assert kinds(monitor) == []
    assert monitor.hearing.counts.stale > 0
    world.run(100)
    assert len(monitor.hearing.peers) == 0  # and is forgotten in the end
    for data, source, _ in world.network.carried:
        monitor.port.put(data, source)
    world.run(1)
    found = kinds(monitor)
    assert found == [("clock skew", "a")]  # too old by now, which is told


def test_two_senders_of_one_name_are_told():
    world = World()
    monitor = world.monitor()
    world.agent("a", host="h1")
    world.run(5)
    world.agent("a", host="h2")
    world.run(20)
    found = kinds(monitor)
    assert found == [("joined", "a"), ("restarted", "a"), ("conflict", "a")]
    assert monitor.hearing.peers.find("a").address[0] == "h2"


def test_one_late_packet_is_no_conflict():
    world = World()
    monitor = world.monitor()
    first = world.agent("a", host="h1")
    world.run(5)
    world.stop(first)
    world.agent("a", host="h2")
    world.run(1)
    first.links[0].transport = first.port
    first.beat()
    world.run(5)
    assert ("conflict", "a") not in kinds(monitor)


def test_an_agent_that_moves_is_asked_where_it_is():
    world = World()
    monitor = world.monitor(probes=3)
    agent = world.agent("a", interval=1.4)
    world.run(3)
    world.network.ports.pop(("a", 1000))
    agent.port.address = ("a", 2000)
    world.network.ports["a", 2000] = agent.port
    world.run(3)
    assert monitor.registry.find("a").address == "a:2000"
    agent._next_beat = float("inf")
    world.run(10)
    assert only(kinds(monitor), "lost") == []


def test_agents_have_time_outs_of_their_own():
    world = World()
    monitor = world.monitor(longest_timeout=60)
    slow = world.agent("slow", timeout=12.0, interval=4.0)
    world.agent("greedy", timeout=1e6, interval=4.0)
    world.run(20)
    assert sorted(kinds(monitor)) == [("joined", "greedy"), ("joined", "slow")]
    assert monitor.registry.find("slow").timeout == 12
    assert monitor.registry.find("greedy").timeout == 60
    world.stop(slow)
    world.run(7)
    assert kinds(monitor) == []
    world.run(10)
    assert monitor.registry.find("slow").state == "lost"


def test_there_is_room_for_so_many():
    world = World()
    monitor = world.monitor(max_devices=5)
    agents = fleet(world, 8)
    world.run(10)
    found = kinds(monitor)
    assert len(only(found, "joined")) == 5
    assert len(only(found, "refused")) == 1
    assert len(monitor.hearing.peers) == 5
    inside = next(a for n, a in world.agents.items() if monitor.registry.find(n))
    inside.leave()
    world.stop(inside)
    world.run(5)
    assert len(only(kinds(monitor), "joined")) == 1
    assert agents


def test_readings_come_along(caplog):
    world = World()
    monitor = world.monitor()
    device = Device("a")
    device.get_dict_resinfo()["load"] = 0.5
    agent = world.agent("a", device=device)
    world.run(2)
    assert monitor.hearing.peers.find("a").device().get_dict_resinfo() == {"load": 0.5}
    device.get_dict_resinfo()["load"] = 0.75
    world.run(3)
    assert monitor.hearing.peers.find("a").device().get_dict_resinfo() == {"load": 0.75}
    device.get_dict_resinfo()["essay"] = "x" * 2000
    with caplog.at_level(logging.CRITICAL, logger="cup.heartbeat"):
        world.run(3)
    assert kinds(monitor) == [("joined", "a")]
    assert agent.stats().beats > 5


def test_a_beat_says_that_work_goes_on(caplog):
    world = World()
    monitor = world.monitor()
    works = [True]
    agent = world.agent("a", alive=lambda: works[0])
    world.run(5)
    assert agent.stats().healthy
    works[0] = False
    world.run(10)
    assert not agent.stats().healthy
    assert agent.stats().skipped > 0
    works[0] = True
    world.run(2)
    assert only(kinds(monitor), "lost", "recovered") == [
        ("lost", "a"),
        ("recovered", "a"),
    ]
    with caplog.at_level(logging.CRITICAL, logger="cup.heartbeat"):
        works.clear()  # now the check raises
        world.run(10)
    assert kinds(monitor) == [("lost", "a")]


# Keys


def test_keys_change_without_a_lost_beat():
    world = World()
    both = KeyRing([bytes(range(32)), bytes(range(1, 33))])
    turned = KeyRing([bytes(range(1, 33)), bytes(range(32))])
    monitor = world.monitor()
    agents = fleet(world, 10)
    world.run(3)
    monitor.calls.append(lambda: monitor.hearing.set_keys(both))
    world.run(3)
    for name, agent in world.agents.items():
        agent.calls.append(partial(agent.set_keys, turned.agent(name)))
    world.run(3)
    monitor.calls.append(lambda: monitor.hearing.set_keys(OTHER))
    world.run(3)
    counts = monitor.hearing.counts
    assert counts.unknown_key == counts.forged == counts.stale == counts.garbage == 0
    assert counts.beats == sum(agent.stats().beats for agent in agents)
    assert len(kinds(monitor)) == 10
    old = Sealer(RING.agent("a0")).seal(BEAT, 2**63, 1, int(world.clock.time() * 1000))
    monitor.port.put(old, ("x", 1))
    world.run(1)
    assert monitor.hearing.counts.unknown_key == 1


# Clocks


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_the_monitors_clock_is_set(step):
    """Whoever beats goes on; who comes new proves that its packets are new."""
    world = World()
    monitor = world.monitor()
    agents = fleet(world, 20)
    world.run(10)
    told(monitor.events)
    skew, wall = [step], world.clock.time
    monitor._clock = SkewedClock(world.clock, skew)
    world.run(20)
    new = world.agent("new")
    world.run(5)
    restarted = agents[3]
    world.stop(restarted)
    world.agent("a3")
    world.run(20)
    found = kinds(monitor)
    assert only(found, "lost", "recovered", "conflict") == []
    assert only(found, "joined", "restarted") == [
        ("joined", "new"),
        ("restarted", "a3"),
    ]
    assert Counter(only(found, "clock skew")).most_common(1)[0][1] <= 2
    assert ("clock skew", "new") in found
    assert new.stats().beats
    assert wall


class SkewedClock:
    """A clock whose wall time is off."""

    def __init__(self, clock, skew):
        self.clock = clock
        self.skew = skew
        self.monotonic = clock.monotonic

    def time(self):
        return self.clock.time() + self.skew[0]


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_an_agents_clock_is_set(step):
    world = World()
    monitor = world.monitor()
    agent = world.agent("a")
    world.run(5)
    agent._clock = SkewedClock(world.clock, [step])
    world.run(20)
    found = kinds(monitor)
    assert found == [("joined", "a"), ("clock skew", "a")]


def test_a_life_that_begins_with_an_older_clock_is_told_to_begin_anew():
    world = World()
    monitor = world.monitor()
    first = world.agent("a")
    world.run(5)
    world.stop(first)
    second = world.agent("a", incarnation=first.incarnation - 10**15)
    bumped = []
    second.on_bump = bumped.append
    world.run(3)
    assert kinds(monitor) == [("joined", "a"), ("restarted", "a")]
    assert second.incarnation == first.incarnation + 1 == bumped[0]
    assert second.stats().bumped == 1
    assert second.stats().beats


def test_a_skewed_agent_that_hears_nothing_is_told_of():
    """Not admitted, since its packets may be old ones; but not dropped silently."""
    world = World()
    monitor = world.monitor()
    agent = world.agent("a")
    agent._clock = SkewedClock(world.clock, [3600])
    world.network.ports.pop(("a", 1000))
    world.run(20)
    assert kinds(monitor) == [("clock skew", "a")]
    assert monitor.hearing.counts.skewed > 10
    assert not monitor.hearing.peers.by_name


def test_replies_are_for_who_sent_and_no_longer_than_what_was_sent():
    world = World()
    world.network.tap = True
    monitor = world.monitor(probes=3)
    agent = world.agent("a")
    agent._clock = SkewedClock(world.clock, [3600])
    world.run(5)
    world.stop(agent)
    world.run(5)
    sent = [data for data, _, target in world.network.carried if target[0] == "m1"]
    answers = [data for data, _, target in world.network.carried if target[0] == "a"]
    assert answers
    assert max(map(len, answers)) <= min(map(len, sent))
    assert monitor.suspects == 0


def test_old_answers_do_nothing():
    """An agent does not mind what was said to a former life, or to another."""
    world = World()
    world.network.tap = True
    world.monitor(probes=2)
    first = world.agent("a")
    first._clock = SkewedClock(world.clock, [3600])
    world.run(5)
    world.stop(first)
    answers = [data for data, _, target in world.network.carried if target[0] == "a"]
    second = world.agent("a")
    other = world.agent("b")
    world.run(1)
    echo = second.links[0].echo
    for data in answers:
        for agent in (second, other):
            agent.port.put(data, ("m1", 7363))
            agent.port.put(data[:-1] + bytes([data[-1] ^ 1]), ("m1", 7363))
            agent.port.put(data, ("somebody", 7363))
    world.run(3)
    assert second.links[0].echo == echo
    assert second.stats().bumped == other.stats().bumped == 0


# Pauses


@pytest.mark.parametrize("room", [100_000, 30])
@pytest.mark.parametrize("counted", [True, False])
def test_a_stopped_monitor_blames_nobody(room, counted):
    """Stopped for 10 s, with a queue that keeps the oldest packets; one real death."""
    world = World()
    monitor = world.monitor(timeout=2.0)
    agents = fleet(world, 60, timeout=2.0, interval=0.6)
    world.run(4)
    assert len(kinds(monitor)) == 60
    monitor.port.room = room
    if not counted:  # not every system counts what it drops
        monitor.port.drops = lambda: 0
    world.stop(agents[7])
    world.freeze(monitor, 10)
    world.run(2.0 + 2 * 0.2 + 0.01)
    found = kinds(monitor)
    assert only(found, "lost", "recovered") == [("lost", "a7")]
    assert only(found, "holding", "judging") == [("holding", ""), ("judging", "")]
    world.run(10)
    assert kinds(monitor) == []


def test_a_suspended_machine_blames_nobody():
    world = World()
    slept = [0.0]
    monitor = world.monitor(suspended=lambda: slept[0])
    agent = world.agent("a")
    world.run(5)
    while agent.stats().silent < 0.5:
        world.run(0.1)
    # It was suspended for an hour, which this clock did not see; so were the agents.
    agent._next_beat = agent.port.seat.deadline = world.clock.monotonic() + 2.6
    slept[0] = 3600
    world.run(5)
    assert agent.stats().beats > 5
    assert [kind for kind, _ in kinds(monitor)] == ["joined", "holding", "judging"]
    assert abs(asleep()) < 1e9


def test_dropped_packets_blame_nobody():
    world = World()
    monitor = world.monitor()
    monitor.port.room = 0  # from now on, all are dropped
    fleet(world, 5)
    monitor.port.room = 1000
    world.run(5)
    monitor.port.room = 0
    world.run(30)
    monitor.port.room = 1000
    world.run(5)
    found = kinds(monitor)
    assert only(found, "lost") == []
    assert only(found, "holding", "judging") == [("holding", ""), ("judging", "")]


# Many at once


def test_a_dead_network_kills_nobody():
    """All packets are lost for two time-outs; then all are back."""
    world = World()
    monitor = world.monitor()
    fleet(world, 100)
    world.run(10)
    told(monitor.events)
    world.network.loss = 1.0
    world.run(6)
    world.network.loss = 0.0
    world.run(30)
    found = kinds(monitor)
    assert [kind for kind, _ in found] == ["holding", "judging"]


def test_a_death_during_a_dead_network_is_found_after_it():
    world = World()
    monitor = world.monitor()
    agents = fleet(world, 100)
    world.run(10)
    told(monitor.events)
    world.network.loss = 1.0
    world.stop(agents[5])
    world.run(6)
    world.network.loss = 0.0
    world.run(6)
    assert only(kinds(monitor), "lost") == [("lost", "a5")]


def test_a_network_that_stays_dead_is_believed_in_the_end():
    world = World()
    monitor = world.monitor(hold=9.0)
    fleet(world, 100)
    world.run(10)
    told(monitor.events)
    world.network.loss = 1.0
    world.run(9)
    assert [kind for kind, _ in kinds(monitor)] == ["holding"]
    world.run(12)
    events = told(monitor.events)
    lost = [event.key for event in events if event.kind is EventKind.LOST]
    assert sorted(lost) == sorted(f"a{n}" for n in range(100))
    assert lost != sorted(lost)  # in no order, and not at once
    times = [event.time for event in events if event.kind is EventKind.LOST]
    assert max(Counter(times).values()) <= 11
    world.network.loss = 0.0
    world.run(10)
    assert Counter(k for k, _ in kinds(monitor))["recovered"] == 100
    world.stop(world.agents["a3"])
    world.run(5)
    assert only(kinds(monitor), "lost") == [("lost", "a3")]


@pytest.mark.parametrize(("dead", "held"), [(40, False), (60, True)])
def test_many_deaths_are_doubted_and_then_believed(dead, held):
    world = World()
    monitor = world.monitor()
    agents = fleet(world, 100)
    world.run(10)
    told(monitor.events)
    for agent in agents[:dead]:
        world.stop(agent)
    world.run(4)
    found = kinds(monitor)
    assert (len(only(found, "holding")) == 1) == held
    assert len(only(found, "lost")) == (0 if held else dead)
    world.run(20)
    found += kinds(monitor)
    assert Counter(only(found, "lost")) == Counter(
        ("lost", f"a{n}") for n in range(dead)
    )


def test_a_few_are_believed_at_once():
    world = World()
    monitor = world.monitor()
    for agent in fleet(world, 9):
        world.run(1)
        world.stop(agent)
    world.run(10)
    assert len(only(kinds(monitor), "lost")) == 9


def test_farewells_are_no_mass_loss():
    world = World()
    monitor = world.monitor()
    agents = fleet(world, 100)
    world.run(5)
    for agent in agents[:90]:
        agent.leave()
        world.stop(agent)
    world.run(10)
    assert Counter(k for k, _ in kinds(monitor)) == {"joined": 100, "left": 90}


# Suspects, and second ways


def test_who_is_asked_answers():
    """Beats are lost, answers are not: nobody is lost, and it is shown as suspect."""
    world = World()
    monitor = world.monitor(probes=4, suspect_after=1.5)
    agent = world.agent("a", interval=2.9)
    world.run(1)
    agent._next_beat = float("inf")  # it answers, and does nothing else
    states = set()
    for _ in range(100):
        world.run(0.3)
        states.add(str(monitor.registry.find("a").state))
    assert kinds(monitor) == [("joined", "a")]
    assert agent.stats().probes >= 10
    assert states == {"alive", "suspect"}


def test_who_beats_by_hand_does_not_answer():
    world = World()
    monitor = world.monitor(probes=3)
    agent = world.agent("a", interval=None)
    agent.beat()
    world.run(10)
    assert kinds(monitor) == [("joined", "a"), ("lost", "a")]
    assert agent.stats().probes == 3


def test_an_agent_beats_to_several_monitors():
    world = World()
    one, two = world.monitor("m1"), world.monitor("m2")
    agent = world.agent("a", monitors=("m1", "m2"))
    world.run(5)
    assert kinds(one) == kinds(two) == [("joined", "a")]
    world.network.ports.pop(("m1", 7363))
    world.run(5)
    assert kinds(one) == [("lost", "a")]
    assert kinds(two) == []
    assert agent.stats().failed == 0


@pytest.mark.parametrize("loss", [0.05, pytest.param(0.2, marks=pytest.mark.full)])
def test_questions_make_up_for_lost_packets(loss):
    """With five questions within a second, a time-out of 2.2 beats blames nobody."""
    world = World(seed=3, loss=loss, delay=0.01)
    monitor = world.monitor(timeout=2.2, suspect_after=1.2, probes=5)
    agents = fleet(world, 40, timeout=2.2)
    world.run(300 if loss < 0.1 else 120)
    false = len(only(kinds(monitor), "lost"))
    assert false == 0 if loss < 0.1 else false <= 40
    began = world.clock.time()
    world.stop(agents[0])
    world.run(4)
    lost = [event for event in told(monitor.events) if event.key == "a0"]
    assert lost[0].kind is EventKind.LOST
    assert lost[0].time - began <= 2.2 + 2 * 0.1


def test_flapping_agents_get_more_time():
    world = World()
    monitor = world.monitor(flap_limit=3)
    agent = world.agent("a")
    for _ in range(6):
        world.run(2)
        world.freeze(agent, 4)
    world.run(5)
    counts = Counter(kind for kind, _ in kinds(monitor))
    assert counts == {"joined": 1, "lost": 3, "recovered": 3, "flapping": 1}
    world.stop(agent)
    world.run(10)
    assert kinds(monitor) == [("lost", "a")]


# A monitor that is started again


def restart(world, monitor, path, **options):
    """Write the state, end, and begin anew with it."""
    path.write_text(
        "".join(dump(monitor.registry, monitor.hearing, world.clock.time()))
    )
    world.stop(monitor)
    again = world.monitor(**options)
    load_into(path, again.registry, again.hearing, world.clock.time())
    return again


def test_a_restarted_monitor_blames_nobody_and_takes_nothing_old(tmp_path):
    world = World()
    world.network.tap = True
    monitor = world.monitor()
    agents = fleet(world, 50)
    world.agent("slow", timeout=30.0, interval=10.0)
    world.run(10)
    gone, dead = agents[0], agents[1]
    world.stop(gone)
    world.run(5)
    assert only(kinds(monitor), "lost") == [("lost", "a0")]
    world.stop(dead)
    captured = [entry for entry in world.network.carried if entry[2][0] == "m1"]
    number = monitor.registry.snapshot().number
    again = restart(world, monitor, tmp_path / "state")
    for data, source, _ in captured:
        again.port.put(data, source)
    world.run(2.9)
    assert kinds(again) == []
    view = again.registry.find("a0")
    assert view.state == "lost"
    assert view.incarnation == gone.incarnation
    assert again.registry.find("slow").timeout == 30
    world.run(7)
    events = told(again.events)
    assert kinds_of(events) == [("lost", "a1")]
    assert events[0].number == number + 1


@pytest.mark.parametrize(
    "content", [b"", b"no json", b'{"format": "other"}\n', b"\xff\xfe", b'{"format"']
)
def test_a_damaged_state_is_reported_and_left_out(tmp_path, content, caplog):
    path = tmp_path / "state"
    path.write_bytes(content)
    world = World()
    monitor = world.monitor()
    with caplog.at_level(logging.ERROR, logger="cup.heartbeat"):
        assert load_into(path, monitor.registry, monitor.hearing, 0.0) == 0
    assert "the state of the monitor" in caplog.text
    assert load_into(tmp_path / "none", monitor.registry, monitor.hearing, 0.0) == 0


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(10_000, marks=pytest.mark.full),
        pytest.param(100_000, marks=pytest.mark.long),
    ],
)
def test_a_large_state_is_taken_in_quickly(tmp_path, count):
    import time

    world = World()
    monitor = world.monitor()
    now, wall = world.clock.monotonic(), world.clock.time()
    sealers = (Sealer(RING.agent(f"device-{n}")) for n in range(count))
    batch = [
        (each.seal(BEAT, 1, 1, int(wall * 1000)), (f"10.0.{n & 255}.{n >> 8 & 255}", 9))
        for n, each in enumerate(sealers)
    ]
    monitor.hearing.hear(batch, now, wall)
    assert len(monitor.registry) == count
    path = tmp_path / "state"
    path.write_text("".join(dump(monitor.registry, monitor.hearing, wall)))
    again = world.monitor("m2")
    began = time.perf_counter()
    assert load_into(path, again.registry, again.hearing, wall) == count
    seconds = time.perf_counter() - began
    print(f"{count} agents restored in {seconds:.2f} s")
    assert seconds < 10
    again.hearing.hear(batch, now, wall)
    assert again.hearing.counts.stale == count
    assert isinstance(again.hearing, Hearing)


# Everything at once


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(n, marks=pytest.mark.full) for n in range(3, 8))]
)
def test_a_stormy_week(seed):
    """Agents come, go, crash, freeze and return: the events tell exactly what happened.

    The network delays, and loses nothing; what happens is told by a model.
    """
    rng = random.Random(seed)
    world = World(seed=seed, delay=0.01)
    monitor = world.monitor(mass_least=1000)
    living, dead, expected = {}, set(), Counter()
    for step in range(300):
        act = rng.choice(
            ["start", "start", "crash", "leave", "restart", "freeze", "wait"]
        )
        if act == "start" and len(living) < 30:
            name = f"a{rng.randrange(40)}"
            if name not in living:
                living[name] = world.agent(name)
                if name in dead:
                    dead.discard(name)
                    expected["recovered", name] += 1
                    expected["restarted", name] += 1
                else:
                    expected["joined", name] += 1
                world.run(0.5)
        elif living:
            name = rng.choice([*living])
            agent = living[name]
            if act == "crash":
                world.stop(living.pop(name))
                world.run(4)
                expected["lost", name] += 1
                dead.add(name)
            elif act == "leave":
                world.stop(living.pop(name))
                agent.leave()
                world.run(0.5)
                expected["left", name] += 1
            elif act == "restart":
                world.stop(agent)
                living[name] = world.agent(name)
                world.run(0.5)
                expected["restarted", name] += 1
            elif act == "freeze":
                world.freeze(agent, 5)
                world.run(0.5)
                expected["lost", name] += 1
                expected["recovered", name] += 1
        world.run(rng.random())
        assert step >= 0
    events = told(monitor.events)
    assert [event.number for event in events] == [*range(1, len(events) + 1)]
    assert Counter(kinds_of(events)) == expected
    snapshot = monitor.registry.snapshot()
    assert {d.key for d in snapshot.devices if d.state != "lost"} == {*living}
