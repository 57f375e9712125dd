"""Timings beside the peers: ``python -m benchmarks``.

A benchmark makes its data from a seed, checks that both sides give the same answer, and only then times them,
in turns, in one process. What the peers are given to run at their best stands in `benchmarks.peers`.
"""
