"""Stored jobs as text: a function by its import path, JSON arguments, a schema version.

What is written here is read by later versions of programs, in which functions may have
moved and options may be others. So reading says why something means nothing, and leaves
the text alone.

Not here: when anything is written (`_core_ledger`), and to what (`JobStore`).
"""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from cup.errors import InvalidType, UnknownJob

from ._core_cron import Cron, DstPolicy
from ._core_plans import make_plan
from ._core_settings import check_kind, check_options, instant_of
from .api_values import (
    Aligned,
    CatchUp,
    FixedDelay,
    FixedRate,
    Jitter,
    JobOptions,
    Urgency,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_plans import RhythmLike

__all__ = [
    "PLAIN",
    "SCHEMA",
    "Entry",
    "function_at",
    "make_entry",
    "path_of",
    "read_entry",
]

SCHEMA: Final = 1
"""The version of what is written; older ones are read, later ones are left alone."""

_RHYTHMS: Final[dict[str, type[FixedRate | FixedDelay | Aligned]]] = {
    "rate": FixedRate,
    "delay": FixedDelay,
    "aligned": Aligned,
}
_decode: Final = json.JSONDecoder().raw_decode  # `loads` costs as much again
PLAIN: Final = JobOptions()
"""The options of all stored jobs that have no others than their key."""
_DEFAULTS: Final[dict[str, object]] = {
    option.name: getattr(PLAIN, option.name)
    for option in fields(JobOptions)
    if option.name != "key"
}


@dataclass(slots=True, kw_only=True)  # frozen ones cost four times as much to make
class Entry:
    """One stored job. Nobody changes it.

    Attributes:
        key: What it is known by.
        function: Its import path, `module:qualified.name`.
        args: Its positional arguments, as JSON has them.
        kwargs: Its keyword arguments.
        due: When it, or the next run of a series, is due, by the wall clock.
        rhythm: What kind of series it is, None for a job that runs once.
        options: The options of its view; `PLAIN` for a job that was read and has no
            others than its key.
        last: When the last run of a series was due; when it ended, at a fixed delay.
        runs: How many runs of a series have ended.
    """

    key: str
    function: str
    args: list[Any]
    kwargs: dict[str, Any]
    due: float
    rhythm: dict[str, Any] | None = None
    options: JobOptions = field(default_factory=JobOptions)
    last: float | None = None
    runs: int = 0

    def text(self) -> str:
        """Return what a store keeps.

        Options that were not given are left out: a default that changes needs a new
        schema.
        """
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "key": self.key,
            "function": self.function,
            "args": self.args,
            "kwargs": self.kwargs,
            "due": self.due,
        }
        if self.rhythm is not None:
            content["rhythm"] = self.rhythm
        if self.last is not None:
            content["last"] = self.last
        if self.runs and self.options.max_runs is not None:  # nobody else needs it
            content["runs"] = self.runs
        options = _chosen(self.options)
        if options:
            content["options"] = options
        return json.dumps(content, allow_nan=False)

    def plan(self) -> RhythmLike | Cron | None:
        """Return the rhythm or the calendar of a series, None for a single job."""
        rhythm = self.rhythm
        if rhythm is None:
            return None

        fields = {name: value for name, value in rhythm.items() if name != "kind"}
        if rhythm["kind"] == "cron":
            return Cron(
                fields["expr"],
                fields["tz"],
                dst=DstPolicy(fields["dst"]),
                name=fields["name"],
            )

        return _RHYTHMS[rhythm["kind"]](**fields)


def _chosen(options: JobOptions) -> dict[str, Any]:
    """Return the options that are not what they are by default, besides the key."""
    chosen: dict[str, Any] = {}
    for name, default in _DEFAULTS.items():
        value = getattr(options, name)
        if value != default:
            nested = isinstance(value, CatchUp | Jitter)
            chosen[name] = asdict(value) if nested else value
    return chosen


def make_entry(
    fn: Callable[..., object],
    args: tuple[object, ...],
    kwargs: dict[str, object],
    *,
    due: float,
    rhythm: RhythmLike | Cron | None,
    options: JobOptions,
) -> Entry:
    """Return the entry of a job that is handed in.

    Raises:
        InvalidType: If the function has no import path, or an argument is not JSON.
    """
    assert options.key is not None, "only jobs with a key are stored"
    return Entry(
        key=options.key,
        function=path_of(fn),
        args=_as_json("args", list(args)),
        kwargs=_as_json("kwargs", kwargs),
        due=due,
        rhythm=None if rhythm is None else _describe(rhythm),
        options=options,
    )


def _as_json(what: str, value: Any) -> Any:
    """Return a value as JSON gives it back; what comes back changed is refused."""
    try:
        copy = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidType(
            f"{what} of a stored job must be JSON, not {value!r}: {error}"
        ) from None
    except RecursionError:
        raise InvalidType(f"{what} of a stored job are nested too deeply") from None
    if copy != value:
        raise InvalidType(
            f"{what} of a stored job must come back from JSON as they are; {value!r} "
            f"comes back as {copy!r}"
        )
    return copy


def _describe(rhythm: RhythmLike | Cron) -> dict[str, Any]:
    if isinstance(rhythm, Cron):
        return {
            "kind": "cron",
            "expr": rhythm.expr,
            "tz": _zone_name(rhythm),
            "dst": rhythm.dst.value,
            "name": rhythm.name,
        }

    if isinstance(rhythm, float | int):
        rhythm = FixedRate(float(rhythm))
    kinds = {kind: name for name, kind in _RHYTHMS.items()}
    return {"kind": kinds[type(rhythm)], **asdict(rhythm)}


def _zone_name(cron: Cron) -> str:
    name = str(getattr(cron.tz, "key", None) or cron.tz)
    try:
        Cron(cron.expr, name, dst=cron.dst, name=cron.name)
    except ValueError:
        raise InvalidType(
            f"{cron.tz!r} cannot be stored: its name would not give it; use a zone of "
            "the time zone database"
        ) from None
    return name


def path_of(fn: Callable[..., object]) -> str:
    """Return the import path of a function.

    Raises:
        InvalidType: If importing that would not give this function.
    """
    module = getattr(fn, "__module__", None)
    name = getattr(fn, "__qualname__", None)
    path = f"{module}:{name}"
    try:
        found: object = sys.modules[str(module)]
        for part in str(name).split("."):
            found = getattr(found, part)
    except (KeyError, AttributeError):
        found = None
    # Bound methods are made anew each time, and equal.
    if found != fn or module == "__main__":
        raise InvalidType(
            f"{fn!r} cannot be stored: importing {path} would not give it; use a "
            "function of a module"
        )
    if inspect.iscoroutinefunction(fn):
        raise InvalidType(
            f"{fn!r} cannot be stored: its event loop ends with this process"
        )
    return path


def function_at(path: str) -> Callable[..., Any]:
    """Import a function.

    Raises:
        UnknownJob: If there is none.
    """
    module, _, name = path.partition(":")
    try:
        found: object = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        raise UnknownJob(f"{path} cannot be imported: {error}") from error

    if not callable(found):
        raise UnknownJob(f"{path} is no function but {found!r}")
    if inspect.iscoroutinefunction(found):
        raise UnknownJob(f"{path} is a coroutine function, which no worker can run")
    return found


def read_entry(text: str, key: str) -> Entry:
    """Read what a store has kept under a key.

    Raises:
        UnknownJob: If it means nothing to this version.
    """
    try:
        content, end = _decode(text)
        if end != len(text):
            raise UnknownJob(f"it ends at {end} of {len(text)} characters")

        schema = content.pop("schema")
        if schema > SCHEMA:
            raise UnknownJob(
                f"it was stored by a later version (schema {schema}; this is {SCHEMA})"
            )

        options = content.pop("options", None)
        chosen = _options(options, content["key"]) if options else PLAIN
        entry = Entry(options=chosen, **content)
        _check(entry, key)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnknownJob(f"it cannot be read: {error!r}") from error
    return entry


def _check(entry: Entry, key: str) -> None:
    """Refuse what could not be begun: one such job would keep all others waiting."""
    if entry.key != key:
        raise UnknownJob(f"it is that of another key, {entry.key!r}")

    check_kind("function", entry.function, str)
    check_kind("args", entry.args, list)
    check_kind("kwargs", entry.kwargs, dict)
    instant_of(entry.due, "due")
    rhythm = entry.plan()
    if rhythm is None:
        return

    if not isinstance(rhythm, Cron):
        make_plan(rhythm, 0.0)
    if entry.last is not None:
        instant_of(entry.last, "last")
    if type(entry.runs) is not int or entry.runs < 0:
        raise InvalidType(f"runs={entry.runs!r} is no number of runs")


def _options(options: dict[str, Any], key: str) -> JobOptions:
    """Return the options of a job from what was stored of them."""
    options.pop("key", None)
    if options.get("jitter") is not None:
        options["jitter"] = Jitter(**options["jitter"])
    if "urgency" in options:
        options["urgency"] = Urgency(options["urgency"])
    if "catch_up" in options:
        options["catch_up"] = CatchUp(**options["catch_up"])
    chosen = JobOptions(key=key, **options)
    given = {option.name: getattr(chosen, option.name) for option in fields(chosen)}
    return check_options(**given, has_store=True)
