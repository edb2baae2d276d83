"""Where the passages of a build are encoded: in its own process, in several on this machine, or in those of a Ray cluster.

settings.py  the flags
open.py      executor of these settings
pool.py      what an executor is; windows handed to workers, and to another one where a worker is lost
local.py     a worker that is a process of this machine
cores.py     cores of each process, neighbours on a NUMA node together
plan.py      actors of a Ray cluster: how many, and what each takes
cluster.py   a worker that is an actor in a Ray cluster
"""
