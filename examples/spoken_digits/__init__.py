"""Spoken digits recognised from a stream: trained with PyTorch, listening without it."""
