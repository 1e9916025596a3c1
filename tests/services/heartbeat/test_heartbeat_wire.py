"""Packets and keys: what is no packet is refused, and raises nothing."""

import pickle
import random
import sys

import pytest
from heartbeat_tools import OTHER, RING, World, kinds_of, told
from hypothesis import given, settings, strategies as st

from cup.errors import InvalidKey, InvalidType, InvalidValue
from cup.services.heartbeat import UNAUTHENTICATED, AgentKeys, KeyRing, new_key
from cup.services.heartbeat._core_wire import (
    BEAT,
    CHALLENGE,
    LEAST,
    LEAVE,
    MOST,
    PROBE,
    READINGS,
    STALE,
    Sealer,
    make_hasher,
    read,
    verify,
)
from cup.services.heartbeat.keys import read_agent_keys, read_private

NUMBERS = st.integers(0, 2**64 - 1)
SEALER = Sealer(RING.agent("a"))


# Packets


@given(
    st.sampled_from([BEAT, LEAVE, PROBE, CHALLENGE, STALE]),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.binary(min_size=8, max_size=8),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=READINGS),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=50),
)
def test_a_packet_says_what_was_put_in(  # noqa: PLR0917 - one strategy each
    kind, incarnation, sequence, millis, echo, timeout, readings, name
):
    sealer = Sealer(RING.agent(name))
    data = sealer.seal(
        kind,
        incarnation,
        sequence,
        millis,
        echo=echo,
        timeout=timeout,
        readings=readings,
    )
    assert LEAST <= len(data) <= MOST
    packet = sealer.open(data)
    assert packet is not None
    assert packet[0] == kind
    assert packet[2:] == (
        incarnation,
        sequence,
        millis,
        echo,
        timeout,
        name.encode(),
        readings,
    )
    assert Sealer(OTHER.agent(name)).open(data) is None
    assert Sealer(RING.agent(name + "x")).open(data) is None


@settings(max_examples=300)
@given(st.binary(max_size=1500) | st.binary(min_size=LEAST, max_size=200))
def test_noise_is_no_packet(data):
    assert read(data) is None or SEALER.open(data) is None


@given(st.data())
def test_any_change_shows(data):
    packet = SEALER.seal(BEAT, 7, 8, 9, readings=b'{"a": 1}')
    at = data.draw(st.integers(0, len(packet) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    changed = packet[:at] + bytes([packet[at] ^ bit]) + packet[at + 1 :]
    assert SEALER.open(changed) is None
    assert SEALER.open(packet[:at]) is None
    assert SEALER.open(packet + packet[: at + 1]) is None
    assert SEALER.open(packet) is not None


def test_lengths_that_lie():
    packet = bytearray(SEALER.seal(BEAT, 1, 2, 3))
    for size in range(256):
        packet[44] = size
        assert read(bytes(packet)) is None or size == 1


def attackers_packets(seed, count, captured):
    """Make packets of every hostile kind."""
    rng = random.Random(seed)
    stranger = Sealer(OTHER.agent("a"))
    for _ in range(count):
        data = bytearray(rng.choice(captured))
        choice = rng.randrange(7)
        if choice == 0:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif choice == 1:
            del data[rng.randrange(len(data)) :]
        elif choice == 2:
            data += rng.randbytes(rng.randrange(1, 3000))
        elif choice == 3:
            data = bytearray(rng.randbytes(rng.randrange(200)))
        elif choice == 4:
            data = bytearray(stranger.seal(BEAT, 2**63, rng.getrandbits(63), 2**44))
        elif choice == 5:
            data[rng.randrange(8, 45)] = rng.randrange(256)
        yield bytes(data)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.full)])
def test_a_monitor_takes_nothing_from_an_attacker(seed):
    """Mutated, cut, replayed, oversized, forged: no effect, no answer, no growth."""
    world = World()
    world.network.tap = True
    monitor = world.monitor()
    for name in "abc":
        world.agent(name)
    world.run(5)
    captured = [data for data, _, target in world.network.carried if target[0] == "m1"]
    world.network.tap = False
    before = monitor.registry.stats()
    orders = {n: p.order for n, p in monitor.hearing.peers.by_name.items()}
    told(monitor.events)
    count = 4_000 if seed == 1 else 40_000
    for n, data in enumerate(attackers_packets(seed, count, captured)):
        monitor.port.put(data, (f"10.0.{n % 5000 >> 8}.{n & 255}", 1 + n % 60_000))
    while monitor.read_some():
        pass
    counts = monitor.hearing.counts
    refused = counts.garbage + counts.unknown_key + counts.forged + counts.stale
    assert refused + counts.limited == count
    assert min(counts.garbage, counts.unknown_key, counts.forged, counts.stale) > 0
    assert monitor.hearing.outbox == []
    assert {n: p.order for n, p in monitor.hearing.peers.by_name.items()} == orders
    assert monitor.registry.stats() == before
    assert told(monitor.events) == []


@pytest.mark.long
def test_ten_million_hostile_packets():
    import resource

    world = World()
    world.network.tap = True
    monitor = world.monitor()
    world.agent("a")
    world.run(5)
    captured = [data for data, _, target in world.network.carried if target[0] == "m1"]
    world.network.tap = False
    beats = monitor.hearing.counts.beats
    now, wall = world.clock.monotonic(), world.clock.time()
    hostile = [*attackers_packets(3, 100_000, captured)]
    resident = None
    for turn in range(100):
        batch = [
            (data, (f"10.{turn}.0.{n & 255}", 5)) for n, data in enumerate(hostile)
        ]
        monitor.hearing.hear(batch, now, wall)
        if turn == 10:
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    print("grown by KiB:", grown, monitor.hearing.counts)
    assert grown < 2048
    assert monitor.hearing.counts.beats == beats


def test_unknown_names_of_one_source_are_limited():
    world = World()
    monitor = world.monitor()
    stranger = OTHER.agent("x")
    data = Sealer(stranger).seal(BEAT, 1, 1, 1)
    for _ in range(20_000):
        monitor.port.put(data, ("10.0.0.1", 5))
    while monitor.read_some():
        pass
    assert monitor.hearing.counts.unknown_key == 5000
    assert monitor.hearing.counts.limited == 15_000
    # Anybody can write somebody's address on packets: the known are heard all the same.
    world.agent("b", host="10.0.0.2")
    world.run(2)
    for _ in range(20_000):
        monitor.port.put(data, ("10.0.0.2", 5))
    world.run(10)
    assert monitor.registry.is_device_registered("b")
    assert ("lost", "b") not in kinds_of(told(monitor.events))


# Keys


def test_a_key_is_checked():
    with pytest.raises(InvalidKey, match="there is no key"):
        KeyRing([])
    with pytest.raises(InvalidKey, match="16 to 64 bytes, not 8"):
        KeyRing([b"password"])
    with pytest.raises(InvalidKey, match="random"):
        KeyRing([b"a" * 32])
    with pytest.raises(InvalidType, match="bytes"):
        KeyRing(["0123456789abcdef"])
    with pytest.raises(InvalidKey, match="hexadecimal"):
        KeyRing.from_text("no digits")
    with pytest.raises(ValueError):
        RING.agent("")
    with pytest.raises(InvalidKey):
        RING.agent("n" * 201)
    with pytest.raises(InvalidKey):
        RING.agent("\udcff")
    with pytest.raises(InvalidType):
        RING.agent(5)
    with pytest.raises(InvalidKey):
        AgentKeys("a", {})
    with pytest.raises(InvalidKey):
        AgentKeys("a", {b"four": b"short"})


def test_a_key_does_not_show():
    secret = new_key()
    ring = KeyRing.from_text(secret)
    for text in (repr(ring), repr(ring.agent("a")), str(ring)):
        assert secret[:8] not in text
    with pytest.raises(InvalidKey) as raised:
        KeyRing.from_text(secret + "g")
    assert secret[:8] not in str(raised.value)
    with pytest.raises(TypeError):
        pickle.dumps(make_hasher(bytes(16)))


@pytest.mark.skipif(sys.platform == "win32", reason="has no modes")
def test_a_key_file_is_private(tmp_path):
    path = tmp_path / "key"
    first, second = new_key(), new_key()
    path.write_text(f"# of the cluster\n{first}\n\n{second} # the old one\n")
    path.chmod(0o640)
    with pytest.raises(InvalidKey, match="can be read by others"):
        KeyRing.from_file(path)
    path.chmod(0o600)
    ring = KeyRing.from_file(path)
    both = [*ring.agent("a").items()]
    assert [both[0]] == KeyRing.from_text(first).agent("a").items()
    assert len(both) == 2
    with pytest.raises(OSError):
        KeyRing.from_file(tmp_path / "missing")


def test_a_key_of_the_environment(monkeypatch):
    secret = new_key()
    monkeypatch.setenv("CUP_HEARTBEAT_KEY", f"{secret},{new_key()}")
    assert len(KeyRing.from_env().agent("a").items()) == 2
    monkeypatch.delenv("CUP_HEARTBEAT_KEY")
    with pytest.raises(InvalidKey, match="not set"):
        KeyRing.from_env()


def test_clusters_and_agents_have_keys_of_their_own():
    keys = {
        ring.agent(name).items()[0][1]
        for ring in (RING, OTHER, KeyRing([bytes(range(32))], label="other"))
        for name in ("a", "b", "ab")
    }
    assert len(keys) == 9
    assert KeyRing([bytes(range(32))], label="defaul").derive(
        RING.agent("a").items()[0][0], b"ta"
    ) != RING.derive(RING.agent("a").items()[0][0], b"a")


def test_keys_of_an_agent_as_text(tmp_path):
    text = RING.agent("disk 3").text() + OTHER.agent("other").text()
    keys = read_agent_keys(text, "disk 3")
    assert keys.items() == RING.agent("disk 3").items()
    assert read_agent_keys(new_key(), "a") is None
    with pytest.raises(InvalidKey, match="no key"):
        read_agent_keys(text, "unknown")
    with pytest.raises(InvalidKey, match="a line"):
        read_agent_keys("agent 00", "a")
    path = tmp_path / "k"
    path.write_text(text)
    path.chmod(0o600)
    assert read_private(path) == text


def test_a_stolen_agent_key_cannot_beat_for_another():
    world = World()
    monitor = world.monitor()
    stolen = RING.agent("a").items()
    world.agent("b", keys=AgentKeys("b", dict(stolen)))
    world.run(5)
    assert not monitor.registry.is_device_registered("b")
    assert monitor.hearing.counts.forged > 0


def test_signatures_are_compared_in_constant_time():
    import inspect

    from cup.services.heartbeat import _core_hearing, _core_wire

    for module in (_core_wire, _core_hearing):
        assert "compare_digest(signed.digest()" in inspect.getsource(module)
    hasher = make_hasher(bytes(16))
    assert not verify(hasher, bytes(64))


def test_without_a_key_nothing_begins():
    from cup.services.heartbeat import Agent, Monitor

    for keys in (None, b"0" * 32, "key"):
        with pytest.raises(InvalidKey, match="UNAUTHENTICATED"):
            Monitor(keys=keys)
        with pytest.raises(InvalidKey, match="UNAUTHENTICATED"):
            Agent("a", "127.0.0.1", keys=keys)
    with pytest.raises(TypeError):
        Monitor()
    with pytest.raises(InvalidKey, match="of 'b'"):
        Agent("a", "127.0.0.1", keys=RING.agent("b"))
    assert "public" in repr(UNAUTHENTICATED)
    with pytest.raises(InvalidValue):
        Monitor(keys=RING, timeout=0)


@pytest.mark.parametrize("name", ["a\nb", " a", "a\t", "a#b", "a\N{LINE SEPARATOR}b"])
def test_a_name_that_no_key_file_can_hold(name):
    with pytest.raises(InvalidKey, match="cannot stand in a key file"):
        RING.agent(name).text()
    assert read_agent_keys(RING.agent("a b").text(), "a b") is not None
