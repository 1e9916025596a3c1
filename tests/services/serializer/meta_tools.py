"""What tests of stores of metadata share."""

from cup.services.serializer import MetaStore
from cup.testing import CrashDisk

PLACE = "/data/store"
OPTIONS = {"segment_bytes": 4096, "preallocate": False, "compaction": None}


def new_disk(**options):
    return CrashDisk({"/data/other": b"not ours"}, **options)


def open_store(disk, **options):
    return MetaStore.open(PLACE, **{**OPTIONS, "disk": disk, **options})


def quietly_close(store):
    """Close a store whatever has become of it, from any thread."""
    try:
        store._core.close()
    except OSError:
        pass
