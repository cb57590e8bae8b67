"""The runtime: trained networks that stream on NumPy arrays, without PyTorch."""

from recurra.runtime.generation import generate, sample
from recurra.runtime.model import Model, load
from recurra.runtime.scan import scan
from recurra.runtime.session import Session, merge

__all__ = ["Model", "Session", "generate", "load", "merge", "sample", "scan"]
