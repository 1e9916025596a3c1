"""What a monitor is set to, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cup._core.datagrams import parse_addresses
from cup.errors import InvalidKey, InvalidValue

from ._core_feed import check_limit
from ._core_tables import check_seconds
from .keys import KeyRing

if TYPE_CHECKING:
    from os import PathLike

    from .api_net import Listen

__all__ = ["PORT", "MonitorSettings", "check_ring", "check_share"]

PORT: Final = 7363
"""Where monitors listen unless told otherwise."""

_TICKS: Final = 10  # in the shortest time that matters
_LONGEST_TICK: Final = 0.5
_SHORTEST_TICK: Final = 0.005


def check_ring(keys: object) -> KeyRing:
    """Return a ring of keys, checked.

    Raises:
        InvalidKey: If it is none.
    """
    if not isinstance(keys, KeyRing):
        raise InvalidKey(
            f"keys must be a KeyRing, not {type(keys).__name__}; UNAUTHENTICATED is "
            "one, for networks in which everybody is trusted"
        )
    return keys


def check_share(name: str, share: float) -> float:
    """Return a share, checked.

    Raises:
        InvalidValue: If it is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise InvalidValue(f"{name} is {share}; give a share, above 0 and at most 1")
    return float(share)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """What a monitor is set to. The faces say what each of these means."""

    listen: tuple[tuple[str, int], ...]
    ring: KeyRing
    timeout: float
    suspect_after: float
    probes: int
    window: float
    longest: float
    max_devices: int
    kept_for: float
    mass_share: float
    mass_least: int
    hold: float
    flap_limit: int
    flap_window: float
    buffer: int
    state: str | PathLike[str] | None

    @property
    def tick(self) -> float:
        """Seconds between two looks."""
        least = self.timeout / _TICKS
        if self.probes:
            least = min(least, self.probe_every() / 2)
        return min(_LONGEST_TICK, max(_SHORTEST_TICK, least))

    def probe_every(self) -> float:
        """Return the seconds between two probes, for the time-out of the service."""
        return (self.timeout - self.suspect_after) / (self.probes + 1)


def make_settings(
    listen: Listen,
    *,
    keys: object,
    timeout: float,
    suspect_after: float | None,
    probes: int,
    window: float,
    longest_timeout: float,
    max_devices: int,
    kept_for: float,
    mass_share: float,
    mass_least: int,
    hold: float | None,
    flap_limit: int,
    flap_window: float,
    receive_buffer: int,
    state: str | PathLike[str] | None,
) -> MonitorSettings:
    """Check what a monitor is to be set to.

    Raises:
        InvalidKey: If there are no keys.
        InvalidType: If an argument has the wrong type.
        InvalidValue: If a number makes no sense.
    """
    timeout = check_seconds("timeout", timeout)
    if suspect_after is None:
        suspect_after = timeout / 2
    if not 0 < check_seconds("suspect_after", suspect_after) < timeout:
        raise InvalidValue(
            f"suspect_after is {suspect_after}; give less than the {timeout} s of the "
            "time-out"
        )
    if probes:
        check_limit(probes, "probes")
    return MonitorSettings(
        listen=tuple(parse_addresses(listen, PORT)),
        ring=check_ring(keys),
        timeout=timeout,
        suspect_after=suspect_after,
        probes=probes,
        window=check_seconds("window", window),
        longest=check_seconds("longest_timeout", longest_timeout),
        max_devices=check_limit(max_devices, "max_devices"),
        kept_for=check_seconds("kept_for", kept_for),
        mass_share=check_share("mass_share", mass_share),
        mass_least=check_limit(mass_least, "mass_least"),
        hold=3 * timeout if hold is None else check_seconds("hold", hold),
        flap_limit=check_limit(flap_limit, "flap_limit"),
        flap_window=check_seconds("flap_window", flap_window),
        buffer=check_limit(receive_buffer, "receive_buffer"),
        state=state,
    )
