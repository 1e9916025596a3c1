"""What else a program could write durable records to, each as one small class.

A store has `append` (durable when it returns), `append_all` (durable as one), `buffer`
(not durable), `scan` (count all records with their payloads read) and `close`.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import struct
import threading
import zlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ._harness import Report


class Store(Protocol):
    """What is measured."""

    def append(self, payload: bytes) -> object: ...

    def append_all(self, payloads: Sequence[bytes]) -> object: ...

    def buffer(self, payloads: Sequence[bytes]) -> object: ...

    def scan(self) -> int: ...

    def close(self) -> None: ...


class Raw:
    """A mutex, a write, an fdatasync: the floor of what is durable."""

    header = struct.Struct("<IIQ")

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self.fd = os.open(folder / "raw", flags, 0o644)
        self.mutex = threading.Lock()
        self.next = 0

    def frame(self, payload: bytes) -> bytes:
        self.next += 1
        return self.header.pack(zlib.crc32(payload), len(payload), self.next) + payload

    def append(self, payload: bytes) -> None:
        with self.mutex:
            os.write(self.fd, self.frame(payload))
            os.fdatasync(self.fd)

    def append_all(self, payloads: Sequence[bytes]) -> None:
        with self.mutex:
            os.write(self.fd, b"".join(map(self.frame, payloads)))
            os.fdatasync(self.fd)

    def buffer(self, payloads: Sequence[bytes]) -> None:
        with self.mutex:
            os.write(self.fd, b"".join(map(self.frame, payloads)))

    def scan(self) -> int:
        count = offset = 0
        content = os.pread(self.fd, os.fstat(self.fd).st_size, 0)
        while offset < len(content):
            crc, length, _ = self.header.unpack_from(content, offset)
            payload = content[offset + 16 : offset + 16 + length]
            assert zlib.crc32(payload) == crc
            offset += 16 + length
            count += 1
        return count

    def close(self) -> None:
        os.close(self.fd)


class Sqlite:
    """A table in WAL mode, synchronous=FULL, behind a mutex."""

    def __init__(self, folder: Path) -> None:
        self.db = sqlite3.connect(
            folder / "db", isolation_level=None, check_same_thread=False
        )
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, payload BLOB)")
        self.mutex = threading.Lock()

    def append(self, payload: bytes) -> None:
        with self.mutex:
            self.db.execute("INSERT INTO log (payload) VALUES (?)", (payload,))

    def append_all(self, payloads: Sequence[bytes]) -> None:
        with self.mutex:
            self.db.execute("BEGIN")
            rows = ((payload,) for payload in payloads)
            self.db.executemany("INSERT INTO log (payload) VALUES (?)", rows)
            self.db.execute("COMMIT")

    buffer = append_all

    def scan(self) -> int:
        rows = self.db.execute("SELECT id, payload FROM log ORDER BY id")
        return sum(1 for _ in rows)

    def close(self) -> None:
        self.db.close()


class Lmdb:
    """A B-tree that syncs each transaction."""

    def __init__(self, folder: Path) -> None:
        import lmdb

        self.env = lmdb.open(str(folder / "lmdb"), map_size=1 << 32)
        self.count = itertools.count()

    def append(self, payload: bytes) -> None:
        with self.env.begin(write=True) as txn:
            txn.put(next(self.count).to_bytes(8, "big"), payload, append=True)

    def append_all(self, payloads: Sequence[bytes]) -> None:
        with self.env.begin(write=True) as txn:
            put, count = txn.put, self.count
            for payload in payloads:
                put(next(count).to_bytes(8, "big"), payload, append=True)

    buffer = append_all

    def scan(self) -> int:
        with self.env.begin() as txn:
            return sum(1 for _ in txn.cursor())

    def close(self) -> None:
        self.env.close()


class Plyvel:
    """LevelDB, which commits groups in C++."""

    def __init__(self, folder: Path) -> None:
        import plyvel

        self.db = plyvel.DB(str(folder / "leveldb"), create_if_missing=True)
        self.count = itertools.count()

    def append(self, payload: bytes) -> None:
        self.db.put(next(self.count).to_bytes(8, "big"), payload, sync=True)

    def append_all(self, payloads: Sequence[bytes], *, sync: bool = True) -> None:
        with self.db.write_batch(sync=sync) as batch:
            for payload in payloads:
                batch.put(next(self.count).to_bytes(8, "big"), payload)

    def buffer(self, payloads: Sequence[bytes]) -> None:
        put, count = self.db.put, self.count
        for payload in payloads:
            put(next(count).to_bytes(8, "big"), payload)

    def scan(self) -> int:
        with self.db.iterator() as rows:
            return sum(1 for _ in rows)

    def close(self) -> None:
        self.db.close()


class Rocks:
    """RocksDB."""

    def __init__(self, folder: Path) -> None:
        import rocksdict

        self.db = rocksdict.Rdict(
            str(folder / "rocks"), rocksdict.Options(raw_mode=True)
        )
        self.lazy = rocksdict.WriteOptions()
        self.strict = rocksdict.WriteOptions()
        self.strict.sync = True
        self.batch = lambda: rocksdict.WriteBatch(raw_mode=True)
        self.count = itertools.count()

    def append(self, payload: bytes) -> None:
        self.db.put(next(self.count).to_bytes(8, "big"), payload, self.strict)

    def append_all(self, payloads: Sequence[bytes]) -> None:
        batch = self.batch()
        for payload in payloads:
            batch.put(next(self.count).to_bytes(8, "big"), payload)
        self.db.write(batch, self.strict)

    def buffer(self, payloads: Sequence[bytes]) -> None:
        put, count, lazy = self.db.put, self.count, self.lazy
        for payload in payloads:
            put(next(count).to_bytes(8, "big"), payload, lazy)

    def scan(self) -> int:
        return sum(1 for _ in self.db.items())

    def close(self) -> None:
        self.db.close()


class DiskCache:
    """A cache over sqlite; `synchronous=FULL`, which is not its default."""

    def __init__(self, folder: Path) -> None:
        import diskcache

        self.deque = diskcache.Index.fromcache(
            diskcache.Cache(
                str(folder / "cache"),
                sqlite_synchronous=2,
                eviction_policy="none",
                size_limit=1 << 40,
            )
        )
        self.count = itertools.count()

    def append(self, payload: bytes) -> None:
        self.deque[next(self.count)] = payload

    def append_all(self, payloads: Sequence[bytes]) -> None:
        with self.deque.transact():
            for payload in payloads:
                self.append(payload)

    buffer = append_all

    def scan(self) -> int:
        return sum(1 for _ in self.deque.values())

    def close(self) -> None:
        self.deque.cache.close()


PEERS = {
    "sqlite3 FULL": ("sqlite3", Sqlite),
    "lmdb": ("lmdb", Lmdb),
    "plyvel": ("plyvel", Plyvel),
    "rocksdict": ("rocksdict", Rocks),
    "diskcache FULL": ("diskcache", DiskCache),
}


def installed(report: Report) -> dict[str, Callable[[Path], Store]]:
    """Return the raw floor, and each peer that is installed."""
    there = {
        name: kind for name, (package, kind) in PEERS.items() if report.needs(package)
    }
    return {"raw": Raw, **there}
