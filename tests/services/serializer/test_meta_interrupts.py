"""Interrupts at any step of a change: what is in memory is what is on disk."""

import linecache
import sys
import threading

import pytest
from meta_tools import PLACE, new_disk, open_store

from cup.errors import KeyExists
from cup.services.serializer import Mode, read_state


class Interrupt(BaseException):
    """Comes from outside, as Ctrl-C does."""


def leaves_with(frame):
    """Tell whether a line is that of a `with`, which the interpreter does not part."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith("with ")


class Tracer:
    """Raises at one line of the serializer, the n-th that the thread comes to."""

    def __init__(self, nth):
        self.left = nth
        self.where = None

    def __enter__(self):
        sys.settrace(self)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def __call__(self, frame, event, arg):
        if "cup/services/serializer/" not in frame.f_code.co_filename:
            return None
        if event == "line" and not leaves_with(frame):
            self.left -= 1
            if self.left == 0:
                self.where = f"{frame.f_code.co_name}:{frame.f_lineno}"
                sys.settrace(None)
                raise Interrupt
        return self


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
