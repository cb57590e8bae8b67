"""Anomaly scores on sensor streams, one value at a time, in constant memory."""
