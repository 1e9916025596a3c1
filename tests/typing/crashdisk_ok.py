"""A state machine over a disk, and its crash test: what must type-check."""

import errno

from typing_extensions import assert_type

from cup.disk import OS_DISK, Disk, DiskFile
from cup.testing import CrashDisk, CrashState, DiskEvent, DiskFault


class Counter:
    def __init__(self, disk: Disk) -> None:
        self.file: DiskFile = disk.open("/count", create=True, write=True)

    def add(self, text: bytes) -> int:
        written = self.file.pwrite(text, self.file.size())
        self.file.sync()
        return written + self.file.pwritev([text, bytearray(text)], 0)


production = Counter(OS_DISK)
disk = CrashDisk({"/count": b""}, sector=4096, seed=3, capacity=1 << 20)
test = Counter(disk)
disk.note(test.add(b"1"))
fault: DiskFault = disk.inject("sync", error=errno.EIO, nth=2, times=None, path="/c*")
assert_type(fault.hits, int)
assert_type(disk.trace, tuple[DiskEvent, ...])
disk.capacity = None
state: CrashState
for state in disk.crash_states(kinds=["kill", "mixed"], points={1, 2}, variants=3):
    Counter(state.mount())
    state.write_to("/tmp/state")
    assert_type(state.notes, tuple[object, ...])
