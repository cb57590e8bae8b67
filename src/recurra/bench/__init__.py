"""This machine against torch.nn, in one run: what `recurra bench` and `python -m benchmarks
kernels` measure.
"""

from recurra.errors import import_for

import_for(__name__, "torch")

from recurra.bench.agree import Disagreement
from recurra.bench.measure import measure
from recurra.bench.plan import Plan
from recurra.bench.plot import plot_bench
from recurra.bench.report import report
from recurra.bench.shape import Shape, parse_shape

__all__ = ["Disagreement", "Plan", "Shape", "measure", "parse_shape", "plot_bench", "report"]
