"""The seed's names: devices, hosts, and the service that is asked who was lost."""

import copy
import json
import os
import pickle
import sys
import threading
import time
from functools import partial

import pytest

from cup.errors import InvalidType, InvalidValue
from cup.services.heartbeat import (
    Device,
    EventKind,
    HeartbeatService,
    LinuxHost,
    MacHost,
)
from cup.services.heartbeat._core_readings import parse_mac, read_mac
from cup.testing import VirtualClock


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def service(clock):
    return HeartbeatService(5, keep_lost=True, clock=clock)


def names(devices):
    return sorted(device.get_name() for device in devices)


# Losses


def test_who_is_silent_is_lost_once(service, clock):
    service.refresh("a")
    service.refresh("b")
    clock.advance(4)
    service.refresh("b")
    assert service.get_lost() == []
    clock.advance(1)
    assert names(service.get_lost()) == ["a"]
    assert service.get_lost() == []
    assert not service.is_device_registered("a")
    assert service.is_device_registered("a", including_dead=True)
    assert service.is_device_registered("b")


def test_the_older_example(tmp_path):
    """The one sleep of these tests: a service by its own clock."""
    service = HeartbeatService(0.2, keep_lost=True)
    host = LinuxHost("host1")
    service.refresh("host1", host)
    assert service.get_lost() == []
    time.sleep(0.25)
    assert service.get_lost() == [host]
    service.cleanup_oldlost(tmp_path / "lost")
    assert not service.is_device_registered("host1", including_dead=True)


def test_many_are_lost_at_once(service, clock):
    keys = [f"d{n:03}" for n in range(500)]
    service.refresh_many(keys)
    clock.advance(5)
    assert names(service.get_lost()) == keys
    assert len(service) == 0


def test_without_keep_lost_nothing_is_kept(clock):
    service = HeartbeatService(5, clock=clock)
    service.refresh("a")
    clock.advance(5)
    assert names(service.get_lost()) == ["a"]
    assert not service.is_device_registered("a", including_dead=True)
    assert service.stats().kept == 0


def test_the_object_is_kept_from_the_first_call_on(service, clock):
    host = LinuxHost("a")
    service.refresh("a", host)
    service.refresh("a")
    clock.advance(6)
    assert service.get_lost() == [host]


def test_an_object_may_come_later_and_be_replaced(service, clock):
    service.refresh("a")
    first, second = Device("first"), Device("second")
    service.refresh("a", first)
    service.refresh("a", second)
    clock.advance(6)
    assert service.get_lost() == [second]


def test_an_object_can_return_for_a_lost_device(service, clock):
    service.refresh("a", Device("old"))
    clock.advance(6)
    service.get_lost()
    new = Device("new")
    service.refresh("a", new)
    assert not service.kept()
    clock.advance(6)
    assert service.get_lost() == [new]


def test_a_beat_shows_on_the_object(service, clock):
    device = Device("a")
    service.refresh("a", device)
    at = clock.time()
    assert device.get_last_healthy() == at
    clock.advance(3)
    assert device.get_last_healthy() == at
    service.refresh("a")
    assert device.get_last_healthy() == at + 3


def test_a_device_that_stamps_itself_counts(service, clock):
    """Whatever its place in the order is, nobody is late or early for it."""
    devices = {key: Device(key) for key in "abc"}
    for key, device in devices.items():
        service.refresh(key, device)
    clock.advance(3)
    devices["a"].set_last_healthy()
    clock.advance(1)
    service.refresh("b")
    clock.advance(1)
    assert names(service.get_lost()) == ["c"]
    clock.advance(2.9)
    assert service.get_lost() == []
    clock.advance(0.1)
    assert names(service.get_lost()) == ["a"]
    clock.advance(1)
    assert names(service.get_lost()) == ["b"]


def test_the_wall_clock_does_not_judge(service, clock):
    service.refresh("a")
    clock.step_wall(86_400)
    assert service.get_lost() == []
    clock.step_wall(-2 * 86_400)
    clock.advance(5)
    assert names(service.get_lost()) == ["a"]


def test_the_time_can_be_adjusted(service, clock):
    service.refresh("a")
    clock.advance(6)
    service.adjust_judge_lost_time(10)
    assert service.get_lost() == []
    service.adjust_judge_lost_time(2)
    assert names(service.get_lost()) == ["a"]


def test_a_device_may_have_a_time_of_its_own(service, clock):
    service.register("slow", timeout=20)
    service.register("fast", timeout=1)
    service.refresh("a")
    clock.advance(1)
    assert names(service.get_lost()) == ["fast"]
    service.adjust_judge_lost_time(15)
    service.refresh_many(["slow", "a"])
    clock.advance(15)
    assert names(service.get_lost()) == ["a"]
    clock.advance(5)
    assert names(service.get_lost()) == ["slow"]
    service.refresh("fast")
    assert service.find("fast").timeout == 1
    service.set_timeout("fast", None)
    assert service.find("fast").timeout == 15


def test_who_gets_another_time_is_judged_by_its_own_last_beat(service, clock):
    service.register("b", timeout=4)
    service.refresh("a")
    clock.advance(3)
    service.refresh("b")
    service.set_timeout("a", 4)
    clock.advance(1)
    assert names(service.get_lost()) == ["a"]


def test_very_many_times_are_rounded_up(service, clock):
    for n in range(2000):
        service.register(f"d{n}", timeout=100 + n / 10)
    for n in range(0, 2000, 100):
        assert 0 <= service.find(f"d{n}").timeout / (100 + n / 10) - 1 <= 0.0501
    clock.advance(301 * 1.06)
    assert len(service.get_lost()) == 2000


def test_who_leaves_is_not_lost(service, clock):
    service.refresh("a")
    assert service.leave("a")
    assert not service.leave("a")
    clock.advance(10)
    assert service.get_lost() == []


@pytest.mark.parametrize("key", [5, None, b"a", ["a"], ("a",)])
def test_a_key_is_a_text(service, key):
    with pytest.raises(InvalidType, match="a key must be a text"):
        service.refresh(key)
    with pytest.raises(TypeError):
        service.refresh_many(["b", key])
    service.refresh("a")  # no lock was left behind
    assert service.is_device_registered("b")


def test_what_is_no_device_is_refused(service):
    with pytest.raises(InvalidType, match="must be a Device"):
        service.refresh("a", "no device")
    assert not service.is_device_registered("a")

    class Unmade(Device):
        def __init__(self):
            pass

    with pytest.raises(TypeError):
        service.refresh("a", Unmade())
    service.refresh("a")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), None])
def test_a_time_must_make_sense(service, seconds):
    with pytest.raises(InvalidValue):
        HeartbeatService(seconds)
    with pytest.raises(InvalidValue):
        service.adjust_judge_lost_time(seconds)
    service.refresh("a")


def test_a_time_is_a_number(service):
    with pytest.raises(InvalidType):
        service.adjust_judge_lost_time("x")
    service.refresh("a")


def test_code_of_a_device_runs_under_no_lock(service, clock):
    class Nosy(Device):
        def set_last_healthy(self):
            service.refresh("other")
            service.get_lost()
            super().set_last_healthy()

    service.refresh("a", Nosy("a"))
    assert service.is_device_registered("other")


def test_room_is_bounded(clock):
    service = HeartbeatService(5, max_devices=3, clock=clock)
    events = service.events()
    service.refresh_many("abcdef")
    assert len(service) == 3
    assert service.stats().refused == 3
    kinds = [events.get(0).kind for _ in range(4)]
    assert kinds == [EventKind.JOINED] * 3 + [EventKind.REFUSED]
    service.refresh("a")
    service.leave("a")
    service.refresh("d")
    assert service.is_device_registered("d")


def test_what_is_kept_is_bounded(clock):
    service = HeartbeatService(5, keep_lost=True, max_kept=3, kept_for=100, clock=clock)
    for key in "abcde":
        service.refresh(key)
        clock.advance(0.1)
    clock.advance(5)
    service.get_lost()
    assert [*service.kept()] == ["c", "d", "e"]
    assert service.stats().forgotten == 2
    clock.advance(101)
    service.get_lost()
    assert not service.kept()


# The list of the lost


def test_lost_ones_are_written_whatever_they_are_called(service, clock, tmp_path):
    keys = ["[x]", "a=b", "two\nlines", "naïve 心跳", "\udcff", '"']
    service.refresh_many(keys)
    at = clock.time()
    clock.advance(7)
    service.get_lost()
    path = tmp_path / "lost.txt"
    service.cleanup_oldlost(str(path))
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["key"] for line in lines] == keys
    assert {line["last_healthy"] for line in lines} == {at}
    assert lines[0]["time"].startswith("2023-11-14T22:13:20.000")
    assert not service.kept()
    assert [*tmp_path.iterdir()] == [path]


def test_nothing_is_forgotten_when_it_cannot_be_written(service, clock, tmp_path):
    service.refresh("a")
    clock.advance(7)
    service.get_lost()
    with pytest.raises(OSError):
        service.cleanup_oldlost(tmp_path / "missing" / "lost")
    old = tmp_path / "old"
    old.mkdir()
    with pytest.raises(OSError):
        service.cleanup_oldlost(old)
    assert [*tmp_path.iterdir()] == [old]
    assert [*service.kept()] == ["a"]
    service.cleanup_oldlost()
    assert not service.kept()


def test_who_is_lost_anew_meanwhile_is_not_forgotten(service, clock):
    service.refresh("a")
    clock.advance(7)
    service.get_lost()
    told = service.kept()
    service.refresh("a")
    clock.advance(7)
    service.get_lost()
    service.forget(told)
    assert [*service.kept()] == ["a"]


# Devices and hosts


def test_a_host_holds_what_it_is_told():
    host = LinuxHost("h", iface="eth1", port=9)
    assert host.get_name() == "h"
    assert host.get_ip_port() == ("0.0.0.0", 9)
    assert host.get_cpu_idle() == -1
    assert host.get_mem_info() == (-1, -1)
    host.set_ip_port("10.0.0.1", 80)
    host.set_cpu_idle(50)
    host.set_mem_usage(1024, None)
    host.set_mem_usage(None, 8192)
    host.set_net_usage(10, 20)
    host.set_linux_res_bydict({"cpu_idle": 40, "no such": 1})
    assert host.get_ip() == "10.0.0.1"
    assert host.get_ip_port() == ("10.0.0.1", 80)
    assert host.get_cpu_idle() == 40
    assert host.get_mem_info() == (1024, 8192)
    assert host.get_net_usage() == (10, 20)
    assert host.get_dict_resinfo()["iface"] == "eth1"
    assert "no such" not in host.get_dict_resinfo()
    assert "h" in repr(host)
    with pytest.raises(InvalidType):
        host.set_linux_res_bydict("cpu_idle")


def test_a_host_can_be_sent():
    host, copy = LinuxHost("h"), LinuxHost("h")
    host.set_cpu_idle(12.5)
    assert copy.deserilize(host.serilize())
    assert copy.get_dict_resinfo() == host.get_dict_resinfo()
    device = Device("d")
    assert device.deserilize('{"a": 1}')
    assert device.get_dict_resinfo() == {"a": 1}


@pytest.mark.parametrize(
    "junk", ["[1]", "", b"\xff", "{", "3", '{"a": [1]}', None, 5, "[" * 100_000]
)
def test_what_is_no_host_is_not_taken(junk):
    host = LinuxHost("h")
    before = dict(host.get_dict_resinfo())
    assert host.deserilize(junk) is False
    assert host.get_dict_resinfo() == before


def test_a_name_is_a_text():
    with pytest.raises(InvalidType):
        Device(5)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_host_is_read():
    host = LinuxHost("here", init_this_host=True)
    used, total = host.get_mem_info()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    assert abs(total - pages) <= 1
    assert 0 < used < total
    assert 0 <= host.get_cpu_idle() <= 100
    assert min(host.get_net_usage()) >= 0
    assert host.get_ip() != "0.0.0.0"
    assert host.get_dict_resinfo()["hostname"]


def test_a_mac_is_read_from_what_its_tools_say():
    top = (
        "CPU usage: 3.1% user, 9.3% sys, 87.50% idle\n"
        "CPU usage: 5.0% user, 5.0% sys, 90.0% idle\n"
        "PhysMem: 15G used (2G wired), 1024M unused.\n"
    )
    known = parse_mac(top, "hw.memsize: 17179869184\n")
    assert known == {"cpu_idle": 90.0, "mem_inuse": 15360, "mem_total": 16384}
    host = MacHost("m")
    host.set_linux_res_bydict(known)
    assert host.get_mem_info() == (15360, 16384)
    assert host.get_dict_resinfo()["iface"] == "en0"
    assert "ipaddr" in read_mac("en0")  # here there are no such tools


# Threads


def test_each_loss_is_told_to_one_of_many_who_ask(clock):
    service = HeartbeatService(5, clock=clock)
    service.refresh_many([f"d{n}" for n in range(2000)])
    clock.advance(5)
    start = threading.Barrier(8)
    found = []

    def ask():
        start.wait()
        found.extend(names(service.get_lost()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) == 2000


def test_beats_and_sweeps_race(clock):
    """Whoever beats all the time is never lost, whatever is looked for meanwhile."""
    service = HeartbeatService(30)
    keys = [f"d{n}" for n in range(50)]
    stop = threading.Event()

    def until_stopped(act):
        while not stop.is_set():
            act()

    acts = [
        partial(service.refresh_many, keys),
        lambda: [service.refresh(key) for key in keys],
        service.get_lost,
        service.snapshot,
        lambda: service.leave("d0"),
    ]
    threads = [threading.Thread(target=until_stopped, args=(act,)) for act in acts]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        time.sleep(0.3)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
    service.refresh("d0")
    stats = service.stats()
    assert stats.lost == 0
    assert stats.devices == 50
    assert stats.joined - stats.left == 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_a_copy(clock):
    service = HeartbeatService(5, clock=clock)
    service.refresh("a")
    with service._mutex:  # as if another thread was in there
        pid = os.fork()
        if pid == 0:
            service.refresh("b")
            clock.advance(5)
            os._exit(len(service.get_lost()))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    assert not service.is_device_registered("b")


def test_a_list_of_the_lost_goes_where_a_link_leads(service, clock, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "lost")
    lose(service, clock, "a")
    service.cleanup_oldlost(link)
    assert link.is_symlink()
    assert json.loads((tmp_path / "lost").read_text())["key"] == "a"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_written_to_and_stays(service, clock, tmp_path):
    """So does a device: who dumps into /dev/null must not replace it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    lose(service, clock, "a")
    service.cleanup_oldlost(pipe)
    assert pipe.is_fifo()
    assert json.loads(os.read(reader, 1000))["key"] == "a"
    os.close(reader)


def lose(service, clock, key):
    service.refresh(key)
    clock.advance(6)
    assert names(service.get_lost()) == [key]


def test_a_service_stays_in_its_process(service):
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            leave(service)


def test_faces_of_one_service_are_equal(service):
    assert service.aio == service.aio
    assert len({service.aio, service.aio}) == 1
    assert service.aio != HeartbeatService(5).aio
