"""Measurements against peers, in one run, as ratios. `python -m benchmarks --help` lists them."""
