"""What users can see: names, docstrings, imports, errors, and twins that match."""

import copy
import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys

import pytest

import cup
from cup import errors

LOOPS = {"asyncio", "anyio", "trio"}

# Where twins differ on purpose: class -> the names (those of its constructor's
# parameters, too) that only one of the two has. All else is the same in both colours.
PARITY_EXCEPTIONS = {
    "*": {"aio", "over", "sync"},  # each leads to the other
    # What `concurrent.futures` asks of an executor; tasks have `each` and `stop`.
    # A cancelled `async with` waits no longer than its grace.
    "ThreadPool": {"map", "shutdown", "exit_grace"},
    "PoolView": {"map"},
    "ExecutionService": {"exit_grace"},  # as with pools
    "ScheduledJob": {
        *("lane", "due", "fn", "args", "kwargs", "context"),  # only executors make jobs
        *("job", "cancels"),
        # What the executor does to its job.
        *("become_due", "clock_was_set", "ring", "stop", "ticket", "vanish"),
    },
    "Series": {"series", "cancels"},
    "RWLock": {"over"},  # the face for threads is the lock itself
    # `sync` is the barrier of a log, in both colours.
    "Log": {"threads"},
    "LogReader": {"threads"},
    "Job": {
        *("owner", "record", "job"),  # only the pool makes jobs
        # What `concurrent.futures` lets an executor do to a future.
        *("set_exception", "set_result", "set_running_or_notify_cancel"),
        # What the pool does to its job.
        *("add_waiter", "drop", "fail", "remove_waiter", "succeed", "vanish"),
    },
}


def public_modules():
    """Name every module that users may import; packages are loaded on the way."""
    names = ["cup", *(m.name for m in pkgutil.walk_packages(cup.__path__, "cup."))]
    return [name for name in names if ".__" not in name and "._" not in name]


MODULES = public_modules()
LAZY_MODULES = [m for m in MODULES if "__getattr__" in vars(importlib.import_module(m))]
SYNC_MODULES = [
    m
    for m in MODULES
    if not m.startswith(("cup.cli", "cup.testing")) and ".aio" not in m
]


def exports(module_name):
    """Give the public names of a module with what they stand for."""
    module = importlib.import_module(module_name)
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module_name
    ]
    return {name: getattr(module, name) for name in getattr(module, "__all__", own)}


def is_ours(thing):
    return getattr(thing, "__module__", "").partition(".")[0] == "cup"


def public_things():
    """Give every public class and function once, by its path."""
    things = {}
    for module in MODULES:
        for name, thing in exports(module).items():
            if is_ours(thing) and (inspect.isclass(thing) or inspect.isroutine(thing)):
                things[thing.__module__, name] = thing
    return [
        pytest.param(thing, id=f"{module}.{name}")
        for (module, name), thing in sorted(things.items(), key=lambda item: item[0])
    ]


THINGS = public_things()


def modules_loaded_by(statement):
    """Name the modules that a statement loads in a fresh interpreter."""
    code = (
        "import sys; before = set(sys.modules); exec(sys.argv[1]); "
        "print(*(set(sys.modules) - before))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, statement],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return {*run.stdout.split()}


# Names and what they say


@pytest.mark.parametrize("module", MODULES)
def test_every_export_exists(module):
    assert importlib.import_module(module).__doc__
    exports(module)


@pytest.mark.parametrize("thing", THINGS)
def test_thing_is_documented_and_has_source(thing):
    assert inspect.getdoc(thing)
    assert inspect.getsource(thing)
    if inspect.isclass(thing):
        members = {
            name: getattr(thing, name)
            for name, value in vars(thing).items()
            if not name.startswith("_")
            and (inspect.isroutine(value) or isinstance(value, property))
        }
        assert not [
            name for name, member in members.items() if not inspect.getdoc(member)
        ]


# Imports


def test_bare_import_is_light():
    loaded = modules_loaded_by("import cup")
    assert {name for name in loaded if name.startswith("cup")} == {"cup"}
    assert not loaded & {*LOOPS, "logging", "threading", "concurrent", "socket"}


@pytest.mark.parametrize("module", SYNC_MODULES)
def test_sync_import_loads_no_loop(module):
    assert not modules_loaded_by(f"import {module}") & LOOPS


@pytest.mark.parametrize("name", cup.__all__)
def test_module_is_reachable_after_a_bare_import(name):
    modules_loaded_by(f"import cup; cup.{name}")


def test_service_is_reachable_after_a_bare_import():
    modules_loaded_by("import cup; cup.services.threadpool.ThreadPool")


@pytest.mark.parametrize("module_name", LAZY_MODULES)
def test_lazy_module_knows_its_names(module_name):
    module = importlib.import_module(module_name)
    assert {*module.__all__} <= {*dir(module)}
    assert len({*module.__all__}) == len(module.__all__)  # ruff checks the order
    with pytest.raises(AttributeError, match=r"no attribute 'no_such_name'"):
        _ = module.no_such_name
    with pytest.raises(ImportError, match="no_such_name"):
        exec(f"from {module_name} import no_such_name")
    with pytest.raises(ModuleNotFoundError, match="no_such_name"):
        importlib.import_module(f"{module_name}.no_such_name")


# Errors


def make_error(kind):
    """Build an error with a value of its own in each of its fields."""
    names = (
        inspect.getfullargspec(kind.__init__).kwonlyargs
        if issubclass(kind, errors.CupError)
        else ()
    )
    return kind("what went wrong: 3 of 4", **{name: f"the {name}" for name in names})


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, "pickle"])
@pytest.mark.parametrize("name", errors.__all__)
def test_error_survives_copies(name, copied):
    error = make_error(getattr(errors, name))
    if copied == "pickle":
        copied = lambda error: pickle.loads(pickle.dumps(error))
    twin = copied(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error) == "what went wrong: 3 of 4"
    assert vars(twin) == vars(error)
    assert twin.args == error.args
    assert repr(twin) == repr(error)


@pytest.mark.parametrize("name", errors.__all__)
def test_error_is_drawn_in_the_tree(name):
    assert name in errors.__doc__


# Twins


def twin_classes():
    return [
        pytest.param(thing, found[f"Async{name}"], id=f"{module}.{name}")
        for module in MODULES
        for found in [exports(module)]
        for name, thing in found.items()
        if f"Async{name}" in found and inspect.isclass(thing)
    ]


def twin_functions():
    return [
        pytest.param(sync[name], thing, id=f"{module}.{name}")
        for module in MODULES
        if module.endswith(".aio")
        for sync in [exports(module.removesuffix(".aio"))]
        for name, thing in exports(module).items()
        if name in sync and inspect.isfunction(thing)
    ]


def exceptions_for(thing):
    return PARITY_EXCEPTIONS["*"] | PARITY_EXCEPTIONS.get(thing.__name__, set())


def public_names(cls):
    return {name for name in dir(cls) if not name.startswith("_")}


def of_the_core(cls):
    """List what a hot face inherits from its core without offering it to users."""
    cores = [base for base in cls.__mro__ if "._" in base.__module__]
    shown = public_names(cls)
    own = {
        name
        for base in cls.__mro__
        if base not in cores
        for name in vars(base)
        if name in shown
    }
    return {name for core in cores for name in dir(core)} - own


def parameters(function, left_out=()):
    return [
        (parameter.name, parameter.kind.description, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in left_out
    ]


def first_line(thing):
    return (inspect.getdoc(thing) or "").partition("\n")[0]


@pytest.mark.parametrize(("sync", "aio"), twin_classes())
def test_twin_classes_match(sync, aio):
    allowed = exceptions_for(sync)
    offered = public_names(aio) | (public_names(sync) - of_the_core(sync))
    assert public_names(aio) <= public_names(sync) | allowed
    assert offered - allowed == public_names(aio) - allowed
    assert parameters(sync, allowed) == parameters(aio, allowed)
    for blocking, awaited in [("__enter__", "__aenter__"), ("__iter__", "__aiter__")]:
        assert hasattr(sync, blocking) == hasattr(aio, awaited)


@pytest.mark.parametrize(("sync", "aio"), twin_classes())
def test_twin_methods_match(sync, aio):
    for name in sorted((public_names(sync) & public_names(aio)) - exceptions_for(sync)):
        ours, theirs = getattr(sync, name), getattr(aio, name)
        assert first_line(ours) == first_line(theirs), name
        assert callable(ours) == callable(theirs), name
        if callable(ours):
            assert parameters(ours) == parameters(theirs), name


@pytest.mark.parametrize(("sync", "aio"), twin_functions())
def test_twin_functions_match(sync, aio):
    assert first_line(sync) == first_line(aio)
    assert parameters(sync) == parameters(aio)
