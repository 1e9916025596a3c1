"""Functions of stored jobs: they are found by their import path."""

RAN = []


def note(*args, **kwargs):
    RAN.append((args, kwargs))
    return len(RAN)


class Holder:
    @staticmethod
    def static(x):
        RAN.append(x)
