"""Makes the golden files of version 1, once; run by hand with a folder as argument.

They stay as they are for ever: a later version must read them. What is in them is
written down in `test_serializer_format`.
"""

import sys
from pathlib import Path

from cup.services.serializer import Entry, Log
from cup.services.serializer.checks import repair


def make(folder, checksum):
    options = {"checksum": checksum, "preallocate": False, "segment_bytes": 400}
    with Log.open(folder, **options) as log:
        log.append(b"first", type=1, mode=1)
        log.append_many([b"batch one", b"batch two", b"batch three"])
        log.append_entries([Entry(b"", 65535, 255), Entry(bytes(range(256)), 2, 3)])
        log.checkpoint(b"a state", 4)
        log.skip_to(1000)
        log.append(b"after a skip")
    with Log.open(folder, **options) as log:
        log.append(b"after a seal")


def damage_and_repair(folder):
    with Log.open(folder, checksum="crc32", preallocate=False) as log:
        log.append(b"kept")
        log.append(b"damaged")
        log.append(b"kept, too")
    [path] = Path(folder).glob("*.seg")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"damaged", b"Damaged"))
    repair(folder, salvage=True)
    for aside in (Path(folder) / "quarantine").iterdir():
        aside.unlink()
    (Path(folder) / "quarantine").rmdir()


if __name__ == "__main__":
    root = Path(sys.argv[1])
    for checksum in ("crc32", "crc32c"):
        make(root / checksum, checksum)
    damage_and_repair(root / "repaired")
    for lock in root.glob("*/LOCK"):
        lock.unlink()  # its text differs from one making to the next
