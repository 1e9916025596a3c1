"""What this host's system tells of its processor, memory and network.

Linux tells it in `/proc`; macOS in the output of its tools. Nothing here raises: what
cannot be read stays unknown. A load is the difference of two readings.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from cup import net
from cup._core.pause import pause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .device import Value

__all__ = ["read_linux", "read_mac"]

_BETWEEN: Final = 0.2  # seconds between two readings
_WHAT: Final = "reading the load of this host"
_IDLE: Final = slice(3, 5)  # of the times in /proc/stat: idle, and waiting for disks
_TIMES: Final = 8  # what follows is time of guests, which is in the first two already
_PATIENCE: Final = 5.0  # seconds that a tool of macOS may take


def read_linux(iface: str) -> dict[str, Value]:
    """Return what Linux tells of this host.

    Args:
        iface: The network interface; if there is none, that of the default route.
    """
    known: dict[str, Value] = {
        "ipaddr": net.get_hostip(),
        "hostname": net.get_local_hostname(),
    }
    known |= _memory(_text("/proc/meminfo"))
    cards = _traffic(_text("/proc/net/dev"))
    if iface not in cards:
        iface = _default_iface(_text("/proc/net/route")) or iface
    known["iface"] = iface

    began, times = monotonic(), _times(_text("/proc/stat"))
    pause(_BETWEEN, _WHAT, "a thread of its own: anyio.to_thread.run_sync")
    later = _times(_text("/proc/stat"))
    seconds = monotonic() - began
    total = sum(later[:_TIMES]) - sum(times[:_TIMES])
    if total > 0:
        idle = sum(later[_IDLE]) - sum(times[_IDLE])
        known["cpu_idle"] = round(100 * idle / total, 1)
    after = _traffic(_text("/proc/net/dev"))
    if iface in cards and iface in after:
        received, sent = (
            (new - old) / 1024 / seconds
            for old, new in zip(cards[iface], after[iface], strict=True)
        )
        known |= {"net_in": round(received, 1), "net_out": round(sent, 1)}
    return known


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _times(stat: str) -> list[int]:
    """Read the times of all processors: 7 to 10 of them, by the age of the kernel."""
    first, _, _ = stat.partition("\n")
    return [int(word) for word in first.split()[1:] if word.isdigit()]


def _memory(meminfo: str) -> dict[str, Value]:
    sizes = {
        name: int(size)
        for name, size in re.findall(r"^(\w+):\s+(\d+) kB", meminfo, re.MULTILINE)
    }
    total = sizes.get("MemTotal")
    if total is None:
        return {}

    free = sizes.get("MemAvailable", sizes.get("MemFree", 0))
    return {"mem_total": total // 1024, "mem_inuse": (total - free) // 1024}


def _traffic(dev: str) -> dict[str, tuple[int, int]]:
    """Read the bytes that each interface has received and sent."""
    found: dict[str, tuple[int, int]] = {}
    for line in dev.splitlines():
        name, colon, figures = line.partition(":")
        words = figures.split()
        if colon and len(words) > 8 and words[0].isdigit():  # noqa: PLR2004 - see proc(5)
            found[name.strip()] = int(words[0]), int(words[8])
    return found


def _default_iface(route: str) -> str:
    for line in route.splitlines()[1:]:
        words = line.split()
        if len(words) > 1 and words[1] == "00000000":
            return words[0]
    return ""


def read_mac(iface: str) -> dict[str, Value]:
    """Return what macOS tells of this host.

    Args:
        iface: The network interface.
    """
    known: dict[str, Value] = {
        "iface": iface,
        "ipaddr": net.get_hostip(),
        "hostname": net.get_local_hostname(),
    }
    known |= parse_mac(
        _output("top", "-l", "2", "-n", "0", "-s", "1"), _output("sysctl", "hw.memsize")
    )
    return known


def _output(*command: str) -> str:
    try:
        return subprocess.run(  # noqa: S603 - a fixed command of the system
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""


def parse_mac(top: str, sysctl: str) -> dict[str, Value]:
    """Read what `top -l 2` and `sysctl hw.memsize` print; the second sample counts."""
    known: dict[str, Value] = {}
    for idle in re.findall(r"([\d.]+)% idle", top):
        known["cpu_idle"] = float(idle)
    for used in _megabytes(r"PhysMem:\s*(\d+)([KMGT])", top):
        known["mem_inuse"] = used
    size = re.search(r"hw\.memsize:\s*(\d+)", sysctl)
    if size:
        known["mem_total"] = int(size[1]) >> 20
    return known


def _megabytes(pattern: str, text: str) -> Iterator[int]:
    factors = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}
    for number, unit in re.findall(pattern, text):
        yield int(int(number) * factors[unit])
