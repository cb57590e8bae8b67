"""Looking inside: numbers first, drawings apart. Start with `diagnose`."""

from recurra.errors import import_for

import_for(__name__, "torch")

from recurra.inspection.diagnosis import Diagnosis, diagnose
from recurra.inspection.flow import GradientFlow, Reach, gradient_flow
from recurra.inspection.gates import GateUse, gate_use
from recurra.inspection.lag import GradientByLag, gradient_by_lag, memory_length
from recurra.inspection.measurement import LayerFigures
from recurra.inspection.norms import TrainingNorms, training_norms
from recurra.inspection.performance import Performance
from recurra.inspection.plot import plot_diagnosis, plot_flow, plot_history
from recurra.inspection.report import write_report
from recurra.inspection.spectrum import spectral_radius
from recurra.inspection.verdicts import Need, Verdict
from recurra.inspection.watch import Watch

__all__ = [
    "Diagnosis",
    "GateUse",
    "GradientByLag",
    "GradientFlow",
    "LayerFigures",
    "Need",
    "Performance",
    "Reach",
    "TrainingNorms",
    "Verdict",
    "Watch",
    "diagnose",
    "gate_use",
    "gradient_by_lag",
    "gradient_flow",
    "memory_length",
    "plot_diagnosis",
    "plot_flow",
    "plot_history",
    "spectral_radius",
    "training_norms",
    "write_report",
]
