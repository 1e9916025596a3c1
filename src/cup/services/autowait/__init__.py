"""Waiting until something holds, woken when it happens.

| in threads              | in tasks                     | waits until               |
|-------------------------|------------------------------|---------------------------|
| `wait(condition, 9)`    | `await aio.wait(...)`        | a condition holds         |
| `satisfied(condition)`  | `await aio.satisfied(...)`   | (looks once)              |
| `look(condition)`       | `await aio.look(...)`        | (looks once, and reports) |
| `wait_until_...(...)`   | `await aio.wait_until_...()` | the older names           |

Conditions are values: `FileExists FileComplete FileGone RegexInFile ProcessRunning
ProcessGone PortOpen PortFree UnixSocket Predicate`. They combine::

    from cup.services.autowait import ProcessGone, RegexInFile, wait

    ready = RegexInFile("server.log", "listening on ([0-9]+)").fail_if(ProcessGone(pid))
    line = wait(ready, timeout=30)
    port = int(line.match[1])

`a & b`, `a | b`, `~a`, `all_of`, `any_of`, `not_`, `.held_for(seconds)`,
`.fail_if(condition)`, `.named(text)`. A time-out says what was seen last, and what came
nearest.

On Linux events of the kernel wake the wait (inotify, pidfd). A few threads listen for
themselves; one helper thread listens for all other waits. What has no events is looked
at now and then; `look(...).mechanism` says what, and why.
"""

from typing import TYPE_CHECKING

from .api import (
    AllOf,
    AnyOf,
    Condition,
    FailIf,
    HeldFor,
    Named,
    Not,
    Report,
    StateCondition,
    Won,
    all_of,
    any_of,
    not_,
)
from .conditions import (
    PortFree,
    PortOpen,
    Predicate,
    ProcessGone,
    ProcessId,
    ProcessRunning,
    UnixSocket,
)
from .files import FileComplete, FileExists, FileGone, LineMatch, RegexInFile
from .sync import (
    look,
    satisfied,
    wait,
    wait_return_false,
    wait_return_true,
    wait_until_file_exist,
    wait_until_port_not_used,
    wait_until_port_used,
    wait_until_process_exist,
    wait_until_process_killed,
    wait_until_process_not_exist,
    wait_until_process_used_ports,
    wait_until_reg_str_exist,
)

__all__ = [
    "AllOf",
    "AnyOf",
    "Condition",
    "FailIf",
    "FileComplete",
    "FileExists",
    "FileGone",
    "HeldFor",
    "LineMatch",
    "Named",
    "Not",
    "PortFree",
    "PortOpen",
    "Predicate",
    "ProcessGone",
    "ProcessId",
    "ProcessRunning",
    "RegexInFile",
    "Report",
    "StateCondition",
    "UnixSocket",
    "Won",
    "aio",
    "all_of",
    "any_of",
    "look",
    "not_",
    "satisfied",
    "wait",
    "wait_return_false",
    "wait_return_true",
    "wait_until_file_exist",
    "wait_until_port_not_used",
    "wait_until_port_used",
    "wait_until_process_exist",
    "wait_until_process_killed",
    "wait_until_process_not_exist",
    "wait_until_process_used_ports",
    "wait_until_reg_str_exist",
]

if TYPE_CHECKING:
    from . import aio
else:

    def __getattr__(name: str) -> object:
        # A literal import: freezing tools find the module.
        # Not `from . import`: that asks this very function again.
        if name == "aio":
            import cup.services.autowait.aio as module

            return module
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
