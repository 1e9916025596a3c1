"""What every test shares: the loops async tests run on, and the tiers."""

import inspect
import logging
import os
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

from cup import _log_setup

# Machines are slow at times: how long an example takes says nothing.
settings.register_profile(
    "cup", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("cup")

BACKENDS = [
    pytest.param("asyncio", id="asyncio"),
    pytest.param(
        ("asyncio", {"use_uvloop": True}),
        id="uvloop",
        marks=pytest.mark.skipif(not find_spec("uvloop"), reason="needs uvloop"),
    ),
    pytest.param("trio", id="trio"),
]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request):
    """Name the loop that an async test runs on: each test runs once on each."""
    return request.param


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector, name, obj):
    """Let anyio run every async test, as its `anyio_mode = "auto"` does from 4.11."""
    if collector.istestfunction(obj, name):
        test = obj.hypothesis.inner_test if hasattr(obj, "hypothesis") else obj
        if inspect.iscoroutinefunction(test):
            pytest.mark.usefixtures("anyio_backend")(obj)


def pytest_collection_modifyitems(items):
    """Leave out what belongs to a higher tier than the one asked for."""
    skips = {}
    long = os.environ.get("CUP_LONG") == "1"
    if os.environ.get("CUP_TIER") != "full" and not long:
        skips["full"] = pytest.mark.skip(reason="runs with CUP_TIER=full only")
    if not long:
        skips["long"] = pytest.mark.skip(reason="runs with CUP_LONG=1 only")
    for item in items:
        for marker, skip in skips.items():
            if item.get_closest_marker(marker):
                item.add_marker(skip)


@pytest.fixture
def clean_log():
    """Give the loggers back as they were: pytest has handlers of its own there."""
    level = logging.getLogger().level
    yield
    for name, installed in list(_log_setup._installed.items()):
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET if name else level)
        logger.propagate = True
        for handler in installed.handlers:
            logger.removeHandler(handler)
            handler.close()
    _log_setup._installed.clear()
