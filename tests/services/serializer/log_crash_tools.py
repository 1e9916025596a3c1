"""What the crash tests of the log share: lives that keep account, and the checks.

A life writes to a log on a `CrashDisk` and notes what was acknowledged. Whatever a
crash leaves of it must open, and must have every acknowledged record, no other than
those that were sent, batches as a whole, and ids without a hole.
"""

import contextlib
import re
import threading

from cup.errors import LogError, WriteFailed
from cup.services.serializer import BUFFERED, Log
from cup.testing import CrashDisk

OPTIONS = {"segment_bytes": 4096, "preallocate": False}
PLACE = "/data/log"
LIVES = []  # that were not ended


class Survival(AssertionError):
    """The log did not keep its word after a crash."""


def require(condition, *what):
    if not condition:
        raise Survival(*what)


def new_disk(**options):
    """Give a disk with a directory for logs."""
    return CrashDisk({"/data/other": b"not ours"}, **options)


class Life:
    """Writes to a log, and keeps account of it in the trace of its disk."""

    def __init__(self, disk, kind=Log, **options):
        self.disk = disk
        self.open = lambda: kind.open(PLACE, disk=disk, **{**OPTIONS, **options})
        self.log = self.open()
        self.count = 0
        self.errors = []
        LIVES.append(self)

    def payload(self, size):
        self.count += 1
        return b"r%d:" % self.count + b"x" * size

    def send(self, payloads, call):
        """Note payloads, have them written, and note how that ended."""
        for payload in payloads:
            self.disk.note(("sent", payload))
        try:
            ids = call()
        except WriteFailed:  # nothing of them is stored
            for payload in payloads:
                self.disk.note(("failed", payload))
            raise
        for number, payload in zip(ids, payloads, strict=True):
            self.disk.note(("ack", number, payload))

    def append(self, size=50):
        payload = self.payload(size)
        self.send([payload], lambda: [self.log.append(payload)])

    def buffer(self):
        payload = self.payload(50)
        self.disk.note(("sent", payload))
        self.log.append(payload, durability=BUFFERED)

    def buffer_and_sync(self, count):
        payloads = [self.payload(50) for _ in range(count)]

        def call():
            ids = [self.log.append(p, durability=BUFFERED) for p in payloads]
            self.log.sync()
            return ids

        self.send(payloads, call)

    def batch(self, count, size=50):
        self.count += 1
        payloads = [
            b"b%d/%d/%d:" % (self.count, count, n) + b"y" * size for n in range(count)
        ]
        self.send(payloads, lambda: self.log.append_many(payloads))

    def purge(self, before):
        self.disk.note(("purging", before))
        self.log.purge(before)

    def checkpoint(self, state):
        self.disk.note(("state", state))
        self.log.checkpoint(state)
        self.disk.note(("stored", state))

    def reopen(self):
        self.log.close()
        self.log = self.open()

    def end(self):
        """Close the log, whatever has become of it."""
        with contextlib.suppress(LogError):
            self.log.close()

    def whole(self):
        """Do all that can be done, over several segments."""
        self.append(0)
        for size in (10, 700, 1500):
            self.append(size)
        self.batch(5)
        self.buffer_and_sync(4)
        self.checkpoint(b"one")
        self.batch(4, 600)
        self.append(1500)
        self.reopen()
        self.append()
        self.batch(3, 900)
        self.purge(16)
        self.checkpoint(b"two")
        self.buffer()
        self.append(100)
        self.log.close()
        return self

    def try_whole(self):
        """The same, until an error ends it."""
        for step in (
            *(lambda size=size: self.append(size) for size in (0, 10, 700, 1500)),
            lambda: self.batch(5),
            lambda: self.buffer_and_sync(4),
            lambda: self.checkpoint(b"one"),
            lambda: self.batch(4, 600),
            *([self.append] * 3),
            lambda: self.batch(3, 900),
            lambda: self.purge(16),
            *([self.append] * 3),
        ):
            try:
                step()
            except LogError as error:
                self.errors.append(error)
        return self

    def threads(self, number, each):
        """Let threads append at once."""

        def work(name):
            for n in range(each):
                payload = b"t%d-%d:" % (name, n) + b"z" * (n * 37 % 300)
                self.disk.note(("sent", payload))
                self.disk.note(("ack", self.log.append(payload), payload))

        workers = [threading.Thread(target=work, args=(n,)) for n in range(number)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(30)
        assert not any(worker.is_alive() for worker in workers)
        return self


class Told:
    """What the notes of a state say."""

    def __init__(self, notes):
        self.sent = {n[1] for n in notes if n[0] == "sent"}
        self.failed = {n[1] for n in notes if n[0] == "failed"}
        self.acked = {n[1]: n[2] for n in notes if n[0] == "ack"}
        self.purged = max((n[1] for n in notes if n[0] == "purging"), default=0)
        self.states = [None]  # the checkpoints that may be the latest
        for kind, state, *_ in notes:
            if kind == "state":
                self.states.append(state)
            elif kind == "stored":
                self.states = [state]


def check_records(records, log, told):
    """Compare what is there with what was told."""
    ids = [record.id for record in records]
    require(ids == [*range(log.first_id, log.next_id)], "a hole in the ids", ids)
    there = {record.id: record.payload for record in records}
    for number, payload in told.acked.items():
        if number >= log.first_id or number >= told.purged:
            require(there.get(number) == payload, "acknowledged and lost", number)
    payloads = [*there.values()]
    require({*payloads} <= told.sent, "never sent", {*payloads} - told.sent)
    require(not {*payloads} & told.failed, "failed, and stored", told.failed)
    require(len({*payloads}) == len(payloads), "twice")
    batches = {}
    for payload in payloads:
        if found := re.match(rb"b(\d+)/(\d+)/", payload):
            batches.setdefault(found.groups(), []).append(payload)
    for (name, count), parts in batches.items():
        # Purging takes whole files, and a batch lies in one.
        require(len(parts) == int(count), "half a batch", name, parts)


def check_checkpoint(log, told):
    latest = log.latest_checkpoint()
    state = None if latest is None else latest.state
    require(state in told.states, "not the latest checkpoint", state)


def survive(state, kind=Log, *, notes=(), again=("lost", "mixed"), **options):
    """Open what a crash has left, check it, go on, and let it crash again.

    Args:
        state: What is left.
        kind: The log.
        notes: What was noted on disks before.
        again: The kinds of the second crash.
        options: Those of the log.
    """
    told = Told([*notes, *state.notes])
    disk = state.mount()
    open_log = lambda disk: kind.open(PLACE, disk=disk, **{**OPTIONS, **options})
    log = open_log(disk)
    records = [*log.records()]
    check_records(records, log, told)
    check_checkpoint(log, told)
    point = len(disk.trace)
    number = log.append(b"afterwards")
    require(number == log.durable_id, "not the next id", number)
    require([r.id for r in log.records()][-1] == number, "not readable", number)
    disk.note(number)
    log.close()
    for later in disk.crash_states(kinds=again, points={point, len(disk.trace)}):
        log = open_log(later.mount())
        kept = [*log.records()]
        log.close()
        require(kept[: len(records)] == records, "told, and lost later", str(later))
        if later.notes:
            ids = [record.id for record in kept]
            require(ids[-1:] == [number], "acknowledged, and lost later", str(later))


def survive_all(states, kind=Log, **options):
    """Check states, and return how many there were."""
    count = 0
    for state in states:
        try:
            survive(state, kind, **options)
        except (Survival, LogError) as error:
            raise Survival(str(state), *error.args) from error
        count += 1
    return count
