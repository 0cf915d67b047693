"""Benchmarks: this library's speed beside pythae's, PyTorch's and a Keras example's.

`make bench` runs them and writes `docs/BENCHMARKS.md` and a JSON file; `python -m benchmarks
--help` says how to choose cases and how to compare two results.
"""
