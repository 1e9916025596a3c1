"""Heartbeats: who is alive, told once and told truly.

| for threads        | for tasks               | interface                             |
|--------------------|-------------------------|---------------------------------------|
| `HeartbeatService` | `AsyncHeartbeatService` | `HeartbeatAPI`, `AsyncHeartbeatAPI`   |
| `Events`           | `AsyncEvents`           | `EventsAPI`, `AsyncEventsAPI`         |
| `Monitor`          | `AsyncMonitor`          | `MonitorAPI`, `AsyncMonitorAPI`       |
| `Agent`            | `AsyncAgent`            | `AgentAPI`, `AsyncAgentAPI`           |
| `RedisHeartbeats`  | `AsyncRedisHeartbeats`  | `SharedAPI`, `AsyncSharedAPI`         |

A service is told of beats, and tells of losses::

    from cup.services.heartbeat import HeartbeatService

    service = HeartbeatService(judge_lost_in_sec=5)
    service.refresh("disk3")
    service.get_lost()         # whoever was silent for longer

    for event in service.events():
        print(event.kind, event.key)

Over the network, an `Agent` beats, and a `Monitor` hears it, by keys of a `KeyRing`::

    with Agent("disk3", "monitor.example", keys=KeyRing.from_env()):
        work()
"""

from typing import TYPE_CHECKING

from ._core_settings import PORT
from .api import (
    AsyncEventsAPI,
    AsyncHeartbeatAPI,
    DeviceState,
    DeviceView,
    EventKind,
    EventsAPI,
    HeartbeatAPI,
    HeartbeatEvent,
    HeartbeatStats,
    Snapshot,
)
from .api_net import (
    AgentAPI,
    AgentStats,
    AsyncAgentAPI,
    AsyncMonitorAPI,
    AsyncSharedAPI,
    MonitorAPI,
    MonitorStats,
    SharedAPI,
    SharedStats,
)
from .device import Device
from .host import LinuxHost, MacHost
from .keys import UNAUTHENTICATED, AgentKeys, KeyRing, new_key
from .sync import Events, HeartbeatService
from .sync_net import Agent, Monitor

__all__ = [
    "PORT",
    "UNAUTHENTICATED",
    "Agent",
    "AgentAPI",
    "AgentKeys",
    "AgentStats",
    "AsyncAgent",
    "AsyncAgentAPI",
    "AsyncEvents",
    "AsyncEventsAPI",
    "AsyncHeartbeatAPI",
    "AsyncHeartbeatService",
    "AsyncMonitor",
    "AsyncMonitorAPI",
    "AsyncRedisHeartbeats",
    "AsyncSharedAPI",
    "Device",
    "DeviceState",
    "DeviceView",
    "EventKind",
    "Events",
    "EventsAPI",
    "HeartbeatAPI",
    "HeartbeatEvent",
    "HeartbeatService",
    "HeartbeatStats",
    "KeyRing",
    "LinuxHost",
    "MacHost",
    "Monitor",
    "MonitorAPI",
    "MonitorStats",
    "RedisHeartbeats",
    "SharedAPI",
    "SharedStats",
    "Snapshot",
    "new_key",
]

if TYPE_CHECKING:
    from .aio import AsyncEvents, AsyncHeartbeatService
    from .aio_net import AsyncAgent, AsyncMonitor
    from .aio_redis import AsyncRedisHeartbeats
    from .sync_redis import RedisHeartbeats
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        # Not `from . import`: that asks this very function again.
        if name in {"AsyncEvents", "AsyncHeartbeatService"}:
            import cup.services.heartbeat.aio as module
        elif name in {"AsyncAgent", "AsyncMonitor"}:
            import cup.services.heartbeat.aio_net as module
        elif name == "AsyncRedisHeartbeats":
            import cup.services.heartbeat.aio_redis as module
        elif name == "RedisHeartbeats":
            import cup.services.heartbeat.sync_redis as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
