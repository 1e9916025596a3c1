"""Lives of stores of metadata that crash, and what must be there then.

A life notes each change before it is made, with the state that it leads to, and when it
was acknowledged. Whatever a crash leaves must open, with the state after one of the
changes: the last one that was acknowledged, or a later one that was begun.
"""

import threading
from reprlib import repr as brief

from meta_tools import OPTIONS, PLACE, open_store

from cup.errors import LogError, WriteFailed
from cup.services.serializer import MetaStore, read_state


class Survival(AssertionError):
    """The store did not keep its word after a crash."""


class Life:
    """Changes a store, one after the other, and keeps account in the disk's trace."""

    def __init__(self, disk, kind=MetaStore, **options):
        self.disk = disk
        self.options = {**OPTIONS, **options}
        self.kind = kind
        self.state = {}
        self.count = 0
        self.errors = []
        self.store = None
        self.disk.note(("did", 0, {}))
        self.open()

    def open(self):
        self.store = self.kind.open(PLACE, disk=self.disk, **self.options)

    def change(self, values, delete=(), call=None):
        """Make one change, which leads to a new state."""
        following = {**self.state, **values}
        for key in delete:
            following.pop(key, None)
        call = call or (lambda: self.store.update(values, delete=delete))
        if self.store.stats().log.poisoned is not None:
            call()  # it fails, or there is nothing to write
            return

        self.count += 1
        self.disk.note(("will", self.count, following))
        try:
            call()
        except WriteFailed:
            self.disk.note(("failed", self.count))
            raise
        self.state = following
        self.disk.note(("did", self.count, following))

    def set(self, key, value):
        self.change({key: value}, call=lambda: self.store.set(key, value))

    def add(self, key, value):
        self.change({key: value}, call=lambda: self.store.add(key, value))

    def delete(self, key):
        self.change({}, [key], call=lambda: self.store.delete(key))

    def compact(self):
        self.store.compact()

    def reopen(self):
        self.store.close()
        self.open()
        self.count += 1
        self.state = dict(self.store.items())  # that is known again
        self.disk.note(("did", self.count, self.state))

    def steps(self):
        """Give all that can be done, over several files."""
        yield lambda: self.set("a", 1)
        yield lambda: self.add("b", "x" * 700)
        yield lambda: self.change({"c": 1, "d": "y" * 900, "e": [1, 2]}, ["a"])
        yield self.compact
        yield lambda: self.set("a", "z" * 1500)
        yield lambda: self.delete("b")
        yield lambda: self.set("f", "x" * 1500)
        yield lambda: self.change({str(n): "y" * 200 for n in range(8)})
        yield self.compact
        yield self.reopen
        yield lambda: self.set("c", 2)
        yield lambda: self.change({}, [str(n) for n in range(4)])
        yield lambda: self.set("a", "z" * 2500)
        yield self.compact
        yield self.compact
        yield lambda: self.delete("f")
        yield lambda: self.add("g", None)

    def whole(self):
        for step in self.steps():
            step()
        self.store.close()
        return self

    def try_whole(self):
        """Do all of it, whatever fails."""
        for step in self.steps():
            try:
                step()
            except (LogError, ValueError, OSError) as error:
                self.errors.append(error)
        return self

    def end(self):
        try:
            self.store.close()
        except LogError as error:
            self.errors.append(error)


def candidates(notes):
    """Return the states that may be there."""
    failed = {note[1] for note in notes if note[0] == "failed"}
    number, state = max((n[1:] for n in notes if n[0] == "did"), key=lambda d: d[0])
    begun = [n for n in notes if n[0] == "will" and n[1] > number]
    return [state, *(n[2] for n in begun if n[1] not in failed)]


def survive(disk, notes, **options):
    """Open what a crash has left, look at it, and go on with it."""
    allowed = candidates(notes) if any(n[0] == "did" for n in notes) else [{}]
    with open_store(disk, **options) as store:
        found = dict(store.items())
        if found not in allowed:
            raise Survival(brief(found), [*map(brief, allowed)])
        if store.unknown():
            raise Survival(store.unknown())
        first = store.next_id
        store.set("after", 1)
        if [c.id for c in store.watch(start=first, timeout=0)] != [first]:
            raise Survival("ids")
        store.compact()
    with open_store(disk, **options) as store:
        if dict(store.items()) != {**found, "after": 1}:
            raise Survival("not the same when it is opened again")
        store.delete("after")
        if {k.decode() for k, _ in read_state(PLACE, disk=disk).entries} != {*found}:
            raise Survival("seen differently from outside")


def survive_all(states, notes=(), **options):
    count = 0
    for state in states:
        count += 1
        try:
            survive(state.mount(), (*notes, *state.notes), **options)
        except Exception as error:
            raise Survival(f"{state}: {error!r}") from error
    return count


def in_threads(disk, hands, each, **options):
    """Let threads change keys of their own; returns nothing, notes all."""
    disk.note(("did", 0, {}))
    store = open_store(disk, **options)

    def work(name):
        for n in range(each):
            disk.note(("begun", name, n))
            if n % 3 == 2:
                store.update({f"{name}/x": n, f"{name}/y": n, f"{name}": n})
            else:
                store.set(f"{name}", n)
            disk.note(("acked", name, n))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(hands)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    store.close()


def survive_threads(state):
    """Find for each thread its last acknowledged change, or the one that followed."""
    with open_store(state.mount()) as store:
        found = dict(store.items())
    for name in {note[1] for note in state.notes if note[0] == "begun"}:
        acked = max((n[2] for n in state.notes if n[:2] == ("acked", name)), default=-1)
        begun = max(n[2] for n in state.notes if n[:2] == ("begun", name))
        last = found.get(str(name), -1)
        if last not in {acked, begun}:
            raise Survival(f"{state}: {name} has {last}, not {acked} or {begun}")
        batch = last - (last + 1) % 3 if last >= 0 else -1
        wanted = batch if batch >= 2 else None
        if {found.get(f"{name}/x"), found.get(f"{name}/y")} != {wanted}:
            raise Survival(f"{state}: half a batch")
