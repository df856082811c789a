"""Benchmarks: what the guard costs, against what one would put there instead (`make bench`)."""
