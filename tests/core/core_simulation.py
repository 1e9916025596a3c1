"""A world in which a line is raced for: loops, tasks and threads are simulated.

The line is real, and tasks run the real `ablock`, step by step; threads do what `block`
does. What happens next is decided from outside: by hypothesis, or by seeded dice. After
each step the books of the line are checked; in the end everybody must have got out.
"""

import contextlib
import random

from cup._core import loops
from cup._core.line import Line
from cup._core.wait import SLICE, Ask, Reach, State
from cup.errors import WaitTimeout

WAITING, PASSED, TIMED_OUT, CANCELLED = "waiting", "passed", "timed out", "cancelled"


class Cancelled(BaseException):
    """What a task or a thread gets when it is cancelled or interrupted."""


class Suspend:
    """Awaited by a simulated task that parks."""

    def __await__(self):
        yield self


SUSPEND = Suspend()


class SimWant(Ask):
    """Asks for a permit."""

    __slots__ = ("actor", "balance", "skipped")

    def __init__(self, line, actor):
        super().__init__(line)
        self.actor = actor
        self.balance = 0
        self.skipped = False  # a stopped loop cost it its place

    def __repr__(self):
        return f"<want of {self.actor} {self.state.name}>"


class SimLine(Line):
    """A counting semaphore that checks each grant."""

    __slots__ = ("free", "total", "world")

    def __init__(self, total, world):
        super().__init__()
        self.free = self.total = total
        self.world = world

    def take(self, ask):
        self.world.meanwhile()
        if not self.free:
            return False
        self.free -= 1
        ask.balance += 1
        assert ask.balance == 1, f"{ask} was granted twice"
        assert ask.state in (State.NEW, State.WAITING)
        self.check_order(ask)
        ask.value = self.free
        return True

    def put_back(self, ask):
        self.free += 1
        ask.balance -= 1
        assert ask.balance == 0, f"{ask} gave back what it had not"

    def check_order(self, ask):
        """Nobody who could be woken, and came before, is passed over."""
        for other in self._queue:
            if other is ask:
                return
            if other.waiter.reach() is Reach.READY and not other.skipped:
                assert ask.skipped, f"{ask} was granted before {other}"


class SimLoop:
    """An event loop."""

    def __init__(self, name, world):
        self.name = name
        self.world = world
        self.state = Reach.READY
        self.inbox = []
        self.trapped = False

    async def immediate(self):
        """Check for nothing."""

    def make_waiter(self):
        return SimTaskWaiter(self)

    def stop(self, state):
        self.state = state
        for ask in self.world.line._queue:
            if ask.waiter.home is self:
                ask.skipped = True
        for ask in self.world.line._offers:
            if ask.waiter.home is self:
                ask.skipped = True

    def deliver(self):
        inbox, self.inbox = self.inbox, []
        for waiter in inbox:
            waiter.woken = True


class SimTaskWaiter:
    """Parks a simulated task."""

    final = False
    __slots__ = ("home", "until", "woken")

    def __init__(self, home):
        self.home = home
        self.woken = False
        self.until = None

    def reach(self):
        return self.home.state

    def wake(self):
        home = self.home
        home.world.meanwhile()
        if home.trapped and home is not home.world.running:
            home.trapped = False
            home.stop(Reach.GONE)
        if home.state is Reach.GONE:
            return False
        home.inbox.append(self)
        return True

    def is_told(self):
        return self.woken or self in self.home.inbox

    async def wait(self, timeout):
        self.until = None if timeout is None else self.home.world.now + timeout
        if not self.woken:
            await SUSPEND
        self.woken = False


class SimThreadWaiter:
    """Parks a simulated thread."""

    final = True
    home = None
    __slots__ = ("until", "woken", "world")

    def __init__(self, world):
        self.world = world
        self.woken = False
        self.until = None

    def reach(self):
        return Reach.READY

    def wake(self):
        self.world.meanwhile()
        self.woken = True
        return True

    def is_told(self):
        return self.woken


class Actor:
    """A task or a thread that wants a permit, once."""

    __slots__ = ("ask", "loop", "outcome", "steps", "world")

    def __init__(self, world, loop, timeout):
        self.world = world
        self.loop = loop
        self.ask = SimWant(world.line, self)
        if loop is None:
            self.steps = self.block(timeout)
        else:
            self.steps = loops.ablock(self.ask, timeout)
        self.outcome = WAITING
        self.run(None)

    def block(self, timeout):
        """Do what `wait.block` does."""
        ask, line, world = self.ask, self.world.line, self.world
        if line.try_now(ask):
            return
        if timeout == 0:
            if line.try_again(ask):
                return
            raise ask.timed_out(0)
        deadline = None if timeout is None else world.now + timeout
        waiter = SimThreadWaiter(world)
        try:
            line.file(ask, waiter)
            while not ask.is_settled():
                if deadline is not None and world.now >= deadline:
                    break
                waiter.until = deadline
                if line.may_stall(None):
                    until = world.now + SLICE
                    waiter.until = until if deadline is None else min(until, deadline)
                if not waiter.woken:
                    yield
                waiter.woken = False
                if not ask.is_settled():
                    line.revise()
        except BaseException:
            line.leave(ask)
            raise
        if not ask.is_settled() and line.leave_unless_granted(ask):
            raise ask.timed_out(timeout)

    def run(self, error):
        """Run to the next wait."""
        self.world.running = self.loop
        try:
            if error is None:
                self.steps.send(None)
            else:
                self.steps.throw(error)
        except StopIteration:
            self.end(PASSED)
        except WaitTimeout:
            self.end(TIMED_OUT)
        except Cancelled:
            self.end(CANCELLED)
        finally:
            self.world.running = None

    def end(self, outcome):
        self.outcome = outcome
        self.world.waiting.remove(self)
        if outcome is PASSED:
            assert self.ask.balance == 1
            assert self.ask.state is State.SETTLED
            self.world.holding.append(self)

    def can_run(self):
        """Tell whether its loop runs, and something ends its wait."""
        if self.loop is not None and self.loop.state is not Reach.READY:
            return False
        waiter = self.ask.waiter
        late = waiter.until is not None and self.world.now >= waiter.until
        return waiter.woken or late

    def __repr__(self):
        home = "a thread" if self.loop is None else f"a task of {self.loop.name}"
        return f"{home} ({self.outcome})"


class World:
    """The line, the loops and the actors. Each public method is one step of a race."""

    def __init__(self, *, permits=1, loops_=2, dice=None):
        self.dice = dice
        self.now = 0.0
        self.running = None
        self.waiting = []
        self.holding = []
        self.abandoned = []
        self.nested = False
        self.line = SimLine(permits, self)
        self.loops = [SimLoop(f"loop {n}", self) for n in range(loops_)]

    # -- what happens in the middle of a step ------------------------------------------

    def meanwhile(self):
        """Be a finalizer or a signal handler, under the mutex or between wake-ups."""
        dice = self.dice
        if dice is None or self.nested or dice.random() > 0.1:
            return
        self.nested = True
        try:
            kind = dice.randrange(3)
            if kind == 0:
                self.line.changed()
            elif kind == 1:
                self.collect()
            elif self.holding:
                self.release(dice.randrange(len(self.holding)))
        finally:
            self.nested = False

    # -- steps -------------------------------------------------------------------------

    def start(self, place, timeout):
        """Start a thread (place 0) or a task of a loop that runs."""
        loop = None if place == 0 else self.loops[place - 1]
        if loop is not None and loop.state is not Reach.READY:
            return
        actor = Actor.__new__(Actor)
        self.waiting.append(actor)
        actor.__init__(self, loop, timeout)

    def resume(self, index):
        """Let an actor go on, if it can."""
        if self.waiting:
            actor = self.waiting[index % len(self.waiting)]
            if actor.can_run():
                actor.run(None)

    def cancel(self, index):
        """Cancel a task of a running loop, or interrupt a thread."""
        if self.waiting:
            actor = self.waiting[index % len(self.waiting)]
            if actor.loop is None or actor.loop.state is Reach.READY:
                actor.run(Cancelled())

    def release(self, index, *, busy=False):
        """Have a holder give its permit back, maybe while another has the mutex."""
        if not self.holding:
            return
        ask = self.holding.pop(index % len(self.holding)).ask
        line = self.line
        with (
            line.mutex if busy and not line.mutex.locked() else contextlib.nullcontext()
        ):
            if index % 2:
                line.leave(ask)
            else:
                ask.balance -= 1
                line.free += 1
                line.changed()
        line.settle()

    def look(self):
        """Let a thread that waits look around, as it does every 0.1 s."""
        self.line.revise()

    def pass_time(self, seconds):
        self.now += seconds

    def stop(self, index):
        loop = self.loops[index % len(self.loops)]
        if loop.state is Reach.READY:
            loop.stop(Reach.PAUSED)

    def restart(self, index):
        loop = self.loops[index % len(self.loops)]
        if loop.state is Reach.PAUSED:
            loop.state = Reach.READY

    def deliver(self, index):
        """Let a running loop work off what was posted to it."""
        loop = self.loops[index % len(self.loops)]
        if loop.state is Reach.READY:
            loop.deliver()

    def trap(self, index):
        """Have a loop closed at the moment when somebody wakes one of its tasks."""
        self.loops[index % len(self.loops)].trapped = True

    def close(self, index):
        """Close a loop with all its tasks, and open another one."""
        index %= len(self.loops)
        self.bury(self.loops[index])
        self.loops[index] = SimLoop(f"{self.loops[index].name}'", self)

    def bury(self, loop):
        loop.stop(Reach.GONE)
        self.abandoned += [actor for actor in self.waiting if actor.loop is loop]
        self.waiting = [actor for actor in self.waiting if actor.loop is not loop]

    def collect(self):
        """Collect a task of a closed loop, as the garbage collector does."""
        if self.abandoned:
            self.abandoned.pop().steps.close()

    # -- what must hold ----------------------------------------------------------------

    def check(self):
        line = self.line
        taken = sum(ask.balance for ask in self.asks())
        assert line.free + taken == line.total
        assert not line._notes
        assert not line._wakes
        for actor in self.waiting:
            ask = actor.ask
            if ask.state in (State.OFFERED, State.SETTLED):
                assert ask.waiter.is_told(), f"{ask} was not woken"
            elif line.free and ask.waiter.reach() is Reach.READY:
                assert ask.told or ask.waiter.is_told(), f"{ask} is kept waiting"

    def drain(self, ends):
        """Let those who wait on certain loops come to their end."""
        rounds = 0
        while self.abandoned or self.holding or self.some_wait(ends):
            rounds += 1
            assert rounds < 100, f"{self.waiting} never end"
            self.now += SLICE
            while self.holding:
                self.release(0)
            for loop in self.loops:
                if loop.state is Reach.READY:
                    loop.deliver()
            for actor in self.waiting.copy():
                if actor in self.waiting and actor.can_run():
                    actor.run(None)
            if rounds % 2:
                self.collect()

    def some_wait(self, ends):
        return any(ends(actor.loop) for actor in self.waiting)

    def asks(self):
        return [a.ask for a in (*self.waiting, *self.holding, *self.abandoned)]

    def finish(self):
        """Let everything come to its end, and check that nothing is left.

        Loops that stand still do not hold up the others; then they run again.
        """
        self.dice = None
        for loop in self.loops:
            if loop.trapped or loop.state is Reach.GONE:
                self.bury(loop)
        self.drain(lambda loop: loop is None or loop.state is Reach.READY)
        for loop in self.loops:
            if loop.state is Reach.PAUSED:
                loop.state = Reach.READY
        self.drain(lambda _: True)
        line = self.line
        line.revise()
        assert line.free == line.total
        assert len(line) == 0
        assert not line._offers
        assert not line._homes
        assert not line._notes
        assert not line._wakes


@contextlib.contextmanager
def simulated(*, permits=1, loops_=2, dice=None):
    """Make a world whose tasks run the real `ablock`."""
    world = World(permits=permits, loops_=loops_, dice=dice)
    before = loops.current_loop, loops.monotonic
    loops.current_loop, loops.monotonic = lambda: world.running, lambda: world.now
    try:
        yield world
    finally:
        loops.current_loop, loops.monotonic = before


TIMEOUTS = [None, None, None, 0, 0.05, 0.3]


def race(seed, steps=24):
    """Play one seeded schedule."""
    dice = random.Random(seed)
    draw = dice.random
    with simulated(permits=dice.choice([1, 1, 2, 3]), dice=dice) as world:
        moves = [
            *[lambda: world.start(dice.randrange(3), dice.choice(TIMEOUTS))] * 6,
            *[lambda: world.resume(dice.randrange(99))] * 5,
            *[lambda: world.release(dice.randrange(99), busy=draw() < 0.3)] * 5,
            *[lambda: world.deliver(dice.randrange(2))] * 3,
            *[lambda: world.cancel(dice.randrange(99))] * 2,
            *[lambda: world.pass_time(0.06)] * 2,
            lambda: world.stop(dice.randrange(2)),
            lambda: world.restart(dice.randrange(2)),
            lambda: world.close(dice.randrange(2)),
            lambda: world.trap(dice.randrange(2)),
            world.look,
            world.collect,
        ]
        for _ in range(steps):
            dice.choice(moves)()
            for loop in world.loops:
                if loop.state is Reach.GONE:
                    world.close(world.loops.index(loop))
            world.check()
        world.finish()
