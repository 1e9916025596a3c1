"""A device: something with a name that beats, and what is known of its resources.

Not here: who watches devices (`_core`), and hosts with readings (`host`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias, cast

from cup._core.clock import SYSTEM
from cup.errors import InvalidType

if TYPE_CHECKING:
    from cup._core.clock import Clock

__all__ = ["Device", "Pulse", "Value", "check_text", "device_of", "pulse_of"]

Value: TypeAlias = "str | int | float | bool | None"
"""What is known of one resource."""


class Pulse:
    """When a device beat last: the one record that it shares with who watches it.

    Attributes:
        stamp: On the monotonic clock.
        astray: Whether it was stamped by the device itself, out of turn.
        device: The object, where one was given or asked for.
    """

    __slots__ = ("astray", "device", "stamp")

    def __init__(self, stamp: float, device: Device | None = None) -> None:
        self.stamp: float = stamp
        self.astray: bool = False
        self.device: Device | None = device


class Device:
    """Something with a name that beats.

    Args:
        name: Its name.

    Attributes:
        pulse: When it beat last; shared with the service that watches it.
        clock: The clock of that service.

    Raises:
        InvalidType: If the name is no text.
    """

    def __init__(self, name: str) -> None:
        self._name: str = check_text("the name of a device", name)
        self.clock: Clock = SYSTEM
        self.pulse: Pulse = Pulse(SYSTEM.monotonic(), self)
        self._dict_info: dict[str, Value] = {}

    def get_name(self) -> str:
        """Return its name."""
        return self._name

    def get_last_healthy(self) -> float:
        """Return when it beat last, in seconds since the epoch.

        It is judged by a clock that cannot be set; this is told for people.
        """
        clock = self.clock
        return clock.time() - (clock.monotonic() - self.pulse.stamp)

    def set_last_healthy(self) -> None:
        """Note a beat, as if it was refreshed wherever it is watched."""
        self.pulse.stamp = self.clock.monotonic()
        self.pulse.astray = True

    def get_dict_resinfo(self) -> dict[str, Value]:
        """Return what is known of its resources: the very dictionary."""
        return self._dict_info

    def serilize(self) -> bytes:
        """Return what is known of its resources, as JSON."""
        return json.dumps(self._dict_info, ensure_ascii=False).encode()

    def deserilize(self, binary: bytes | str) -> bool:
        """Take in what `serilize` returned.

        Returns:
            False, with nothing changed, if it is something else.
        """
        found = _read_values(binary)
        if found is None:
            return False

        self._take_in(found)
        return True

    def _take_in(self, found: dict[str, Value]) -> None:
        self._dict_info = found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}>"


def _read_values(binary: bytes | str) -> dict[str, Value] | None:
    """Read a flat JSON object; None if it is none."""
    try:
        found: object = json.loads(binary)
    except (ValueError, TypeError, RecursionError):
        return None

    if not isinstance(found, dict):
        return None

    values: dict[str, Value] = {}
    for name, value in cast("dict[str, object]", found).items():
        if not isinstance(value, str | int | float | None):
            return None
        values[name] = value
    return values


def check_text(what: str, text: object) -> str:
    """Return a text, checked.

    Raises:
        InvalidType: If it is none.
    """
    if not isinstance(text, str):
        raise InvalidType(f"{what} must be a text, not {text!r}")
    return str(text)  # the code of a subclass shall not run under a mutex


def pulse_of(device: Device, clock: Clock) -> Pulse:
    """Return the pulse of a device, which from now on runs on this clock.

    Raises:
        InvalidType: If it is no `Device`, or its constructor was not called.
    """
    pulse: object = getattr(device, "pulse", None)
    if not isinstance(pulse, Pulse):
        kind = type(device).__name__
        raise InvalidType(
            f"device_obj must be a Device whose __init__ ran, not a {kind}"
        )
    device.clock = clock
    return pulse


def device_of(key: str, pulse: Pulse, clock: Clock) -> Device:
    """Return the object of a device, made now if there was none."""
    if pulse.device is None:
        device = Device(key)
        device.clock, device.pulse = clock, pulse
        pulse.device = device
    return pulse.device
