"""What the tests of the serializer share: disks whose syncs wait for the test."""

import threading

from cup.testing import CrashDisk

PLACE = "/log"
OPTIONS = {"preallocate": False, "segment_bytes": 1 << 20}


class Gate:
    """Lets the syncs of segments wait until the test opens it."""

    def __init__(self, disk, nth=1, times=None):
        self.entered = threading.Semaphore(0)
        self.count = 0
        self._open = threading.Event()
        self._open.clear()
        self.fault = disk.inject(
            "sync", nth=nth, times=times, path="*.seg*", before=self._wait
        )

    def _wait(self):
        self.count += 1
        self.entered.release()
        assert self._open.wait(20)

    def held(self):
        """Tell whether a sync waits here."""
        return self.count > 0

    def open(self):
        self._open.set()


def new_disk(**options):
    return CrashDisk(**options)


def syncs_of(disk, path=".seg"):
    return [
        event
        for event in disk.trace
        if event.operation == "sync" and path in event.path
    ]


def payloads(log, start=None):
    return [record.payload for record in log.records(start)]
