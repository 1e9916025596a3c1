"""Interrupts at any step of a change: what is in memory is what is on disk."""

import threading

import pytest
from interrupt_tools import Interrupt, Tracer
from meta_tools import PLACE, new_disk, open_store

from cup.errors import KeyExists
from cup.services.serializer import Mode, read_state


def work(store, name, told):
    """Make changes of every kind, and keep what was told about each."""
    told.append(("set", store.set(name, 1)))
    told.append(("add", store.add(f"{name}/new", 2)))
    try:
        store.add(name, 3)
    except KeyExists:
        told.append(("exists", None))
    told.append(("delete", store.delete(f"{name}/new")))
    told.append(("update", store.update({f"{name}/x": 4, f"{name}/y": 4})))
    store.compact()


def live(nth):
    """Interrupt a thread at one line while another works; tell whether it came so."""
    disk = new_disk()
    store = open_store(disk, segment_bytes=700)
    other, mine = [], []
    thread = threading.Thread(target=work, args=(store, "other", other))
    thread.start()
    interrupted = False
    with Tracer(nth) as tracer:
        try:
            work(store, "mine", mine)
        except Interrupt:
            interrupted = True
    thread.join(10)
    assert not thread.is_alive(), tracer.where
    for told in (mine, other):
        assert [call for call, _ in told] == [
            "set",
            "add",
            "exists",
            "delete",
            "update",
        ][: len(told)], tracer.where
        assert all(answer is True for call, answer in told if call == "delete")
    store.set("after", 5)
    raw = dict(read_state(PLACE, disk=disk).entries)
    found = dict(store.items())
    assert {key.decode() for key in raw} == {*found}, tracer.where
    assert store.stats().state_size == sum(map(len, [*raw.keys(), *raw.values()]))
    assert ("mine/x" in found) == ("mine/y" in found), tracer.where
    state = {}
    for change in store.watch(start=store._core.floor, timeout=0):
        if store._core.floor == 1:
            if change.mode is Mode.DEL:
                del state[change.key]
            else:
                state[change.key] = change.value
    if store._core.floor == 1:
        assert state == found, tracer.where
    store.close()
    with open_store(disk) as again:
        assert dict(again.items()) == found, tracer.where
    return interrupted


@pytest.mark.parametrize("first", range(5))
def test_interrupt_at_some_lines(first):
    assert all(live(nth) for nth in range(1 + first * 7, 250, 37))


@pytest.mark.full
@pytest.mark.parametrize("first", range(4))
def test_interrupt_at_many_lines(first):
    for nth in range(1 + first, 1200, 16):
        live(nth)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_interrupt_at_every_line():
    nth = 1
    while live(nth):
        nth += 1
    assert nth > 300
