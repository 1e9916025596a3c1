"""The exceptions that code for the older CUP library catches, by their old names.

They are those of `cup.errors`, where new code finds them.
"""

from cup.errors import (
    CupError as BaseCupException,
    ExpectFailure,
    LoggerException,
    NetError as NetException,
    ThreadTermException,
)

__all__ = [
    "BaseCupException",
    "ExpectFailure",
    "LoggerException",
    "NetException",
    "ThreadTermException",
]
