"""Looking inside: numbers first, drawings apart."""

from recurra.inspection.flow import GradientFlow, gradient_flow
from recurra.inspection.plot import plot_flow, plot_history

__all__ = ["GradientFlow", "gradient_flow", "plot_flow", "plot_history"]
