"""What type checkers must see in heartbeats. Checked, not run."""

from typing_extensions import assert_type

from cup.protocols import (
    AgentAPI,
    AsyncAgentAPI,
    AsyncEventsAPI,
    AsyncHeartbeatAPI,
    AsyncMonitorAPI,
    EventsAPI,
    HeartbeatAPI,
    MonitorAPI,
)
from cup.services.heartbeat import (
    UNAUTHENTICATED,
    Agent,
    AgentKeys,
    AgentStats,
    AsyncAgent,
    AsyncEvents,
    AsyncHeartbeatService,
    AsyncMonitor,
    AsyncRedisHeartbeats,
    AsyncSharedAPI,
    Device,
    DeviceView,
    EventKind,
    Events,
    HeartbeatEvent,
    HeartbeatService,
    HeartbeatStats,
    KeyRing,
    LinuxHost,
    Monitor,
    MonitorStats,
    RedisHeartbeats,
    SharedAPI,
    SharedStats,
    Snapshot,
    new_key,
)


def note(event: HeartbeatEvent) -> None:
    del event


def devices(service: HeartbeatService) -> None:
    service.refresh("a")
    service.refresh("a", LinuxHost("a", init_this_host=True, iface="eth0", port=1))
    service.refresh_many({"a", "b"})
    service.register("a", timeout=2.5, device=Device("a"))
    assert_type(service.get_lost(), list[Device])
    assert_type(service.find("a"), DeviceView | None)
    assert_type(service.snapshot(), Snapshot)
    assert_type(service.stats(), HeartbeatStats)
    assert_type(service.events(), Events)
    assert_type(service.events().get(timeout=1), HeartbeatEvent)
    assert_type(service.aio, AsyncHeartbeatService)
    service.on_event(note, limit=5).close()
    service.cleanup_oldlost("lost.txt")
    for event in service.events():
        assert_type(event.kind, EventKind)
    as_protocol: HeartbeatAPI = service
    as_events: EventsAPI = service.events()
    del as_protocol, as_events


async def devices_in_tasks(service: AsyncHeartbeatService) -> None:
    assert_type(service.events(), AsyncEvents)
    assert_type(await service.events().get(), HeartbeatEvent)
    assert_type(service.get_lost(), list[Device])
    assert_type(service.sync, HeartbeatService)
    await service.cleanup_oldlost()
    async for event in service.events():
        assert_type(event, HeartbeatEvent)
    as_protocol: AsyncHeartbeatAPI = service
    as_events: AsyncEventsAPI = service.events()
    del as_protocol, as_events


def network(view: RedisHeartbeats) -> None:
    ring = KeyRing.from_text(new_key(), label="cluster")
    assert_type(ring, KeyRing)
    assert_type(ring.agent("a"), AgentKeys)
    with Monitor(["[::]:0", ("127.0.0.1", 0)], keys=ring, store=view) as monitor:
        assert_type(monitor.stats(), MonitorStats)
        assert_type(monitor.device("a"), Device | None)
        with Agent("a", monitor.addresses, keys=ring.agent("a")) as agent:
            assert_type(agent.stats(), AgentStats)
            assert_type(agent.healthy, bool)
        monitors: MonitorAPI = monitor
        agents: AgentAPI = agent
        del monitors, agents
    shared: SharedAPI = view
    assert_type(view.stats(), SharedStats)
    assert_type(view.snapshot(), Snapshot)
    del shared


async def network_in_tasks(view: AsyncRedisHeartbeats) -> None:
    async with AsyncMonitor(keys=UNAUTHENTICATED, store=view) as monitor:
        async with AsyncAgent("a", "h:1", keys=UNAUTHENTICATED, alive=bool) as agent:
            agent.beat()
        async for event in monitor.events(limit=10):
            assert_type(event, HeartbeatEvent)
        monitors: AsyncMonitorAPI = monitor
        agents: AsyncAgentAPI = agent
        del monitors, agents
    shared: AsyncSharedAPI = view
    assert_type(await view.snapshot(), Snapshot)
    del shared
