"""The older names for jobs by the calendar: `CronTask` and `CronExecution`.

New code takes `ExecutionService.cron`, which does the same and more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from cup.errors import InvalidType, InvalidValue

from ._core_plans import CronPlan
from ._core_seed_cron import ListedTimes
from ._core_series_handle import Series
from ._core_settings import check_kind
from .sync import ExecutionService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import tzinfo

__all__ = ["CronExecution", "CronTask"]


class CronTask:
    """A function and the times it is to run at.

    Args:
        name: What it is called.
        pytz_timezone: The zone whose clock counts: of zoneinfo, of pytz, or its name.
        timer_dict: Lists of numbers by the keys `minute`, `hour`, `weekday` (1 is
            Monday, 7 Sunday), `monthday` and `month`; None, or a key left out, means
            all. All of them must match.
        md5uuid: What it is known by.
        function: What is called.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Raises:
        InvalidValue: If a time makes no sense, or never comes.
        CronError: If the zone is not known; both are a `ValueError`.
        InvalidType: If something has the wrong type.
    """

    def __init__(
        self,
        name: str,
        pytz_timezone: tzinfo | str,
        timer_dict: Mapping[str, Iterable[int] | None],
        md5uuid: str,
        function: Callable[..., object],
        *args: object,
        **kwargs: object,
    ) -> None:
        if not callable(function):
            raise InvalidType(f"a task must be callable, not {function!r}")

        check_kind("timer_dict", timer_dict, Mapping)

        self._name = name
        self._zone = pytz_timezone
        self._timer = dict(timer_dict)
        self._times = ListedTimes(timer_dict, pytz_timezone)
        self._taskid = md5uuid
        self._call = (function, args, kwargs)
        self._last: datetime | None = None

    @property
    def times(self) -> ListedTimes:
        """The times it is to run at, for this package."""
        return self._times

    def name(self) -> str:
        """Return what it is called."""
        return self._name

    def taskid(self) -> str:
        """Return what it is known by."""
        return self._taskid

    def pytz_timezone(self) -> tzinfo | str:
        """Return the zone, as it was given."""
        return self._zone

    def get_timer(self) -> dict[str, Iterable[int] | None]:
        """Return the times, as they were given."""
        return dict(self._timer)

    def get_funcargs(
        self,
    ) -> tuple[Callable[..., object], tuple[object, ...], dict[str, object]]:
        """Return the function, its positional and its keyword arguments."""
        return self._call

    def next_schedtime(self, starting_fromdate: datetime | None = None) -> datetime:
        """Return the first time after a moment, as an aware datetime in the zone.

        Args:
            starting_fromdate: The moment; None for now. A naive datetime is one of the
                zone.

        Raises:
            InvalidValue: If there is none any more.
        """
        zone = self._times.tz
        start = starting_fromdate
        if start is None:
            start = datetime.now(timezone.utc)
        check_kind("starting_fromdate", start, datetime)
        if start.tzinfo is None:
            start = start.replace(tzinfo=zone)
        found = self._times.next_after(start.timestamp())
        if found is None:
            raise InvalidValue(f"task {self._name!r} has no time after {start}")

        return datetime.fromtimestamp(found, zone)

    def last_schedtime(self) -> datetime | None:
        """Return when it last ran; None if it has not."""
        return self._last

    def get_last_schedtime(self) -> datetime | None:
        """Return when it last ran; None if it has not."""
        return self._last

    def set_last_schedtime(self, timestamp: datetime | None) -> None:
        """Note when it last ran."""
        self._last = timestamp

    def __call__(self) -> object:
        """Run the function, and note when."""
        self._last = datetime.now(self._times.tz)
        function, args, kwargs = self._call
        return function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<CronTask {self._name!r} {self._taskid!r} {self._times.expr!r}>"


def _check_task(task: object) -> None:
    if not isinstance(task, CronTask):
        raise InvalidType(f"give a CronTask, not {task!r}")


class CronExecution(ExecutionService):
    """Runs tasks by the calendar: the older form of `ExecutionService.cron`.

    A run waits for the one before of the same task, and an exception, which is
    reported, does not end a task. All methods are thread-safe.

    Args:
        threads_num: How many tasks run at the same time.
        name: For `repr`, messages and thread names.

    Raises:
        InvalidValue: If `threads_num` is below 1.
    """

    __slots__ = ("_tasks",)

    def __init__(self, threads_num: int = 3, name: str | None = None) -> None:
        super().__init__(threads_num, threads_num, name)
        self._tasks: dict[str, tuple[CronTask, Series[Any]]] = {}

    def schedule(self, crontask: CronTask) -> Series[Any]:
        """Have a task run at its times, from the next one on.

        Args:
            crontask: The task.

        Returns:
            The handle of its runs.

        Raises:
            InvalidValue: If a task of the same identifier is scheduled.
            InvalidType: If it is no task.
            ExecutorClosed: If the service was stopped.
        """
        _check_task(crontask)
        taskid = crontask.taskid()
        found = self._tasks.get(taskid)
        if found is not None and not found[1].done():
            raise InvalidValue(
                f"task {taskid!r} is scheduled already, as {found[0].name()!r}; "
                "cancel it first"
            )

        view = self.options(name=crontask.name())
        plan = CronPlan(crontask.times)
        series: Series[Any] = Series(view.begin(plan, crontask))
        self._tasks[taskid] = crontask, series
        return series

    def calcel_delay_exec(self, taskid: str) -> bool:
        """Run a task no more: the older name of `cancel`."""
        return self.cancel(taskid)

    def cancel(self, taskid: str) -> bool:
        """Run a task no more; what runs already goes on.

        Args:
            taskid: What the task is known by.

        Returns:
            False if no such task is scheduled.
        """
        found = self._tasks.pop(taskid, None)
        return found is not None and found[1].cancel()

    def get_tasks(self) -> list[CronTask]:
        """Return the tasks that are scheduled."""
        return [
            task for task, series in list(self._tasks.values()) if not series.done()
        ]

    def get_taskbyid(self, taskid: str) -> CronTask | None:
        """Return a task that is scheduled; None if there is no such task."""
        found = self._tasks.get(taskid)
        return None if found is None or found[1].done() else found[0]
