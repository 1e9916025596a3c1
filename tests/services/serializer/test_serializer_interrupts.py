"""Interrupts at any step: nobody waits for ever, and nothing acknowledged is lost."""

import errno
import threading

import pytest
from interrupt_tools import Interrupt, Tracer
from serializer_tools import OPTIONS, PLACE, Gate, new_disk

from cup.errors import LogError, LogPoisoned, ThreadTermException
from cup.services.serializer import BUFFERED, Log, verify
from cup.thread import CupThread


def live(nth):
    """Interrupt a thread at one line, while another one appends; tell how it went."""
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, preallocate=False, segment_bytes=600)
    acked = {}

    def others():
        for number in range(4):
            payload = b"other %d" % number
            acked[log.append(payload)] = payload

    thread = threading.Thread(target=others)
    interrupted = False
    log.append(b"buffered", durability=BUFFERED)
    thread.start()
    with Tracer(nth) as tracer:
        try:
            for number in range(3):
                payload = b"mine %d" % number * 20
                acked[log.append(payload)] = payload
        except Interrupt:
            interrupted = True
    thread.join(10)
    assert not thread.is_alive(), tracer.where
    acked[log.append(b"after")] = b"after"
    log.sync()
    found = {record.id: record.payload for record in log.records()}
    assert {**found, **acked} == found, tracer.where
    assert [*found] == [*range(1, len(found) + 1)], tracer.where
    log.close()
    assert verify(PLACE, disk=disk).ok, tracer.where
    with Log.open(PLACE, disk=disk) as log:
        again = {record.id: record.payload for record in log.records()}
        assert again == found, tracer.where
    return interrupted


@pytest.mark.parametrize("part", range(8))
def test_a_writer_is_interrupted_at_any_line(part):
    lines = 0
    for nth in range(1 + part, 600, 8 * 5):
        lines += live(nth)
    assert lines > 5


@pytest.mark.full
@pytest.mark.parametrize("part", range(4))
def test_a_writer_is_interrupted_at_every_line(part):
    for nth in range(1 + part, 1000, 4):
        if not live(nth):
            break
    assert nth > 100


def test_cup_thread_leaves_its_wait_at_once():
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, **OPTIONS)
    gate = Gate(disk, times=1)
    leader = threading.Thread(target=log.append, args=[b"leader"])
    leader.start()
    assert gate.entered.acquire(timeout=20)
    waiting = CupThread(target=log.append, args=[b"waiting"])
    after = threading.Thread(target=log.append, args=[b"after"])
    waiting.start()
    while log.next_id < 3:
        pass
    after.start()
    while log.next_id < 4:
        pass
    assert waiting.raise_exc(ThreadTermException) == 1
    waiting.join(20)
    assert not waiting.is_alive()  # though the sync still takes its time
    gate.open()
    leader.join(20)
    after.join(20)
    assert not after.is_alive()
    assert [record.payload for record in log.records()] == [
        b"leader",
        b"waiting",
        b"after",
    ]
    log.close()


def test_a_sync_whose_answer_is_lost_is_not_believed():
    """A failed sync, and a thread that is interrupted before it can say so."""
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, **OPTIONS)
    log.append(b"first")

    def interrupt():
        raise Interrupt

    disk.inject("sync", path="*.seg*", error=errno.EIO)
    lost = disk.inject("write", path="*durable", before=interrupt)
    with pytest.raises(LogPoisoned):
        log.append(b"not confirmed")
    assert not lost.hits
    log.close()
    disk.heal()

    log = Log.open(PLACE, disk=disk, **OPTIONS)
    disk.inject("sync", path="*.seg*", before=interrupt)
    before = len(disk.trace)
    with pytest.raises(Interrupt):
        log.append(b"interrupted")
    log.sync()
    steps = [event.operation for event in disk.trace[before:] if ".seg" in event.path]
    assert steps == ["write", "write", "sync"]  # all of it is written again
    log.append(b"last")
    *_, interrupted, last = [record.payload for record in log.records()]
    assert (interrupted, last) == (b"interrupted", b"last")
    log.close()


def test_threads_of_a_broken_chain_help_themselves(monkeypatch):
    """Even if a wake-up were lost, nobody waits for longer than a moment."""
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, **OPTIONS)
    committer = log._core.committer
    monkeypatch.setattr(type(committer), "_wake_from", lambda *_: None)
    threads = [threading.Thread(target=log.append, args=[b"x"]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert log.durable_id == 5
    log.close()


def test_nobody_waits_for_a_log_whose_disk_is_gone():
    disk = new_disk()
    log = Log.open(PLACE, disk=disk, **OPTIONS)
    disk.inject("write", path="*.seg*", error=errno.EIO, times=None)
    disk.inject("truncate", path="*.seg*", error=errno.EIO, times=None)
    failed = []

    def append():
        try:
            log.append(b"x")
        except LogError as error:
            failed.append(error)

    threads = [threading.Thread(target=append) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(failed) == 8
    assert log.stats().poisoned
    log.close()
