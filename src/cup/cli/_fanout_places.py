"""Destinations: how they are written, and which of them are refused.

What is wrong with one destination is noted at it, and harms no other one.

Not here: what only the machine of a destination can know (`_fanout_script`).
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from cup.errors import InvalidValue
from cup.services.threadpool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Place", "find_places", "read_hosts"]

_SYSTEM: Final = {
    *("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media"),
    *("/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp"),  # noqa: S108 - refused
    *("/usr", "/var"),
}
_REMOTE: Final = re.compile(r"((?:[^/:@]*@)?(?:\[[^]/]*\]|[^/:@]*)):(.*)", re.DOTALL)
_URL: Final = re.compile(r"ssh://((?:[^/@]*@)?)(\[[^]/]*\]|[^/:]*)((?::[^/]*)?)(/.*)")
_LARGEST_PORT: Final = 65535
_ANSWER_WITHIN: Final = 10.0  # seconds, of `ssh -G`
_ASKED_AT_ONCE: Final = 8
_BAD_IN_NAMES: Final = re.compile(r"[\s\0-\x1f]|^-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A destination.

    Attributes:
        text: As it was written.
        host: The machine, as ssh is told; "" for this one.
        user: Who logs in there; "" for whom ssh chooses.
        port: Where; 0 for where ssh chooses.
        parent: The folder that it is to be in.
        name: What it is to be called there.
        site: The machine, as far as two destinations may be on the same one.
        problem: Why nothing is sent to it; "" if something is.
    """

    text: str
    host: str = ""
    user: str = ""
    port: int = 0
    parent: str = ""
    name: str = ""
    site: str = ""
    problem: str = ""

    @property
    def target(self) -> str:
        """The machine, and who logs in, as ssh takes it."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def path(self) -> str:
        """Where it is; not absolute if it is below the home of who logs in."""
        return posixpath.join(self.parent, self.name)

    @property
    def key(self) -> str:
        """What it is known by in a journal."""
        if not self.host:
            return self.path
        port = f":{self.port}" if self.port else ""
        return f"ssh://{self.target}{port}/{self.path}"


def read_hosts(lines: Iterable[str]) -> list[str]:
    """Return the destinations in a file.

    Args:
        lines: One destination each; empty lines, and those that begin with `#`, say
            nothing.
    """
    stripped = (line.strip() for line in lines)
    return [line for line in stripped if line and not line.startswith("#")]


def find_places(
    texts: Sequence[str], source: str, ssh: Sequence[str] = ("ssh",)
) -> list[Place]:
    """Return destinations, with what is wrong with them.

    Args:
        texts: The destinations, as they were written.
        source: The folder that is sent, without symbolic links in its path.
        ssh: The command that knows what names of machines mean.
    """
    places = [_find(text, source) for text in texts]
    return _without_clashes(_with_sites(places, ssh))


def _find(text: str, source: str) -> Place:
    try:
        return _remote(text) or _local(text, source)
    except InvalidValue as error:
        return Place(text=text, problem=str(error))


def _remote(text: str) -> Place | None:
    if text.startswith("ssh://"):
        return _from_url(text)
    # As scp does: a colon before the first slash names a machine.
    found = _REMOTE.fullmatch(text)
    if found is None:
        return None

    login, path = found.groups()
    user, at, host = login.rpartition("@")
    return _at(text, user, host.strip("[]"), 0, path, named=bool(at))


def _from_url(text: str) -> Place:
    found = _URL.fullmatch(text)
    if found is None:
        raise InvalidValue("it is no address; write ssh://user@host:port/path")

    login, host, colon_port, path = found.groups()
    port = colon_port[1:]
    if colon_port and not (port.isdecimal() and 0 < int(port) <= _LARGEST_PORT):
        raise InvalidValue(f"{port!r} is no port; give a number from 1 to 65535")
    if ":" in login:
        raise InvalidValue("it has a password in it; give ssh a key instead")
    where = unquote(path)
    if where.startswith("/~"):
        where = where[1:]
    return _at(
        text,
        unquote(login.removesuffix("@")),
        host.strip("[]"),
        int(port or 0),
        where,
        named=bool(login),
    )


def _at(text: str, user: str, host: str, port: int, path: str, *, named: bool) -> Place:
    if not host or _BAD_IN_NAMES.search(host):
        raise InvalidValue(f"{host!r} is no name of a host")
    if (named and not user) or _BAD_IN_NAMES.search(user):
        raise InvalidValue(f"{user!r} is no name of a user")

    rooted = path.startswith("/")
    below = path.removeprefix("~/") if path != "~" else ""
    if below.startswith("~"):
        raise InvalidValue("the home of another user is not looked up; give its path")
    parts = [part for part in below.split("/") if part not in {"", "."}]
    if not parts or parts[-1] == "..":
        raise InvalidValue(
            f"{path or 'no path'!r} names no folder that could be replaced; "
            "give the path that the copy is to have"
        )
    if rooted and "/" + "/".join(parts) in _SYSTEM:
        raise InvalidValue(
            f"/{parts[-1]} is a folder of the system; name a folder in it"
        )
    parent = "/".join(["" if rooted else ".", *parts[:-1]]) or "/"
    return Place(
        text=text, user=user, host=host, port=port, parent=parent, name=parts[-1]
    )


def _local(text: str, source: str) -> Place:
    if not text or "\0" in text:
        raise InvalidValue("it is no path")
    try:
        path = os.path.realpath(Path(text).expanduser())
    except RuntimeError as error:  # ~somebody
        raise InvalidValue("the home of that user is not known") from error
    home = os.path.realpath(Path.home())
    if path in _SYSTEM:
        raise InvalidValue(f"{path} is a folder of the system; name a folder in it")
    if path == source:
        raise InvalidValue("it is the source")
    if _is_in(path, source):
        raise InvalidValue("it is in the source")
    if _is_in(source, path):
        raise InvalidValue("it holds the source")
    for what, held in (("home", home), ("current", os.path.realpath("."))):
        if path == held or _is_in(held, path):
            raise InvalidValue(
                f"it is, or holds, the {what} directory; name a folder in it"
            )
    if os.path.lexists(path) and not Path(path).is_dir():
        raise InvalidValue(
            "it is there and is no folder; remove it, or choose another name"
        )
    parent, name = os.path.split(path)
    return Place(text=text, parent=parent, name=name)


def _is_in(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def _with_sites(places: list[Place], ssh: Sequence[str]) -> list[Place]:
    """Find out which names of machines mean the same one, as ssh understands them."""
    logins = {(place.target, place.port) for place in places if place.host}
    if len(logins) < 2:  # noqa: PLR2004 - one cannot mean the same as another
        return [replace(one, site=one.host and _site(one, one)) for one in places]

    with ThreadPool(max_workers=_ASKED_AT_ONCE) as pool:
        jobs = {login: pool.submit(_ask, login, ssh) for login in logins}
        known = {login: job.result() for login, job in jobs.items()}
    return [
        replace(one, site=_site(one, known[one.target, one.port])) if one.host else one
        for one in places
    ]


def _ask(login: tuple[str, int], ssh: Sequence[str]) -> Place:
    """Return the machine that ssh would connect to."""
    target, port = login
    user, _, host = target.rpartition("@")
    options = ["-p", str(port)] if port else []
    known = {"hostname": host, "user": user, "port": str(port)}
    try:
        answer = subprocess.run(  # noqa: S603 - ssh, and names that are no options
            [*ssh, "-G", *options, "--", target],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_WITHIN,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        answer = ""  # who is to connect will say what is wrong
    for line in answer.splitlines():
        word, _, value = line.partition(" ")
        if word in known:
            known[word] = value
    number = known["port"]
    return Place(
        text=target,
        user=known["user"],
        host=known["hostname"],
        port=int(number) if number.isdecimal() else port,
    )


def _site(place: Place, machine: Place) -> str:
    # A path that is not absolute is another folder for another user.
    user = "" if place.parent.startswith("/") else f"{machine.user}@"
    return f"{user}{machine.host.lower()}:{machine.port}"


def _without_clashes(places: list[Place]) -> list[Place]:
    """Refuse what is the same folder as an earlier one, or in one, or holds one."""
    taken: dict[tuple[str, str], str] = {}
    above: dict[tuple[str, str], str] = {}
    return [
        place if place.problem else _with_clash(place, taken, above) for place in places
    ]


def _with_clash(
    place: Place,
    taken: dict[tuple[str, str], str],
    above: dict[tuple[str, str], str],
) -> Place:
    key = (place.site, place.path)
    folders = [(place.site, folder) for folder in _folders_above(place.path)]
    problem = ""
    if key in taken:
        problem = f"it is the same folder as {taken[key]}"
    elif key in above:
        problem = f"it holds {above[key]}, another destination"
    else:
        holders = [taken[folder] for folder in folders if folder in taken]
        if holders:
            problem = f"it is in {holders[0]}, another destination"
    if problem:
        return replace(place, problem=problem)

    taken[key] = place.text
    for folder in folders:
        above.setdefault(folder, place.text)
    return place


def _folders_above(path: str) -> list[str]:
    folders: list[str] = []
    while (parent := posixpath.dirname(path)) not in {path, ""}:
        folders.append(parent)
        path = parent
    return folders
