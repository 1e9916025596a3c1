"""Benchmarks: this library beside its peers, in one run.

`python -m tests.benchmarks` lists them, `python -m tests.benchmarks NAME` runs one. The
peers are in the `bench` extra; one that is not installed is named and left out.
"""
