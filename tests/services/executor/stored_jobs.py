"""Functions of stored jobs: they are found by their import path."""

RAN = []
DURING = []  # what the next runs of `note_during` call


def note(*args, **kwargs):
    RAN.append((args, kwargs))
    return len(RAN)


def note_during():
    if DURING:
        DURING.pop()()
    return note()


async def coroutine():
    return note()


class Holder:
    @staticmethod
    def static(x):
        RAN.append(x)
