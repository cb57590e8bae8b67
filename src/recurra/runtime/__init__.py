"""The runtime: trained programs on NumPy arrays, without PyTorch."""

from recurra.runtime.scan import scan

__all__ = ["scan"]
