"""Identifiers beside the packages that people make them with."""

from __future__ import annotations

import itertools
import secrets
import tempfile
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from cup.services.generator import (
    CachedUUID,
    CGeneratorManBase,
    CounterGenerator,
    CycleIDGenerator,
    NameGenerator,
    RandomGenerator,
    SnowflakeGenerator,
    StaticWorker,
    ULIDGenerator,
    UUID4Generator,
    UUID7Generator,
)

from ._harness import OURS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._harness import Report

MANY = 20_000
BATCH = 1000


def each(draw: Callable[[], Any], count: int = MANY) -> Callable[[], float]:
    """Measure one call, in nanoseconds; the loop around it costs all the same."""

    def measure() -> float:
        rounds = itertools.repeat(None, count)
        start = time.perf_counter()
        for _ in rounds:
            draw()
        return (time.perf_counter() - start) / count * 1e9

    return measure


def batch(draw: Callable[[], Any], calls: int = 20) -> Callable[[], float]:
    """Measure one identifier of many that are drawn at once, in nanoseconds."""
    one = each(draw, calls)
    return lambda: one() / BATCH


def in_threads(draw: Callable[[], Any], number: int = 4) -> Callable[[], float]:
    """Measure one call while other threads call, too: wall time of all."""

    def work() -> None:
        for _ in range(MANY // number):
            draw()

    def measure() -> float:
        threads = [threading.Thread(target=work) for _ in range(number)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - start) / MANY * 1e9

    return measure


def snowflakes(report: Report) -> tuple[Any, dict[str, Callable[[], Any]]]:
    """Return ours, and what draws from each peer."""
    place = tempfile.mkdtemp(prefix="cup-benchmark-")
    # A tight loop asks for more than 4096 a millisecond: that may run ahead.
    ours = SnowflakeGenerator(StaticWorker(5, directory=place), max_ahead=3600)
    peers: dict[str, Callable[[], Any]] = {}
    if report.needs("snowflake"):
        from snowflake import SnowflakeGenerator as Peer

        # It gives None where it has nothing to give.
        peers["snowflake-id"] = Peer(5).__next__
    if report.needs("flakeid"):
        import flakeid

        peers["flakeid"] = flakeid.next_id
    return ours, peers


def numbers() -> Iterator[Row]:
    cycle = CycleIDGenerator("10.0.0.1", 8080)
    counter = CounterGenerator()
    man = CGeneratorManBase()
    lock, count = threading.Lock(), itertools.count()

    def locked() -> int:
        with lock:
            return next(count)

    yield Row(
        "cycle ids, one by one",
        {
            OURS: each(cycle.next_id),
            "count.__next__": each(count.__next__),
            "count and a lock": each(locked),
        },
        unit="ns",
        goals={"count.__next__": 3.5},
    )
    yield Row(
        "cycle ids, 1000 at once",
        {
            OURS: batch(lambda: cycle.next_ids(BATCH)),
            "list(range) of 128 bits": batch(
                lambda: list(range(1 << 100, (1 << 100) + BATCH))
            ),
        },
        unit="ns",
        goals={"list(range) of 128 bits": 1.5},
    )
    yield Row(
        "numbers, one by one",
        {
            OURS: each(counter.next_id),
            "get_next_uniq_num": each(man.get_next_uniq_num),
            "count.__next__": each(count.__next__),
        },
        unit="ns",
    )
    yield Row(
        "names, one by one",
        {
            OURS: each(NameGenerator().next_id),
            "get_uniqname": each(man.get_uniqname),
            "uuid4().hex": each(lambda: uuid.uuid4().hex),
        },
        unit="ns",
        goals={"uuid4().hex": 0.5},
    )


def uuids(report: Report) -> Iterator[Row]:
    seven, four = UUID7Generator(), UUID4Generator()
    rust: dict[str, Callable[[], float]] = {}
    rust4: dict[str, Callable[[], float]] = {}
    if report.needs("uuid_utils"):
        import uuid_utils
        from uuid_utils import compat

        rust = {
            "uuid_utils.uuid7 (own class)": each(uuid_utils.uuid7),
            "uuid_utils.compat.uuid7": each(compat.uuid7),
        }
        rust4 = {"uuid_utils.compat.uuid4": each(compat.uuid4)}
    yield Row(
        "UUIDv7 as integer",
        {OURS: each(seven.next_int), "uuid4": each(uuid.uuid4)},
        unit="ns",
        goals={"uuid4": 0.8},
    )
    yield Row(
        "UUIDv7",
        {OURS: each(seven.next_id), "uuid4": each(uuid.uuid4), **rust},
        unit="ns",
        goals={"uuid4": 1.1},
    )
    bulk: dict[str, Callable[[], float]] = {}
    if report.needs("fastuuid"):
        import fastuuid

        bulk = {"fastuuid.uuid7_bulk": batch(lambda: fastuuid.uuid7_bulk(BATCH))}
    yield Row(
        "UUIDv7 as integers, 1000 at once",
        {
            OURS: batch(lambda: seven.next_ints(BATCH)),
            "uuid4": each(uuid.uuid4),
            **bulk,
        },
        unit="ns",
        goals={"fastuuid.uuid7_bulk": 0.3},
    )
    yield Row(
        "UUIDv7, 1000 at once",
        {OURS: batch(lambda: seven.next_ids(BATCH)), "uuid4": each(uuid.uuid4), **bulk},
        unit="ns",
    )
    yield Row(
        "UUIDv4",
        {OURS: each(four.next_id), "uuid4": each(uuid.uuid4), **rust4},
        unit="ns",
    )
    yield Row(
        "cached UUIDs as text",
        {
            OURS: each(lambda: CachedUUID.singleton_instance().get_uuid()),
            "uuid4().hex": each(lambda: uuid.uuid4().hex),
            "uuid1().hex": each(lambda: uuid.uuid1().hex),
        },
        unit="ns",
        goals={"uuid4().hex": 1.0},
    )


def rows(report: Report) -> Iterator[Row]:
    """Give all rows."""
    yield from numbers()
    yield from uuids(report)

    ulids: dict[str, Callable[[], float]] = {}
    if report.needs("ulid"):
        from ulid import ULID

        ulids = {"python-ulid": each(lambda: str(ULID()))}
    yield Row(
        "ULIDs as text",
        {OURS: each(ULIDGenerator().next_id), **ulids},
        unit="ns",
        goals={"python-ulid": 0.5},
    )
    ours, peers = snowflakes(report)
    for title, how in (("", each), (", four threads", in_threads)):
        yield Row(
            f"snowflakes{title}",
            {OURS: how(ours.next_id), **{n: how(draw) for n, draw in peers.items()}},
            unit="ns",
            goals={"flakeid": 0.5},
        )
    yield Row(
        "random strings of 21 letters",
        {
            OURS: each(RandomGenerator().next_id),
            "secrets.token_urlsafe(16)": each(lambda: secrets.token_urlsafe(16)),
        },
        unit="ns",
    )
