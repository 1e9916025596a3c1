"""A pool does what a simple model of it does, whatever comes in whatever order."""

import gc
import random
import threading

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from cup.errors import BufferOverflow, BufferReleased, ForeignBuffer
from cup.services.buffers import BufferPool

SIZE = 16
TOTAL = 12
FOREIGN = BufferPool(pool_size=TOTAL, block_size=SIZE, leaks="off")


class Model:
    """What is out, with its content; checks every answer against that."""

    def __init__(self, pool, ceiling):
        self.pool = pool
        self.ceiling = ceiling
        self.out = {}  # a buffer -> how many blocks it has, and its content
        self.shown = []  # views that live on, with what they show
        self.held = 0  # blocks of released buffers that such views hold back

    @property
    def used(self):
        return sum(blocks for blocks, _ in self.out.values())

    def allocate(self, count):
        if count < 1:
            with pytest.raises(ValueError):
                self.pool.allocate(count)
            return None

        ok, buffer = self.pool.allocate(count)
        assert ok == (count <= self.ceiling - self.used - self.held)
        if not ok:
            return None

        assert buffer.length() == 0
        assert buffer.maxsize() == count * SIZE
        self.out[buffer] = (count, b"")
        return buffer

    def set(self, buffer, content):
        blocks, before = self.out[buffer]
        fits = len(content) <= blocks * SIZE
        assert buffer.set(content)[0] is fits
        self.out[buffer] = (blocks, content if fits else before)
        self.check(buffer)

    def write(self, buffer, at, content):
        blocks, before = self.out[buffer]
        buffer.seek(at)
        if content and at + len(content) > blocks * SIZE:
            with pytest.raises(BufferOverflow):
                buffer.write(content)
        else:
            buffer.write(content)
            if content:
                padded = before.ljust(at, b"\0")
                before = padded[:at] + content + padded[at + len(content) :]
        self.out[buffer] = (blocks, before)
        self.check(buffer)

    def truncate(self, buffer, size):
        blocks, before = self.out[buffer]
        if size <= blocks * SIZE:
            buffer.truncate(size)
            self.out[buffer] = (blocks, before[:size].ljust(size, b"\0"))
        self.check(buffer)

    def check(self, buffer):
        _, content = self.out[buffer]
        assert buffer.length() == len(content)
        assert buffer.tobytes() == content == b"".join(buffer.views())
        ok, answer = buffer.get()
        assert ok is bool(content)
        assert len(content) == (answer[2] or 0)

    def release(self, buffer):
        del self.out[buffer]
        buffer.release()
        self.double_release(buffer)

    def release_shown(self, buffer):
        """Release a buffer of which a view lives on."""
        _, content = self.out[buffer]
        views = buffer.views()
        self.release(buffer)
        self.shown.append((views[:1], content[: views[0].nbytes] if views else b""))
        self.held += bool(views)

    def forget_view(self):
        if self.shown:
            views, content = self.shown.pop(0)
            # Nobody got this block meanwhile.
            assert b"".join(views) == content
            self.held -= bool(views)
            views.clear()

    def double_release(self, buffer):
        for again in (buffer.release, lambda: self.pool.deallocate(buffer)):
            with pytest.raises(BufferReleased):
                again()
        with pytest.raises(BufferReleased):
            buffer.set(b"x")

    def drop(self, buffer):
        del self.out[buffer]

    def foreign(self):
        with FOREIGN.acquire() as buffer, pytest.raises(ForeignBuffer):
            self.pool.deallocate(buffer)

    def trim(self):
        self.pool.trim()
        for buffer in self.out:
            self.check(buffer)

    def account(self):
        stats = self.pool.stats()
        assert stats.used == self.used
        assert stats.held == self.held
        assert stats.free == stats.total - stats.used - stats.held
        assert stats.total <= self.ceiling
        assert stats.buffers == len(self.out)
        assert len(self.pool._free_list) == stats.free
        numbers = [
            *self.pool._free_list,
            *(b for blocks in self.pool._used_dict.values() for b in blocks),
        ]
        assert len({*numbers}) == len(numbers) == stats.total - stats.held


def make_model(grows):
    if grows:
        pool = BufferPool(3, block_size=SIZE, max_blocks=TOTAL, leaks="off")
    else:
        pool = BufferPool(TOTAL, block_size=SIZE, leaks="off")
    return Model(pool, TOTAL)


class Machine(RuleBasedStateMachine):
    """Hypothesis draws what is done."""

    buffers = Bundle("buffers")

    def __init__(self):
        super().__init__()
        self.model = make_model(grows=False)

    @rule(target=buffers, count=st.integers(-1, TOTAL + 1))
    def allocate(self, count):
        buffer = self.model.allocate(count)
        return multiple() if buffer is None else buffer

    @rule(buffer=buffers, content=st.binary(max_size=3 * SIZE))
    def set(self, buffer, content):
        self.model.set(buffer, content)

    @rule(buffer=buffers, at=st.integers(0, 80), content=st.binary(max_size=40))
    def write(self, buffer, at, content):
        self.model.write(buffer, at, content)

    @rule(buffer=buffers, size=st.integers(0, 80))
    def truncate(self, buffer, size):
        self.model.truncate(buffer, size)

    @rule(buffer=consumes(buffers))
    def release(self, buffer):
        self.model.release(buffer)

    @rule(buffer=consumes(buffers))
    def release_shown(self, buffer):
        self.model.release_shown(buffer)

    @rule()
    def forget_view(self):
        self.model.forget_view()

    @rule()
    def foreign(self):
        self.model.foreign()

    @rule()
    def trim(self):
        self.model.trim()

    @invariant()
    def account(self):
        self.model.account()


class GrowingMachine(Machine):
    """The same with a pool that grows."""

    def __init__(self):
        super().__init__()
        self.model = make_model(grows=True)


LIMITS = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
for machine in (Machine, GrowingMachine):
    machine.TestCase.settings = LIMITS
TestPool = Machine.TestCase
TestGrowingPool = GrowingMachine.TestCase


class Walk:
    """So many random operations, drawn by a seed: faster than hypothesis."""

    def __init__(self, model, seed):
        self.model = model
        self.dice = random.Random(seed)

    def pick(self):
        return self.dice.choice(list(self.model.out)) if self.model.out else None

    def step(self):
        model, dice = self.model, self.dice
        draw = dice.random()
        buffer = self.pick()
        if draw < 0.3 or buffer is None:
            model.allocate(dice.choice((1, 1, 1, 2, 3, 5, TOTAL)))
        elif draw < 0.5:
            model.set(buffer, dice.randbytes(dice.randrange(3 * SIZE)))
        elif draw < 0.6:
            model.write(buffer, dice.randrange(60), dice.randbytes(dice.randrange(30)))
        elif draw < 0.65:
            model.truncate(buffer, dice.randrange(60))
        elif draw < 0.85:
            model.release(buffer)
        elif draw < 0.9:
            model.release_shown(buffer)
        elif draw < 0.95:
            model.forget_view()
        elif draw < 0.99:
            model.drop(buffer)
        elif draw < 0.995:
            model.foreign()
        else:
            model.trim()

    def run(self, steps):
        for number in range(steps):
            self.step()
            if number % 64 == 0:
                self.model.account()
        while self.model.out:
            self.model.release(self.pick())
        while self.model.shown:
            self.model.forget_view()
        self.model.account()


MANY = [
    pytest.param(20_000, id="2e4"),
    pytest.param(
        1_000_000, id="1e6", marks=[pytest.mark.full, pytest.mark.timeout(300)]
    ),
]


@pytest.mark.parametrize("steps", MANY)
def test_a_random_walk(steps):
    for seed, grows in enumerate((False, True)):
        Walk(make_model(grows), seed).run(steps // 2)


class Sharer:
    """One of several threads that use a pool: knows its own buffers only."""

    def __init__(self, pool, number):
        self.pool = pool
        self.dice = random.Random(number)
        self.mark = bytes([number + 1])
        self.own = []

    def step(self):
        dice = self.dice
        draw = dice.random()
        if draw < 0.45 or not self.own:
            ok, buffer = self.pool.allocate(dice.choice((1, 1, 2, 3)))
            if ok:
                assert buffer.length() == 0
                buffer.set(self.mark * buffer.maxsize())
                self.own.append(buffer)
        elif draw < 0.9:
            self.give_back(self.own.pop(dice.randrange(len(self.own))))
        elif draw < 0.95:
            buffer = self.own.pop()
            views = buffer.views()
            buffer.release()
            for view in views:
                view[:] = b"?" * view.nbytes  # hits nobody
        elif draw < 0.97:
            self.own.pop()  # lost
        else:
            self.pool.trim()
        if len(self.own) > 5:
            self.give_back(self.own.pop())

    def give_back(self, buffer):
        assert buffer.tobytes() == self.mark * buffer.maxsize()
        buffer.release()
        with pytest.raises(BufferReleased):
            buffer.release()

    def run(self, steps, errors):
        try:
            for _ in range(steps):
                self.step()
            while self.own:
                self.give_back(self.own.pop())
        except BaseException as error:
            errors.append(error)


@pytest.mark.parametrize("steps", MANY)
def test_a_random_walk_of_8_threads(steps):
    pool = BufferPool(20, block_size=SIZE, leaks="off")
    errors = []
    threads = [
        threading.Thread(target=Sharer(pool, number).run, args=(steps // 8, errors))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    gc.collect()
    stats = pool.stats()
    assert (stats.free, stats.held, stats.buffers) == (20, 0, 0)
    assert sorted(pool._free_list) == list(range(20))
