"""Checks of what conditions are made from."""

from __future__ import annotations

import os
from typing import TypeAlias

from cup._core.clock import check_timeout
from cup.errors import InvalidType, InvalidValue

__all__ = ["StrPath", "absolute", "one_of", "seconds_of", "whole_number"]

StrPath: TypeAlias = "str | os.PathLike[str]"


def absolute(path: StrPath) -> str:
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise InvalidType(f"{path!r} is no path; give a str or a pathlib.Path")

    if not text or "\0" in text:
        raise InvalidValue(f"{text!r} is no path")

    # Not normalised: `link/..` is where the link leads to.
    return text if os.path.isabs(text) else os.path.join(os.getcwd(), text)  # noqa: PTH109, PTH117, PTH118


def seconds_of(seconds: float, name: str) -> float:
    span = check_timeout(seconds, name)
    if span is None:
        raise InvalidValue(f"{name}={seconds}: give a finite number of seconds")
    return span


def one_of(value: str, name: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidValue(f"{name}={value!r}: give one of {', '.join(allowed)}")


def whole_number(number: object, name: str) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidType(f"{name}={number!r}: give an int")
