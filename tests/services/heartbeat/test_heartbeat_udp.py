"""Monitors and agents over real sockets, in threads and on every loop."""

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import anyio
import pytest
from heartbeat_tools import OTHER, RING

from cup._core.datagrams import Datagrams, parse_address, resolve
from cup.errors import (
    ForkedProcess,
    HeartbeatClosed,
    HeartbeatError,
    InvalidType,
    InvalidValue,
    NetError,
)
from cup.services.heartbeat import (
    UNAUTHENTICATED,
    Agent,
    AsyncAgent,
    AsyncMonitor,
    Device,
    Monitor,
)
from cup.testing import strict_blocking

TIMEOUT = 0.5
HERE = "127.0.0.1:0"


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")


def next_kinds(events, count, seconds=10):
    found = [events.get(seconds) for _ in range(count)]
    return [(str(event.kind), event.key) for event in found]


def agent_of(monitor, name="a", **options):
    options = {"keys": RING, "timeout": TIMEOUT, **options}
    return Agent(name, monitor.addresses[0], **options)


# Threads


def test_an_agent_joins_leaves_and_is_lost():
    with Monitor(HERE, keys=RING, timeout=TIMEOUT) as monitor:
        events = monitor.events()
        with agent_of(monitor) as agent:
            assert next_kinds(events, 1) == [("joined", "a")]
            assert agent.healthy
            assert monitor.find("a").state == "alive"
            assert len(monitor.snapshot().devices) == 1
            assert "runs" in repr(agent)
        assert next_kinds(events, 1) == [("left", "a")]
        assert not agent.healthy
        crashed = agent_of(monitor, "b")
        crashed.start()
        crashed.stop(leave=False)
        crashed.stop()
        assert next_kinds(events, 2) == [("joined", "b"), ("lost", "b")]
        assert "1 lost" in repr(monitor)
        stats = monitor.stats()
        assert stats.beats >= 2
        assert stats.queue > 0
        assert not stats.holding
    assert [*events] == []
    with pytest.raises(HeartbeatClosed):
        monitor.events()
    with pytest.raises(HeartbeatClosed):
        monitor.start()
    assert "not running" in repr(monitor)


def test_an_exception_is_no_farewell():
    with Monitor(HERE, keys=RING, timeout=TIMEOUT) as monitor:
        events = monitor.events()
        with pytest.raises(KeyError), agent_of(monitor):
            next_kinds(events, 1)
            raise KeyError
        assert next_kinds(events, 1) == [("lost", "a")]


def test_readings_callbacks_and_beats_by_hand():
    seen = []
    with Monitor(HERE, keys=RING, timeout=TIMEOUT) as monitor:
        listener = monitor.on_event(seen.append)
        events = monitor.events()
        device = Device("a")
        device.get_dict_resinfo()["temperature"] = 21.5
        with agent_of(monitor, device=device, by_hand=True) as agent:
            assert agent.stats().silent is None
            agent.beat()
            assert next_kinds(events, 1) == [("joined", "a")]
            assert monitor.device("a").get_dict_resinfo() == {"temperature": 21.5}
            assert monitor.device("b") is None
            assert next_kinds(events, 1) == [("lost", "a")]
            agent.beat()
            assert next_kinds(events, 1) == [("recovered", "a")]
            assert monitor.leave("a")
            assert next_kinds(events, 1) == [("left", "a")]
        with pytest.raises(HeartbeatClosed):
            agent.beat()
        deadline = time.monotonic() + 20
        while len(seen) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)  # they are told on a thread of their own
        listener.close()
    assert [str(event.kind) for event in seen[:2]] == ["joined", "lost"]


@needs_ipv6
def test_ipv6_and_both():
    with Monitor(["[::1]:0", ("127.0.0.1", 0)], keys=RING, timeout=TIMEOUT) as monitor:
        six, four = monitor.addresses
        assert six.startswith("[::1]:")
        events = monitor.events()
        with (
            Agent("six", six, keys=RING, timeout=TIMEOUT),
            Agent("both", [six, four], keys=RING, timeout=TIMEOUT),
        ):
            found = {key for _, key in next_kinds(events, 2)}
            assert found == {"six", "both"}
            assert monitor.find("six").address.startswith("[::1]:")
    with Monitor("[::]:0", keys=RING, timeout=TIMEOUT) as monitor:
        port = monitor.addresses[0].rpartition(":")[2]
        events = monitor.events()
        with Agent("a", f"127.0.0.1:{port}", keys=RING, timeout=TIMEOUT):
            assert next_kinds(events, 1) == [("joined", "a")]


def test_an_agent_beats_to_two_monitors():
    with (
        Monitor(HERE, keys=RING, timeout=TIMEOUT) as one,
        Monitor(HERE, keys=RING, timeout=TIMEOUT) as two,
    ):
        feeds = one.events(), two.events()
        with Agent("a", [*one.addresses, *two.addresses], keys=RING, timeout=TIMEOUT):
            for events in feeds:
                assert next_kinds(events, 1) == [("joined", "a")]


def test_keys_are_checked_and_changed():
    with Monitor(HERE, keys=RING, timeout=TIMEOUT) as monitor:
        events = monitor.events()
        with agent_of(monitor, keys=OTHER) as agent:
            while not monitor.stats().unknown_key:
                time.sleep(0.01)
            agent.set_keys(RING.agent("a"))
            assert next_kinds(events, 1) == [("joined", "a")]
            monitor.set_keys(OTHER)
            assert next_kinds(events, 1) == [("lost", "a")]
    with Monitor(HERE, keys=UNAUTHENTICATED, timeout=TIMEOUT) as monitor:
        events = monitor.events()
        with agent_of(monitor, keys=UNAUTHENTICATED):
            assert next_kinds(events, 1) == [("joined", "a")]


def test_a_restart_of_both_is_warm(tmp_path):
    state, life = tmp_path / "monitor", tmp_path / "agent"
    with Monitor(HERE, keys=RING, timeout=5, state=state) as monitor:
        events = monitor.events()
        with agent_of(monitor, state=life, timeout=5):
            next_kinds(events, 1)
            first = monitor.find("a").incarnation
            monitor.save_state()
            assert int(life.read_text()) == first
            monitor.stop()
    life.write_text(f"{first + 10**18}\n")  # as by a clock that ran ahead
    with Monitor(HERE, keys=RING, timeout=5, state=state) as monitor:
        assert monitor.find("a").incarnation == first
        events = monitor.events()
        with agent_of(monitor, state=life, timeout=5):
            assert next_kinds(events, 1) == [("restarted", "a")]
            assert monitor.find("a").incarnation == first + 10**18 + 1
    with (
        Monitor(HERE, keys=RING) as monitor,
        pytest.raises(HeartbeatError, match="file"),
    ):
        monitor.save_state()


def test_what_cannot_be_is_said():
    with Monitor(HERE, keys=RING) as monitor:
        with pytest.raises(HeartbeatError, match="already"):
            monitor.start()
        with pytest.raises(NetError, match="cannot listen"):
            Monitor(monitor.addresses[0], keys=RING).start()
        with pytest.raises(NetError, match="no address"):
            Agent("a", "no-such-host.invalid", keys=RING).start()
        agent = agent_of(monitor)
        with pytest.raises(HeartbeatClosed, match="does not run"):
            agent.beat()
        agent.start()
        with pytest.raises(HeartbeatError, match="already"):
            agent.start()
        agent.stop()
        with pytest.raises(HeartbeatClosed):
            agent.start()
    for wrong in (
        {"interval": 5, "timeout": 5},
        {"timeout": -1},
        {"interval": 0},
    ):
        with pytest.raises(InvalidValue):
            Agent("a", HERE, keys=RING, **wrong)
    with pytest.raises(InvalidValue):
        Agent("a", [], keys=RING)
    with pytest.raises(InvalidType):
        Agent("a", HERE, keys=RING, alive=5)
    for wrong in (
        {"suspect_after": 99},
        {"mass_share": 0},
        {"max_devices": 0},
        {"window": float("nan")},
        {"listen": "host:x"},
        {"listen": "host:99999"},
    ):
        with pytest.raises(InvalidValue):
            Monitor(**{"keys": RING, **wrong})
    with pytest.raises(InvalidType):
        Monitor(5, keys=RING)


def test_addresses_are_read():
    for text, host, port in [
        ("h", "h", 9),
        ("h:5", "h", 5),
        ("[::1]:5", "::1", 5),
        ("[::1]", "::1", 9),
        ("::1", "::1", 9),
        (("h", 7), "h", 7),
    ]:
        assert parse_address(text, 9) == (host, port)
    assert resolve("127.0.0.1", 5) == (socket.AF_INET, ("127.0.0.1", 5))
    lonely = Datagrams(socket.AF_INET)
    assert not lonely.send(b"x" * 70_000, ("127.0.0.1", 5))
    assert lonely.receive(5) == []
    lonely.close()
    assert lonely.drops() == 0


def test_threads_end_with_what_they_work_for():
    monitor = Monitor(HERE, keys=RING, timeout=TIMEOUT)
    monitor.start()
    agent = agent_of(monitor)
    agent.start()
    names = {thread.name for thread in threading.enumerate()}
    assert {"cup: heartbeat monitor", "cup: heartbeat agent"} <= names
    del monitor, agent
    gc.collect()
    left = {thread.name for thread in threading.enumerate() if thread.is_alive()}
    assert not left & {"cup: heartbeat monitor", "cup: heartbeat agent"}


def test_a_program_that_stops_neither_ends_all_the_same(tmp_path):
    code = f"""
        from cup.services.heartbeat import Agent, Monitor, UNAUTHENTICATED
        state = {str(tmp_path / "s")!r}
        monitor = Monitor("127.0.0.1:0", keys=UNAUTHENTICATED, state=state)
        monitor.start()
        events = monitor.events()
        agent = Agent("a", monitor.addresses[0], keys=UNAUTHENTICATED)
        agent.start()
        print(events.get(10).kind)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.stdout == "joined\n", run.stderr
    assert run.stderr == ""
    assert '"a"' in (tmp_path / "s").read_text()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_beats_for_nobody():
    with Monitor(HERE, keys=RING, timeout=TIMEOUT) as monitor:
        events = monitor.events()
        with agent_of(monitor) as agent:
            next_kinds(events, 1)
            pid = os.fork()
            if pid == 0:
                refused = 0
                for call in (agent.beat, monitor.events, lambda: monitor.leave("a")):
                    try:
                        call()
                    except ForkedProcess:
                        refused += 1
                agent.stop()
                monitor.stop()
                os._exit(refused)
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == 3
            time.sleep(TIMEOUT / 2)
            assert agent.healthy
            assert monitor.find("a").state != "lost"


# Tasks


async def test_tasks_see_an_agent_join_leave_and_be_lost():
    async with AsyncMonitor(HERE, keys=RING, timeout=TIMEOUT) as monitor:
        events = monitor.events()
        place = monitor.addresses[0]
        with strict_blocking():
            async with AsyncAgent("a", place, keys=RING, timeout=TIMEOUT) as agent:
                assert (await events.get(10)).kind == "joined"
                assert agent.healthy
                await anyio.sleep(TIMEOUT)
                assert monitor.find("a").state == "alive"
            assert (await events.get(10)).kind == "left"
            other = AsyncAgent("b", place, keys=RING, timeout=TIMEOUT)
            await other.start()
            await other.stop(leave=False)
            seen = []
            async for event in events:
                seen.append((str(event.kind), event.key))
                if len(seen) == 2:
                    break
    assert seen == [("joined", "b"), ("lost", "b")]
    assert [event async for event in events] == []
    with pytest.raises(HeartbeatClosed):
        await monitor.start()


async def test_tasks_and_threads_hear_each_other(tmp_path):
    async with AsyncMonitor(
        HERE, keys=RING, timeout=TIMEOUT, state=tmp_path / "s"
    ) as monitor:
        events = monitor.events()
        agent = agent_of(monitor)
        agent.start()
        assert (await events.get(10)).key == "a"
        agent.stop()
        assert (await events.get(10)).kind == "left"
    assert (tmp_path / "s").exists()
    with Monitor(HERE, keys=RING, timeout=TIMEOUT) as monitor:
        feed = monitor.events()
        async with AsyncAgent(
            "b", monitor.addresses[0], keys=RING, timeout=TIMEOUT, by_hand=True
        ) as agent:
            agent.beat()
            with anyio.fail_after(10):
                while not monitor.find("b"):
                    await anyio.sleep(0.005)
        assert feed.get(0).key == "b"


async def test_a_cancelled_block_ends_what_is_in_it():
    with anyio.move_on_after(0.2) as scope:
        async with (
            AsyncMonitor(HERE, keys=RING, timeout=TIMEOUT) as monitor,
            AsyncAgent("a", monitor.addresses, keys=RING),
        ):
            await anyio.sleep(10)
    assert scope.cancelled_caught
    assert monitor.addresses == []
    await monitor.stop()


@pytest.mark.full
async def test_a_burst_does_not_stop_other_tasks():
    """A socket that is always readable still lets the others run."""
    ticks = []
    async with AsyncMonitor(HERE, keys=RING, timeout=5) as monitor:
        host, _, port = monitor.addresses[0].rpartition(":")
        stop = threading.Event()

        def flood():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.connect((host, int(port)))
                while not stop.is_set():
                    with contextlib.suppress(OSError):
                        sender.send(b"noise" * 20)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            with anyio.move_on_after(0.5):
                while True:
                    ticks.append(None)
                    await anyio.sleep(0.001)
        finally:
            stop.set()
            thread.join()
        assert monitor.stats().garbage > 100
    assert len(ticks) > 10


# A monitor that is stopped


SWARM = """
    import random, socket, sys, time
    from cup.services.heartbeat import KeyRing
    from cup.services.heartbeat._core_wire import BEAT, Sealer

    address, count, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    host, _, port = address.rpartition(":")
    ring = KeyRing([bytes(range(32))])
    names = [f"a{n}" for n in range(count)]
    sealers = [Sealer(ring.agent(name)) for name in names]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((host, int(port)))
    life, dead, began, sequence = time.time_ns(), None, time.monotonic(), 0
    while True:
        sequence += 1
        for n, sealer in enumerate(sealers):
            if n != dead:
                now = int(time.time() * 1000)
                packet = sealer.seal(BEAT, life, sequence, now, timeout=2000)
                try:
                    sock.send(packet)
                except OSError:
                    pass
        due = began + sequence / rate
        time.sleep(max(0.0, due - time.monotonic()))
        if sequence == int(2 * rate):
            dead = 77
            print("killed", flush=True)
"""

WATCH = """
    import json, sys
    from cup.services.heartbeat import KeyRing, Monitor

    ring = KeyRing([bytes(range(32))])
    with Monitor("127.0.0.1:0", keys=ring, timeout=2.0) as monitor:
        events = monitor.events(limit=1_000_000)
        print(monitor.addresses[0], flush=True)
        for event in events:
            if event.kind != "joined":
                facts = [str(event.kind), event.key, event.time, event.reason]
                print(json.dumps(facts), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")
@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(4, marks=pytest.mark.full),
        pytest.param(10, marks=pytest.mark.long),
    ],
)
def test_a_monitor_that_is_stopped_blames_nobody(seconds):
    """2000 agents in a process of their own, five beats a second, one real death."""
    python = [sys.executable, "-c"]
    watch = subprocess.Popen(
        [*python, textwrap.dedent(WATCH)], stdout=subprocess.PIPE, text=True
    )
    swarm = None
    try:
        address = watch.stdout.readline().strip()
        swarm = subprocess.Popen(
            [*python, textwrap.dedent(SWARM), address, "2000", "5"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert swarm.stdout.readline() == "killed\n"
        watch.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        resumed = time.time()
        watch.send_signal(signal.SIGCONT)
        time.sleep(4)
        assert watch.poll() is None
        watch.kill()
        told = [json.loads(line) for line in watch.stdout.read().splitlines()]
    finally:
        for process in (watch, swarm):
            if process is not None:
                process.kill()
                process.wait()
                process.stdout.close()
    lost = [entry for entry in told if entry[0] == "lost"]
    assert [entry[1] for entry in lost] == ["a77"]
    assert lost[0][2] - resumed < 2.0 + 2 * 0.2 + 1.0
    assert "stopped for" in next(e[3] for e in told if e[0] == "holding")


@pytest.mark.parametrize("kept", ["9" * 30, str(2**64 - 1), "-7"])
def test_a_damaged_number_of_its_life_stops_no_agent(tmp_path, kept):
    life = tmp_path / "life"
    life.write_text(kept)
    with Monitor(HERE, keys=RING, timeout=5) as monitor:
        events = monitor.events()
        with agent_of(monitor, state=life, timeout=5):
            joined = events.get(10)
    assert 0 < joined.incarnation < 2**63
    assert int(life.read_text()) == joined.incarnation


@pytest.mark.parametrize("monitors", ["", ":7363", ["a", ""]])
def test_a_monitor_without_a_host_is_refused(monitors):
    with pytest.raises(InvalidValue, match="host"):
        Agent("a", monitors, keys=RING)
