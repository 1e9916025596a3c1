"""What type checkers must refuse in the executor."""

from cup.services.executor import AsyncExecutionService, Cron, ExecutionService, Urgency


def area(width: int, *, height: float = 1.0) -> float:
    return width * height


async def fetch(url: str) -> bytes:
    return url.encode()


def arguments(service: ExecutionService) -> None:
    service.submit(area, "2")  # error: arg-type
    service.after(1, area)  # error: call-arg
    service.after("1", area, 2)  # error: arg-type
    service.at("noon", area, 2)  # error: arg-type
    service.every(5, area, 2, depth=1)  # error: call-arg
    service.cron(5, area, 2)  # error: arg-type
    service.cron("@daily", area, "2")  # error: arg-type
    service.queue_exec(area, Urgency.LOW, "2")  # error: arg-type
    service.delay_exec(5, area, 1, "2")  # error: arg-type


def results(service: ExecutionService) -> None:
    text: str = service.after(1, area, 2).result()  # error: assignment
    service.every(5, area, 2).result(timeout="1")  # error: arg-type
    del text


def options(service: ExecutionService) -> None:
    service.options(overlap="sometimes")  # error: arg-type
    ExecutionService(on_broken="explode")  # error: arg-type
    Cron(5)  # error: arg-type
    Cron("@daily", 8)  # error: arg-type


async def colours(service: ExecutionService, tasks: AsyncExecutionService) -> None:
    await service.stop()  # error: misc
    await tasks.after(1, fetch, 2)  # error: call-overload
    tasks.after(1, area, 2).cancel()  # error: attr-defined
    number: int = await (await tasks.submit(fetch, "x"))  # error: call-overload
    del number
