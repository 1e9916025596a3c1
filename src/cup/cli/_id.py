"""`cup id`: make identifiers, and read them.

`cup id parse VALUE` tries every kind that VALUE can be, and prints what each would say.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from cup.errors import IdError, InvalidId, InvalidType
from cup.services.generator import (
    LAYOUTS,
    UUID1,
    CachedUUID,
    CounterGenerator,
    CycleIDGenerator,
    NameGenerator,
    RandomGenerator,
    SnowflakeGenerator,
    ULIDGenerator,
    UUID4Generator,
    UUID7Generator,
)

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator

    from cup.services.generator import IDGenerator, ParsedID

__all__ = ["SUMMARY", "configure", "run"]

T = TypeVar("T")
Maker: TypeAlias = "Callable[[int], list[str]]"

SUMMARY: Final = "make identifiers, or say what one tells"

_EXIT_STATUS: Final = """\
kinds:
  uuid7      UUIDs that sort by time          uuid4    random UUIDs
  uuid1      UUIDs that tell the time         ulid     26 letters that sort by time
  snowflake  63-bit numbers that sort by time (also twitter, sony, instagram, discord)
  random     random strings of 21 letters     name     names of this host
  cycle      128 bits: address, port, counter counter  numbers, kept in a file

examples:
  cup id uuid7 -n 3
  cup id sony --worker 5
  cup id counter --path orders.count
  cup id parse 01ARZ3NDEKTSV4RRFFQ69G5FAV

exit status:
  0    done; with parse: the value is an identifier
  1    with parse: the value is no identifier of any kind
  2    usage error, or there is no worker number to be had
"""

_FAILED: Final = 2
_CYCLE_DIGITS: Final = 32
_PORTION: Final = 1000  # identifiers that are made, and printed, at a time


def configure(parser: ArgumentParser) -> None:
    """Give a parser the options of this command."""
    parser.epilog = _EXIT_STATUS
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for name in (*_KINDS, "parse"):
        one = kinds.add_parser(name)
        one.add_argument(
            "--json", action="store_true", help="print JSON, and only that"
        )
        if name == "parse":
            one.add_argument("value", help="what to read")
        else:
            _add_options(one, name)
        one.set_defaults(run=run, parser=one)


def _add_options(parser: ArgumentParser, kind: str) -> None:
    """Give a parser what making a kind of identifiers takes."""
    parser.add_argument(
        "-n", type=int, default=1, metavar="N", help="how many (default: 1)"
    )
    if kind == "snowflake" or kind in LAYOUTS:
        parser.add_argument(
            "--worker", type=int, help="the worker number (default: a free one here)"
        )
    elif kind == "counter":
        parser.add_argument("--path", required=True, help="the file that keeps it")
    elif kind == "name":
        parser.add_argument("--prefix", default="localhost", help="(default: the host)")
    elif kind == "cycle":
        parser.add_argument("--address", default="127.0.0.1", help="an IPv4 address")
        parser.add_argument("--port", type=int, default=0, help="from 0 to 65535")


def run(args: Namespace) -> int:
    """Make or read identifiers.

    Args:
        args: What was parsed.

    Returns:
        The exit status.
    """
    try:
        return _parse(args) if args.kind == "parse" else _make(args)
    except (IdError, ValueError) as error:
        print(f"cup id: {error}", file=sys.stderr)
        return _FAILED


def _make(args: Namespace) -> int:
    if args.n < 0:
        args.parser.error(f"-n is {args.n}; give 0 or more")
    make = _KINDS[args.kind](args)
    missing: int = args.n
    while missing > 0:
        for text in make(min(missing, _PORTION)):
            print(json.dumps({"kind": args.kind, "id": text}) if args.json else text)
        missing -= _PORTION
    return 0


def _parse(args: Namespace) -> int:
    readings = [*_readings(args.value)]
    if args.json:
        print(json.dumps([_as_json(*reading) for reading in readings], indent=2))
    else:
        for kind, told in readings:
            print(_as_line(kind, told))
    if not readings:
        print(f"cup id: {args.value!r} is no identifier of any kind", file=sys.stderr)
    return 0 if readings else 1


def _readings(value: str) -> Iterator[tuple[str, ParsedID]]:
    """Give what a text is, by each kind that it can be."""
    if value.isascii() and value.isdigit():
        for name, layout in LAYOUTS.items():
            told = _reading(SnowflakeGenerator(0, layout=layout).parse, value)
            if told is not None and told.number:
                yield f"snowflake ({name})", told
    readers: list[Callable[[str], ParsedID]] = [
        UUID7Generator().parse,
        UUID4Generator().parse,
        CachedUUID(UUID1).parse,
        ULIDGenerator().parse,
        NameGenerator().parse,
    ]
    if len(value.removeprefix("0x")) == _CYCLE_DIGITS:
        readers.append(CycleIDGenerator("127.0.0.1", 0).parse)
    for reader in readers:
        told = _reading(reader, value)
        if told is not None:
            yield told.kind, told


def _reading(read: Callable[[str], ParsedID], value: str) -> ParsedID | None:
    try:
        return read(value)
    except (InvalidId, InvalidType):
        return None


def _as_line(kind: str, told: ParsedID) -> str:
    facts = [f"{kind}: {told.text}"]
    if told.time is not None:
        facts.append(f"made at {told.time.isoformat(timespec='milliseconds')}")
    if told.worker is not None:
        maker = "process" if told.kind == "name" else "worker"
        facts.append(f"by {maker} {told.worker}")
    if told.origin is not None:
        facts.append(f"on {told.origin}")
    if told.sequence is not None:
        facts.append(f"sequence {told.sequence}")
    return ", ".join(facts)


def _as_json(kind: str, told: ParsedID) -> dict[str, object]:
    document: dict[str, object] = {**asdict(told), "kind": kind}
    if told.time is not None:
        document["time"] = told.time.isoformat()
    for name in ("number", "sequence"):  # more than 53 bits do not survive JSON
        if document[name] is not None:
            document[name] = str(document[name])
    return document


def _texts(ids: IDGenerator[T], n: int) -> list[str]:
    return [ids.parse(made).text for made in ids.next_ids(n)]


def _counter(args: Namespace) -> Maker:
    return partial(_texts, CounterGenerator(path=args.path, step=1))


def _snowflake(name: str) -> Callable[[Namespace], Maker]:
    def make(args: Namespace) -> Maker:
        return partial(_texts, SnowflakeGenerator(args.worker, layout=LAYOUTS[name]))

    return make


_KINDS: Final[dict[str, Callable[[Namespace], Maker]]] = {
    "uuid7": lambda _: partial(_texts, UUID7Generator()),
    "uuid4": lambda _: partial(_texts, UUID4Generator()),
    "uuid1": lambda _: partial(_texts, CachedUUID(UUID1)),
    "ulid": lambda _: partial(_texts, ULIDGenerator()),
    "snowflake": _snowflake("twitter"),
    **{name: _snowflake(name) for name in LAYOUTS},
    "random": lambda _: partial(_texts, RandomGenerator()),
    "name": lambda args: partial(_texts, NameGenerator(args.prefix)),
    "cycle": lambda args: partial(_texts, CycleIDGenerator(args.address, args.port)),
    "counter": _counter,
}
