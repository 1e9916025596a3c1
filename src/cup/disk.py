"""The file operations that what must survive a crash is built from.

A log, or your own state machine, does its input and output through a `Disk`: `OS_DISK`
in production, a `cup.testing.CrashDisk` in tests. There are two rules:
bytes of a file are durable after its `sync`, names in a directory after `sync_dir` of
that directory. A failed sync means that nobody knows what is durable.
"""

from cup._core.disk import OS_DISK, Disk, DiskFile, OsDisk, OsFile

__all__ = ["OS_DISK", "Disk", "DiskFile", "OsDisk", "OsFile"]
