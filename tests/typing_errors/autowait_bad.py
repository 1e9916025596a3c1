"""What type checkers must refuse in autowait."""

from pathlib import Path

from cup.services.autowait import (
    FileExists,
    PortFree,
    PortOpen,
    Predicate,
    aio,
    all_of,
    wait,
    wait_return_true,
)


def find(name: str, *, limit: int = 3) -> list[str]:
    return [name] * limit


def conditions(path: Path) -> None:
    wait(path)  # error: arg-type
    wait(FileExists(path), "3")  # error: arg-type
    FileExists(5)  # error: arg-type
    PortOpen("http")  # error: arg-type
    PortFree(80, probe="ask")  # error: arg-type
    Predicate(find)  # error: arg-type
    FileExists(path) & 3  # error: operator


def results(path: Path) -> None:
    port: int = wait(FileExists(path))  # error: assignment
    both: tuple[Path, Path] = wait(  # error: assignment
        all_of(FileExists(path), PortOpen(80))
    )
    wait_return_true(find, 10, 0.5, 7, limit=3)  # error: arg-type
    del port, both


async def colours(path: Path) -> None:
    await wait(FileExists(path))  # error: misc
    aio.wait(FileExists(path)).exists()  # error: attr-defined
