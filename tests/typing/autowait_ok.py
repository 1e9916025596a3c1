"""What type checkers must see in autowait. Checked, not run."""

from pathlib import Path

from typing_extensions import assert_type

from cup.errors import ConditionTimeout, WaitFailed
from cup.services.autowait import (
    AllOf,
    AnyOf,
    Condition,
    FailIf,
    FileComplete,
    FileExists,
    FileGone,
    HeldFor,
    LineMatch,
    Named,
    Not,
    PortFree,
    PortOpen,
    Predicate,
    ProcessGone,
    ProcessId,
    ProcessRunning,
    RegexInFile,
    Report,
    UnixSocket,
    Won,
    aio,
    all_of,
    any_of,
    look,
    not_,
    satisfied,
    wait,
    wait_return_true,
    wait_until_file_exist,
    wait_until_process_killed,
)


def find(name: str, *, limit: int = 3) -> list[str]:
    return [name] * limit


async def afind() -> int:
    return 3


def values(path: Path) -> None:
    assert_type(wait(FileExists(path)), Path)
    assert_type(wait(FileComplete("x", quiet=1), timeout=3), Path)
    wait(FileGone(path), 1)
    found = wait(RegexInFile("x", "y"))
    assert_type(found, LineMatch)
    assert_type(wait(ProcessRunning("/bin/x")), ProcessId)
    wait(ProcessGone(7))
    assert_type(wait(PortOpen(80)), int)
    assert_type(wait(PortFree(80, "::1", probe="connect")), int)
    assert_type(wait(UnixSocket("/run/x")), Path)


def combined(path: Path) -> None:
    file, line, port = FileExists(path), RegexInFile(path, "x"), PortOpen(80)
    assert_type(file & port, AllOf[tuple[Path, int]])
    assert_type(wait(all_of(file, line, port)), tuple[Path, LineMatch, int])
    assert_type(file | port, AnyOf[Path | int])
    won = wait(any_of(file, line, port))
    assert_type(won, Won[Path | LineMatch | int])
    assert_type(won.value, Path | LineMatch | int)
    assert_type(~file, Not)
    assert_type(not_(port), Not)
    assert_type(line.held_for(3), HeldFor[LineMatch])
    assert_type(line.fail_if(ProcessGone(3)), FailIf[LineMatch])
    assert_type(line.named("the start"), Named[LineMatch])
    assert_type(wait(line.fail_if(port).held_for(2).named("x")), LineMatch)
    ports = [PortOpen(n) for n in (80, 81)]
    assert_type(wait(all_of(*ports)), tuple[int, ...])
    assert_type(wait(any_of(*ports)), Won[int])
    anything: Condition[object] = file
    assert_type(satisfied(anything), bool)
    assert_type(look(anything), Report)


def functions() -> None:
    assert_type(wait(Predicate(lambda: find("x"))), list[str])
    assert_type(Predicate(afind), Predicate[int])
    assert_type(wait_return_true(find, 10, 0.5, "x", limit=3), bool)
    assert_type(wait_until_file_exist("/x", "*.log", 3, recursive=True), bool)
    assert_type(wait_until_process_killed("/bin/x", [80, 81]), bool)


async def tasks(path: Path) -> None:
    assert_type(await aio.wait(FileExists(path), 3), Path)
    assert_type(await aio.wait(Predicate(afind)), int)
    assert_type(await aio.satisfied(FileGone(path)), bool)
    assert_type(await aio.wait_return_true(find, 10, 0.5, "x", limit=3), bool)
    assert_type(await aio.wait_until_file_exist("/x", "y"), bool)


def errors(timeout: ConditionTimeout, failed: WaitFailed) -> None:
    caught: TimeoutError = timeout
    assert_type(timeout.seen + timeout.mechanism, str)
    assert_type(failed.reason, str)
    print(caught)
