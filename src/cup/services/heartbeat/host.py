"""Hosts as devices, with what is known of their processor, memory and network.

Not here: how this host is measured (`_core_readings`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cup.errors import InvalidType

from ._core_readings import read_linux, read_mac
from .device import Device, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LinuxHost", "MacHost"]

_log = logging.getLogger("cup.heartbeat")

_UNKNOWN: Final = -1


class _Host(Device):
    """What hosts of every system have."""

    def __init__(self, name: str, iface: str, port: int) -> None:
        super().__init__(name)
        self._dict_info: dict[str, Value] = {
            "iface": iface,
            "ipaddr": "0.0.0.0",  # noqa: S104 - unknown, never bound
            "port": port,
            "hostname": name,
            "cpu_idle": _UNKNOWN,
            "mem_inuse": _UNKNOWN,
            "mem_total": _UNKNOWN,
            "net_in": _UNKNOWN,
            "net_out": _UNKNOWN,
        }

    def _take_in(self, found: Mapping[str, Value]) -> None:
        for key, value in found.items():
            if key in self._dict_info:
                self._dict_info[key] = value
            else:
                _log.warning("a host has no %r; ignored", key)

    def set_linux_res_bydict(self, info_dict: Mapping[str, Value]) -> None:
        """Set what is known of it: `iface ipaddr port cpu_idle mem_inuse ...`.

        What a host does not have is ignored, with a warning in the log.

        Raises:
            InvalidType: If it is no dictionary.
        """
        if not hasattr(info_dict, "items"):
            raise InvalidType(f"info_dict must be a dictionary, not {info_dict!r}")
        self._take_in(info_dict)

    def set_ip_port(self, ipaddr: str, port: int | None = None) -> None:
        """Set its address; the port only if given."""
        self._dict_info["ipaddr"] = ipaddr
        if port is not None:
            self._dict_info["port"] = port

    def get_ip(self) -> str:
        """Return its IP address, "0.0.0.0" if that is not known."""
        return str(self._dict_info["ipaddr"])

    def get_ip_port(self) -> tuple[str, int]:
        """Return its IP address and port."""
        port = self._dict_info["port"]
        return self.get_ip(), port if isinstance(port, int) else 0

    def set_cpu_idle(self, idle_rate: float) -> None:
        """Set what share of its processors is idle, in percent."""
        self._dict_info["cpu_idle"] = idle_rate

    def get_cpu_idle(self) -> float:
        """Return what share of its processors is idle, in percent; -1 if unknown."""
        return self._figure("cpu_idle")

    def set_mem_usage(self, mem_inuse: float | None, mem_total: float | None) -> None:
        """Set its memory in MB, in use and in all; None leaves a figure as it is."""
        self._set(mem_inuse=mem_inuse, mem_total=mem_total)

    def get_mem_info(self) -> tuple[float, float]:
        """Return its memory in MB, in use and in all; -1 for what is unknown."""
        return self._figure("mem_inuse"), self._figure("mem_total")

    def set_net_usage(self, net_in: float | None, net_out: float | None) -> None:
        """Set its traffic in kB/s, in and out; None leaves a figure as it is."""
        self._set(net_in=net_in, net_out=net_out)

    def get_net_usage(self) -> tuple[float, float]:
        """Return its traffic in kB/s, in and out; -1 for what is unknown."""
        return self._figure("net_in"), self._figure("net_out")

    def _figure(self, key: str) -> float:
        value = self._dict_info[key]
        return value if isinstance(value, int | float) else _UNKNOWN

    def _set(self, **figures: float | None) -> None:
        self._dict_info |= {
            key: value for key, value in figures.items() if value is not None
        }


class LinuxHost(_Host):
    """A host that runs Linux.

    Args:
        name: Its name.
        init_this_host: Whether it is this host: its address, processor, memory and
            network are read now. That takes a fifth of a second: a load is the
            difference of two readings.
        iface: The network interface whose traffic counts. If this host has none of
            that name, it is the one that leads to others.
        port: Its port.
    """

    def __init__(
        self,
        name: str,
        init_this_host: bool = False,
        iface: str = "eth0",
        port: int = 0,
    ) -> None:
        super().__init__(name, iface, port)
        if init_this_host:
            self._take_in(read_linux(iface))


class MacHost(_Host):
    """A host that runs macOS.

    Args:
        name: Its name.
        init_this_host: Whether it is this host: what its system tells is read now.
        iface: The network interface whose traffic counts.
        port: Its port.
    """

    def __init__(
        self,
        name: str,
        init_this_host: bool = False,
        iface: str = "en0",
        port: int = 0,
    ) -> None:
        super().__init__(name, iface, port)
        if init_this_host:
            self._take_in(read_mac(iface))
