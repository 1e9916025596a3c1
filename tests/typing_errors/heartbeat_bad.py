"""What type checkers must refuse in heartbeats."""

from cup.services.heartbeat import (
    Agent,
    AsyncHeartbeatService,
    HeartbeatEvent,
    HeartbeatService,
    KeyRing,
    Monitor,
)


def shout(event: str) -> None:
    del event


def devices(service: HeartbeatService) -> None:
    HeartbeatService("30")  # error: arg-type
    service.refresh(5)  # error: arg-type
    service.refresh("a", "host")  # error: arg-type
    service.register("a", timeout="1")  # error: arg-type
    service.on_event(shout)  # error: arg-type
    service.events().get(timeout="1")  # error: arg-type
    service.find("a").key  # error: union-attr


def network(ring: KeyRing) -> None:
    Agent("a", "host:1", keys="secret")  # error: arg-type
    Agent("a", "host:1")  # error: call-arg
    Monitor(keys=None)  # error: arg-type
    Monitor(keys=ring.agent("a"))  # error: arg-type


async def colours(service: HeartbeatService, tasks: AsyncHeartbeatService) -> None:
    await service.events().get()  # error: misc
    event: HeartbeatEvent = tasks.events().get()  # error: assignment
    for _ in tasks.events():  # error: attr-defined
        pass
    del event
