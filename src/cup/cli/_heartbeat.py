"""`cup heartbeat`: hear who is alive, beat for a command, make keys.

Not here: how a monitor shows what it hears (`_heartbeat_show`), and beating for a
command (`_heartbeat_beat`).
"""

from __future__ import annotations

import os
import sys
from argparse import RawDescriptionHelpFormatter
from contextlib import suppress
from math import isnan
from time import monotonic
from typing import TYPE_CHECKING, Final

from cup.errors import HeartbeatError, InvalidValue, NetError, WaitTimeout
from cup.net import get_local_hostname
from cup.services.heartbeat import (
    PORT,
    UNAUTHENTICATED,
    KeyRing,
    Monitor,
    new_key,
)
from cup.services.heartbeat.keys import read_agent_keys, read_private
from cup.services.heartbeat.systemd import Systemd

from ._heartbeat_beat import beat
from ._heartbeat_end import until_ended
from ._heartbeat_show import make_show

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from cup.services.heartbeat import AgentKeys

__all__ = ["SUMMARY", "configure", "run"]

SUMMARY: Final = "hear which agents are alive, beat for a command, make keys"

_MONITOR_EXIT: Final = """\
It ends by Ctrl-C, by SIGTERM, or after --for.

exit status:
  0  nobody is lost at its end
  1  somebody is
  2  usage error, no key, or it cannot listen there
"""

_BEAT_EXIT: Final = """\
With a COMMAND it beats as long as that runs, and ends with its exit status; it says
good-bye if that is 0. Without one it beats until Ctrl-C or SIGTERM.

Under systemd (Type=notify) it says that it is ready, and feeds the watchdog as long as
it beats.

examples:
  cup heartbeat beat --name backup --to monitor.example -- ./backup.sh
  cup heartbeat beat --to m1 --to m2:7363 --check 'pg_isready -q'

exit status:
  0  it was ended, and said good-bye
  1  it was ended by --for while the check failed
  2  usage error, no key, or a monitor's name is not known
  N  that of COMMAND
"""

_KEY_EXIT: Final = """\
Without options it prints a new key of a cluster. With --agent it prints the keys of one
agent, which cannot beat for others; give such a file to that agent alone.

examples:
  (umask 077; cup heartbeat key > cluster.key)
  cup heartbeat key --agent db1 --key-file cluster.key > db1.key
"""

_FAILED: Final = 2
_LOOK: Final = 0.25  # seconds between two looks of the display


def configure(parser: ArgumentParser) -> None:
    """Give a parser the options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (what, epilog, options) in _ACTIONS.items():
        one = actions.add_parser(
            name,
            help=what,
            description=what,
            epilog=epilog,
            formatter_class=RawDescriptionHelpFormatter,
        )
        options(one)
        one.add_argument("--key-file", metavar="FILE", help="keys; of mode 600")
        one.add_argument(
            "--key-env",
            metavar="NAME",
            default="CUP_HEARTBEAT_KEY",
            help="a variable with keys (default: CUP_HEARTBEAT_KEY)",
        )
        one.set_defaults(run=run, parser=one)


def _add_monitor(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        action="append",
        metavar="HOST:PORT",
        help="where; may be given several times (default: 0.0.0.0:7363)",
    )
    parser.add_argument("--state", metavar="FILE", help="keep what is known in a file")
    parser.add_argument("--json", action="store_true", help="print JSON, a line each")
    parser.add_argument("--plain", action="store_true", help="print lines, no table")
    _add_common(parser)


def _add_beat(parser: ArgumentParser) -> None:
    parser.add_argument("--name", help="of the agent (default: that of this host)")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="what to run")
    parser.add_argument(
        "--to",
        action="append",
        required=True,
        metavar="HOST[:PORT]",
        help="a monitor; may be given several times",
    )
    parser.add_argument("--interval", type=float, metavar="S", help="between beats")
    parser.add_argument("--check", metavar="COMMAND", help="beat only if it succeeds")
    parser.add_argument("--readings", action="store_true", help="send load and memory")
    parser.add_argument("--state", metavar="FILE", help="keep the number of its life")
    parser.add_argument("--json", action="store_true", help="print figures at the end")
    _add_common(parser)


def _add_common(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds of silence that count as a loss (default: 10)",
    )
    parser.add_argument(
        "--for", type=float, metavar="S", dest="seconds", help="end after S seconds"
    )
    parser.add_argument("--no-key", action="store_true", help="let anybody beat")


def _add_key(parser: ArgumentParser) -> None:
    parser.add_argument("--agent", metavar="NAME", help="make the keys of this agent")


_ACTIONS: Final = {
    "monitor": ("hear agents, and tell who is lost", _MONITOR_EXIT, _add_monitor),
    "beat": ("beat, for a command or until ended", _BEAT_EXIT, _add_beat),
    "key": ("make a key, or those of an agent", _KEY_EXIT, _add_key),
}


def run(args: Namespace) -> int:
    """Hear, beat, or make keys.

    Args:
        args: What was parsed.

    Returns:
        The exit status.
    """
    try:
        _check(args)
        if args.action == "key":
            return _make_key(args)
        if args.action == "beat":
            name = get_local_hostname() if args.name is None else args.name
            return beat(args, name, _keys(args, name))
        return _hear(args, _ring(args))
    except (HeartbeatError, NetError, OSError, ValueError) as error:
        print(f"cup heartbeat: {error}", file=sys.stderr)
        return _FAILED


def _check(args: Namespace) -> None:
    """Refuse what would be told only once it runs.

    Raises:
        InvalidValue: If a time makes no sense, or the state cannot be kept.
    """
    if isnan(getattr(args, "seconds", None) or 0.0):
        raise InvalidValue("--for is NaN; give seconds")

    state: str | None = getattr(args, "state", None)
    if state is None:
        return

    folder = os.path.dirname(os.path.abspath(state))  # noqa: PTH100, PTH120
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):  # noqa: PTH112
        raise InvalidValue(f"--state {state}: nothing can be written in {folder}")
    if os.path.isdir(state):  # noqa: PTH112
        raise InvalidValue(f"--state {state} is a folder; give a file")


# Keys


def _ring(args: Namespace) -> KeyRing:
    if getattr(args, "no_key", False):
        return UNAUTHENTICATED
    if args.key_file is not None:
        return KeyRing.from_file(args.key_file)
    return KeyRing.from_env(args.key_env)


def _keys(args: Namespace, name: str) -> KeyRing | AgentKeys:
    if args.key_file is not None and not args.no_key:
        keys = read_agent_keys(read_private(args.key_file), name)
        if keys is not None:
            return keys
    return _ring(args)


def _make_key(args: Namespace) -> int:
    if args.agent is None:
        print(new_key())
    else:
        print(_ring(args).agent(args.agent).text(), end="")
    return 0


# Hearing


def _hear(args: Namespace, ring: KeyRing) -> int:
    monitor = Monitor(
        args.listen or f"0.0.0.0:{PORT}",
        keys=ring,
        timeout=args.timeout,
        state=args.state,
    )
    systemd = Systemd()
    with until_ended(args.seconds) as end, monitor:
        events = monitor.events(limit=100_000)
        systemd.ready()
        ping = 0.0
        with make_show(monitor, json=args.json, plain=args.plain) as show:
            while not end.reached():
                with suppress(WaitTimeout):
                    show.event(events.get(min(_LOOK, end.left())))
                show.look()
                if systemd.ping_every is not None and monotonic() >= ping:
                    ping = monotonic() + systemd.ping_every
                    systemd.ping()
        systemd.stopping()
        devices = monitor.snapshot().devices
    return 1 if any(device.state == "lost" for device in devices) else 0
