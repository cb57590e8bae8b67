"""The engine: one scan, several methods that must give the same numbers. `loop.py` is the
definition.
"""

from recurra.errors import import_for

import_for(__name__, "torch")

from recurra.engine.context import Probe, forcing, listening, probing
from recurra.engine.explain import ExplainedScan, Explanation, explain
from recurra.engine.job import Job, Scan, prepare
from recurra.engine.scan import METHODS, Choice, choose_method, scan

__all__ = [
    "METHODS",
    "Choice",
    "ExplainedScan",
    "Explanation",
    "Job",
    "Probe",
    "Scan",
    "choose_method",
    "explain",
    "forcing",
    "listening",
    "prepare",
    "probing",
    "scan",
]
