"""The old names of the exceptions."""

import pytest

import cup.err
from cup import errors

err = cup.err


def test_old_names_are_the_errors_of_today():
    assert err.BaseCupException is errors.CupError
    assert err.NetException is errors.NetError
    for name in ("ExpectFailure", "LoggerException", "ThreadTermException"):
        assert getattr(err, name) is getattr(errors, name)


def test_every_name_is_exported_and_raised_with_a_message():
    for name in err.__all__:
        kind = getattr(err, name)
        with pytest.raises(kind, match="why"):
            raise kind("why")


def test_old_code_catches_what_is_raised_today():
    with pytest.raises(err.BaseCupException):
        raise errors.InvalidValue("no")
