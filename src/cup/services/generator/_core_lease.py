"""Worker numbers that a cluster shares out, as leases on a Redis or Valkey server.

Two things keep two holders from issuing the same id, and each is enough:

- Time. A holder stops issuing, on its monotonic clock, before the server may give its
  number to another: `ttl` seconds from before it asked, less a tenth.
- Ticks. A lease is good for a stretch of ticks. The server keeps where that ends, and
  the next holder of the number begins after it, whatever the clocks of the two say and
  however long a process was stopped between a look at its clock and the next step.

A server that has lost its data knows no stretches. It shows by its `run_id`, which is
kept with the data: when that is another, or missing, the server gives no number out for
`ttl` seconds, in which the holders of before either renew or stop.

Not here: asking the server (`sync_redis`, `aio_redis`).
"""

from __future__ import annotations

import math
import secrets
from time import monotonic
from typing import TYPE_CHECKING, Final

from cup._core.clock import SYSTEM
from cup._core.fork import generation
from cup.errors import InvalidType, InvalidValue, NoWorkerId, WorkerIdLost

from ._core_ids import expect
from ._core_ledger import Ledger

if TYPE_CHECKING:
    from ._core_layout import Layout
    from .api import Clock

__all__ = ["ACQUIRE", "RELEASE", "RENEW", "Lease", "LeaseBook", "check_seconds"]

_MARGIN: Final = 0.1  # of the ttl: the holder stops so much earlier
_RENEWALS: Final = 3  # in one ttl
_AHEAD: Final = 2.0  # seconds of ticks beyond the ttl: ids may be ahead of the clock

_COMMON: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or 'none'
local born = redis.call('HMGET', KEYS[1], 'run', 'at')
if born[1] ~= run then
  born[2] = now
  redis.call('HSET', KEYS[1], 'run', run, 'at', now)
end
local function keep(n, owner, ttl, mark)
  redis.call('HSET', KEYS[3], n, owner)
  redis.call('ZADD', KEYS[2], now + ttl, n)
  local before = redis.call('HGET', KEYS[4], n) or '0'
  -- Compared as text of one length: ticks may exceed what a double holds.
  local least = string.rep('0', 20 - #before) .. before
  if least < string.rep('0', 20 - #mark) .. mark then
    redis.call('HSET', KEYS[4], n, mark)
  end
  return before
end
"""

ACQUIRE: Final = (
    _COMMON
    + """
local owner, ttl, size, mark = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local quiet = born[2] + ttl - now
if quiet > 0 then return {'quiet', quiet} end
local n = redis.call('ZCARD', KEYS[2])
if n >= size then
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  local rest = oldest[2] + ttl - now
  if rest > 0 then return {'full', rest} end
  n = oldest[1]
end
return {'ok', n, keep(n, owner, ttl, mark)}
"""
)
"""A number for a new owner: one that nobody had, else the one longest free."""

RENEW: Final = (
    _COMMON
    + """
local owner, ttl, n, mark = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local holder = redis.call('HGET', KEYS[3], n)
if holder and holder ~= owner then return {'lost'} end
keep(n, owner, ttl, mark)
return {'ok'}
"""
)
"""The same number for its owner; also where the server has lost who that is."""

RELEASE: Final = """
if redis.call('HGET', KEYS[3], ARGV[2]) == ARGV[1] then
  redis.call('HSET', KEYS[3], ARGV[2], '-')
  redis.call('HSET', KEYS[4], ARGV[2], ARGV[3])
  local t = redis.call('TIME')
  redis.call('ZADD', KEYS[2], t[1] * 1000 + math.floor(t[2] / 1000), ARGV[2])
  return {'ok'}
end
return {'lost'}
"""
"""The number is free, its ticks after the last are, too; it rests for `ttl`."""


class Lease:
    """A worker number that this process holds for a while: its seat.

    Attributes:
        owner: What the server knows this holder by.
        scope: What ids it is for.
    """

    __slots__ = (
        "_clock",
        "_deadline",
        "_end",
        "_generation",
        "_last",
        "_ledger",
        "_number",
        "_rate",
        "_ttl",
        "owner",
        "scope",
    )

    def __init__(self, layout: Layout, ttl: float, clock: Clock) -> None:
        self.owner: str = secrets.token_hex(16)
        self.scope: str = layout.scope()
        self._clock: Clock = clock
        self._ttl: float = ttl
        self._rate: float = 1_000_000 / layout.unit_micros
        self._number: int = -1
        self._ledger = Ledger(None)  # a forked child has no lease, so memory will do
        self._end: int = 0
        self._deadline: float = -math.inf
        self._last: float = -math.inf
        self._generation: int = generation()

    @property
    def number(self) -> int:
        """The worker number."""
        return self._number

    @property
    def deadline(self) -> float | None:
        """When this process stops issuing, on the monotonic clock."""
        return self._deadline

    @property
    def due(self) -> float:
        """When it is to be renewed, on the monotonic clock."""
        return self._last + self._ttl / _RENEWALS

    def mark(self) -> int:
        """Return the last tick that a lease taken now is good for."""
        return int((self._clock.time() + self._ttl + _AHEAD) * self._rate)

    def hold(self, number: int, before: int, sent: float, mark: int) -> None:
        """Begin to hold a number, whose last holder may have issued up to a tick."""
        self._number = number
        self._ledger.take(at_least=before)
        self.renewed(sent, mark)

    def renewed(self, sent: float, mark: int) -> None:
        """Go on, from the moment at which the server was asked."""
        self._end = max(self._end, mark)
        self._last = sent
        self._deadline = sent + self._ttl * (1 - _MARGIN)

    def last_tick(self) -> int:
        """Return the last tick that was claimed, by this holder or those before."""
        return self._ledger.peek() - 1

    def lose(self) -> None:
        """Issue nothing more."""
        self._deadline = -math.inf

    def is_held(self) -> bool:
        """Tell whether this process may issue now."""
        return self._generation == generation() and monotonic() < self._deadline

    def reaches(self) -> bool:
        """Tell whether the lease is good for the tick that the clock shows."""
        return int(self._clock.time() * self._rate) < self._end

    def claim(self, tick: int, limit: int) -> int:
        """Take a tick, not below `tick`; one above `limit` is told and not taken.

        Raises:
            WorkerIdLost: If the lease is over, or not good for this tick.
        """
        if not self.is_held():
            raise WorkerIdLost(f"the lease of worker number {self._number} is over")

        if tick > self._end:
            raise WorkerIdLost(
                f"the clock has run ahead of the lease of worker number {self._number}"
            )
        claimed = self._ledger.take(at_least=tick, limit=min(limit, self._end))
        return max(limit + 1, self._ledger.peek()) if claimed is None else claimed

    def __repr__(self) -> str:
        left = max(0.0, self._deadline - monotonic())
        return f"<Lease of worker {self._number}, {left:.1f} s left>"


class LeaseBook:
    """The leases of one process, and what to ask the server for them."""

    __slots__ = ("_clock", "_generation", "_held", "name", "ttl", "wait")

    def __init__(self, name: str, ttl: float, wait: float, clock: Clock | None) -> None:
        self.name: str = expect(name, str, "is no name: give a text")
        self.ttl: float = check_seconds("ttl", ttl)
        self.wait: float = check_seconds("wait", wait)
        self._clock: Clock = SYSTEM if clock is None else clock
        self._held: dict[str, Lease] = {}
        self._generation: int = generation()

    def leases(self) -> list[Lease]:
        """Return the leases of this process."""
        if self._generation != generation():
            self._held = {}  # those of the parent
            self._generation = generation()
        return [*self._held.values()]

    def find(self, layout: Layout) -> Lease | None:
        """Return the lease for a layout, if this process holds one."""
        for lease in self.leases():
            if lease.scope == layout.scope() and lease.is_held():
                return lease
        return None

    def new(self, layout: Layout) -> Lease:
        """Return a lease that is not held yet."""
        return Lease(layout, self.ttl, self._clock)

    def keys(self, scope: str) -> list[str]:
        """Name what the server keeps: one place of a cluster, by the braces."""
        place = f"{{cup:ids:{self.name}:{scope}}}"
        return [f"{place}:{part}" for part in ("born", "until", "owner", "mark")]

    def to_acquire(self, lease: Lease, layout: Layout, mark: int) -> list[str | int]:
        """Return the arguments of `ACQUIRE`."""
        return [lease.owner, self._millis(), layout.workers, mark]

    def to_renew(self, lease: Lease, mark: int) -> list[str | int]:
        """Return the arguments of `RENEW`."""
        return [lease.owner, self._millis(), lease.number, mark]

    def to_release(self, lease: Lease) -> list[str | int]:
        """Return the arguments of `RELEASE`."""
        return [lease.owner, lease.number, lease.last_tick()]

    def _millis(self) -> int:
        return math.ceil(self.ttl * 1000)

    def acquired(
        self, lease: Lease, reply: list[str], sent: float, mark: int
    ) -> float | None:
        """Take in what `ACQUIRE` answered.

        Returns:
            None if the lease is held now; else the seconds to wait.
        """
        if reply[0] != "ok":
            return float(reply[1]) / 1000

        lease.hold(int(reply[1]), int(reply[2]) + 1, sent, mark)
        self.leases()
        self._held[lease.scope] = lease
        return None

    def renewed(self, lease: Lease, reply: list[str], sent: float, mark: int) -> bool:
        """Take in what `RENEW` answered; False if the lease is lost."""
        if reply[0] == "ok":
            lease.renewed(sent, mark)
            return True

        self.drop(lease)
        return False

    def drop(self, lease: Lease) -> None:
        """Hold a lease no more."""
        lease.lose()
        if self._held.get(lease.scope) is lease:
            del self._held[lease.scope]

    def next_renewal(self) -> float | None:
        """Return when a lease is due, on the monotonic clock; None if none is held."""
        return min([lease.due for lease in self.leases()], default=None)

    def due_leases(self) -> list[Lease]:
        """Return the leases that are to be renewed now; drop those that are over."""
        due: list[Lease] = []
        now = monotonic()
        for lease in self.leases():
            if not lease.is_held():
                self.drop(lease)
            elif lease.due <= now:
                due.append(lease)
        return due

    def too_long(self, seconds: float) -> NoWorkerId:
        """Return the error for a number that is not to be had in time."""
        return NoWorkerId(
            f"no worker number of {self.name!r} within {self.wait} s: all are taken, "
            f"or the server has begun to give them out just now; ask again in "
            f"{seconds:.1f} s"
        )

    def describe(self) -> str:
        """Return what a `repr` says."""
        numbers = [lease.number for lease in self.leases() if lease.is_held()]
        return f"{self.name!r}, holds {numbers}, ttl {self.ttl} s"


def check_seconds(name: str, value: object) -> float:
    """Return seconds above zero.

    Raises:
        InvalidType: If it is no number.
        InvalidValue: If it is not above zero, or not finite.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidType(f"{name} is {value!r}; give seconds")

    if not 0 < value < math.inf:
        raise InvalidValue(f"{name} is {value}; give seconds above zero")

    return float(value)
