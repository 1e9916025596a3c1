"""Where else a program could keep metadata, or jobs, each as one small class.

All are set to be as durable as they can be: a store that syncs is asked to sync, and
one that cannot says so in its name.
"""

from __future__ import annotations

import pickle
import shelve
import sqlite3
import threading
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from ._harness import Report


class Store(Protocol):
    """What is measured: keys and values."""

    def set(self, key: str, value: Any) -> object: ...

    def set_all(self, pairs: Iterable[tuple[str, Any]]) -> object: ...

    def get(self, key: str) -> Any: ...

    def close(self) -> None: ...


class Sqlite:
    """A table in WAL mode, synchronous=FULL, behind a mutex; values as pickles."""

    sql = "INSERT OR REPLACE INTO store VALUES (?, ?)"

    def __init__(self, place: Path) -> None:
        self.db = sqlite3.connect(
            place / "db", isolation_level=None, check_same_thread=False
        )
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS store (key TEXT PRIMARY KEY, value BLOB)"
        )
        self.mutex = threading.Lock()

    def set(self, key: str, value: Any) -> None:
        with self.mutex:
            self.db.execute(self.sql, (key, pickle.dumps(value)))

    def set_all(self, pairs: Iterable[tuple[str, Any]]) -> None:
        with self.mutex:
            self.db.execute("BEGIN")
            self.db.executemany(self.sql, ((k, pickle.dumps(v)) for k, v in pairs))
            self.db.execute("COMMIT")

    def get(self, key: str) -> Any:
        with self.mutex:
            found = self.db.execute("SELECT value FROM store WHERE key = ?", (key,))
            return pickle.loads(found.fetchone()[0])

    def close(self) -> None:
        self.db.close()


class Diskcache:
    """SQLite again, with a journal and synchronous=FULL."""

    def __init__(self, place: Path) -> None:
        import diskcache

        self.cache = diskcache.Cache(
            str(place / "cache"), sqlite_synchronous=2, eviction_policy="none"
        )
        self.set = self.cache.set
        self.get = self.cache.get

    def set_all(self, pairs: Iterable[tuple[str, Any]]) -> None:
        with self.cache.transact():
            for key, value in pairs:
                self.cache.set(key, value)

    def close(self) -> None:
        self.cache.close()


class Sqlitedict:
    """SQLite with synchronous=OFF, which cannot be changed; a commit per change."""

    def __init__(self, place: Path) -> None:
        from sqlitedict import SqliteDict

        self.store = SqliteDict(str(place / "dict.sqlite"))
        self.get = self.store.__getitem__

    def set(self, key: str, value: Any) -> None:
        self.store[key] = value
        self.store.commit()

    def set_all(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self.store.update(pairs)
        self.store.commit()

    def close(self) -> None:
        self.store.close()


class Shelf:
    """The standard library's, over dbm; `sync` asks dbm, which may sync."""

    def __init__(self, place: Path) -> None:
        self.shelf = shelve.open(str(place / "shelf"))  # noqa: SIM115
        self.mutex = threading.Lock()

    def set(self, key: str, value: Any) -> None:
        with self.mutex:
            self.shelf[key] = value
            self.shelf.sync()

    def set_all(self, pairs: Iterable[tuple[str, Any]]) -> None:
        with self.mutex:
            self.shelf.update(pairs)
            self.shelf.sync()

    def get(self, key: str) -> Any:
        with self.mutex:
            return self.shelf[key]

    def close(self) -> None:
        self.shelf.close()


NOT_SYNCED = {"sqlitedict (no sync)", "shelve (no sync)", "huey (no sync)"}


def stores(report: Report) -> dict[str, Callable[[Path], Store]]:
    """Return every peer that is installed, by its name."""
    found: dict[str, Callable[[Path], Store]] = {"sqlite3 FULL": Sqlite}
    if report.needs("diskcache"):
        found["diskcache FULL"] = Diskcache
    if report.needs("sqlitedict"):
        found["sqlitedict (no sync)"] = Sqlitedict
    found["shelve (no sync)"] = Shelf
    return found


# -- jobs ------------------------------------------------------------------------------


def job(number: int) -> int:
    """Be what is scheduled."""
    return number


class JobStore(Protocol):
    """What is measured: jobs that are due in an hour."""

    def add(self, number: int) -> object: ...

    def load(self) -> int: ...

    def close(self) -> None: ...


class ApScheduler:
    """APScheduler 3 with its SQLAlchemy store on SQLite."""

    def __init__(self, place: Path) -> None:
        from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
        from apscheduler.schedulers.background import BackgroundScheduler

        url = f"sqlite:///{place / 'jobs.sqlite'}"
        stores = {"default": SQLAlchemyJobStore(url=url)}
        self.scheduler = BackgroundScheduler(jobstores=stores, timezone="UTC")
        self.scheduler.start(paused=True)

    def add(self, number: int) -> None:
        due = datetime.now(timezone.utc) + timedelta(hours=1)
        self.scheduler.add_job(job, "date", run_date=due, args=(number,))

    def load(self) -> int:
        return len(self.scheduler.get_jobs())

    def close(self) -> None:
        self.scheduler.shutdown()


class Huey:
    """Huey over SQLite, which turns syncs off."""

    def __init__(self, place: Path) -> None:
        from huey import SqliteHuey

        self.huey = SqliteHuey(filename=str(place / "huey.sqlite"))
        self.task = self.huey.task()(job)

    def add(self, number: int) -> None:
        task = self.task.s(number)
        task.eta = datetime(2100, 1, 1)  # noqa: DTZ001 - as huey has it
        self.huey.add_schedule(task)

    def load(self) -> int:
        return len(self.huey.scheduled())

    def close(self) -> None:
        self.huey.storage.close()


def job_stores(report: Report) -> dict[str, Callable[[Path], JobStore]]:
    """Return every peer that is installed, by its name."""
    found: dict[str, Callable[[Path], JobStore]] = {}
    if report.needs("apscheduler") and report.needs("sqlalchemy"):
        found["APScheduler, SQL store"] = ApScheduler
    if report.needs("huey"):
        found["huey (no sync)"] = Huey
    return found
