"""The older library's names: cycle ids and cached UUIDs."""

import sys
import threading
import uuid
from itertools import chain

import pytest

from cup.errors import InvalidId
from cup.services.generator import (
    UUID1,
    UUID4,
    AsyncCachedUUID,
    AsyncCycleIDGenerator,
    CachedUUID,
    CycleIDGenerator,
    _core_cycle,
)


@pytest.fixture(params=[CycleIDGenerator, AsyncCycleIDGenerator])
def cycle(request):
    return request.param("10.1.2.3", 8080)


@pytest.fixture(params=[CachedUUID, AsyncCachedUUID])
def cached(request):
    return request.param


def test_cycle_id_has_its_parts(cycle):
    id_ = cycle.next_id()
    assert id_ >> 96 == 0x0A010203
    assert id_ >> 80 & 0xFFFF == 8080
    assert cycle.ipport(cycle.id2_hexstring(id_)) == ("10.1.2.3", 8080)
    assert cycle.hex2id(cycle.id2_hexstring(id_)) == id_
    assert cycle.hex2id(cycle.id2_hexstring_0x(id_)) == id_
    assert cycle.next_id() == id_ + 1
    assert cycle.parse(id_).origin == "10.1.2.3:8080"


def test_cycle_text_is_padded(cycle):
    assert cycle.id2_hexstring(5) == "0" * 31 + "5"
    assert cycle.id2_hexstring_0x(5) == "0x" + "0" * 31 + "5"


def test_cycle_goes_round_all_80_bits(cycle):
    last = (1 << 80) - 1
    prefix = cycle.next_id() >> 80 << 80
    assert cycle.reset_nextid(last - 2) is True
    made = [cycle.next_id() - prefix for _ in range(5)]
    assert made == [last - 2, last - 1, last, 0, 1]
    assert cycle.reset_nextid(last) is True
    assert [id_ - prefix for id_ in cycle.next_ids(3)] == [last, 0, 1]
    assert cycle.reset_nextid(prefix + 77) is True
    assert cycle.next_id() == prefix + 77
    assert len(set(cycle.next_ids(70_000))) == 70_000


@pytest.mark.parametrize("bad", [-1, 1 << 80, 1 << 128, -(1 << 90)])
def test_reset_of_cycle_refuses_what_is_no_id(cycle, bad):
    before = cycle.next_id()
    assert cycle.reset_nextid(bad) is False
    assert cycle.next_id() == before + 1
    with pytest.raises(TypeError):
        cycle.reset_nextid("5")


@pytest.mark.parametrize(
    ("ipaddr", "port"),
    [
        ("1", 80),
        ("1.2.3.4 junk", 80),
        ("1.2.3", 80),
        ("256.1.1.1", 80),
        ("::1", 80),
        ("", 80),
        (None, 80),
        (17, 80),
        ("1.2.3.4", 70000),
        ("1.2.3.4", -1),
        ("1.2.3.4", "80"),
    ],
)
def test_bad_address_or_port_is_refused(ipaddr, port):
    with pytest.raises((ValueError, TypeError)):
        CycleIDGenerator(ipaddr, port)


@pytest.mark.parametrize("bad", ["", "0x", "g", "1" * 33, "-1", "1_0", " 1"])
def test_bad_hex_is_refused(cycle, bad):
    with pytest.raises(InvalidId):
        cycle.hex2id(bad)


def test_cycle_takes_ipv6_by_its_own_form():
    ids = CycleIDGenerator.for_ipv6("2001:db8::1", 80)
    same = CycleIDGenerator.for_ipv6("2001:0db8:0:0::1", 80)
    assert ids.next_id() >> 80 == same.next_id() >> 80
    assert ids.next_id() >> 80 != CycleIDGenerator.for_ipv6("::1", 80).next_id() >> 80
    with pytest.raises(ValueError, match="IPv6"):
        CycleIDGenerator.for_ipv6("10.0.0.1", 80)
    with pytest.raises(ValueError, match="for_ipv6"):
        CycleIDGenerator("2001:db8::1", 80)


def test_singleton_is_one_for_its_arguments(cycle):
    kind = type(cycle)
    one = kind.singleton_instance("10.0.0.9", 1)
    two = kind.singleton_instance("10.0.0.9", 1)
    other = kind.singleton_instance("10.0.0.9", 2)
    assert one.next_id() + 1 == two.next_id()
    assert other.ipport(other.id2_hexstring(other.next_id())) == ("10.0.0.9", 2)


def test_old_and_new_life_do_not_meet():
    first = CycleIDGenerator("10.1.2.3", 80).next_ids(1000)
    second = CycleIDGenerator("10.1.2.3", 80).next_ids(1000)
    assert not {*first} & {*second}


def test_cached_uuids_are_hex(cached):
    for mode, version in ((UUID1, 1), (UUID4, 4)):
        cache = cached(mode)
        made = cache.get_uuid(250)
        assert len(set(made)) == 250
        assert all(len(text) == 32 for text in made)
        assert {uuid.UUID(text).version for text in made} == {version}
        assert {uuid.UUID(text).variant for text in made} == {uuid.RFC_4122}
        assert cache.parse(made[0]).kind == f"uuid{version}"


def test_cached_uuid1_tells_the_time_and_no_network_card():
    made = [uuid.UUID(text) for text in CachedUUID().get_uuid(100)]
    assert all(id_.node >> 40 & 1 for id_ in made)
    assert {id_.node for id_ in made} != {uuid.getnode()}
    assert [id_.time for id_ in made] == sorted(id_.time for id_ in made)
    assert abs(made[0].time - uuid.uuid1().time) < 10**7 * 60


def test_cache_is_filled_in_advance_up_to_its_size(cached):
    cache = cached(UUID4, 80)
    assert cache.stats().left == 0
    cache.gen_cached_uuid()
    assert cache.stats().left == 50
    cache.gen_cached_uuid(1000)
    assert cache.stats().left == 80
    assert cache.get_uuid() != cache.get_uuid()
    assert cache.stats().left == 78
    assert cached.singleton_instance(UUID4, 33).get_uuid(0) == []


@pytest.mark.parametrize("options", [(2,), (-1,), ("x",), (0, 0), (0, "x")])
def test_bad_cache_is_refused(cached, options):
    with pytest.raises((ValueError, TypeError)):
        cached(*options)
    with pytest.raises((ValueError, TypeError)):
        cached().get_uuid(-1)


def test_a_reset_while_others_draw_repeats_nothing(monkeypatch):
    monkeypatch.setattr(_core_cycle, "_STRETCH", 20)
    monkeypatch.setattr(_core_cycle, "_MOST_STRETCHES", _core_cycle._ROUND // 20)
    ids = CycleIDGenerator("10.1.2.3", 80)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for turn in range(1, 11):
            drawn = [[], [], []]

            def draw(into):
                into.extend(ids.next_id() for _ in range(2000))

            threads = [threading.Thread(target=draw, args=[into]) for into in drawn]
            for thread in threads:
                thread.start()
            assert ids.reset_nextid(turn << 60)
            own = ids.next_id() & (1 << 80) - 1
            for thread in threads:
                thread.join()
            assert turn << 60 <= own < turn << 60 | 1 << 59
            assert len({*chain(*drawn)}) == 6000
    finally:
        sys.setswitchinterval(before)
