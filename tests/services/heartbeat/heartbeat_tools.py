"""A network in memory, on a virtual clock: packets are lost and late by a seed."""

import heapq
import itertools
import random

from cup._core.program import Program
from cup.errors import WaitTimeout
from cup.services.heartbeat import KeyRing
from cup.services.heartbeat._core_agent import AgentProgram, AgentSettings, Link
from cup.services.heartbeat._core_monitor import MonitorProgram
from cup.services.heartbeat._core_settings import make_settings
from cup.services.heartbeat.sync import Events
from cup.testing import VirtualDriver

RING = KeyRing([bytes(range(32))])
OTHER = KeyRing([bytes(range(1, 33))])


def told(events):
    """Take the events that wait."""
    found = []
    while True:
        try:
            found.append(events.get(0))
        except WaitTimeout:
            return found


def kinds_of(events):
    return [(str(event.kind), event.key) for event in events]


class Port:
    """Where one program sends and receives."""

    def __init__(self, network, address):
        self.network = network
        self.address = address
        self.queue = []
        self.room = 100_000
        self.dropped = 0
        self.seat = None

    def receive(self, limit):
        taken, self.queue = self.queue[:limit], self.queue[limit:]
        return taken

    def send(self, data, address):
        self.network.carry(data, self.address, address)
        return True

    def drops(self):
        return self.dropped

    def put(self, data, source):
        if len(self.queue) >= self.room:
            self.dropped += 1
        else:
            self.queue.append((data, source))
        if self.seat is not None:
            self.seat.nudge(self.network.now())


class Network(Program):
    """Carries packets; loses some, delays all."""

    def __init__(self, seed=1, loss=0.0, delay=0.001):
        super().__init__()
        self.random = random.Random(seed)
        self.loss = loss
        self.delay = delay
        self.ports = {}
        self.flying = []
        self.number = itertools.count()
        self.seat = None
        self.now = lambda: 0.0
        self.carried = []  # what was sent, for who replays it
        self.tap = False

    def carry(self, data, source, target):
        if self.tap:
            self.carried.append((data, source, target))
        if self.random.random() < self.loss:
            return
        at = self.now() + self.delay * self.random.expovariate(1)
        heapq.heappush(self.flying, (at, next(self.number), data, source, target))
        if self.seat is not None:
            self.seat.nudge(at)

    def step(self, now):
        while self.flying and self.flying[0][0] <= now:
            _, _, data, source, target = heapq.heappop(self.flying)
            port = self.ports.get(target)
            if port is not None:
                port.put(data, source)
        return self.flying[0][0] if self.flying else None


class TestedMonitor(MonitorProgram):
    """A monitor that a test can put things on."""


class TestedAgent(AgentProgram):
    """An agent that a test can put things on."""


class World:
    """Monitors and agents on one network and one clock."""

    def __init__(self, **network):
        random.seed(network.get("seed", 1))  # agents spread their beats at random
        self.driver = VirtualDriver()
        self.clock = self.driver.clock
        self.network = Network(**network)
        self.network.now = self.clock.monotonic
        self.network.seat = self.driver.add(self.network)
        self.agents = {}
        self.monitors = []

    def port(self, host, port=7363):
        made = Port(self.network, (host, port))
        self.network.ports[made.address] = made
        return made

    def monitor(self, host="m1", suspended=lambda: 0.0, **options):
        options = {
            "keys": RING,
            "timeout": 3.0,
            "suspect_after": None,
            "probes": 0,
            "window": 30.0,
            "longest_timeout": 3600.0,
            "max_devices": 100_000,
            "kept_for": 86_400.0,
            "mass_share": 0.5,
            "mass_least": 10,
            "hold": None,
            "flap_limit": 1000,
            "flap_window": 600.0,
            "receive_buffer": 1 << 20,
            "state": None,
            **options,
        }
        settings = make_settings(host, **options)
        program = TestedMonitor(settings, self.clock, suspended)
        program.port = self.port(host)
        program.transports = [program.port]
        program.port.seat = self.driver.add(program)
        program.port.seat.nudge(self.clock.monotonic())
        program.events = Events(program.registry.open_feed(1_000_000))
        self.monitors.append(program)
        return program

    def agent(
        self, name, monitors=("m1",), keys=RING, incarnation=None, host=None, **options
    ):
        options = {
            "timeout": 3.0,
            "interval": 1.0,
            "alive": None,
            "device": None,
            **options,
        }
        keys = keys.agent(name) if isinstance(keys, KeyRing) else keys
        settings = AgentSettings(keys=keys, monitors=(), **options)
        if incarnation is None:
            incarnation = int(self.clock.time() * 1e9)
        program = TestedAgent(settings, incarnation, self.clock)
        program.port = self.port(host or name, 1000)
        program.links = [Link((host, 7363), program.port) for host in monitors]
        program.port.seat = self.driver.add(program)
        program.port.seat.nudge(self.clock.monotonic())
        self.agents[name] = program
        return program

    def stop(self, program):
        """Let a program end without a word."""
        program.port.seat.stop()
        self.network.ports.pop(program.port.address, None)

    def freeze(self, program, seconds):
        """Let time pass in which this program does nothing, and packets queue up."""
        seat = program.port.seat
        due, program.port.seat = seat.deadline, None
        seat.deadline = None
        self.driver.advance(seconds)
        program.port.seat = seat
        seat.nudge(self.clock.monotonic() if due is not None else 0)

    def run(self, seconds):
        self.driver.advance(seconds)
