"""`cup fanout`: one folder to many destinations at once.

An application on the services: an `ExecutionService` runs and repeats the attempts, a
`ThreadPool` asks what the names of machines mean, a `Log` is the journal.

Not here: packing (`_fanout_pack`), destinations (`_fanout_places`), the runs
(`_fanout_run`), what happens at the other end (`_fanout_script`).
"""

from __future__ import annotations

import math
import mmap
import secrets
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, Final

from cup.errors import InvalidValue, LogError

from ._fanout_journal import Journal, is_there, read_journal
from ._fanout_outcome import Outcome, State
from ._fanout_pack import pack_folder
from ._fanout_places import find_places, read_hosts
from ._fanout_report import Report, print_json, print_report
from ._fanout_run import Fanout, Interrupts, Plan
from ._fanout_send import Cargo
from ._fanout_show import make_show

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ._fanout_pack import Pack
    from ._fanout_places import Place

__all__ = ["SUMMARY", "configure", "run"]

SUMMARY: Final = "copy a folder to many destinations at once"

_EPILOG: Final = """\
destinations:
  PATH              a folder on this machine
  [USER@]HOST:PATH  over ssh; PATH is below the home there, or begins with a slash
  ssh://[USER@]HOST[:PORT]/PATH
                    the same, with a port; PATH is below the root, or below the home
                    if it begins with ~/

DEST is the path that the copy gets, not a folder to put it in. What is there is
replaced as a whole, after every file of the copy was checked: who looks at DEST never
sees a part of it. The other end needs sh, tar and sha256sum, shasum or cksum. ssh asks
for nothing: have a key there and the host known; ~/.ssh/config is honoured. There must
be room for an archive of SRC in $TMPDIR.

examples:
  cup fanout site web1:/srv/www/site web2:/srv/www/site
  cup fanout site --hosts web.txt --jobs 32 --timeout 120 --exclude '*.tmp'
  cup fanout site --hosts web.txt --journal sent --resume
  cup fanout site /mnt/a/site backup@store:site --dry-run

exit status:
  0    the folder is at every destination
  1    it is not at some of them: the table says why, others are not harmed
  2    usage error; or the folder cannot be packed: nothing was sent
  130  interrupted: the table says what was delivered
"""

_USAGE: Final = 2
_INTERRUPTED: Final = 130
_MOST_JOBS: Final = 1024


def configure(parser: ArgumentParser) -> None:
    """Give a parser the options of this command."""
    parser.epilog = _EPILOG
    parser.add_argument("source", metavar="SRC", help="the folder to copy")
    parser.add_argument("destinations", metavar="DEST", nargs="*", help="where to")
    parser.add_argument(
        "--hosts",
        metavar="FILE",
        action="append",
        default=[],
        help="more destinations, one on a line; - for those on stdin",
    )
    parser.add_argument(
        "--exclude",
        metavar="GLOB",
        action="append",
        default=[],
        help="leave out what matches: a name, or a path in SRC if there is a slash; "
        "can be given several times",
    )
    _add_limits(parser)
    parser.add_argument("--ssh-config", metavar="FILE", help="instead of ~/.ssh/config")
    parser.add_argument(
        "--journal", metavar="DIR", help="take down in a log what is delivered"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip what the journal says is delivered, if SRC is the same",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check, and send nothing"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document, and only that"
    )
    parser.set_defaults(run=run, parser=parser)


def _add_limits(parser: ArgumentParser) -> None:
    """Give a parser the options about how much, how long and how often."""
    parser.add_argument(
        "--jobs", type=int, default=8, metavar="N", help="at the same time (default: 8)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        metavar="S",
        help="seconds for one attempt at one destination (default: 600)",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=2,
        metavar="N",
        help="try again so often what may work later (default: 2)",
    )
    parser.add_argument(
        "--backoff",
        type=float,
        default=1.0,
        metavar="S",
        help="seconds before that, doubled each time (default: 1)",
    )


def run(args: Namespace) -> int:
    """Copy a folder.

    Args:
        args: What was parsed.

    Returns:
        The exit status.
    """
    began = monotonic()
    _check(args)
    try:
        texts = [*args.destinations, *_more_destinations(args.hosts)]
        if not texts:
            args.parser.error("there is no destination; give DEST or --hosts FILE")
        with tempfile.TemporaryFile(prefix="cup-fanout-") as archive:
            pack = pack_folder(args.source, args.exclude, archive)
            report = _deliver(args, pack, archive, texts, began)
    except KeyboardInterrupt:
        print("cup fanout: interrupted: nothing was delivered", file=sys.stderr)
        return _INTERRUPTED
    except (InvalidValue, LogError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        print(f"cup fanout: {error}", file=sys.stderr)
        return _USAGE

    (print_json if args.json else print_report)(report)
    if report.interrupted:
        print("cup fanout: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return 0 if report.ok else 1


def _check(args: Namespace) -> None:
    """Refuse options that make no sense."""
    error = args.parser.error
    if not 1 <= args.jobs <= _MOST_JOBS:
        error(f"--jobs is {args.jobs}; give a number from 1 to {_MOST_JOBS}")
    if not (math.isfinite(args.timeout) and args.timeout > 0):
        error(f"--timeout is {args.timeout:g}; give more than 0 seconds")
    if args.retries < 0:
        error(f"--retries is {args.retries}; give 0 or more")
    if not (math.isfinite(args.backoff) and args.backoff >= 0):
        error(f"--backoff is {args.backoff:g}; give 0 seconds or more")
    if args.resume and args.journal is None:
        error("--resume needs --journal DIR")
    if args.ssh_config is not None and not Path(args.ssh_config).is_file():
        error(f"--ssh-config: there is no file {args.ssh_config}")


def _more_destinations(files: list[str]) -> list[str]:
    found: list[str] = []
    for file in files:
        if file == "-":
            found += read_hosts(sys.stdin)
            continue

        with Path(file).open(encoding="utf-8", errors="surrogateescape") as lines:
            found += read_hosts(lines)
    return found


def _deliver(
    args: Namespace, pack: Pack, archive: IO[bytes], texts: list[str], began: float
) -> Report:
    ssh = ["ssh"] if args.ssh_config is None else ["ssh", "-F", args.ssh_config]
    places = find_places(texts, pack.source, ssh)
    journal = None
    if args.journal is not None and not args.dry_run:
        journal = Journal(args.journal)
    try:
        done = _done(args, journal)
        known = {place: _known(place, pack, done, args) for place in places}
        wanted = [place for place in places if known[place] is None]
        with (
            mmap.mmap(archive.fileno(), 0, access=mmap.ACCESS_READ) as content,
            memoryview(content) as view,
            make_show(len(wanted)) as show,
            Interrupts() as interrupts,
        ):
            cargo = Cargo(
                pack=pack,
                archive=view,
                run=secrets.token_hex(6),
                timeout=args.timeout,
                ssh=ssh,
            )
            plan = Plan(jobs=args.jobs, retries=args.retries, backoff=args.backoff)
            fanout = Fanout(cargo, plan, journal, show)
            ended = {one.place: one for one in fanout.run(wanted, interrupts)}
    finally:
        if journal is not None:
            journal.close()
    return Report(
        pack=pack,
        outcomes=[known[place] or ended[place] for place in places],
        seconds=monotonic() - began,
        dry_run=args.dry_run,
    )


def _done(args: Namespace, journal: Journal | None) -> dict[str, str]:
    """Return what is to be skipped, by destination."""
    if not args.resume:
        return {}
    return read_journal(args.journal) if journal is None else journal.done


def _known(
    place: Place, pack: Pack, done: dict[str, str], args: Namespace
) -> Outcome | None:
    """Say what becomes of a destination that nothing is sent to."""
    if place.problem:
        return Outcome(place=place, state=State.REFUSED, reason=place.problem)
    if is_there(place, pack.content, done):
        return Outcome(
            place=place, state=State.SKIPPED, reason="delivered before, by the journal"
        )
    if args.dry_run:
        return Outcome(place=place, state=State.PLANNED)
    return None
