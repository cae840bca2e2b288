"""Benchmarks: `make bench` prints each figure beside its budget and two calibrations of the same run."""
