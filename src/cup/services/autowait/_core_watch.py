"""What one wait listens to, from look to look; and what it has to poll, and why.

With every renewal the probes declare all they depend on. What is the same as before
stays; what a path leads to now is watched, whatever it led to before; the rest is let
go.
"""

from __future__ import annotations

import os
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final

from . import _core_inotify as inotify
from ._core_eyes import Unwatchable
from ._core_hub import HUB
from ._core_mounts import silent_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_hub import Bell, Hub, Sub
    from ._core_verdicts import Probe

__all__ = ["Watch"]

_SELF: Final = inotify.DELETE_SELF | inotify.MOVE_SELF
_NAMES: Final = (
    inotify.CREATE
    | inotify.DELETE
    | inotify.MOVED_FROM
    | inotify.MOVED_TO
    | inotify.ATTRIB
    | _SELF
)
_PASSED: Final = inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO | _SELF
_CONTENT: Final = inotify.MODIFY | inotify.CLOSE_WRITE | inotify.ATTRIB | _SELF
_EXECUTION: Final = inotify.OPEN | inotify.CLOSE_NOWRITE | inotify.ATTRIB | _SELF

_OPEN_FILES: Final = "/proc/self/fd/" if sys.platform == "linux" else "/dev/fd/"

_LEAST_GAP: Final = 0.01
_MOST_GAP: Final = 0.5
_SHARE: Final = 0.05  # of the time waited so far: the gap grows with it

_Token = tuple[str, int, str]


class _Match:
    """Compares names with one name."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = os.fsencode(name)

    def __call__(self, name: bytes) -> bool:
        return name == self._name


class Watch:
    """Listens for one wait. It is used by one thread at a time.

    Args:
        bell: Who is woken.
        hub: Who listens.
        most: Seconds between two looks, at most, where there are no events.
    """

    __slots__ = (
        "_began",
        "_bell",
        "_changed",
        "_generation",
        "_hub",
        "_means",
        "_most",
        "_next_poll",
        "_old",
        "_polls",
        "_subs",
    )

    def __init__(self, bell: Bell, hub: Hub = HUB, most: float | None = None) -> None:
        self._bell = bell
        self._hub = hub
        self._most = _MOST_GAP if most is None else min(most, _MOST_GAP)
        self._began = monotonic()
        self._generation = hub.generation
        self._subs: dict[_Token, Sub] = {}
        self._old: dict[_Token, Sub] = {}
        self._changed = False
        self._means: dict[str, None] = {}
        self._polls: dict[str, None] = {}
        self._next_poll: float | None = None

    def renew(self, probe: Probe[object], now: float) -> bool:
        """Have a probe declare anew what it depends on.

        Returns:
            Whether anything is listened to that was not before: then, and only then,
            something may have changed unheard since the last look.
        """
        if self._generation != self._hub.generation:
            self._generation = self._hub.generation  # the subs stayed in the parent
            self._subs = {}
        self._old, self._subs = self._subs, {}
        self._changed = False
        self._means, self._polls = {}, {}
        try:
            probe.arm(self)
        finally:
            self._hub.drop(self._old.values())
            self._old = {}
        self._next_poll = None
        if self._polls:
            gap = max(_LEAST_GAP, (now - self._began) * _SHARE)
            self._next_poll = now + min(self._most, gap)
        return self._changed

    def polls(self, now: float) -> bool:
        """Tell whether it is time to look, and to try again what could not be had."""
        return self._next_poll is not None and now >= self._next_poll

    def due(self, _: float) -> float | None:
        """Return when to look again though nothing is heard."""
        return self._next_poll

    def mechanism(self) -> str:
        """Say how changes are noticed, and what is polled for which reason."""
        polls = [f"poll({self._most:g} s): {why}" for why in self._polls]
        return ", ".join([*self._means, *polls])

    def close(self) -> None:
        """Let go of everything; may be called again, and from finalizers."""
        subs = [*self._subs.values(), *self._old.values()]
        self._subs, self._old = {}, {}
        if self._generation == self._hub.generation:
            self._hub.drop(subs)

    # -- what probes declare -----------------------------------------------------------

    def entry(self, directory: str, name: str, *, passed: bool) -> bool:
        """Hear of a name in a directory that comes or goes."""
        mask = _PASSED if passed else _NAMES
        return self._path(directory, mask, name, _Match(name), needed=not passed)

    def entries(self, directory: str, matches: Callable[[bytes], bool]) -> bool:
        """Hear of all names in a directory that match, coming or going."""
        return self._path(directory, _NAMES, "*", matches)

    def content(self, path: str) -> Sub | None:
        """Hear of writes to a file, of its closing after them, and of its end."""
        return self._sub(path, _CONTENT, "", None)

    def content_of(self, fd: int) -> Sub | None:
        """Hear of writes to an open file, wherever it was moved to."""
        return self._sub(f"{_OPEN_FILES}{fd}", _CONTENT, "", None)

    def execution(self, path: str, *, below: bool = False) -> Sub | None:
        """Hear of an executable being started, and left; or of those in a directory."""
        if not below:
            return self._sub(path, _EXECUTION, "", None)
        return self._sub(path, _EXECUTION | _NAMES, "*", None)

    def process(self, pid: int) -> bool:
        """Hear of the end of a process."""
        token: _Token = (str(pid), 0, "")
        known = self._old.pop(token, None) or self._subs.get(token)
        try:
            if known is None or known.key is None:
                known = self._hub.watch_process(self._bell, pid)
                self._changed = True
        except Unwatchable as error:
            self.poll(str(error))
            return False
        except ProcessLookupError:
            self._changed = True
            return False
        self._subs[token] = known
        self.by("pidfd")
        return True

    def poll(self, why: str, most: float | None = None) -> None:
        """Look now and then: no event tells of this."""
        if most is not None:
            self._most = min(self._most, most)
        self._polls[why] = None

    def by(self, mechanism: str) -> None:
        """Note by what changes are noticed."""
        self._means[mechanism] = None

    def _path(
        self,
        path: str,
        mask: int,
        label: str,
        matches: Callable[[bytes], bool],
        *,
        needed: bool = True,
    ) -> bool:
        return self._sub(path, mask, label, matches, needed=needed) is not None

    def _sub(
        self,
        path: str,
        mask: int,
        label: str,
        matches: Callable[[bytes], bool] | None,
        *,
        needed: bool = True,
    ) -> Sub | None:
        silent = None if path.startswith(_OPEN_FILES) else silent_type(path)
        if silent is not None:
            self.poll(f"{silent} tells of no changes from elsewhere")
        token: _Token = (path, mask, label)
        known = self._old.pop(token, None) or self._subs.get(token)
        try:
            sub = self._hub.watch_path(
                self._bell, os.fsencode(path), mask, matches, known
            )
        except Unwatchable as error:
            if needed or not error.forbidden:
                self.poll(str(error))
            self._let_go(known)
            return None
        except (FileNotFoundError, NotADirectoryError):
            self._changed = True  # it went away under our eyes: look again
            self._let_go(known)
            return None
        if sub is not known:
            self._changed = True
            self._let_go(known)
        self._subs[token] = sub
        self.by(inotify_name())
        return sub

    def _let_go(self, sub: Sub | None) -> None:
        if sub is not None:
            self._hub.drop([sub])


def inotify_name() -> str:
    """Name what tells of changes to files on this system."""
    return "inotify" if inotify.available else "kqueue"
