"""What every service is built on: waiting, waking, loops, clocks, forks, exit.

Private: services import from here, users import from the services. `block` (in `wait`)
and `ablock` (in `loops`) are the two places of the library that wait for an ask;
workers and program drivers park beside them, in `park` and `program`.
"""
